"""Reads the limits that an operator may change. Entry point: `Bounds.read`."""

from __future__ import annotations

from dataclasses import dataclass, field

from aos.domain.cards.policy import LimitBounds
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits that an operator may change, in bytes, counts and seconds."""

    http_body_bytes: int = 1024 * 1024
    message_bytes: int = 1024 * 1024
    part_bytes: int = 4 * 1024 * 1024
    cards: LimitBounds = field(default_factory=LimitBounds)
    model_timeout_seconds: int = 120
    tool_timeout_seconds: int = 60
    wait_seconds: int = 100
    model_tools: int = 128
    tool_description_characters: int = 1024

    @classmethod
    def read(cls, env: Environment) -> Bounds:
        """Read the limits. Raises ConfigurationError."""
        default = cls()
        return cls(
            http_body_bytes=env.count(
                "AOS_MAX_HTTP_BODY_BYTES", default.http_body_bytes, most=100 * 1024 * 1024
            ),
            message_bytes=env.count(
                "AOS_MAX_MESSAGE_BYTES", default.message_bytes, most=16 * 1024 * 1024
            ),
            part_bytes=env.count("AOS_MAX_PART_BYTES", default.part_bytes, most=64 * 1024 * 1024),
            cards=_read_limit_bounds(env),
            model_timeout_seconds=env.count(
                "AOS_MODEL_TIMEOUT_SECONDS", default.model_timeout_seconds, most=230
            ),
            tool_timeout_seconds=env.count(
                "AOS_TOOL_TIMEOUT_SECONDS", default.tool_timeout_seconds, most=240
            ),
            wait_seconds=env.count(
                "AOS_WAIT_SECONDS", default.wait_seconds, most=LONGEST_WAIT_SECONDS
            ),
            model_tools=env.count("AOS_MODEL_MAX_TOOLS", default.model_tools, most=1024),
            tool_description_characters=env.count(
                "AOS_TOOL_DESCRIPTION_CHARACTERS", default.tool_description_characters, most=65_536
            ),
        )


def _read_limit_bounds(env: Environment) -> LimitBounds:
    default = LimitBounds()
    return LimitBounds(
        max_turns=env.count("AOS_MAX_TURNS", default.max_turns, most=1000),
        max_tool_calls=env.count("AOS_MAX_TOOL_CALLS", default.max_tool_calls, most=10_000),
        run_timeout_seconds=env.count(
            "AOS_RUN_TIMEOUT_SECONDS", default.run_timeout_seconds, most=48 * 3600
        ),
        approval_timeout_seconds=env.count(
            "AOS_APPROVAL_TIMEOUT_SECONDS", default.approval_timeout_seconds, most=30 * 86_400
        ),
    )

"""Defines the errors that AOS reports. Entry points: `AosError`, `CODES`.

`CODES` lists every error code of the contract with its HTTP status and its type: who must act on it
(caller, operator, retry, model). Another code cannot be raised. A message says what happened, to
what, and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

ErrorType: TypeAlias = Literal["caller", "operator", "retry", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One error code: who must act, and the HTTP status (None: no HTTP answer has it)."""

    type: ErrorType
    http_status: int | None = None


CODES: dict[str, Code] = {
    # of answers
    "invalid_request": Code(type="caller", http_status=400),
    "unauthorized": Code(type="caller", http_status=401),
    "forbidden": Code(type="caller", http_status=403),
    "agent_not_found": Code(type="caller", http_status=404),
    "agent_removed": Code(type="caller", http_status=404),
    "run_not_found": Code(type="caller", http_status=404),
    "conversation_not_found": Code(type="caller", http_status=404),
    "conversation_deleted": Code(type="caller", http_status=404),
    "tool_call_not_found": Code(type="caller", http_status=404),
    "question_not_found": Code(type="caller", http_status=404),
    "card_version_not_found": Code(type="caller", http_status=404),
    "dead_letter_not_found": Code(type="caller", http_status=404),
    "entity_not_found": Code(type="caller", http_status=404),
    "server_not_found": Code(type="caller", http_status=404),
    "schema_not_found": Code(type="caller", http_status=404),
    "not_found": Code(type="caller", http_status=404),
    "method_not_allowed": Code(type="caller", http_status=405),
    "agent_disabled": Code(type="operator", http_status=409),
    "agent_mismatch": Code(type="caller", http_status=409),
    "conversation_busy": Code(type="retry", http_status=409),
    "already_decided": Code(type="caller", http_status=409),
    "already_answered": Code(type="caller", http_status=409),
    "precondition_failed": Code(type="caller", http_status=409),
    "length_required": Code(type="caller", http_status=411),
    "too_large": Code(type="caller", http_status=413),
    "unsupported_media_type": Code(type="caller", http_status=415),
    "idempotency_conflict": Code(type="caller", http_status=422),
    "invalid_card": Code(type="caller", http_status=422),
    "budget_spent": Code(type="operator", http_status=429),
    "conversation_full": Code(type="retry", http_status=429),
    "request_expired": Code(type="caller"),
    "internal_error": Code(type="operator", http_status=500),
    "paused": Code(type="retry", http_status=503),
    "model_not_configured": Code(type="operator", http_status=503),
    "unavailable": Code(type="retry", http_status=503),
    # of runs only
    "model_rejected": Code(type="model"),
    "model_misconfigured": Code(type="operator"),
    "model_quota": Code(type="operator"),
    "content_filtered": Code(type="model"),
    "model_unavailable": Code(type="retry"),
    "model_output_invalid": Code(type="model"),
    "adapter_unavailable": Code(type="operator"),
    "too_many_tools": Code(type="operator"),
    "max_turns": Code(type="caller"),
    "max_tool_calls": Code(type="caller"),
    "max_tokens": Code(type="caller"),
    "tree_limit": Code(type="caller"),
    "run_timeout": Code(type="caller"),
    "start_timeout": Code(type="retry"),
    "parent_ended": Code(type="caller"),
}
"""All error codes of the contract (docs/contracts/errors.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """The `error` object of answers, runs and replies."""

    code: str
    message: str
    type: ErrorType = field(init=False)
    """Who must act."""
    retryable: bool = field(init=False)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"error code {self.code!r} is not in aos.errors.CODES")
        kind = CODES[self.code].type
        object.__setattr__(self, "type", kind)
        object.__setattr__(self, "retryable", kind == "retry")

    @classmethod
    def before_decode(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Read a code that only a newer version knows as `internal_error`; the message names it.

        Such a code may be in a row after a rollback of AOS.
        """
        code = raw.get("code")
        if not isinstance(code, str) or code in CODES:
            return raw
        return {**raw, "code": "internal_error", "message": f"{code}: {raw.get('message')}"}


class AosError(Exception):
    """Base of every error that AOS raises on purpose; `info` is its wire form."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.info = ErrorInfo(code=code, message=message, details=details)

    @property
    def code(self) -> str:
        """The code on the wire."""
        return self.info.code


class Refused(AosError):
    """A request that AOS refuses: the caller gets the error, and nothing is stored."""


class RunFailed(AosError):
    """A permanent error of a run: the run ends as `failed` with it.

    `usage` is what the answer that cannot be used took (a `Usage`), or None.
    """

    usage: object = None

    def with_usage(self, usage: object) -> Self:
        """This error, of an answer that took these tokens."""
        self.usage = usage
        return self


class TransientError(AosError):
    """A temporary error (429, 5xx, time-out, lost lock): try again later."""

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, **details: Any
    ) -> None:
        super().__init__("unavailable", message, **details)
        self.retry_after_seconds = retry_after_seconds


class OperatorFault(TransientError):
    """A fault that heals when an operator has acted (a key, an address, a bill): work waits for it
    as for an outage, and says at once what is to be done. The code is `code`."""

    def __init__(
        self, code: str, message: str, *, retry_after_seconds: float | None = None, **details: Any
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **details)
        self.info = ErrorInfo(code=code, message=message, details=details)


class UnreadableAnswer(TransientError):
    """The model's endpoint answered with what is not an answer. A proxy's hiccup passes; where it
    does not, an operator must act: `make_fault` says how."""

    def make_fault(self) -> OperatorFault:
        """The fault of an endpoint that goes on to answer like this."""
        return OperatorFault(
            "model_misconfigured",
            f"{self}, again and again; check that AOS_MODEL_ENDPOINT is the address of an API that"
            " OpenAI's client can use, ends with /v1, and that AOS_MODEL_API names the API that it"
            " speaks",
        )


class EmptyAnswer(RunFailed):
    """The model answered with neither a text nor a tool call: asking once more may help."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("model_output_invalid", message, **details)


class OutcomeUnknown(TransientError):
    """The store did not answer, so the write may or may not have happened. Read the row next."""


class StaleWrite(AosError):
    """An If-Match or insert-once condition did not hold: another writer was first."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("precondition_failed", message, **details)


class ConfigurationError(AosError):
    """A setting is missing or wrong: the app does not start until the operator mends it."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("internal_error", message, **details)


class ServerFailed(AosError):
    """An MCP server does not start or does not speak MCP, so nothing was called.

    Its operator or the author of its card must act. The message holds the server's output and is
    for admins; `brief` is the message without that output.
    """

    def __init__(self, message: str, *, brief: str | None = None, **details: Any) -> None:
        super().__init__("unavailable", message, **details)
        self.brief = message if brief is None else brief


class SessionLost(AosError):
    """Another handler has this conversation: write nothing, send nothing, abandon the message."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("unavailable", message, **details)

"""Which errors can AOS report, and who must act on each?

One tree, branched by who must act (`type` on the wire): caller, operator, retry, model. Every
code of the contract stands in `CODES` with its type and its HTTP status; a code that is not there
cannot be raised. Messages say what is wrong, with which value, and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

ErrorType: TypeAlias = Literal["caller", "operator", "retry", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One error code: who must act, and the HTTP status at the door (None: never at a door)."""

    type: ErrorType
    http_status: int | None = None


CODES: dict[str, Code] = {
    # at the door
    "invalid_request": Code(type="caller", http_status=400),
    "unauthorized": Code(type="caller", http_status=401),
    "forbidden": Code(type="caller", http_status=403),
    "agent_not_found": Code(type="caller", http_status=404),
    "agent_removed": Code(type="caller", http_status=404),
    "run_not_found": Code(type="caller", http_status=404),
    "conversation_not_found": Code(type="caller", http_status=404),
    "conversation_deleted": Code(type="caller", http_status=404),
    "tool_call_not_found": Code(type="caller", http_status=404),
    "card_version_not_found": Code(type="caller", http_status=404),
    "dead_letter_not_found": Code(type="caller", http_status=404),
    "entity_not_found": Code(type="caller", http_status=404),
    "server_not_found": Code(type="caller", http_status=404),
    "schema_not_found": Code(type="caller", http_status=404),
    "not_found": Code(type="caller", http_status=404),
    "agent_disabled": Code(type="operator", http_status=409),
    "agent_mismatch": Code(type="caller", http_status=409),
    "conversation_busy": Code(type="retry", http_status=409),
    "already_decided": Code(type="caller", http_status=409),
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
    # of runs alone
    "model_rejected": Code(type="model"),
    "model_misconfigured": Code(type="operator"),
    "model_quota": Code(type="operator"),
    "content_filtered": Code(type="model"),
    "model_unavailable": Code(type="retry"),
    "model_output_invalid": Code(type="model"),
    "adapter_unavailable": Code(type="operator"),
    "max_turns": Code(type="caller"),
    "max_tool_calls": Code(type="caller"),
    "max_tokens": Code(type="caller"),
    "tree_limit": Code(type="caller"),
    "run_timeout": Code(type="caller"),
    "start_timeout": Code(type="retry"),
    "parent_ended": Code(type="caller"),
}
"""The closed list of the contract (docs/contracts/errors.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """An error as data: the `error` object of the wire, in answers, runs and replies alike."""

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
        """After a rollback a code may be a newer version's: then the text says which it was."""
        code = raw.get("code")
        if not isinstance(code, str) or code in CODES:
            return raw
        return {**raw, "code": "internal_error", "message": f"{code}: {raw.get('message')}"}


class AosError(Exception):
    """Base of every error AOS raises on purpose; carries its wire form in `info`."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.info = ErrorInfo(code=code, message=message, details=details)

    @property
    def code(self) -> str:
        """The code on the wire."""
        return self.info.code


class Refused(AosError):
    """A request that is turned down at the door: typed, answered, nothing stored."""


class RunFailed(AosError):
    """A permanent fault inside a run: the run ends as `failed` with this error."""


class TransientError(AosError):
    """A fault that heals by itself (429, 5xx, time-out, lock lost): try again later."""

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


class EmptyAnswer(RunFailed):
    """The model answered with neither a text nor a tool call: asking once more may help."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("model_output_invalid", message, **details)


class OutcomeUnknown(TransientError):
    """The store did not answer: the write may or may not have happened. Read before going on."""


class StaleWrite(AosError):
    """An If-Match or insert-once condition did not hold: somebody else wrote first."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("precondition_failed", message, **details)


class ConfigurationError(AosError):
    """A setting is missing or wrong: the operator must act; the app refuses to start."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("internal_error", message, **details)


class ServerFailed(AosError):
    """An MCP server does not start, or does not speak MCP: nothing was called. Its operator, or
    the author of its card, must act; the message names the server and says what it printed, so it
    is for admins. `brief` is the message without that."""

    def __init__(self, message: str, *, brief: str | None = None, **details: Any) -> None:
        super().__init__("unavailable", message, **details)
        self.brief = message if brief is None else brief


class SessionLost(AosError):
    """Another handler has this conversation now: write and send nothing, let the message come
    again (it is abandoned, never postponed)."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("unavailable", message, **details)

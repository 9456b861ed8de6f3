"""Tells apart how a connection to an MCP server fails, and reports it without secrets. Entry
points: `Report`, `explain_failure`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.pauses import read_links, read_pause
from aos.adapters.mcp.results import AsksFirst, NotReadable, describe_links, read_outcome, show
from aos.domain.tools.questions import CallPause
from aos.domain.tools.tool import ToolOutcome
from aos.errors import ServerFailed

if TYPE_CHECKING:
    from mcp.shared.exceptions import MCPError

MOST_SAID = 2_000
"""The most characters of a server's own words that one outcome or error repeats."""
_LOST = "Connection closed"
"""The SDK's text for a connection that ended; a server may use the same words."""
_CUT_OFF = "SSE stream"
"""How the SDK's texts for an answer that was cut off begin."""
_NOT_FOUND = "HTTP 404"
_AWAY = (_CUT_OFF, _NOT_FOUND, "HTTP 5")
"""How the errors of a URL begin that has no server, or none that works."""
_METHOD_NOT_FOUND = -32_601
"""JSON-RPC's own code."""
_ADDRESS_FIRST = -32_042
"""MCP's code, until 2025-11-25, for a call before which a person must visit an address."""


class Report:
    """Builds outcomes and errors that name the server."""

    def __init__(self, server_id: str, masker: Masker) -> None:
        self._server_id = server_id
        self._masker = masker

    def make_unknown(self, what: str) -> ToolOutcome:
        """Build the outcome of a call of which nobody knows whether it was made."""
        return ToolOutcome(outcome="outcome_unknown", content=self._write(what))

    def make_not_called(self, what: str) -> ToolOutcome:
        """Build the outcome of a call that was not made."""
        return ToolOutcome(outcome="not_called", content=self._write(what))

    def make_error(self, what: str) -> ToolOutcome:
        """Build the outcome of a call that failed."""
        return ToolOutcome(outcome="error", content=self._write(what)[:MOST_SAID])

    def read_answer(self, result: Mapping[str, Any]) -> ToolOutcome:
        """Build the outcome of a call that the server answered: a result, a question or a task."""
        try:
            pause = read_pause(result, self._masker)
            if pause is None:
                return read_outcome(result, self._masker)
        except AsksFirst as error:
            return self.make_error(str(error))
        except NotReadable as error:
            return self.make_unknown(str(error))
        except RecursionError:
            return self.make_unknown("gave an answer that is nested too deeply")
        if pause.kind == "task":
            return replace(self.make_unknown("has not ended the task"), pause=pause)
        words = [question.message for question in pause.questions]
        outcome = self.make_error(f"asks a person before it goes on: {show(words)}")
        return replace(outcome, pause=pause)

    def read_error(self, error: MCPError) -> ToolOutcome:
        """Build the outcome of a call that the server refused. The error may say that a person must
        visit an address first: then nothing was done."""
        outcome = self.make_error(f"answered with an error: {error}{describe_links(error.data)}")
        if error.code != _ADDRESS_FIRST:
            return outcome
        try:
            questions = read_links(error.data, self._masker)
        except AsksFirst as told:
            return self.make_error(f"answered with an error: {error}; it {told}")
        if not questions:
            return outcome
        return replace(outcome, pause=CallPause(kind="replay", questions=questions))

    def make_failure(self, what: str, *, tail: str) -> ServerFailed:
        """Build the error of a server that failed; `tail` is what it printed last."""
        said = f"; last output: {tail}" if tail else ""
        brief = self._write(what)[:MOST_SAID]
        return ServerFailed(brief + said, brief=brief, server_id=self._server_id)

    def _write(self, what: str) -> str:
        return f"the MCP server {self._server_id!r} {self._masker.mask_printed(what)}"


def is_lost(error: BaseException) -> bool:
    """Whether the connection ended."""
    return str(error) == _LOST


def is_cut_off(error: MCPError) -> bool:
    """Whether a URL's answer was cut off."""
    return error.message.startswith(_CUT_OFF)


def is_without_session(error: MCPError) -> bool:
    """Whether a URL has no session with us any more, as after the server's restart."""
    return error.message.startswith(_NOT_FOUND) and error.code != _METHOD_NOT_FOUND


def is_away(error: MCPError) -> bool:
    """Whether there is no server at a URL, or none that works."""
    return error.message.startswith(_AWAY) and error.code != _METHOD_NOT_FOUND


def explain_failure(error: BaseException) -> str:
    """Describe an error by its innermost cause."""
    from mcp.shared.exceptions import MCPError

    error = find_cause(error)
    if isinstance(error, FileNotFoundError):
        return f"cannot be started: {error.strerror}: {error.filename}"
    if is_lost(error):
        return "ended, or closed its output, before it had answered"
    if isinstance(error, MCPError):
        return f"refused the connection: {error}"
    return f"cannot be reached: {str(error) or type(error).__name__}"


def find_cause(error: BaseException) -> BaseException:
    """Return the first error in a group of errors, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

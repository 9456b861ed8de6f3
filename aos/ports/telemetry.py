"""Tells operators what happens: log lines, custom events, spans. Entry point: `Telemetry`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeAlias


class Span(Protocol):
    """A unit of traced work."""

    @property
    def traceparent(self) -> str | None:
        """The W3C traceparent for the work that this span causes."""
        ...

    def set(self, **attributes: object) -> None:
        """Add attributes; `error.type` marks the work as failed."""
        ...


Level: TypeAlias = Literal["debug", "info", "warning", "error"]
SpanKind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
"""OpenTelemetry's kinds: `server` answers a call and `consumer` handles a message; `client` and
`producer` make a call or a message; `internal` is work within a process."""


class Telemetry(Protocol):
    """What operators see: log lines, custom events and spans (docs/contracts/telemetry.md)."""

    def log(
        self,
        event: str,
        *,
        level: Level = "info",
        **fields: object,
    ) -> None:
        """Write one JSON line: `event`, `timestamp` and the fields (ids, never message content)."""
        ...

    def custom_event(self, name: str, **attributes: object) -> None:
        """Write a row of customEvents under the plan's names, and a log line.

        Without such a table only the line is written; for events of every run, only the row.
        """
        ...

    def span(
        self, name: str, *, kind: SpanKind, traceparent: str | None = None, **attributes: object
    ) -> AbstractContextManager[Span]:
        """Trace a unit of work in the trace of `traceparent`."""
        ...

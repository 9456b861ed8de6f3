"""Tells operators what happens: log lines, custom events, spans. Entry point: `Telemetry`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeAlias


class Span(Protocol):
    """A unit of traced work."""

    @property
    def traceparent(self) -> str | None:
        """The W3C traceparent that work caused by this span carries on."""
        ...

    def set(self, **attributes: object) -> None:
        """Add attributes; `error.type` marks the work as failed."""
        ...


SpanKind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
"""OpenTelemetry's kinds: `server` and `consumer` answer a call and take a message, `client` and
`producer` make one, `internal` is what a process does within itself."""


class Telemetry(Protocol):
    """What operators see: log lines, custom events, spans (docs/contracts/telemetry.md)."""

    def log(
        self,
        event: str,
        *,
        level: Literal["debug", "info", "warning", "error"] = "info",
        **fields: object,
    ) -> None:
        """One JSON line: `event`, `timestamp`, and the fields (ids, never message content)."""
        ...

    def custom_event(self, name: str, **attributes: object) -> None:
        """A row of customEvents, under the plan's names, and a log line; a line alone where there
        is no such table, a row alone for what comes with every run."""
        ...

    def span(
        self, name: str, *, kind: SpanKind, traceparent: str | None = None, **attributes: object
    ) -> AbstractContextManager[Span]:
        """Trace a unit of work in the trace of `traceparent`."""
        ...

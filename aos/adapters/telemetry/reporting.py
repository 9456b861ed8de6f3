"""Writes the log lines, custom events and spans of one app. Entry point: `make_telemetry`.

A log line is one JSON object, written through `logging` to standard output or to the Functions
worker if that has set handlers. With a connection string of Application Insights, spans, custom
events and log lines also go there through OpenTelemetry, which is imported only then.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from aos.adapters.telemetry.attributes import CUSTOM_EVENTS_LOGGER, convert_attributes
from aos.adapters.telemetry.trace_context import current_traceparent, trace_id
from aos.adapters.telemetry.tracing import OpenTelemetryTracer, PlainTracer, Tracer
from aos.domain.json_writer import write_json
from aos.version import __version__

if TYPE_CHECKING:  # the ports import the whole domain, which the start of an app does not need
    from aos.adapters.telemetry.rows import EventRecorder
    from aos.ports.telemetry import Span, SpanKind

LOGGER = "aos"
SDK_LOGGERS = ("azure", "httpx", "httpx2")
"""The Azure SDKs, and the client below the model's SDK: httpx, or httpx2."""
CUSTOM_EVENT = "microsoft.custom_event.name"
"""The attribute that makes Azure Monitor write a log record to `customEvents`."""
EXPORTER = "azure.monitor.opentelemetry.exporter"
LONGEST_TEXT = 8 * 1024
_OF_EVERY_RUN = frozenset({"AgentOperation", "MCPToolCall"})
_INSTRUMENTED = (
    "azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests",
    "urllib", "urllib3",
)  # fmt: skip
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SECRET = re.compile(
    r"(?i)((?:sharedaccesskey|accountkey|sharedaccesssignature|instrumentationkey|api[-_]?key"
    r"|x-functions-key|[?&](?:code|sig)|bearer)(?:\"?\s*[=:]\s*\"?|\s+))[^;&\s\"'\\,}]+"
)
_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def make_telemetry(
    *,
    app: str,
    environment: str,
    level: str,
    connection_string: str | None,
    configure: bool,
) -> AppTelemetry:
    """Make the telemetry of the app `app` in `environment` (`dev`, `prod` …).

    `level` is the lowest level that is written. Without `connection_string`, OpenTelemetry is not
    imported. `configure` sets up Azure Monitor in this process; pass False if the Functions worker
    has done so, since doing it twice doubles the logs.
    """
    # The SDKs log their requests at INFO, with run ids in the URLs. The exporter is one of them, so
    # its log lines would be exported again.
    for name in SDK_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logger = logging.getLogger(LOGGER)
    logger.setLevel(_LEVELS[level.lower()])
    if not any(isinstance(handler, _StandardOutput) for handler in logger.handlers):
        logger.addHandler(_StandardOutput())
    connected = bool(connection_string)
    if connection_string and configure:
        _configure(connection_string, app=app, environment=environment)
    tracer: Tracer = OpenTelemetryTracer() if connected else PlainTracer()
    return AppTelemetry(
        app=app,
        environment=environment,
        tracer=tracer,
        connected=connected,
        recorder=_shorten_export() if connected else None,
    )


class AppTelemetry:
    """The log lines, custom events and spans of one app. Implements `Telemetry`."""

    def __init__(
        self,
        *,
        app: str,
        environment: str,
        tracer: Tracer,
        connected: bool,
        recorder: EventRecorder | None = None,
    ) -> None:
        self._constant = {"app": app, "environment": environment}
        self._tracer = tracer
        self._connected = connected
        self._recorder = recorder
        self._lines = logging.getLogger(LOGGER)
        self._events = logging.getLogger(CUSTOM_EVENTS_LOGGER)

    def log(
        self,
        event: str,
        *,
        level: Literal["debug", "info", "warning", "error"] = "info",
        **fields: object,
    ) -> None:
        """Write one JSON line: `event`, `timestamp`, `level`, `app`, `environment`, trace id and
        the fields.

        None is left out, long texts are cut, keys and signatures are masked.
        """
        self._write(event, level, fields)

    def custom_event(self, name: str, **attributes: object) -> None:
        """Write a row of `customEvents` to Application Insights, and a log line.

        Events of every run get a log line only if there is no Application Insights.
        """
        if not (self._connected and name in _OF_EVERY_RUN):
            self._write(name, "info", attributes)
        if not (self._connected and self._events.isEnabledFor(logging.INFO)):
            return
        dimensions = convert_attributes(self._constant | attributes)
        free = {(f"{n}_" if n in _TAKEN else n): value for n, value in dimensions.items()}
        if self._recorder is not None:
            self._recorder.record(name, free)
        else:
            self._events.info(name, extra={**free, CUSTOM_EVENT: name})

    def span(
        self, name: str, *, kind: SpanKind, traceparent: str | None = None, **attributes: object
    ) -> AbstractContextManager[Span]:
        """Trace a unit of work.

        The span belongs to the trace of `traceparent`, else to the trace of the surrounding span,
        else it begins a new trace.
        """
        return self._tracer.span(name, kind=kind, traceparent=traceparent, attributes=attributes)

    def _write(self, event: str, level: str, fields: Mapping[str, object]) -> None:
        severity = _LEVELS[level]
        if self._lines.isEnabledFor(severity):
            constant = self._constant | {"level": level}
            self._lines.log(severity, "%s", _write_line(event, constant, fields))


class _StandardOutput(logging.Handler):
    """Writes lines to standard output, unless the process has other log handlers.

    The Functions worker has such handlers. It sends each line to the host, and captures standard
    output too, so each line would appear twice.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != CUSTOM_EVENTS_LOGGER and not logging.getLogger().handlers:
            try:
                sys.stdout.write(f"{record.getMessage()}\n")
                sys.stdout.flush()
            except (OSError, ValueError):  # a closed pipe must not end a run
                self.handleError(record)


def _write_line(event: str, constant: Mapping[str, object], fields: Mapping[str, object]) -> str:
    traceparent = current_traceparent.get()
    line = {
        "event": event,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **constant,
        "trace_id": None if traceparent is None else trace_id(traceparent),
        **{name: _cut(value) for name, value in fields.items()},
    }
    present = {name: value for name, value in line.items() if value is not None}
    text = write_json(present, ensure_ascii=False, default=str)
    # A lone surrogate, which no stream can encode, is written as its JSON escape.
    return _SECRET.sub(r"\1***", text.encode("utf-8", "backslashreplace").decode())


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}…"
    return value


def _shorten_export() -> EventRecorder | None:
    """Make the exporter cheaper if this process has one; the Functions worker or `_configure` has
    set it up by now."""
    if EXPORTER not in sys.modules:
        return None
    from aos.adapters.telemetry.rows import shorten_export

    return shorten_export()


def _configure(connection_string: str, *, app: str, environment: str) -> None:
    """Set up Azure Monitor, unless the process has a provider already.

    `OTEL_TRACES_SAMPLER` chooses the sampler. No library is instrumented: AOS's own spans are
    enough, and a span for each storage call would cost more than the call.
    """
    from azure.monitor.opentelemetry import configure_azure_monitor
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    configure_azure_monitor(
        connection_string=connection_string,
        logger_name=LOGGER,
        resource=Resource.create(
            {
                "service.name": f"aos-{app}",
                "service.version": __version__,
                "deployment.environment.name": environment,
            }
        ),
        instrumentation_options={name: {"enabled": False} for name in _INSTRUMENTED},
    )

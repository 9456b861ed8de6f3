"""Exports an app's telemetry as Azure's Python worker does. Entry points: `start_telemetry`,
`TracedInvoker`.

With `PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY` the worker sets up Azure Monitor before it loads
the app, on the logger that a setting names (else on all loggers) below a root logger at INFO. It
attaches the host's span to each call. The host's own rows are made only with `DEVHOST_HOST_ROWS`,
because in Azure another process makes them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.functions.meta import Datum

from devhost.functions.errors import HostError
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker

ENABLED = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"
LOGGER_NAME = "PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME"
CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
SITE_NAME = "OTEL_SERVICE_NAME"
"""The name of the site in Azure, which rows carry as `cloud_RoleName`."""
HOST_ROWS = "DEVHOST_HOST_ROWS"
"""With 1, the host's own row of each call is exported too."""
_TRUE = frozenset({"true", "1", "t", "yes", "y"})
"""The values that the worker reads as true, ignoring case."""


class TracedInvoker(Invoker):
    """Calls each function below a span of the host, as the worker does."""

    async def invoke(
        self,
        function: LoadedFunction,
        data: Datum,
        metadata: Mapping[str, Datum],
        *,
        forwarded: str | None = None,
    ) -> Any:
        """Call the function and return the encoded result."""
        traceparent = _read_traceparent(data, metadata)
        recorded = os.environ.get(HOST_ROWS) == "1"
        with _record(function, data, traceparent) if recorded else _attach(traceparent):
            return await super().invoke(function, data, metadata, forwarded=forwarded)

    async def _run(self, function: LoadedFunction, arguments: dict[str, Any]) -> Any:
        from opentelemetry import trace

        result = await super()._run(function, arguments)
        if function.kind == "httpTrigger":
            status = getattr(result, "status_code", 200)
            trace.get_current_span().set_attribute("http.response.status_code", status)
        return result


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Whether the worker would export telemetry."""
    return environ.get(ENABLED, "").strip().lower() in _TRUE


def start_telemetry(folder: Path) -> None:
    """Set up Azure Monitor in this process. Raises HostError if that fails.

    Azure's worker would continue without telemetry, which would be noticed too late.
    """
    handler = logging.StreamHandler(sys.stdout)
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
    os.environ.setdefault(DETECTORS, "azure_functions")
    os.environ.setdefault(SITE_NAME, folder.name)
    try:
        from azure.monitor.opentelemetry import configure_azure_monitor

        configure_azure_monitor(
            connection_string=os.environ.get(CONNECTION_STRING),
            logger_name=os.environ.get(LOGGER_NAME, ""),
        )
    except (ImportError, ValueError) as error:
        raise HostError(f"{ENABLED} is set, and telemetry cannot start: {error}") from error


def _read_traceparent(data: Datum, metadata: Mapping[str, Datum]) -> str:
    """Return the traceparent in the trigger's data, or an empty text."""
    if data.type == "http":
        header = data.value["headers"].get("traceparent")
        return "" if header is None else str(header.value)
    properties = metadata.get("ApplicationProperties")
    found = json.loads(properties.value) if properties is not None else {}
    return str(found.get("Diagnostic-Id") or found.get("traceparent") or "")


@contextlib.contextmanager
def _attach(traceparent: str) -> Iterator[None]:
    """Make the calls inside children of a span of the host that is not exported here."""
    from opentelemetry import context

    token = context.attach(_make_host_context(traceparent))
    try:
        yield
    finally:
        context.detach(token)


@contextlib.contextmanager
def _record(function: LoadedFunction, data: Datum, traceparent: str) -> Iterator[None]:
    """Make the calls inside children of an exported span with what the host's row has."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    is_http = data.type == "http"
    with trace.get_tracer("devhost").start_as_current_span(
        function.name,
        context=TraceContextTextMapPropagator().extract({"traceparent": traceparent}),
        kind=trace.SpanKind.SERVER if is_http else trace.SpanKind.CONSUMER,
        attributes=_describe_request(data) if is_http else {},
        record_exception=False,
    ):
        yield


def _describe_request(data: Datum) -> dict[str, str]:
    address = urlsplit(str(data.value["url"].value))
    return {
        "http.request.method": str(data.value["method"].value),
        "url.scheme": address.scheme,
        "url.path": address.path,
        "server.address": str(address.hostname),
        "server.port": str(address.port),
    }


def _make_host_context(traceparent: str) -> Any:
    """Return the context of the host's own span, in the caller's trace or in a new one."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    caller = trace.get_current_span(carried).get_span_context()
    ids = RandomIdGenerator()
    own = trace.SpanContext(
        trace_id=caller.trace_id if caller.is_valid else ids.generate_trace_id(),
        span_id=ids.generate_span_id(),
        is_remote=True,
        trace_flags=caller.trace_flags if caller.is_valid else trace.TraceFlags(1),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(own))

"""Exports an app's telemetry as Azure's Python worker does. Entry points: `start_telemetry`,
`TracedInvoker`.

With `PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY` the worker sets up Azure Monitor before it loads
the app, on the logger that a setting names (else on all loggers) below a root logger at INFO. It
attaches the host's span to each call. The host's own rows are made only with `DEVHOST_HOST_ROWS`,
because in Azure another process makes them.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
import sys
import types
from collections.abc import Mapping
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

    @functools.cached_property
    def _spans(self) -> types.ModuleType:
        """The module that makes the spans, which imports OpenTelemetry."""
        return importlib.import_module("devhost.functions.host_spans")

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
        if not _are_rows_made():
            with self._spans.attach(traceparent):
                return await super().invoke(function, data, metadata, forwarded=forwarded)
        request = _describe_request(data) if data.type == "http" else None
        with self._spans.record(function.name, request, traceparent):
            return await super().invoke(function, data, metadata, forwarded=forwarded)

    async def _run(self, function: LoadedFunction, arguments: dict[str, Any]) -> Any:
        result = await super()._run(function, arguments)
        if function.kind == "httpTrigger" and _are_rows_made():
            self._spans.set_status(getattr(result, "status_code", 200))
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


def _are_rows_made() -> bool:
    return os.environ.get(HOST_ROWS) == "1"


def _describe_request(data: Datum) -> dict[str, str]:
    address = urlsplit(str(data.value["url"].value))
    return {
        "http.request.method": str(data.value["method"].value),
        "url.scheme": address.scheme,
        "url.path": address.path,
        "server.address": str(address.hostname),
        "server.port": str(address.port),
    }

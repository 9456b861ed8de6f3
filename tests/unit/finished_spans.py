"""Keeps the spans that this process has finished. Entry point: `finished_spans`."""

from __future__ import annotations

import functools

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@functools.cache
def finished_spans() -> InMemorySpanExporter:
    """The exporter of the provider that the Functions worker sets up in Azure: a process can have
    only one, so all tests share it; `clear` it first."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter

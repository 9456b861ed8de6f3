"""Names and values of what telemetry records. Entry point: `convert_attributes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRACER_NAME = "aos"
CUSTOM_EVENTS_LOGGER = "aos.custom_events"
ERROR_TYPE = "error.type"


def convert_attributes(attributes: Mapping[str, object]) -> dict[str, Any]:
    """Convert values for OpenTelemetry: text, numbers and booleans unchanged, all others to
    text."""
    return {
        name: value if isinstance(value, str | bool | int | float) else str(value)
        for name, value in attributes.items()
        if value is not None
    }

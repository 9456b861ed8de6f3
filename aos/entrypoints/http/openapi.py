"""What does the HTTP contract look like as OpenAPI and JSON Schemas?"""

from __future__ import annotations

from typing import Any


def openapi_document() -> dict[str, Any]:
    """The document that `GET /api/openapi.json` serves."""
    raise NotImplementedError


def published_schemas() -> dict[str, dict[str, Any]]:
    """The schemas that `GET /api/schemas/<name>.json` serves, by name."""
    raise NotImplementedError

"""What does the HTTP contract look like as OpenAPI and JSON Schemas?

Made from the route table, the shapes of answers, the models of bodies and the schemas of cards,
so that none of them can say another thing.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel

from aos.domain.cards.identity import ID_PATTERN
from aos.domain.cards.schema import build_card_schema
from aos.domain.json_writer import write_json
from aos.domain.runs.run import RunStatus
from aos.entrypoints.http.callers import AuthMode
from aos.entrypoints.http.queries import LARGEST_LIMIT
from aos.entrypoints.http.shapes import ANSWERS, SHAPES, TEXT, Schema
from aos.entrypoints.requests import (
    DecisionBody,
    QueueCancel,
    QueueDecision,
    QueueRequest,
    RollbackBody,
    RunBody,
)
from aos.entrypoints.routes import MAIN_ROUTES, Route
from aos.version import __version__

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCHEMES: dict[AuthMode, tuple[str, Schema]] = {
    "keys": ("functionKey", {"type": "apiKey", "in": "header", "name": "x-functions-key"}),
    "easyauth": ("signIn", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
}
"""How callers show who they are, by `AOS_AUTH`; where it is `off` nobody has to."""
_MODELS: dict[str, type[BaseModel]] = {
    "RunBody": RunBody,
    "RollbackBody": RollbackBody,
    "DecisionBody": DecisionBody,
    "QueueRequest": QueueRequest,
    "QueueCancel": QueueCancel,
    "QueueDecision": QueueDecision,
}
_PUBLISHED = {
    "agent": "AgentCard",
    "mcp-server": "McpServerCard",
    "run-request": "RunBody",
    "request": "QueueRequest",
    "cancel": "QueueCancel",
    "decide": "QueueDecision",
    "decision": "DecisionBody",
    "reply": "Reply",
    "run": "Run",
    "error": "Error",
    "conversation": "Conversation",
    "message": "Message",
    "card-status": "CardStatus",
    "health": "Health",
    "status": "Status",
}
_QUERY: dict[str, tuple[Schema, str]] = {
    "agent_id": ({"type": "string", "pattern": f"^{ID_PATTERN}$"}, "runs of this agent only"),
    "status": ({"enum": [status.value for status in RunStatus]}, "runs in this status only"),
    "since": ({"type": "string", "format": "date-time"}, "runs admitted since then"),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT},
        "items a page, at most",
    ),
    "dry_run": ({"type": "boolean"}, "check the card and say what would become of it"),
}
"""`after` is not here: it is part of `next`, which clients follow as it stands."""
_HEADERS: dict[str, tuple[Schema, str]] = {
    "Idempotency-Key": (
        {"type": "string", "pattern": "^[!-~]([ -~]*[!-~])?$", "maxLength": 256},
        "makes a repeat of this request the same run",
    ),
    "Prefer": (TEXT, "respond-async: answer 202 at once"),
    "x-ms-session-id": (TEXT, "the conversation, for clients of Microsoft Agent Framework"),
    "If-Match": (TEXT, "change the card only if its ETag is still this one"),
    "If-None-Match": ({"enum": ["*"]}, "create the card only if there is none"),
    "Location": (TEXT, "where the run is"),
    "Retry-After": ({"type": "integer", "minimum": 1}, "seconds"),
    "ETag": (TEXT, "the ETag of the card's blob"),
}
_FRAMEWORK_FIELDS = ("sessionId", "waitForResponse")
"""Another form of fields that are there; a client should use one form, and this is ours."""
_ERRORS = {
    400: "The request is malformed",
    403: "For admins only, or from elsewhere while AOS_AUTH is off",
    404: "There is no such thing",
    409: "It does not fit how things stand",
    411: "The body came without Content-Length",
    413: "Too large",
    415: "Another media type is wanted",
    422: "Understood, but it cannot be",
    429: "Too much for now",
    500: "Something is broken on our side",
    503: "Something that is needed is away",
}
_NULL = {"type": "null"}
_GOOD = {200: "As asked", 202: "Accepted; it goes on"}


@cache
def openapi_document(*, auth: AuthMode, reply_to: tuple[str, ...]) -> Schema:
    """The document of `GET /api/openapi.json`.

    `auth`: what routes ask of callers. `reply_to`: where replies may go.
    """
    paths: dict[str, Any] = {}
    for route in MAIN_ROUTES.values():
        if route.documented:
            operation = _operation(route, auth=auth)
            paths.setdefault(f"/api/{route.path}", {})[route.method.lower()] = operation
    components: Schema = {"schemas": _with_reply_entities(_components(), reply_to)}
    if auth in _SCHEMES:
        name, scheme = _SCHEMES[auth]
        components["securitySchemes"] = {name: scheme}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AOS",
            "version": __version__,
            "description": "Durable, purpose-driven agents from JSON cards.",
        },
        "paths": paths,
        "components": components,
    }


@cache
def published_schemas() -> dict[str, Schema]:
    """The schemas of `GET /api/schemas/<name>.json`, each whole in itself, by name."""
    return {name: _alone(component) for name, component in _PUBLISHED.items()}


def _operation(route: Route, *, auth: AuthMode) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route),
    }
    parameters = _parameters(route)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = _request_body(route.body)
    if auth in _SCHEMES and route.access != "anyone":
        operation["security"] = [{_SCHEMES[auth][0]: []}]
    return operation


def _parameters(route: Route) -> list[Schema]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.parameters
    ]
    query = [
        {"name": name, "in": "query", "schema": _QUERY[name][0], "description": _QUERY[name][1]}
        for name in route.query
        if name in _QUERY
    ]
    headers = [
        {
            "name": name,
            "in": "header",
            "schema": _HEADERS[name][0],
            "description": _HEADERS[name][1],
        }
        for name in route.headers
    ]
    return [*path, *query, *headers]


def _request_body(name: str) -> Schema:
    content: Schema = {"application/json": {"schema": {"$ref": f"{SHAPES}{name}"}}}
    if name == "RunBody":
        content["text/plain"] = {"schema": {"type": "string", "minLength": 1, "pattern": "\\S"}}
    return {"required": True, "content": content}


def _responses(route: Route) -> Schema:
    responses: Schema = {}
    for status, shape in route.answers.items():
        answer = _answer(_GOOD.get(status) or _ERRORS[status], shape)
        if route.answer_headers and status < 300:
            answer["headers"] = {
                name: {"schema": _HEADERS[name][0], "description": _HEADERS[name][1]}
                for name in route.answer_headers
            }
        responses[str(status)] = answer
    for status in (*route.errors, 403, 500):
        responses[str(status)] = _answer(_ERRORS[status], "Error")
    if route.access != "anyone":
        responses["401"] = {"description": "No key or sign-in, or one that does not fit"}
    return dict(sorted(responses.items()))


def _answer(description: str, shape: str) -> Schema:
    schema = {"$ref": f"{SHAPES}{shape}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@cache
def _components() -> dict[str, Schema]:
    components = dict(ANSWERS)
    for name, model in _MODELS.items():
        schema = model.model_json_schema(ref_template=SHAPES + "{model}")
        for field in _FRAMEWORK_FIELDS:
            schema["properties"].pop(field, None)
        _add(components, name, schema)
    for name, card in (("AgentCard", "agent"), ("McpServerCard", "mcp-server")):
        text = write_json(build_card_schema(card))  # type: ignore[arg-type]  # both are SchemaNames
        schema = json.loads(text.replace("#/$defs/", SHAPES))
        schema.pop("$schema")
        _add(components, name, schema)
    return dict(sorted(components.items()))


def _add(components: dict[str, Schema], name: str, schema: Schema) -> None:
    """Add a schema, and what it defines inside beside it."""
    components.update(schema.pop("$defs", {}))
    components[name] = schema


def _with_reply_entities(
    components: dict[str, Schema], reply_to: tuple[str, ...]
) -> dict[str, Schema]:
    """The components, with the entities that this deployment lets a request name."""
    body = components["RunBody"]
    allowed = {**body["properties"]["reply_to"], "anyOf": [{"enum": sorted(reply_to)}, _NULL]}
    return {
        **components,
        "RunBody": {**body, "properties": {**body["properties"], "reply_to": allowed}},
    }


def _alone(name: str) -> Schema:
    """A component with all that it refers to inside."""
    components = _components()
    wanted, found = [name], set[str]()
    while wanted:
        text = write_json(components[wanted.pop()])
        for other in components:
            if f'"{SHAPES}{other}"' in text and other not in found:
                found.add(other)
                wanted.append(other)
    schema = {"$schema": DIALECT, "title": name, **components[name]}
    if found:
        schema["$defs"] = {other: components[other] for other in sorted(found)}
    alone: Schema = json.loads(write_json(schema).replace(SHAPES, "#/$defs/"))
    return alone

"""Builds the OpenAPI document and the JSON Schemas of the HTTP contract. Entry points:
`build_openapi`, `build_schemas`.

They are built from the route table, the shapes of answers, the models of bodies and the schemas of
cards, so that they cannot contradict each other.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from aos.domain.cards.identity import ID_PATTERN
from aos.domain.cards.schema import build_card_schema
from aos.domain.dead_letters import ENTITIES
from aos.domain.json_writer import write_json
from aos.domain.runs.run import RunStatus
from aos.domain.usage import GroupBy
from aos.entrypoints.http.callers import AuthMode
from aos.entrypoints.http.queries import LARGEST_LIMIT
from aos.entrypoints.http.shapes import ANSWERS, SHAPES, TEXT, Schema
from aos.entrypoints.requests import (
    AnswerBody,
    DeadLetterBody,
    DecisionBody,
    PauseBody,
    QueueAnswer,
    QueueCancel,
    QueueDecision,
    QueueRequest,
    ReplayBody,
    RollbackBody,
    RunBody,
)
from aos.entrypoints.route import Route
from aos.entrypoints.routes import MAIN_ROUTES
from aos.version import __version__

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCHEMES: dict[AuthMode, tuple[str, Schema]] = {
    "keys": ("functionKey", {"type": "apiKey", "in": "header", "name": "x-functions-key"}),
    "easyauth": ("signIn", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
}
"""The security schemes by `AOS_AUTH`; with `off` there is none."""
_MODELS: dict[str, type[BaseModel]] = {
    "RunBody": RunBody,
    "RollbackBody": RollbackBody,
    "ReplayBody": ReplayBody,
    "DeadLetterBody": DeadLetterBody,
    "DecisionBody": DecisionBody,
    "PauseBody": PauseBody,
    "AnswerBody": AnswerBody,
    "QueueRequest": QueueRequest,
    "QueueCancel": QueueCancel,
    "QueueDecision": QueueDecision,
    "QueueAnswer": QueueAnswer,
}
_PUBLISHED = {
    "agent": "AgentCard",
    "mcp-server": "McpServerCard",
    "run-request": "RunBody",
    "request": "QueueRequest",
    "cancel": "QueueCancel",
    "decide": "QueueDecision",
    "decision": "DecisionBody",
    "answer-question": "QueueAnswer",
    "answer": "AnswerBody",
    "reply": "Reply",
    "run": "Run",
    "error": "Error",
    "conversation": "Conversation",
    "message": "Message",
    "card-status": "CardStatus",
    "health": "Health",
    "status": "Status",
}
SOME_TEXT: Schema = {"type": "string", "minLength": 1}
ID_OF_AN_EVENT = r"^[0-9]{1,8}(\.[0-9]{1,3}\.[0-9]{1,5})?$"
_QUERY: dict[str, tuple[Schema, str]] = {
    "agent_id": ({"type": "string", "pattern": f"^{ID_PATTERN}$"}, "runs of this agent only"),
    "status": ({"enum": [status.value for status in RunStatus]}, "runs with this status only"),
    "since": ({"type": "string", "format": "date-time"}, "runs admitted since this time"),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT},
        "the most items of a page",
    ),
    "entity": ({"enum": list(ENTITIES)}, "the entity of the dead letters"),
    "sequence_number": (
        {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        "the dead letter",
    ),
    "from": ({"type": "string", "format": "date"}, "the first day, in UTC"),
    "to": ({"type": "string", "format": "date"}, "the last day, in UTC; it is included"),
    "owner": (SOME_TEXT, "runs of this owner only"),
    "by": ({"enum": list(get_args(GroupBy))}, "what the usage is summed by"),
    "digest": (SOME_TEXT, "only this version, with its `card`"),
    "dry_run": ({"type": "boolean"}, "check the card and return the status it would get"),
}
"""`after` is not listed: it is part of `next`, which clients use unchanged."""
_HEADERS: dict[str, tuple[Schema, str]] = {
    "Idempotency-Key": (
        {"type": "string", "pattern": "^[!-~]([ -~]*[!-~])?$", "maxLength": 256},
        "makes a repeat of this request the same run",
    ),
    "Last-Event-ID": (
        {"type": "string", "pattern": ID_OF_AN_EVENT},
        "the id of the last event that the client has",
    ),
    "Prefer": (TEXT, "respond-async: answer 202 at once"),
    "x-ms-session-id": (TEXT, "the conversation, for clients of Microsoft Agent Framework"),
    "If-Match": (TEXT, "change the card only if its ETag is still this one"),
    "If-None-Match": ({"enum": ["*"]}, "create the card only if there is none"),
    "Location": (TEXT, "the URL of the run"),
    "Retry-After": ({"type": "integer", "minimum": 1}, "seconds"),
    "ETag": (TEXT, "the ETag of the card's blob"),
}
_FRAMEWORK_FIELDS = ("sessionId", "waitForResponse")
"""Alternative names of fields that exist; clients should use AOS's own names."""
_ERRORS = {
    400: "The request is malformed",
    403: "For admins only, or not from this machine while AOS_AUTH is off",
    404: "The resource does not exist",
    409: "The request conflicts with the current state",
    411: "The body came without Content-Length",
    413: "Too large",
    415: "The media type is not supported",
    422: "The request is well formed but cannot be carried out",
    429: "Too many requests or runs; try again later",
    500: "AOS failed on its own side",
    503: "A dependency does not answer; try again later",
}
_NULL = {"type": "null"}
_GOOD = {200: "As asked", 202: "Accepted; the run continues", 204: "Done; there is nothing more"}


@cache
def build_openapi(*, auth: AuthMode, reply_to: tuple[str, ...]) -> Schema:
    """Build the document of `GET /api/openapi.json`.

    `auth`: how callers are identified. `reply_to`: where replies may go.
    """
    paths: dict[str, Any] = {}
    for route in MAIN_ROUTES.values():
        if route.documented:
            operation = _build_operation(route, auth=auth)
            paths.setdefault(f"/api/{route.path}", {})[route.method.lower()] = operation
    components: Schema = {"schemas": _add_reply_entities(_build_components(), reply_to)}
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
def build_schemas() -> dict[str, Schema]:
    """Build the schemas of `GET /api/schemas/<name>.json`, each without references outside, by
    name."""
    return {name: _build_standalone(component) for name, component in _PUBLISHED.items()}


def _build_operation(route: Route, *, auth: AuthMode) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _build_responses(route),
    }
    parameters = _build_parameters(route)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = _build_request_body(route.body, required=not route.body_optional)
    if auth in _SCHEMES and route.access != "anyone":
        operation["security"] = [{_SCHEMES[auth][0]: []}]
    return operation


def _build_parameters(route: Route) -> list[Schema]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.parameters
    ]
    query = [
        {
            "name": name,
            "in": "query",
            "schema": _QUERY[name][0],
            "description": _QUERY[name][1],
            **({"required": True} if name in route.required else {}),
        }
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


def _build_request_body(name: str, *, required: bool) -> Schema:
    content: Schema = {"application/json": {"schema": {"$ref": f"{SHAPES}{name}"}}}
    if name == "RunBody":
        content["text/plain"] = {"schema": {"type": "string", "minLength": 1, "pattern": "\\S"}}
    return {"required": required, "content": content}


def _build_responses(route: Route) -> Schema:
    responses: Schema = {}
    for status, shape in route.answers.items():
        answer = _build_answer(_GOOD.get(status) or _ERRORS[status], shape)
        if "Last-Event-ID" in route.headers and status == 200:
            answer["content"]["text/event-stream"] = {"schema": TEXT}
        if route.answer_headers and status < 300:
            answer["headers"] = {
                name: {"schema": _HEADERS[name][0], "description": _HEADERS[name][1]}
                for name in route.answer_headers
            }
        responses[str(status)] = answer
    for status in (*route.errors, 403, 500):
        responses[str(status)] = _build_answer(_ERRORS[status], "Error")
    if route.access != "anyone":
        responses["401"] = {"description": "The key or the sign-in is missing or not valid"}
    return dict(sorted(responses.items()))


def _build_answer(description: str, shape: str | None) -> Schema:
    if shape is None:
        return {"description": description}
    schema = {"$ref": f"{SHAPES}{shape}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@cache
def _build_components() -> dict[str, Schema]:
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
    """Add a schema and the definitions inside it."""
    components.update(schema.pop("$defs", {}))
    components[name] = schema


def _add_reply_entities(
    components: dict[str, Schema], reply_to: tuple[str, ...]
) -> dict[str, Schema]:
    """Return the components, with the entities that this deployment lets a request name."""
    body = components["RunBody"]
    allowed = {**body["properties"]["reply_to"], "anyOf": [{"enum": sorted(reply_to)}, _NULL]}
    return {
        **components,
        "RunBody": {**body, "properties": {**body["properties"], "reply_to": allowed}},
    }


def _build_standalone(name: str) -> Schema:
    """Return a component together with all that it refers to."""
    components = _build_components()
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

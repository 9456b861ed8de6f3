"""Lists the HTTP routes and who may call each. Entry points: `MAIN_ROUTES`, `REALM_ROUTES`,
`MCP_ROUTES`.

Tests compare this table with the decorators of the three `function_app.py`, the OpenAPI document
and the trigger table of docs/ARCHITECTURE.md. Paths are without the prefix `api`.
"""

from __future__ import annotations

from dataclasses import dataclass

from aos.entrypoints.route import PAGE, Route
from aos.entrypoints.run_routes import RUN_ROUTES

_CONVERSATIONS = (
    Route(
        name="list_conversations",
        method="GET",
        path="conversations",
        summary="Conversations, newest first",
        tag="conversations",
        answers={200: "ConversationPage"},
        errors=(400, 503),
        query=PAGE,
    ),
    Route(
        name="get_conversation",
        method="GET",
        path="conversations/{conversation_id}",
        summary="One conversation",
        tag="conversations",
        answers={200: "Conversation"},
        errors=(404, 503),
    ),
    Route(
        name="delete_conversation",
        method="DELETE",
        path="conversations/{conversation_id}",
        summary="Delete a conversation with all that belongs to it",
        tag="conversations",
        answers={202: "Conversation"},
        errors=(404, 503),
    ),
    Route(
        name="list_messages",
        method="GET",
        path="conversations/{conversation_id}/messages",
        summary="A conversation's messages, oldest first",
        tag="conversations",
        answers={200: "MessagePage"},
        errors=(400, 404, 503),
        query=PAGE,
    ),
)

_TOOLS = (
    Route(
        name="list_tools",
        method="GET",
        path="tools",
        summary="MCP servers, their state, and the tools that they list",
        tag="tools",
        answers={200: "ToolPage"},
        errors=(400, 503),
        query=PAGE,
    ),
    Route(
        name="list_approvals",
        method="GET",
        path="approvals",
        summary="Tool calls that wait for a decision, oldest first",
        tag="tools",
        answers={200: "ApprovalPage"},
        errors=(400, 503),
        query=PAGE,
    ),
    Route(
        name="decide_approval",
        method="POST",
        path="runs/{run_id}/approvals/{tool_call_id}",
        summary="Approve or deny a tool call, once",
        tag="tools",
        answers={200: "Decision"},
        errors=(400, 404, 409, 411, 413, 415, 503),
        body="DecisionBody",
    ),
    Route(
        name="list_questions",
        method="GET",
        path="questions",
        summary="Questions of tools that wait for an answer, oldest first",
        tag="tools",
        answers={200: "QuestionPage"},
        errors=(400, 503),
        query=PAGE,
    ),
    Route(
        name="answer_question",
        method="POST",
        path="runs/{run_id}/questions/{question_id}",
        summary="Answer a tool's question, once",
        tag="tools",
        answers={200: "Answer"},
        errors=(400, 404, 409, 411, 413, 415, 503),
        body="AnswerBody",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cards:
    """What differs between the routes of agents and of MCP servers."""

    folder: str
    one: str
    many: str
    noun: str
    card: str
    id_field: str


def _make_card_routes(cards: _Cards) -> tuple[Route, ...]:
    path = f"{cards.folder}/{{{cards.id_field}}}"
    return (
        Route(
            name=f"list_{cards.many}",
            method="GET",
            path=cards.folder,
            summary=f"Every {cards.noun}, by id",
            tag=cards.folder,
            answers={200: "CardPage"},
            errors=(400, 503),
            query=PAGE,
        ),
        Route(
            name=f"get_{cards.one}",
            method="GET",
            path=path,
            summary=f"One {cards.noun}: its card, its status, and the version that serves",
            tag=cards.folder,
            answers={200: "CardView"},
            errors=(404, 503),
            answer_headers=("ETag",),
        ),
        Route(
            name=f"put_{cards.one}",
            method="PUT",
            path=path,
            summary=f"Upload the card of the {cards.noun} and publish it",
            tag=cards.folder,
            access="admin",
            answers={200: "CardStatus"},
            errors=(400, 404, 409, 411, 413, 415, 422, 503),
            query=("dry_run",),
            headers=("If-Match", "If-None-Match"),
            body=cards.card,
            answer_headers=("ETag",),
        ),
        Route(
            name=f"delete_{cards.one}",
            method="DELETE",
            path=path,
            summary=f"Delete the card of the {cards.noun}; its versions stay, for a rollback",
            tag=cards.folder,
            access="admin",
            answers={204: None},
            errors=(404, 409, 503),
            headers=("If-Match",),
        ),
        *_make_version_routes(cards, path),
    )


def _make_version_routes(cards: _Cards, path: str) -> tuple[Route, ...]:
    return (
        Route(
            name=f"list_{cards.one}_versions",
            method="GET",
            path=f"{path}/versions",
            summary=f"The versions that served as this {cards.noun}, newest first",
            tag=cards.folder,
            access="admin",
            answers={200: "VersionPage"},
            errors=(400, 404, 503),
            query=("digest",),
        ),
        Route(
            name=f"rollback_{cards.one}",
            method="POST",
            path=f"{path}/rollback",
            summary="Upload an earlier version again",
            tag=cards.folder,
            access="admin",
            answers={200: "CardStatus"},
            errors=(400, 404, 409, 411, 413, 415, 422, 503),
            headers=("If-Match",),
            body="RollbackBody",
            answer_headers=("ETag",),
        ),
    )


_AGENTS = _make_card_routes(
    _Cards(
        folder="agents",
        one="agent",
        many="agents",
        noun="agent",
        card="AgentCard",
        id_field="agent_id",
    )
)
_SERVERS = _make_card_routes(
    _Cards(
        folder="mcp-servers",
        one="mcp_server",
        many="mcp_servers",
        noun="MCP server",
        card="McpServerCard",
        id_field="server_id",
    )
)

_DEAD_LETTERS = (
    Route(
        name="list_dead_letters",
        method="GET",
        path="dead-letters",
        summary="Dead letters, by entity and sequence number: why each died, and what to do",
        tag="operations",
        access="admin",
        answers={200: "DeadLetterPage"},
        errors=(400, 404, 503),
        query=("entity", *PAGE),
    ),
    Route(
        name="replay_dead_letter",
        method="POST",
        path="dead-letters/replay",
        summary="Send a dead letter again, or ask its run again if that has ended",
        tag="operations",
        access="admin",
        answers={200: "DeadLetterReplay"},
        errors=(400, 404, 409, 411, 413, 415, 422, 429, 503),
        body="DeadLetterBody",
    ),
    Route(
        name="purge_dead_letter",
        method="DELETE",
        path="dead-letters",
        summary="Delete one dead letter",
        tag="operations",
        access="admin",
        answers={204: None},
        errors=(400, 404, 503),
        query=("entity", "sequence_number"),
        required=("entity", "sequence_number"),
    ),
)

HEALTH = Route(
    name="health",
    method="GET",
    path="health",
    summary="Whether the app's dependencies answer; at most 5 s old",
    tag="operations",
    access="anyone",
    answers={200: "Health", 503: "Health"},
    traced=False,
    any_method=True,
)
STATUS = Route(
    name="status",
    method="GET",
    path="status",
    summary="Version and environment; for admins also what waits in the queues",
    tag="operations",
    access="anyone",
    answers={200: "Status"},
    traced=False,
    any_method=True,
)

_OPERATIONS = (
    Route(
        name="get_usage",
        method="GET",
        path="usage",
        summary="Tokens and cost of ended runs, by agent, owner, day or model",
        tag="operations",
        answers={200: "UsageReport"},
        errors=(400, 503),
        query=("from", "to", "agent_id", "owner", "by", *PAGE),
    ),
    Route(
        name="pause",
        method="POST",
        path="ops/pause",
        summary="Admit nothing new; what was admitted goes on",
        tag="operations",
        access="admin",
        answers={200: "PauseState"},
        errors=(400, 411, 413, 415, 503),
        body="PauseBody",
        body_optional=True,
    ),
    Route(
        name="resume",
        method="POST",
        path="ops/resume",
        summary="End a pause",
        tag="operations",
        access="admin",
        answers={200: "PauseState"},
        errors=(409, 411, 413, 415, 503),
    ),
)

_A2A = (
    Route(
        name="a2a",
        method="POST",
        path="a2a/{agent_id}",
        summary="An agent for clients of A2A 1.0, JSON-RPC",
        tag="a2a",
        answers={},
        documented=False,
        checks_keys=True,
    ),
    Route(
        name="a2a_card",
        method="GET",
        path="a2a/{agent_id}/.well-known/agent-card.json",
        summary="The A2A agent card of an agent",
        tag="a2a",
        answers={},
        errors=(404,),
        documented=False,
        checks_keys=True,
    ),
    Route(
        name="a2a_rest",
        method="ANY",
        path="a2a/{agent_id}/{*path}",
        summary="An agent for clients of A2A 1.0, HTTP+JSON",
        tag="a2a",
        answers={},
        documented=False,
        checks_keys=True,
    ),
)
"""A2A describes its operations itself: docs/contracts/a2a.md."""

_REST = (
    HEALTH,
    STATUS,
    Route(
        name="openapi",
        method="GET",
        path="openapi.json",
        summary="This document",
        tag="operations",
        answers={200: "Object"},
    ),
    Route(
        name="get_schema",
        method="GET",
        path="schemas/{name}.json",
        summary="A JSON Schema: of cards, requests, replies and answers",
        tag="operations",
        answers={200: "Object"},
        errors=(404,),
    ),
    Route(
        name="console",
        method="GET",
        path="console",
        summary="The console: a page for people",
        tag="operations",
        answers={},
        access="anyone",
        documented=False,
        traced=False,
        any_method=True,
    ),
    Route(
        name="console_file",
        method="GET",
        path="console/{file}",
        summary="The console's styles and scripts",
        tag="operations",
        answers={},
        access="anyone",
        errors=(404,),
        documented=False,
        traced=False,
        any_method=True,
    ),
    Route(
        name="z_not_found",
        method="ANY",
        path="{*path}",
        summary="All requests that no other route serves",
        tag="operations",
        answers={},
        errors=(404,),
        documented=False,
    ),
)

_DOORS = (
    Route(
        name="openai_agent_door",
        method="ANY",
        path="agents/{agent_id}/endpoint/protocols/openai/{*path}",
        summary="OpenAI's API for one agent, in the path form of Azure AI Foundry",
        tag="doors",
        answers={},
        documented=False,
        checks_keys=True,
    ),
    Route(
        name="openai_door",
        method="ANY",
        path="openai/{*path}",
        summary="OpenAI's API: Responses, Conversations, Chat Completions, Models",
        tag="doors",
        answers={},
        documented=False,
        checks_keys=True,
    ),
)

MAIN_ROUTES: dict[str, Route] = {
    route.name: route
    for route in (
        *RUN_ROUTES,
        *_CONVERSATIONS,
        *_TOOLS,
        *_AGENTS,
        *_SERVERS,
        *_DEAD_LETTERS,
        *_OPERATIONS,
        *_A2A,
        *_DOORS,
        *_REST,
    )
}
"""The routes of main, by function name."""

REALM_ROUTES: dict[str, Route] = {HEALTH.name: HEALTH, STATUS.name: STATUS}
"""The routes of realm."""

MCP_DOOR = Route(
    name="mcp_door",
    method="ANY",
    path="mcp/{server_id}",
    summary="An exposed MCP server, Streamable HTTP without sessions: POST only",
    tag="mcp-servers",
    answers={200: "Object", 202: "Object"},
    errors=(400, 404, 405, 411, 413, 415, 503),
)

MCP_ROUTES: dict[str, Route] = {**REALM_ROUTES, MCP_DOOR.name: MCP_DOOR}
"""The routes of mcp."""

"""Finds the operation of a request to OpenAI's API, and answers it. Entry point: `OpenAIDoor`.

One function serves all paths of the API: its operations, their parameters and their errors are
those of the API, not of the route table.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import azure.functions as func

from aos.entrypoints.http.bodies import refuse_encoding, require_length
from aos.entrypoints.http.openai.chat import Chat
from aos.entrypoints.http.openai.conversations import Conversations
from aos.entrypoints.http.openai.errors import write_error
from aos.entrypoints.http.openai.models import Models
from aos.entrypoints.http.openai.responses import Responses
from aos.entrypoints.http.responder import Answer, Call, HttpResponder, refuse_method
from aos.entrypoints.http.runs import read_media_type
from aos.errors import Refused

Body: TypeAlias = Mapping[str, Any]
_NAME = r"([^/]{1,512})"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its method, its path, and what serves it.

    `serve` gets the call, the names in the path, the body (empty without one), and the agent that
    the path of the door names.
    """

    method: str
    path: re.Pattern[str]
    serve: Callable[[Call, tuple[str, ...], Body, str | None], Awaitable[Answer]]


class OpenAIDoor:
    """The door for clients of OpenAI's API."""

    def __init__(
        self,
        responder: HttpResponder,
        *,
        models: Models,
        responses: Responses,
        conversations: Conversations,
        chat: Chat,
        max_body_bytes: int,
    ) -> None:
        self._responder = responder
        self._max_body_bytes = max_body_bytes
        self._operations = [
            Operation(method, re.compile(path.replace("{}", _NAME)), serve)
            for method, path, serve in (
                *_list_models(models),
                *_list_responses(responses),
                *_list_conversations(conversations),
                ("POST", "chat/completions", lambda c, _, body, a: chat.create(c, body, a)),
            )
        ]

    async def answer(self, req: func.HttpRequest) -> func.HttpResponse:
        """Every method of /api/openai/{*path}"""
        return await self._responder.answer("openai_door", req, self._serve_any, form=write_error)

    async def answer_for_agent(self, req: func.HttpRequest) -> func.HttpResponse:
        """Every method of /api/agents/{agent_id}/endpoint/protocols/openai/{*path}"""
        return await self._responder.answer(
            "openai_agent_door", req, self._serve_agent, form=write_error
        )

    async def _serve_any(self, call: Call) -> Answer:
        path = call.part("path").strip("/")
        path = path.removeprefix("v1/")
        named = re.fullmatch(rf"deployments/{_NAME}/(.+)", path)
        if named is not None:  # the form of Azure OpenAI
            return await self._serve(call, named[2], unquote(named[1]))
        return await self._serve(call, path, None)

    async def _serve_agent(self, call: Call) -> Answer:
        path = call.part("path").strip("/").removeprefix("v1/")
        return await self._serve(call, path, call.part("agent_id"))

    async def _serve(self, call: Call, path: str, agent_id: str | None) -> Answer:
        request, allowed = call.request, set()
        for operation in self._operations:
            found = operation.path.fullmatch(path)
            if found is None:
                continue
            allowed.add(operation.method)
            if operation.method == request.method.upper():
                names = tuple(unquote(name) for name in found.groups())
                return await operation.serve(call, names, await self._read_body(call), agent_id)
        if allowed:
            raise refuse_method(request, allowed)
        raise Refused(
            "not_found",
            f"AOS does not serve {request.method[:20]} {path[:200]!r} of OpenAI's API; it serves"
            " models, responses, conversations and chat/completions",
        )

    async def _read_body(self, call: Call) -> Body:
        from aos.entrypoints.requests import take_object

        if call.request.method.upper() != "POST":
            return {}
        refuse_encoding(call.request)
        require_length(call.request, body_needed=False)
        raw = call.request.get_body()
        if not raw:
            return {}
        read_media_type(call, text_too=False)
        return await take_object(raw, max_bytes=self._max_body_bytes)


Served: TypeAlias = tuple[
    str, str, Callable[[Call, tuple[str, ...], Body, str | None], Awaitable[Answer]]
]


def _list_models(models: Models) -> tuple[Served, ...]:
    return (
        ("GET", "models", lambda c, _, __, ___: models.list(c)),
        ("GET", "models/{}", lambda c, names, _, __: models.get(c, *names)),
    )


def _list_responses(responses: Responses) -> tuple[Served, ...]:
    return (
        ("POST", "responses", lambda c, _, body, agent: responses.create(c, body, agent)),
        ("GET", "responses/{}", lambda c, names, _, __: responses.retrieve(c, *names)),
        ("DELETE", "responses/{}", lambda c, names, _, __: responses.delete(c, *names)),
        ("POST", "responses/{}/cancel", lambda c, names, _, __: responses.cancel(c, *names)),
        ("GET", "responses/{}/input_items", lambda c, n, _, __: responses.list_input(c, *n)),
    )


def _list_conversations(conversations: Conversations) -> tuple[Served, ...]:
    one = "conversations/{}"
    return (
        ("POST", "conversations", lambda c, _, body, __: conversations.create(c, body)),
        ("GET", one, lambda c, names, _, __: conversations.get(c, *names)),
        ("POST", one, lambda c, names, body, _: conversations.update(c, names[0], body)),
        ("DELETE", one, lambda c, names, _, __: conversations.delete(c, *names)),
        ("GET", f"{one}/items", lambda c, names, _, __: conversations.list_items(c, *names)),
        ("POST", f"{one}/items", lambda c, n, body, _: conversations.add_items(c, n[0], body)),
        ("GET", f"{one}/items/{{}}", lambda c, names, _, __: conversations.get_item(c, *names)),
        ("DELETE", f"{one}/items/{{}}", lambda c, n, _, __: conversations.delete_item(c, *n)),
    )

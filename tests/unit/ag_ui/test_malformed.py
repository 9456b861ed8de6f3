"""Malformed inputs are HTTP errors before a run starts, as AG-UI's HTTP binding demands."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aos.testing import MemoryWorld, ScriptedModel
from tests.unit.ag_ui.client import post, read_stream
from tests.unit.entrypoints.keys import list_keys

USER = {"id": "1", "role": "user", "content": "Hello"}
WHOLE: dict[str, Any] = {"threadId": "t", "runId": "r", "messages": [USER]}
IMAGE = {"type": "image", "source": {"type": "data", "value": "!", "mimeType": "image/png"}}

NOBODY = "00000000-0000-0000-0000-000000000000"


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{**USER, "content": content}]}


def resumed(**entry: Any) -> dict[str, Any]:
    return {"resume": [{"interruptId": "approval:x:y:1", "status": "resolved", **entry}]}


BODIES: list[tuple[str, Any, str]] = [
    ("nothing", b"", "empty"),
    ("not JSON", b"{threadId: t}", "double quotes"),
    ("cut off", b'{"threadId": "t"', "ends too early"),
    ("a list", b"[]", "must be a JSON object"),
    ("null", b"null", "must be a JSON object"),
    ("UTF-16", json.dumps(WHOLE).encode("utf-16"), "UTF-8"),
    ("the same name twice", b'{"runId": "a", "runId": "b"}', "appears twice"),
    ("NaN", b'{"threadId": "t", "runId": "r", "messages": [], "state": NaN}', "NaN"),
    ("a lone surrogate", b'{"threadId": "\\ud800"}', "surrogate"),
    ("nested too deep", b'{"state": ' + b"[" * 99 + b"]" * 99 + b"}", "deeper"),
    ("nothing in it", {}, "threadId is missing"),
    ("no thread", {"threadId": None}, "threadId is null"),
    ("a number for a thread", {"threadId": 7}, "threadId is 7"),
    ("a thread with a slash", {"threadId": "a/b"}, "threadId"),
    ("an empty thread", {"threadId": ""}, "threadId"),
    ("a long thread", {"threadId": "t" * 129}, "threadId"),
    ("no run", {"runId": None}, "runId is null"),
    ("an empty run", {"runId": ""}, "runId"),
    ("a long run", {"runId": "r" * 257}, "runId"),
    ("a list for a run", {"runId": []}, "runId"),
    ("no messages", {"messages": None}, "messages is not usable"),
    ("an object for messages", {"messages": {}}, "messages"),
    ("a message that is a text", {"messages": ["Hello"]}, "messages[0]"),
    ("a message without an id", {"messages": [{"role": "user", "content": "a"}]}, "[0].id"),
    ("a message without a role", {"messages": [{"id": "1", "content": "a"}]}, "messages[0].role"),
    ("a number for an id", {"messages": [{**USER, "id": 1}]}, "messages[0].id is not usable"),
    ("only the assistant's", {"messages": [{**USER, "role": "assistant"}]}, "of the user"),
    (
        "the assistant's at the end",
        {"messages": [USER, {"id": "2", "role": "assistant", "content": "Hi"}]},
        "nothing to answer",
    ),
    ("no content", {"messages": [{"id": "1", "role": "user"}]}, "messages[0].content is null"),
    ("an empty content", said(""), "message"),
    ("a number for a content", said(7), "messages[0].content is 7"),
    ("no parts", said([]), "message"),
    ("a part that is a text", said(["Hello"]), "content[0]"),
    ("a part without a type", said([{"text": "Hello"}]), "content[0]"),
    ("a text part without text", said([{"type": "text"}]), "messages[0].content[0].text"),
    ("an image without a source", said([{"type": "image"}]), "content[0].source"),
    (
        "an image that is not base64",
        said([{"type": "text", "text": "a"}, IMAGE]),
        "messages[0].content[1].source.value is not base64",
    ),
    ("only parts that are left out", said([{"type": "audio"}]), "message"),
    ("a tool without a name", {"tools": [{"description": "Go."}]}, "tools[0].name"),
    ("a tool that is a text", {"tools": ["go"]}, "tools[0]"),
    ("a tool's name with a space", {"tools": [{"name": "go on"}]}, "tools[0].name"),
    (
        "a tool's name in another script",
        {"tools": [{"name": "\u043f\u043e\u0433\u043e\u0434\u0430"}]},
        "tools[0].name",
    ),
    ("a list for a tool's parameters", {"tools": [{"name": "go", "parameters": []}]}, "parameters"),
    ("a tool twice", {"tools": [{"name": "go"}, {"name": "go"}]}, "has 'go' twice"),
    ("too many tools", {"tools": [{"name": f"t{n}"} for n in range(129)]}, "tools"),
    ("a number for a call's id", {"messages": [{**USER, "toolCallId": 1}]}, "toolCallId"),
    ("an object for tools", {"tools": {}}, "tools"),
    ("a context without a value", {"context": [{"description": "a"}]}, "context[0].value"),
    ("a number for a version", {"protocolVersion": 1}, "protocolVersion"),
    ("text after the end", json.dumps(WHOLE).encode() + b" x", "text after the end"),
    ("a comment", b"// hi\n" + json.dumps(WHOLE).encode(), "a comment"),
    ("a thread with a space", {"threadId": "a b"}, "threadId"),
    ("a list for a parent", {"parentRunId": []}, "parentRunId"),
    ("too many messages", {"messages": [USER] * 10_001}, "messages is not usable"),
    ("null in messages", {"messages": [None]}, "messages[0]"),
    ("true for a content", said(True), "messages[0].content is true"),
    ("a part of null", said([None]), "content[0] is not a part"),
    ("a text part of a number", said([{"type": "text", "text": 5}]), "messages[0].content[0].text"),
    (
        "an image on this machine",
        said([{"type": "image", "source": {"type": "url", "value": "https://127.0.0.1/a.png"}}]),
        "not public",
    ),
    ("an error that is an object", {"messages": [{**USER, "error": {}}]}, "messages[0].error"),
    ("a result alone", {"messages": [{**USER, "role": "tool", "toolCallId": "c"}]}, "nothing to"),
    ("null in context", {"context": [None]}, "context[0]"),
    ("null in resume", {"resume": [None]}, "resume[0]"),
    ("colons for an interrupt", resumed(interruptId=":::::"), "not the id of an interrupt"),
    (
        "a place that is too large",
        resumed(interruptId=f"question:{NOBODY}:call:{'9' * 400}"),
        "not the id of an interrupt",
    ),
    ("an object for resume", {"resume": {}}, "resume"),
    ("an answer without an id", {"resume": [{"status": "resolved"}]}, "resume[0].interruptId"),
    ("an answer without a status", resumed(status=None), "resume[0].status"),
    ("an answer to nothing", resumed(), "not the id of an interrupt"),
    ("metadata of an answer", resumed(metadata="x"), "resume[0].metadata"),
]


@pytest.fixture
async def world() -> MemoryWorld:
    world = MemoryWorld(model=ScriptedModel("Hi."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    return world


@pytest.mark.parametrize(("body", "says"), [row[1:] for row in BODIES], ids=[r[0] for r in BODIES])
async def test_a_malformed_input_is_400_and_stores_nothing(
    world: MemoryWorld, body: Any, says: str
) -> None:
    whole = body if isinstance(body, bytes) or not body else {**WHOLE, **body}
    answer = await post(world, whole)
    error = json.loads(answer.get_body())["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request"), error
    assert says in error["message"]
    assert not world.tables.requests


async def test_what_a_newer_client_adds_is_ignored(world: MemoryWorld) -> None:
    messages = [{"id": "0", "role": "poet", "content": {"verse": 1}}, {**USER, "mood": "good"}]
    newer = {**WHOLE, "messages": messages, "protocolVersion": "1.7", "later": {"a": 1}}
    answer = await post(world, {**newer, "resume": [], "tools": None, "context": None})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("agent", "headers", "status", "code"),
    [
        ("nobody", {}, 404, "agent_not_found"),
        ("no/body", {}, 404, "agent_not_found"),
        ("ceo", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("ceo", {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
    ],
)
async def test_what_cannot_be_served_has_the_status_of_every_route(
    world: MemoryWorld, agent: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await post(world, WHOLE, agent=agent, **headers)
    assert answer.status_code == status
    assert json.loads(answer.get_body())["error"]["code"] == code


async def test_large_texts_are_refused_one_by_one() -> None:
    world = MemoryWorld(settings={"AOS_MAX_MESSAGE_BYTES": "2000"})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    large = "a" * 2001
    tool = {"name": "go", "description": large}
    for more in (
        said(large),
        {"context": [{"description": "a", "value": large}]},
        {"tools": [tool]},
    ):
        answer = await post(world, {**WHOLE, **more})
        assert answer.status_code == 413
    assert not world.tables.requests


async def test_another_owners_thread_is_not_found() -> None:
    keys = {"AOS_AUTH": "keys", "AOS_KEY_OWNERS": list_keys("ann", "bob")}
    world = MemoryWorld(model=ScriptedModel("Hi."), settings=keys)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    assert (await post(world, WHOLE)).status_code == 401
    first = await post(world, WHOLE, **{"x-functions-key": "ann"})
    assert first.status_code == 200
    await world.settle()
    again = {**WHOLE, "runId": "r2"}
    assert (await post(world, again, **{"x-functions-key": "bob"})).status_code == 404


async def test_where_answers_cannot_be_streamed_the_whole_comes_at_the_end(
    world: MemoryWorld,
) -> None:
    world.main.streams = False
    asked = asyncio.create_task(post(world, WHOLE))
    while not asked.done():
        await world.settle()
        await asyncio.sleep(0.01)
        world.clock.advance(0.1)
    answer = await asked
    assert answer.mimetype == "text/event-stream"
    assert read_stream(answer.get_body().decode())[-1]["type"] == "RUN_FINISHED"

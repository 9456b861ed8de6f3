"""Bytes, types and places that no client should send: each is answered in the API's error form
within the time of a request, no run begins, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import httpx2
import pytest

from aos.domain.caller import Caller
from aos.entrypoints.http.streams import StreamedResponse
from tests.unit.openai_door.in_process import BASE, Transport, World, connect

ADMIN = Caller(owner="local", is_admin=True)
RUN = "6f3b1c528a5e5d0e9d0e0123456789ab"
CALL = f"mcpr_{RUN}_call_6f3b1c52_0_0"
ASKED: dict[str, Any] = {"model": "ceo", "input": "?"}
CHAT: dict[str, Any] = {"model": "ceo", "messages": [{"role": "user", "content": "?"}]}
VERDICT: dict[str, Any] = {
    "type": "mcp_approval_response",
    "approval_request_id": CALL,
    "approve": True,
}


def dump(**fields: Any) -> bytes:
    return json.dumps({**ASKED, **fields}).encode()


def said(*items: Any) -> bytes:
    return dump(input=list(items))


def shown(part: Any) -> bytes:
    return said({"role": "user", "content": [{"type": "input_text", "text": "?"}, part]})


def chat(**fields: Any) -> bytes:
    return json.dumps({**CHAT, **fields}).encode()


def told(**message: Any) -> bytes:
    return chat(messages=[message, {"role": "user", "content": "?"}])


def schema(value: Any) -> bytes:
    return dump(text={"format": {"type": "json_schema", "name": "x", "schema": value}})


RESPONSES: dict[str, bytes] = {
    "a name twice": b'{"model":"ceo","model":"cfo","input":"?"}',
    "a name twice, deep": b'{"model":"ceo","input":[{"role":"user","role":"x","content":"?"}]}',
    "40 levels": b'{"model":"ceo","input":' + b"[" * 40 + b"]" * 40 + b"}",
    "20,000 levels": b'{"model":"ceo","input":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "UTF-16": json.dumps(ASKED).encode("utf-16"),
    "UTF-16 without a mark": json.dumps(ASKED).encode("utf-16-le"),
    "Latin-1": b'{"model":"ceo","input":"\xe9"}',
    "an overlong NUL": b'{"model":"ceo","input":"\xc0\x80"}',
    "an encoded surrogate": b'{"model":"ceo","input":"\xed\xa0\x80"}',
    "a lone surrogate": b'{"model":"ceo","input":"\\ud800"}',
    "a lone surrogate for a name": b'{"model":"ceo","input":"?","\\udc00":1}',
    "a lone surrogate in metadata": b'{"model":"ceo","input":"?","metadata":{"\\ud800":"x"}}',
    "a NUL": b'{"model":"ceo","input":"a\x00b"}',
    "a NUL in an agent's name": b'{"model":"c\\u0000eo","input":"?"}',
    "a number that is infinite": b'{"model":"ceo","input":"?","max_output_tokens":1e999}',
    "a number of 5,000 digits": b'{"model":"ceo","input":"?","max_output_tokens":%s}'
    % (b"9" * 5000),
    "minus zero": b'{"model":"ceo","input":"?","max_output_tokens":-0}',
    "half a token": dump(max_output_tokens=1.5),
    "NaN": b'{"model":"ceo","input":"?","temperature":NaN}',
    "true for a number": dump(temperature=True),
    "text after the end": dump() + b"x",
    "two objects": dump() * 2,
    "a comma too many": b'{"model":"ceo","input":"?",}',
    "a comment": b'{"model":"ceo",/*x*/"input":"?"}',
    "single quotes": b"{'model':'ceo'}",
    "null": b"null",
    "a text": b'"x"',
    "a number": b"7",
    "nothing": b"",
    "blanks": b"   ",
    "60,000 values": dump(include=["x"] * 60_000),
    "a name of 5,000 letters": dump(**{"x" * 5000: 1}),
    "an object for a previous response": dump(previous_response_id={"id": "x"}),
    "a conversation without an id": dump(conversation={}),
    "a conversation with a number": dump(conversation={"id": 7}),
    "an empty conversation": dump(conversation=""),
    "a conversation that is a path": dump(conversation="conv_../x"),
    "agents in a list": dump(model=["ceo"]),
    "a text for a reference": dump(agent_reference="ceo"),
    "an object for the input": dump(input={"role": "user", "content": "?"}),
    "a list in the input": said(["x"]),
    "a number for a content": said({"role": "user", "content": 7}),
    "an object for a content": said({"role": "user", "content": {"text": "x"}}),
    "texts for parts": said({"role": "user", "content": ["x"]}),
    "a list for a role": said({"role": ["user"], "content": "x"}),
    "a number for a type": said({"type": 7, "role": "user", "content": "x"}),
    "a list for a type": said({"type": ["message"], "role": "user", "content": "x"}),
    "a list for a part's type": shown({"type": ["input_text"], "text": "x"}),
    "an object for a part's type": shown({"type": {"a": 1}, "text": "x"}),
    "a list for an image": shown({"type": "input_image", "image_url": ["x"]}),
    "an image that is not base64": shown(
        {"type": "input_image", "image_url": "data:image/png;base64,%%%"}
    ),
    "an image of scripts": shown(
        {"type": "input_image", "image_url": "data:image/svg+xml;base64,AAAA"}
    ),
    "a file of the server": shown({"type": "input_image", "image_url": "file:///etc/passwd"}),
    "the platform's own address": shown(
        {"type": "input_image", "image_url": "https://169.254.169.254/"}
    ),
    "a file name that is a path": shown(
        {"type": "input_file", "filename": "../x.pdf", "file_data": "AAAA"}
    ),
    "a number for a file name": shown({"type": "input_file", "filename": 7, "file_data": "AAAA"}),
    "a decision in words": said({**VERDICT, "approve": "yes"}),
    "a decision about a number": said({**VERDICT, "approval_request_id": 7}),
    "a decision about a list": said({**VERDICT, "approval_request_id": ["x"]}),
    "a request with a list for an id": said({"type": "mcp_approval_request", "id": ["x"]}, VERDICT),
    "a reason that is a book": said({**VERDICT, "reason": "x" * 1025}),
    "decisions about two responses": said(
        VERDICT, {**VERDICT, "approval_request_id": CALL.replace(RUN, RUN[::-1])}
    ),
    "a reference to a list": said({"type": "item_reference", "id": ["x"]}),
    "instructions in a list": dump(instructions=["x"]),
    "a text for text": dump(text="x"),
    "a text for a format": dump(text={"format": "json"}),
    "a list for a format's type": dump(text={"format": {"type": ["text"]}}),
    "a schema elsewhere": schema({"type": "object", "properties": {"a": {"$ref": "http://x/y"}}}),
    "a schema with half a pattern": schema(
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}
    ),
    "an object to include": dump(include={"a": 1}),
    "a text to include": dump(include="reasoning.encrypted_content"),
    "what nobody can include": dump(include=["x"]),
    "a list for metadata": dump(metadata=["x"]),
    "a long name in metadata": dump(metadata={"k" * 65: "x"}),
    "a flag in words": dump(background="true"),
    "a number for a flag": dump(stream=1),
}
CHATS: dict[str, bytes] = {
    "an object for the messages": chat(messages={"role": "user"}),
    "a text for the messages": chat(messages="hi"),
    "a list for a message": chat(messages=[["user", "x"]]),
    "a text for calls": told(role="assistant", tool_calls="x"),
    "a number for a call": told(role="assistant", tool_calls=[7]),
    "a number for a function": told(role="assistant", function_call=7),
    "a number for a result": told(role="tool", content=7),
    "a text for options": chat(stream=True, stream_options="x"),
    "a text for an option": chat(stream=True, stream_options={"include_usage": "x"}),
    "10^40 answers": chat(n=10**40),
    "one answer and a half": chat(n=1.5),
    "a list for a format": chat(response_format=["x"]),
    "sound": told(role="user", content=[{"type": "input_audio", "input_audio": {"data": "x"}}]),
    "a number for an image": told(
        role="user", content=[{"type": "image_url", "image_url": {"url": 7}}]
    ),
}
JSON = {"content-type": "application/json"}
OTHERS: dict[str, tuple[str, str, dict[str, str], bytes, int]] = {
    "plain text": ("POST", "responses", {"content-type": "text/plain"}, dump(), 415),
    "a form": ("POST", "responses", {"content-type": "multipart/form-data"}, b"--x--", 415),
    "another charset": (
        "POST",
        "responses",
        {"content-type": "application/json; charset=utf-16"},
        dump(),
        415,
    ),
    "gzip": ("POST", "responses", {**JSON, "content-encoding": "gzip"}, b"\x1f\x8b\x08", 415),
    "chunks": ("POST", "responses", {**JSON, "transfer-encoding": "chunked"}, b"", 411),
    "a large body": ("POST", "responses", JSON, dump(input="x" * 1_100_000), 413),
    "a long key": ("POST", "responses", {**JSON, "idempotency-key": "k" * 300}, dump(), 400),
    "PATCH": ("PATCH", "responses", JSON, dump(), 405),
    "DELETE of all": ("DELETE", "responses", {}, b"", 405),
    "PUT of one": ("PUT", "conversations/conv_x", JSON, b"{}", 405),
    "PATCH of an item": ("PATCH", "conversations/conv_x/items/msg_1", JSON, b"{}", 405),
    "POST of models": ("POST", "models", JSON, b"{}", 405),
    "OPTIONS": ("OPTIONS", "responses", {}, b"", 405),
    "a way up": ("GET", "responses/..%2fmodels", {}, b"", 404),
    "a NUL for an id": ("GET", "responses/resp_%00", {}, b"", 404),
    "a long id": ("GET", f"responses/resp_{'a' * 600}", {}, b"", 404),
    "an id of another alphabet": ("GET", "responses/resp_%F0%9F%92%A3", {}, b"", 404),
    "an id in capitals": ("GET", f"responses/RESP_{RUN}", {}, b"", 404),
    "a far part": ("GET", f"responses/resp_{RUN}_99999", {}, b"", 404),
    "a slash in an id": ("GET", "conversations/conv_a%2Fb", {}, b"", 404),
    "a NUL in a conversation": ("GET", "conversations/conv_%00", {}, b"", 404),
    "a limit with an exponent": ("GET", "conversations/conv_x/items?limit=1e3", {}, b"", 400),
    "a limit below 0": ("GET", "conversations/conv_x/items?limit=-1", {}, b"", 400),
    "a limit of other digits": ("GET", "conversations/conv_x/items?limit=%D9%A1", {}, b"", 400),
    "a limit of 400 digits": ("GET", f"conversations/conv_x/items?limit={'9' * 400}", {}, b"", 400),
    "a NUL for a model": ("GET", "models/%00", {}, b"", 404),
    "an operation of others": ("POST", "audio/speech", JSON, dump(), 404),
    "a number for items": ("POST", "conversations", JSON, b'{"items":7}', 400),
    "a list for metadata": ("POST", "conversations", JSON, b'{"metadata":[1]}', 400),
}


async def send(
    transport: Transport, method: str, path: str, headers: dict[str, str], body: bytes
) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=transport) as client:
        url = f"{BASE}/openai/v1/{path}"
        return await client.request(method, url, content=body, headers=headers)


def expect_error(answer: httpx2.Response, world: World) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], bool(error["message"])) == ("invalid_request_error", True)
    assert isinstance(error["param"], str | None)
    assert world.scripted.calls == []
    assert world.tables.requests == {}
    return error


@pytest.mark.parametrize("body", RESPONSES.values(), ids=RESPONSES)
async def test_rubbish_for_a_response(transport: Transport, body: bytes) -> None:
    expect_error(await send(transport, "POST", "responses", JSON, body), transport.world)


@pytest.mark.parametrize("body", CHATS.values(), ids=CHATS)
async def test_rubbish_for_a_chat(transport: Transport, body: bytes) -> None:
    expect_error(await send(transport, "POST", "chat/completions", JSON, body), transport.world)


@pytest.mark.parametrize("sent", OTHERS.values(), ids=OTHERS)
async def test_rubbish_elsewhere(
    transport: Transport, sent: tuple[str, str, dict[str, str], bytes, int]
) -> None:
    method, path, headers, body, status = sent
    answer = await send(transport, method, path, headers, body)
    assert answer.status_code == status, answer.text
    expect_error(answer, transport.world)


@pytest.mark.parametrize("query", ["stream=yes", "stream=true&starting_after=-1"])
async def test_rubbish_for_a_response_that_is_there(transport: Transport, query: str) -> None:
    made = await connect(transport).responses.create(model="ceo", input="?")
    answer = await send(transport, "GET", f"responses/{made.id}?{query}", {}, b"")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("path", ["responses", "chat/completions"])
async def test_a_client_that_goes_away_at_any_piece_leaves_a_run_that_ends_and_nothing_else(
    transport: Transport, world: World, path: str
) -> None:
    body = dump(stream=True) if path == "responses" else chat(stream=True)

    async def read(most: int) -> int:
        """Begin a stream, read so many pieces, and go away."""
        request = httpx2.Request("POST", f"{BASE}/openai/v1/{path}", headers=JSON)
        count = 0
        async with transport.pumping():
            answer = await transport.serve(request, body)
            assert isinstance(answer, StreamedResponse)
            async with contextlib.aclosing(answer.pieces) as pieces:
                while count < most and await anext(pieces, None) is not None:
                    count += 1
        return count

    whole = await read(1000)
    assert whole >= 3
    before = asyncio.all_tasks()
    for most in range(whole):
        assert await read(most) == most
        assert asyncio.all_tasks() == before
    runs = await world.main.caller_runs.list_runs(
        caller=ADMIN, agent_id="ceo", is_wanted=lambda _: True, after=None, limit=100
    )
    assert [run.status for run in runs.items] == ["completed"] * (whole + 1)

"""Requests that AOS cannot honour: the API's own error form names the parameter, and no run
begins."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.unit.openai_door.in_process import BASE, Transport, World

RUN = "6f3b1c528a5e5d0e9d0e0123456789ab"
ASKED: dict[str, Any] = {"model": "ceo", "input": "?"}
CHAT: dict[str, Any] = {"model": "ceo", "messages": [{"role": "user", "content": "?"}]}
TOOL = {"type": "function", "name": "f", "parameters": {}}


def say(**message: Any) -> dict[str, Any]:
    return {"model": "ceo", "input": [message]}


def chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"model": "ceo", "messages": list(messages)}


def shown(part: dict[str, Any]) -> list[dict[str, Any]]:
    """A content with a part after a text, which is left out, and after another."""
    text = "text" if part["type"] in ("image_url", "file") else "input_text"
    return [{"type": text, "text": " "}, {"type": text, "text": "See."}, part]


NO_IMAGE = "data:image/png;base64,QUJD"
NO_FILE = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}
PARTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "input_image", "image_url": NO_IMAGE}, "image_url"),
    ({"type": "input_image", "image_url": "http://a/b.png"}, "image_url"),
    ({"type": "input_image", "image_url": "data:image/tiff;base64,QUJD"}, "image_url"),
    ({"type": "input_file", **NO_FILE}, "file_data"),
    ({"type": "input_file", "filename": "a/b.pdf", "file_url": "https://a.example/b"}, "filename"),
    ({"type": "image_url", "image_url": {"url": NO_IMAGE}}, "image_url.url"),
    ({"type": "file", "file": NO_FILE}, "file.file_data"),
]


RESPONSES: list[tuple[Any, int, str | None, str]] = [
    ({"model": "ceo"}, 400, "input", "missing_required_parameter"),
    ({"input": "?"}, 400, "model", "missing_required_parameter"),
    ({**ASKED, "model": 7}, 400, "model", "invalid_type"),
    ({**ASKED, "model": "No such agent!"}, 404, "model", "model_not_found"),
    ({**ASKED, "model": "nobody"}, 404, None, "model_not_found"),
    ({**ASKED, "input": ""}, 400, "input", "invalid_request"),
    ({**ASKED, "input": []}, 400, "input", "invalid_value"),
    ({**ASKED, "input": 7}, 400, "input", "invalid_value"),
    ({**ASKED, "input": [7]}, 400, "input[0]", "invalid_type"),
    (say(role="tool", content="?"), 400, "input[0].role", "unsupported_value"),
    (say(role="user"), 400, "input[0].content", "invalid_value"),
    (
        say(role="user", content=[{"type": "sound"}]),
        400,
        "input[0].content[0].type",
        "unsupported_value",
    ),
    (
        say(role="user", content=[{"type": "input_text"}]),
        400,
        "input[0].content[0].text",
        "invalid_type",
    ),
    (say(role="assistant", content="Hi"), 400, "input", "invalid_value"),
    (say(type="function_call_output", call_id="c", output="x"), 400, "input", "invalid_value"),
    (say(type="computer_call"), 400, "input[0].type", "unsupported_value"),
    (say(type="reasoning", summary=[]), 400, "input", "invalid_value"),
    (say(type="item_reference", id="msg_1"), 404, "input[0].id", "not_found"),
    (say(type="item_reference", id=f"msg_{RUN}_1"), 404, "input[0].id", "not_found"),
    (say(type="item_reference"), 404, "input[0].id", "not_found"),
    (
        say(role="user", content=[{"type": "input_image", "file_id": "file-1"}]),
        400,
        "input[0].content[0].image_url",
        "invalid_value",
    ),
    (
        say(
            role="user",
            content=[
                {"type": "input_text", "text": "?"},
                {"type": "input_image", "image_url": "http://x/y"},
            ],
        ),
        400,
        "input[0].content[1].image_url",
        "invalid_request",
    ),
    ({**ASKED, "temperature": 0.2}, 400, "temperature", "unsupported_parameter"),
    ({**ASKED, "top_p": 0.5}, 400, "top_p", "unsupported_parameter"),
    ({**ASKED, "tools": [TOOL]}, 400, "tools", "unsupported_parameter"),
    ({**ASKED, "tool_choice": "required"}, 400, "tool_choice", "unsupported_parameter"),
    ({**ASKED, "parallel_tool_calls": False}, 400, "parallel_tool_calls", "unsupported_parameter"),
    ({**ASKED, "reasoning": {"effort": "low"}}, 400, "reasoning", "unsupported_parameter"),
    ({**ASKED, "store": False}, 400, "store", "unsupported_parameter"),
    ({**ASKED, "prompt": {"id": "p"}}, 400, "prompt", "unsupported_parameter"),
    ({**ASKED, "colour": "red"}, 400, "colour", "unknown_parameter"),
    ({**ASKED, "stream": "yes"}, 400, "stream", "invalid_type"),
    ({**ASKED, "max_output_tokens": 0}, 400, "max_output_tokens", "invalid_value"),
    ({**ASKED, "max_output_tokens": "7"}, 400, "max_output_tokens", "invalid_type"),
    ({**ASKED, "metadata": {"a": 1}}, 400, "metadata.a", "invalid_type"),
    ({**ASKED, "metadata": {"a": "x" * 513}}, 400, "metadata", "invalid_value"),
    ({**ASKED, "metadata": {str(n): "" for n in range(17)}}, 400, "metadata", "invalid_value"),
    ({**ASKED, "text": {"format": {"type": "xml"}}}, 400, "text.format.type", "invalid_value"),
    (
        {**ASKED, "text": {"format": {"type": "json_schema", "schema": {"type": "array"}}}},
        400,
        "text.format.schema",
        "invalid_json_schema",
    ),
    ({**ASKED, "text": {"verbosity": "low"}}, 400, "text.verbosity", "invalid_value"),
    ({**ASKED, "include": ["message.output_text.logprobs"]}, 400, "include", "unsupported_value"),
    ({**ASKED, "previous_response_id": "resp_x"}, 404, "previous_response_id", "run_not_found"),
    ({**ASKED, "previous_response_id": f"resp_{RUN}"}, 404, None, "run_not_found"),
    ({**ASKED, "conversation": "board"}, 404, "conversation", "conversation_not_found"),
    ({**ASKED, "conversation": ["a"]}, 400, "conversation", "invalid_type"),
    (
        {**ASKED, "conversation": "conv_a", "previous_response_id": f"resp_{RUN}"},
        400,
        "previous_response_id",
        "invalid_value",
    ),
    (
        say(type="mcp_approval_response", approval_request_id="x", approve=True),
        400,
        "input[0].approval_request_id",
        "invalid_value",
    ),
    (
        say(
            type="mcp_approval_response",
            approval_request_id=f"mcpr_{RUN}_call_6f3b1c52_0_0",
            approve=True,
        ),
        404,
        None,
        "run_not_found",
    ),
    ([1], 400, None, "invalid_request"),
    (b"{", 400, None, "invalid_request"),
]
CHATS: list[tuple[Any, int, str | None, str]] = [
    ({"model": "ceo"}, 400, "messages", "missing_required_parameter"),
    ({"messages": CHAT["messages"]}, 400, "model", "missing_required_parameter"),
    (chat(), 400, "messages", "invalid_value"),
    (
        chat({"role": "tool", "content": "x", "tool_call_id": "c"}),
        400,
        "messages",
        "invalid_value",
    ),
    (chat({"role": "system", "content": "x"}), 400, "messages", "invalid_value"),
    ({**CHAT, "n": 2}, 400, "n", "unsupported_parameter"),
    ({**CHAT, "n": True}, 400, "n", "unsupported_parameter"),
    ({**CHAT, "temperature": 0}, 400, "temperature", "unsupported_parameter"),
    ({**CHAT, "tools": [TOOL]}, 400, "tools", "unsupported_parameter"),
    ({**CHAT, "seed": 1}, 400, "seed", "unsupported_parameter"),
    ({**CHAT, "stop": "x"}, 400, "stop", "unsupported_parameter"),
    ({**CHAT, "max_tokens": -1}, 400, "max_tokens", "invalid_value"),
    (
        {**CHAT, "response_format": {"type": "json_schema", "json_schema": {}}},
        400,
        "response_format.json_schema.schema",
        "missing_required_parameter",
    ),
    ({**CHAT, "foo": 1}, 400, "foo", "unknown_parameter"),
]
OTHERS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "responses/resp_x", None, 404, "run_not_found"),
    ("GET", f"responses/resp_{RUN}", None, 404, "run_not_found"),
    ("GET", f"responses/resp_{RUN}?stream=true&starting_after=x", None, 404, "run_not_found"),
    ("POST", f"responses/resp_{RUN}/cancel", None, 404, "run_not_found"),
    ("DELETE", f"responses/resp_{RUN}", None, 404, "run_not_found"),
    ("PUT", "responses", {}, 405, "method_not_allowed"),
    ("GET", "chat/completions", None, 405, "method_not_allowed"),
    ("POST", "embeddings", {"input": "x"}, 404, "not_found"),
    ("POST", "conversations", {"items": [{"role": "user"}]}, 400, "invalid_value"),
    ("POST", "conversations", {"items": {"role": "user"}}, 400, "invalid_value"),
    ("POST", "conversations", {"items": [{"role": "user", "content": ""}]}, 400, "invalid_value"),
    ("POST", "conversations", {"items": [{"type": "item_reference"}]}, 400, "unsupported_value"),
    (
        "POST",
        "conversations",
        {"items": [{"type": "mcp_approval_response", "approve": True}]},
        400,
        "unsupported_value",
    ),
    ("POST", "conversations", {"metadata": {"a": 1}}, 400, "invalid_type"),
    ("POST", "conversations/conv_x", {"metadata": {"a": "b"}}, 404, "conversation_not_found"),
    ("GET", "conversations/x", None, 404, "conversation_not_found"),
    ("GET", "conversations/conv_x/items?limit=0", None, 400, "invalid_value"),
    ("GET", "conversations/conv_x/items?order=up", None, 400, "invalid_value"),
    ("POST", "conversations/conv_x/items", {"items": []}, 400, "invalid_value"),
    ("POST", "conversations/conv_x/items", {}, 400, "invalid_value"),
    ("POST", "conversations/conv_x/items", {"item": []}, 400, "unknown_parameter"),
    (
        "POST",
        "conversations/conv_x/items",
        {"items": [{"role": "user", "content": "x"}]},
        404,
        "conversation_not_found",
    ),
    ("DELETE", "conversations/conv_x/items/msg_1", None, 404, "conversation_not_found"),
    ("GET", "models/nobody", None, 404, "model_not_found"),
]


async def send(transport: Transport, method: str, path: str, body: Any) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    async with httpx2.AsyncClient(transport=transport) as client:
        answer = await client.request(
            method,
            f"{BASE}/openai/v1/{path}",
            content=raw,
            headers={"content-type": "application/json"},
        )
    return answer.status_code, answer.json()


async def expect(
    transport: Transport, method: str, path: str, body: Any, status: int
) -> dict[str, Any]:
    got, answer = await send(transport, method, path, body)
    assert got == status, answer
    assert set(answer) == {"error"}
    error: dict[str, Any] = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert transport.world.scripted.calls == []
    return error


@pytest.mark.parametrize(("part", "field"), PARTS)
async def test_a_faulty_image_or_file_is_named_as_the_client_sent_it(
    transport: Transport, part: dict[str, Any], field: str
) -> None:
    is_chat = part["type"] in ("image_url", "file")
    message = {"role": "user", "content": shown(part)}
    body, path = (chat(message), "chat/completions") if is_chat else (say(**message), "responses")
    answer = await expect(transport, "POST", path, body, 400)
    where = f"{'messages' if is_chat else 'input'}[0].content[2].{field}"
    assert answer["param"] == where
    assert answer["message"].startswith(f"{where} ")


@pytest.mark.parametrize(("body", "status", "param", "code"), RESPONSES)
async def test_a_response_is_refused(
    transport: Transport, body: Any, status: int, param: str | None, code: str
) -> None:
    error = await expect(transport, "POST", "responses", body, status)
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize(("body", "status", "param", "code"), CHATS)
async def test_a_chat_completion_is_refused(
    transport: Transport, body: Any, status: int, param: str | None, code: str
) -> None:
    error = await expect(transport, "POST", "chat/completions", body, status)
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), OTHERS)
async def test_other_requests_are_refused(
    transport: Transport, method: str, path: str, body: Any, status: int, code: str
) -> None:
    error = await expect(transport, method, path, body, status)
    assert error["code"] == code


async def test_a_pause_is_an_error_that_clients_repeat(transport: Transport, world: World) -> None:
    await world.main.services.pause_switch.pause(by="local", reason="a release")
    status, answer = await send(transport, "POST", "responses", ASKED)
    assert (status, answer["error"]["type"]) == (503, "server_error")
    assert answer["error"]["code"] == "paused"

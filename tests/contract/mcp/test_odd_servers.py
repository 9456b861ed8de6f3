"""What servers say that meets no schema costs a note at most: the rest of it is used, at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aos.adapters.mcp.session import DISCOVER_SECONDS
from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import ServerFailed
from tests.contract.mcp.kit import call, servers

SCRIPTED = str(Path(__file__).with_name("scripted_server.py"))
AT_ONCE = 5.0
UNKNOWN = "outcome_unknown"
Json = dict[str, Any]


def scripted(**answers: Any) -> McpServerCard:
    """The card of a server with these answers; `list` and `call` are those of tools."""
    short = {"list": "tools/list", "call": "tools/call", "discover": "server/discover"}
    script = {short.get(name, name): answer for name, answer in answers.items()}
    return McpServerCard(
        server_id="odd", command=sys.executable, args=(SCRIPTED, json.dumps(script))
    )


def tool(name: Any, **fields: Any) -> Json:
    return {"name": name, "inputSchema": {"type": "object", "properties": {}}, **fields}


def page(*tools: Any, **fields: Any) -> Json:
    return {"result": {"tools": list(tools), **fields}}


def text(said: Any) -> Json:
    return {"type": "text", "text": said}


async def list_tools(card: McpServerCard) -> list[ToolSchema]:
    async with servers() as made:
        return await made.list_tools(card, "d1")


async def listed(card: McpServerCard) -> list[str]:
    return [tool.name for tool in await list_tools(card)]


async def called(answer: Json, *, seconds: float = 30.0, name: str = "t") -> ToolOutcome:
    """The outcome of one call, which comes at once."""
    async with servers() as made:
        await made.list_tools(scripted(list=page(tool(name)), call=answer), "d1")
        began = time.monotonic()
        outcome = await call(
            made, scripted(list=page(tool(name)), call=answer), name, seconds=seconds
        )
        assert time.monotonic() - began < AT_ONCE
    return outcome


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([page(tool("a"), nextCursor="c")], id="one cursor for ever"),
        pytest.param(
            [page(tool("a"), nextCursor="c"), page(tool("b"), nextCursor="c")], id="second time"
        ),
        pytest.param(
            [
                page(tool("a"), nextCursor="c"),
                page(tool("b"), nextCursor="d"),
                page(tool("c"), nextCursor="c"),
            ],
            id="two cursors in turn",
        ),
        pytest.param(
            [page(tool("a"), nextCursor=str(number)) for number in range(200)],
            id="a new cursor for the same page",
        ),
        pytest.param([page(tool("a"), nextCursor="")], id="an empty cursor for ever"),
    ],
)
async def test_a_list_that_repeats_itself_ends_with_the_tools_it_has(pages: list[Json]) -> None:
    names = {tool["name"] for page in pages for tool in page["result"]["tools"]}
    assert await listed(scripted(list=pages)) == sorted(names)


async def test_an_empty_cursor_is_a_cursor_and_an_empty_page_is_not_the_end() -> None:
    pages = [
        page(tool("a"), nextCursor=""),
        page(nextCursor=7),
        page(tool("b"), nextCursor=None),
    ]
    assert await listed(scripted(list=pages)) == ["a", "b"]


async def test_a_server_that_does_not_know_its_own_cursor_has_what_it_listed() -> None:
    refused = {"error": {"code": -32602, "message": "Invalid cursor"}}
    assert await listed(scripted(list=[page(tool("a"), nextCursor="c"), refused])) == ["a"]


async def test_a_tool_without_a_schema_stays_beside_the_others() -> None:
    tools = await list_tools(scripted(list=page(tool("a"), {"name": "bare"}, tool("z"))))
    assert [(tool.name, tool.input_schema, tool.offered) for tool in tools] == [
        ("a", {"type": "object", "properties": {}}, None),
        ("bare", {}, None),
        ("z", {"type": "object", "properties": {}}, None),
    ]


@pytest.mark.parametrize(
    ("wrong", "name", "why"),
    [
        (tool("w", inputSchema="none"), "w", "its inputSchema is not an object"),
        (tool("w", inputSchema=[]), "w", "its inputSchema is not an object"),
        (tool(5), "(tool 2)", "it has no name"),
        (tool("  "), "  ", "it has no name"),
        (tool(None), "(tool 2)", "it has no name"),
        ("not a tool", "(tool 2)", "it has no name"),
        (tool("n" * 200), "n" * 128, "its name has 200 characters, the limit is 128"),
        (tool("w", description=["a", "list"]), "w", None),
        (tool("w", annotations=[1]), "w", None),
        (tool("w", annotations={"readOnlyHint": "yes"}), "w", None),
        (tool("w", outputSchema="nothing", icons=7, execution="?"), "w", None),
    ],
)
async def test_one_wrong_tool_is_named_and_costs_no_other(
    wrong: Any, name: str, why: str | None
) -> None:
    tools = await list_tools(scripted(list=page(tool("a"), wrong, tool("z"))))
    assert [tool.name for tool in tools] == ["a", name, "z"]
    assert [tool.offered and tool.offered.left_out for tool in tools] == [None, why, None]
    assert tools[1].annotations == {}


@pytest.mark.parametrize(
    ("capabilities", "answer"),
    [
        ({}, {"error": {"code": -32601, "message": "Method not found"}}),
        ({"tools": {}}, {"error": {"code": -32601, "message": "Method not found"}}),
        ({"prompts": {}}, {"error": {"code": -32600, "message": "no tools here"}}),
        ({"prompts": {}}, {"result": {}}),
        ({"tools": {}}, {"result": {"tools": None}}),
    ],
)
async def test_a_server_without_tools_has_none(capabilities: Json, answer: Json) -> None:
    hello: Json = {"protocolVersion": "2025-06-18", "capabilities": capabilities}
    hello["serverInfo"] = {"name": "s", "version": "1"}
    assert await listed(scripted(initialize={"result": hello}, list=answer)) == []


@pytest.mark.parametrize(
    ("line", "content"),
    [
        (r'"before \ud83d after"', "before \ufffd after"),
        (r'"\uDE00"', "\ufffd"),
        (r'"\ud83d\ude00 \ud83d\ud83d"', "😀 \ufffd\ufffd"),
        (r'"C:\\udata\\ud83d"', r"C:\udata\ud83d"),
        ('"latin \udce9"', "latin \ufffd"),
    ],
)
async def test_text_that_is_not_unicode_is_replaced_and_delivered_at_once(
    line: str, content: str
) -> None:
    whole = '{"jsonrpc":"2.0","id":@ID,"result":{"content":[{"type":"text","text":@TEXT}]}}'
    outcome = await called({"line": whole.replace("@TEXT", line)})
    assert (outcome.outcome, outcome.content) == ("ok", content)


@pytest.mark.parametrize(
    ("line", "outcome", "said"),
    [
        ('{"jsonrpc":"2.0","id":@ID,"result":null}', UNKNOWN, "the result is not an object: null"),
        ('{"jsonrpc":"2.0","id":@ID,"result":["a"]}', UNKNOWN, 'not an object: ["a"]'),
        ('{"jsonrpc":"2.0","id":@ID,"error":"no luck"}', "error", "no luck"),
        (
            '{"jsonrpc":"2.0","id":@ID,"error":{"code":"E1","message":"no luck"}}',
            "error",
            "no luck",
        ),
        ('{"jsonrpc":"2.0","id":@ID,"result":{"content":', UNKNOWN, "the answer is not JSON"),
        ('{"id":@ID,"result":{"content":[{"type":"text","text":"hi"}]}}', "ok", "hi"),
        ('\ufeff{"id":@ID,"result":{"content":[{"type":"text","text":"hi"}]}}\r', "ok", "hi"),
        (
            '{"jsonrpc":"2.0","id":@ID,"error":null,'
            '"result":{"content":[{"type":"text","text":"hi"}]}}',
            "ok",
            "hi",
        ),
        ('{"jsonrpc":"2.0","id":@ID,"result":{"content":%s}}' % ("[" * 5000), UNKNOWN, "not JSON"),
    ],
)
async def test_an_answer_that_is_not_json_rpc_is_an_answer(
    line: str, outcome: str, said: str
) -> None:
    found = await called({"line": line})
    assert found.outcome == outcome
    assert said in found.content


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ({"content": [text("3 rows")], "structuredContent": {"n": 3}}, '3 rows\n{"n": 3}'),
        ({"content": [text('{"n":3}')], "structuredContent": {"n": 3}}, '{"n":3}'),
        ({"content": [text("3")], "structuredContent": {"result": 3}}, "3"),
        ({"content": [text("a"), text("b")], "structuredContent": {"result": ["a", "b"]}}, "a\nb"),
        ({"content": [], "structuredContent": {"n": "wrong"}}, '{"n": "wrong"}'),
        ({"structuredContent": [1, 2]}, "[1, 2]"),
        ({"content": [text("done")]}, "done"),
        ({"content": [{"type": "text"}]}, '{"type": "text"}'),
        ({"content": ["plain", text("text")]}, "plain\ntext"),
        ({"content": [{"type": "image", "data": "QUJD"}]}, "[image: no type, about 3 bytes]"),
        ({"content": [{"type": "video", "url": "u"}]}, '{"type": "video", "url": "u"}'),
        ({"content": [{"type": "resource", "resource": {"text": "r"}}]}, "[resource: None]\nr"),
        ({"toolResult": "old"}, '{"toolResult": "old"}'),
        ({}, ""),
    ],
)
async def test_what_can_be_read_of_a_result_reaches_the_model(result: Json, content: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    card = scripted(list=page(tool("t", outputSchema=schema)), call={"result": result})
    async with servers() as made:
        await made.list_tools(card, "d1")
        outcome = await call(made, card, "t")
    assert (outcome.outcome, outcome.content) == ("ok", content)


@pytest.mark.parametrize("code", [-32001, -32000, -32603, -1, 404])
@pytest.mark.parametrize("said", ["Session not found: abc", "Connection closed"])
async def test_a_servers_own_error_is_told_in_its_words_at_once(code: int, said: str) -> None:
    outcome = await called({"error": {"code": code, "message": said}})
    assert outcome.outcome == "error"
    assert outcome.content == f"the MCP server 'odd' answered with an error: {said}"


@pytest.mark.parametrize("name", ["list the files", "天気を調べる", "a/b c", "x" * 128])
async def test_a_tool_is_called_by_its_own_name(name: str) -> None:
    assert (await called({"result": {"content": [text("hi")]}}, name=name)).content == "hi"


@pytest.mark.parametrize(
    ("method", "params", "refusal"),
    [
        ("sampling/createMessage", {"messages": [], "maxTokens": 1}, "does not lend its model"),
        ("roots/list", {}, "has no folders to show"),
    ],
)
async def test_what_a_server_asks_of_its_client_is_refused_and_the_call_goes_on(
    method: str, params: Json, refusal: str
) -> None:
    outcome = await called({"ask": method, "params": params})
    assert outcome.outcome == "ok"
    told = json.loads(outcome.content)
    assert told["code"] == -32601
    assert refusal in told["message"]


@pytest.mark.parametrize(
    ("result", "outcome", "said"),
    [
        (
            {"resultType": "input_required", "inputRequests": {"q": {"method": "roots/list"}}},
            "error",
            "asks for roots/list before it goes on, which AOS does not offer",
        ),
        (
            {
                "resultType": "input_required",
                "inputRequests": {"q": {"method": "sampling/createMessage"}, "r": 7},
            },
            "error",
            "asks for None, sampling/createMessage before it goes on",
        ),
        ({"task": {"taskId": "1", "status": "working"}}, UNKNOWN, "AOS cannot follow"),
        ({"resultType": "task", "taskId": 7}, UNKNOWN, "AOS cannot follow"),
    ],
)
async def test_what_aos_cannot_answer_is_told_as_what_it_is(
    result: Json, outcome: str, said: str
) -> None:
    found = await called({"result": result})
    assert (found.outcome, found.pause) == (outcome, None)
    assert said in found.content


async def test_an_address_that_a_person_must_visit_is_told() -> None:
    data = {"elicitations": [{"mode": "url", "url": "https://login.example/1", "message": "m"}]}
    error = {"code": -32042, "message": "Sign in first", "data": data}
    outcome = await called({"error": error})
    assert outcome.outcome == "error"
    assert "Sign in first (a person must visit https://login.example/1 first" in outcome.content


async def test_an_answer_that_is_nested_deeply_ends_the_call_at_once() -> None:
    for depth in (150, 400, 900, 2_000):
        deep = '{"jsonrpc":"2.0","id":@ID,"result":{"content":[],"structuredContent":@DEEP}}'
        line = deep.replace("@DEEP", "[" * depth + "]" * depth)
        assert (await called({"line": line})).outcome in ("ok", UNKNOWN)


NEWEST = {
    "result": {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "public",
    }
}


async def test_a_server_without_the_old_handshake_is_spoken_to() -> None:
    hi = {"result": {"content": [text("hi")], "resultType": "complete"}}
    card = scripted(
        discover=NEWEST, initialize={"exit": 3}, list=page(tool("a")), call=hi, ping={"exit": 4}
    )
    async with servers() as made:
        assert [tool.name for tool in await made.list_tools(card, "d1")] == ["a"]
        assert (await call(made, card, "a")).content == "hi"


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -32601, "message": "Method not found"}},
        {"error": {"code": -32602, "message": "Received request before initialization"}},
        {"result": {}},
        {"result": {"supportedVersions": ["2025-06-18"], "capabilities": {}}},
        {"exit": 1},
        {"silent": True},
        {"line": "panicked at 'expected initialize'"},
    ],
)
async def test_a_server_that_knows_only_the_old_handshake_is_spoken_to(answer: Json) -> None:
    card = scripted(discover=answer, list=page(tool("a")))
    began = time.monotonic()
    assert await listed(card) == ["a"]
    assert time.monotonic() - began < 2 * AT_ONCE


async def test_pages_without_tools_whose_cursor_never_ends_cost_no_tool() -> None:
    empty = [{"result": {"tools": [], "nextCursor": str(place)}} for place in range(150)]
    card = scripted(
        list=[
            page(tool("a"), nextCursor="x"),
            empty[0],
            page(tool("b"), nextCursor="y"),
            *empty[1:],
        ]
    )
    assert await listed(card) == ["a", "b"]


async def test_a_server_that_ignores_the_newest_revision_is_waited_for_once() -> None:
    card = scripted(discover={"silent": True}, list=page(tool("a")), call={"exit": 1})
    async with servers() as made:
        await made.list_tools(card, "d1")
        assert (await call(made, card, "a")).outcome == UNKNOWN
        began = time.monotonic()
        assert [tool.name for tool in await made.list_tools(card, "d1")] == ["a"]
        assert time.monotonic() - began < DISCOVER_SECONDS


@pytest.mark.parametrize("code", [-32601, -32022])
async def test_a_new_server_that_starts_slowly_is_asked_again(code: int) -> None:
    card = scripted(
        discover=[{"silent": True}, NEWEST],
        initialize={"error": {"code": code, "message": "no such thing"}},
        list=page(tool("a")),
    )
    assert await listed(card) == ["a"]


@contextlib.asynccontextmanager
async def over_http(
    status: int, body: str, kind: str, *, calls: tuple[int, str] | None = None
) -> AsyncIterator[str]:
    """The URL of a server that answers everything alike, but calls of tools with `calls`.

    `@ID` is the request's id.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = next((line for line in head.split("\r\n") if "content-length" in line), ": 0")
        raw = await reader.readexactly(int(size.split(": ")[1]))
        asked = json.loads(raw or b"{}")
        code, whole = status, body
        if calls is not None and asked.get("method") not in ("initialize", "tools/list"):
            code, whole = calls
        said = whole.replace("@ID", json.dumps(asked.get("id"))).encode()
        writer.write(
            f"HTTP/1.1 {code} Whatever\r\ncontent-type: {kind}\r\n"
            f"content-length: {len(said)}\r\nconnection: close\r\n\r\n".encode()
            + said
        )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, '{"error":"invalid_token"}', "application/json", "check the headers"),
        (401, "", "text/plain", "HTTP 401 (the server wants other credentials"),
        (403, "<html>no</html>", "text/html", "HTTP 403 (the server does not allow this"),
        (404, "Cannot POST /mcp", "text/plain", "does not speak): Cannot POST /mcp"),
        (405, "Method Not Allowed", "text/plain", "it may speak the old SSE transport"),
        (500, "<h1>Oops</h1>", "text/html", "HTTP 500 (the server itself failed"),
        (503, '{"detail":"starting"}', "application/json", "tries again later): starting"),
        (429, "[]", "application/json", "HTTP 429 (the server wants fewer requests)"),
    ],
)
async def test_what_a_url_refuses_is_told_apart_with_advice(
    status: int, body: str, kind: str, said: str
) -> None:
    async with over_http(status, body, kind) as url, servers() as made:
        with pytest.raises(ServerFailed) as caught:
            await made.list_tools(McpServerCard(server_id="web", url=url), "d1")
    assert said in str(caught.value)
    assert f"HTTP {status}" in str(caught.value)
    assert "<h" not in str(caught.value)


HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "s", "version": "1"},
    "tools": [tool("a", description="@HALF")],
}


@pytest.mark.parametrize(
    ("status", "body", "outcome", "said"),
    [
        (
            404,
            '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}',
            "not_called",
            "has ended the session, so nothing was called",
        ),
        (404, "", "not_called", "has ended the session, so nothing was called"),
        (401, "", "error", "HTTP 401 (the server wants other credentials"),
        (429, "slow down", "error", "HTTP 429 (the server wants fewer requests): slow down"),
        (502, "<html>", "outcome_unknown", "ended while 'a' was being called"),
    ],
)
async def test_what_a_url_refuses_in_a_call_is_told_for_what_it_is(
    status: int, body: str, outcome: str, said: str
) -> None:
    hello = json.dumps({"jsonrpc": "2.0", "id": 0, "result": HELLO}).replace('"id": 0', '"id": @ID')
    web = over_http(200, hello, "application/json", calls=(status, body))
    async with web as url, servers() as made:
        card = McpServerCard(server_id="web", url=url)
        await made.list_tools(card, "d1")
        told = await call(made, card, "a")
    assert told.outcome == outcome
    assert said in told.content


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain"])
async def test_half_a_surrogate_pair_over_http_is_replaced(kind: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "result": HELLO}).replace("@HALF", r"\ud83d!")
    body = body.replace('"id": 0', '"id": @ID')
    if kind == "text/event-stream":
        body = f"event: message\ndata: {body}\n\n"
    async with over_http(200, body, kind) as url, servers() as made:
        (found,) = await made.list_tools(McpServerCard(server_id="web", url=url), "d1")
    assert found.description == "\ufffd!"

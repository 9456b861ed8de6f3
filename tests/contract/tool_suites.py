"""What must every adapter of the tool stores do, be it a fake or the real one?

As `tests.contract.request_suites`: one suite a port, ids new in every test.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.tools.tool import ServerTools, ToolCallRow, ToolOutcome, ToolSchema
from aos.errors import StaleWrite
from aos.ports.tools import ToolCatalog, ToolLedger
from tests.samples import AWKWARD_TEXTS, HARD_TEXT, NOON, a_tool_call_row, an_id

DONE = ToolOutcome(outcome="ok", content=HARD_TEXT)


async def found(ledger: ToolLedger, row: ToolCallRow) -> ToolCallRow | None:
    """The row as it stands, without its ETag."""
    there = await ledger.find(row.run_id, row.tool_call_id)
    return None if there is None else replace(there, etag=None)


class ToolLedgerSuite:
    """`ToolLedger`."""

    async def test_a_call_is_entered_once(self, ledger: ToolLedger) -> None:
        row = a_tool_call_row()
        assert await found(ledger, row) is None
        started = await ledger.start(row)
        assert started.etag is not None
        assert await found(ledger, row) == row
        with pytest.raises(StaleWrite):
            await ledger.start(replace(row, holder="h2"))
        assert await found(ledger, row) == row

    async def test_a_call_is_held_anew_by_who_has_read_it_last(self, ledger: ToolLedger) -> None:
        row = a_tool_call_row()
        started = await ledger.start(row)
        again = replace(started, holder="h2", until=NOON + timedelta(seconds=180))
        held = await ledger.start(again)
        with pytest.raises(StaleWrite):
            await ledger.start(replace(started, holder="h3"))
        assert await found(ledger, row) == replace(held, etag=None)

    async def test_of_two_at_once_one_holds_the_call(self, ledger: ToolLedger) -> None:
        row = a_tool_call_row()
        started = [ledger.start(replace(row, holder=f"h{number}")) for number in range(4)]
        ends = await asyncio.gather(*started, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["StaleWrite"] * 3 + ["ToolCallRow"]

    async def test_a_result_stands(self, ledger: ToolLedger) -> None:
        row = a_tool_call_row()
        started = await ledger.start(row)
        assert await ledger.finish(started, DONE) == DONE
        other = ToolOutcome(outcome="error", content="late")
        assert await ledger.finish(started, other) == DONE
        assert await ledger.finish(row, other) == DONE
        assert await found(ledger, row) == replace(row, result=DONE)

    async def test_a_result_is_kept_though_another_holds_the_call_by_now(
        self, ledger: ToolLedger
    ) -> None:
        started = await ledger.start(a_tool_call_row())
        await ledger.start(replace(started, holder="h2"))
        assert await ledger.finish(started, DONE) == DONE

    async def test_the_end_of_a_call_that_was_never_made_is_kept(self, ledger: ToolLedger) -> None:
        row = a_tool_call_row()
        never = ToolOutcome(outcome="not_called", content="too late")
        assert await ledger.finish(row, never) == never
        assert await found(ledger, row) == replace(row, result=never)
        with pytest.raises(StaleWrite):
            await ledger.start(row)

    async def test_a_call_that_was_begun_is_not_ended_as_one_that_was_never_made(
        self, ledger: ToolLedger
    ) -> None:
        row = a_tool_call_row()
        await ledger.start(replace(row, holder="h2"))
        with pytest.raises(StaleWrite):
            await ledger.finish(row, ToolOutcome(outcome="not_called", content="too late"))
        assert (await found(ledger, row)).result is None

    @pytest.mark.parametrize("text", AWKWARD_TEXTS.values(), ids=AWKWARD_TEXTS.keys())
    async def test_whatever_a_tool_says_comes_back(self, ledger: ToolLedger, text: str) -> None:
        started = await ledger.start(a_tool_call_row())
        said = ToolOutcome(outcome="ok", content=text, parts=({"type": "resource", "t": text},))
        await ledger.finish(started, said)
        there = await ledger.find(started.run_id, started.tool_call_id)
        assert there is not None
        assert there.result == said

    async def test_large_parts_come_back(self, ledger: ToolLedger) -> None:
        picture = {"type": "image", "data": "QUJD" * 500_000, "mimeType": "image/png"}
        large = ToolOutcome(outcome="ok", content="x" * 60_000, parts=(picture, picture))
        started = await ledger.start(a_tool_call_row())
        assert await ledger.finish(started, large) == large
        there = await ledger.find(started.run_id, started.tool_call_id)
        assert there is not None
        assert there.result == large

    async def test_thousands_of_small_parts_come_back(self, ledger: ToolLedger) -> None:
        link = {"type": "resource_link", "name": "a", "uri": "file:///" + "a" * 80}
        many = ToolOutcome(outcome="ok", content="links", parts=(link,) * 10_000)
        started = await ledger.start(a_tool_call_row())
        assert await ledger.finish(started, many) == many
        there = await ledger.find(started.run_id, started.tool_call_id)
        assert there is not None
        assert there.result == many


def a_server(**changes: Any) -> ServerTools:
    """A server that has listed a tool."""
    tool = ToolSchema(
        name="add",
        description=HARD_TEXT,
        input_schema={"type": "object", "properties": {"a": {"type": "number"}}},
        annotations={"readOnlyHint": True},
    )
    whole: dict[str, Any] = {
        "server_id": f"s-{an_id()}",
        "state": "ready",
        "tools": (tool,),
        "listed_at": NOON,
        "seen_at": NOON,
        "instance": "i1",
        "card_digest": "0" * 64,
    }
    return ServerTools(**{**whole, **changes})


class ToolCatalogSuite:
    """`ToolCatalog`."""

    async def test_what_was_seen_last_stands(self, catalog: ToolCatalog) -> None:
        first = a_server()
        assert await catalog.find(first.server_id) is None
        await catalog.put(first)
        assert await catalog.find(first.server_id) == first
        second = replace(first, state="failed", error="it ended", tools=(), listed_at=None)
        await catalog.put(second)
        assert await catalog.find(first.server_id) == second

    async def test_servers_are_listed_by_id(self, catalog: ToolCatalog) -> None:
        servers = sorted((a_server() for _ in range(3)), key=lambda server: server.server_id)
        for server in reversed(servers):
            await catalog.put(server)
        listed = await catalog.list_servers()
        assert [server for server in listed if server in servers] == servers
        assert listed == sorted(listed, key=lambda server: server.server_id)

    async def test_a_thousand_tools_come_back(self, catalog: ToolCatalog) -> None:
        schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(40)}}
        tools = tuple(ToolSchema(name=f"t{n}", input_schema=schema) for n in range(1_000))
        many = a_server(tools=tools)
        await catalog.put(many)
        assert await catalog.find(many.server_id) == many
        assert many in await catalog.list_servers()

    async def test_a_server_is_forgotten(self, catalog: ToolCatalog) -> None:
        server = a_server()
        await catalog.put(server)
        for _ in range(2):
            await catalog.drop(server.server_id)
        assert await catalog.find(server.server_id) is None

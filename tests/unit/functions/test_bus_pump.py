"""The Service Bus pump, against a broker that does what the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from devhost.amqp.performatives import Error, Released
from devhost.functions.bus.address import BusAddress
from devhost.functions.bus.intake import BusIntake
from devhost.functions.invocation import Invoker
from devhost.functions.settings import BusOptions
from tests.unit.functions.conftest import Load
from tests.unit.functions.paper_broker import (
    ABANDONED,
    ACCEPTED,
    PaperBroker,
    message,
    paper_broker,
)

BOUND_SECONDS = 5.0
OPTIONS = BusOptions(max_concurrent_calls=4, max_concurrent_sessions=3, session_idle_seconds=0.05)

APP = """
import asyncio

calls = asyncio.Queue()
go = asyncio.Event()

async def seen(m, context):
    body = m.get_body().decode()
    calls.put_nowait((context.function_name, m.session_id, body, m.delivery_count))
    if body == "wait":
        await go.wait()
    if body == "fail":
        raise RuntimeError("as told")

@app.service_bus_queue_trigger("m", queue_name="plain", connection="C",
                               data_type=func.DataType.BINARY)
async def plain(m: func.ServiceBusMessage, context: func.Context) -> None:
    await seen(m, context)

@app.service_bus_topic_trigger("m", topic_name="topic", subscription_name="sub", connection="C",
                               data_type=func.DataType.BINARY, is_sessions_enabled=True)
async def ordered(m: func.ServiceBusMessage, context: func.Context) -> None:
    await seen(m, context)
"""
SESSIONS = "topic/Subscriptions/sub"


class Pumped:
    """A broker, the app that it feeds, and the intake between them."""

    def __init__(self, broker: PaperBroker, intake: BusIntake, app: dict[str, Any]) -> None:
        self.broker = broker
        self.intake = intake
        self.app = app

    async def called(self, count: int = 1) -> list[tuple[Any, ...]]:
        async with asyncio.timeout(BOUND_SECONDS):
            return [await self.app["calls"].get() for _ in range(count)]

    async def asked(self, count: int) -> list[int]:
        async with asyncio.timeout(BOUND_SECONDS):
            return [await self.broker.asked.get() for _ in range(count)]

    async def settled(self, count: int = 1) -> list[tuple[str, Any]]:
        async with asyncio.timeout(BOUND_SECONDS):
            return [await self.broker.dispositions.get() for _ in range(count)]

    async def turn(self, mark: str) -> None:
        """Wait until a message that was sent after all others has been through the broker."""
        self.broker.put(SESSIONS, message(mark.encode(), session_id=mark), session_id=mark)
        assert await self.called() == [("ordered", mark, mark, 1)]


async def logged(capsys: pytest.CaptureFixture[str], event: str) -> str:
    """What was written up to the line of this event, once it is there."""
    text = ""
    async with asyncio.timeout(BOUND_SECONDS):
        while event not in text or not text.endswith("\n"):
            await asyncio.sleep(0)
            text += capsys.readouterr().out
    return text


@asynccontextmanager
async def pumped(
    load: Load, options: BusOptions = OPTIONS, **prepare: Any
) -> AsyncIterator[Pumped]:
    functions = load(APP)
    async with paper_broker() as broker:
        for name, value in prepare.items():
            setattr(broker, name, value)
        address = BusAddress(host="127.0.0.1", port=broker.port, tls=False, key_name="k", key="v")
        intake = BusIntake(address, functions, Invoker(timeout_seconds=60), options)
        await intake.start()
        pump = Pumped(broker, intake, functions[0].call.__globals__)
        try:
            yield pump
        finally:
            pump.app["go"].set()
            await intake.stop_intake()
            await intake.close()


async def test_success_completes_and_failure_abandons(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"good"))
        assert await pump.called() == [("plain", None, "good", 1)]
        assert await pump.settled() == [("plain", ACCEPTED)]
        pump.broker.put("plain", message(b"fail", message_id="m-9"))
        assert await pump.settled() == [("plain", ABANDONED)]
    (line,) = [
        json.loads(text) for text in capsys.readouterr().out.splitlines() if "failed" in text
    ]
    assert (line["function"], line["message_id"], line["delivery_count"], line["error"]) == (
        "plain",
        "m-9",
        1,
        "RuntimeError: as told",
    )


async def test_every_entity_is_claimed_once(load: Load) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"a"))
        pump.broker.put(SESSIONS, message(b"b", session_id="s"), session_id="s")
        await pump.settled(2)
        assert sorted(pump.broker.claims) == [
            (f"sb://127.0.0.1/{entity}", "servicebus.windows.net:sastoken")
            for entity in ("plain", SESSIONS)
        ]


async def test_no_more_messages_are_taken_than_calls_may_run(load: Load) -> None:
    async with pumped(load) as pump:
        for _ in range(6):
            pump.broker.put("plain", message(b"wait"))
        await pump.called(4)
        await pump.turn("fence")
        assert await pump.settled() == [(SESSIONS, ACCEPTED)]
        assert (pump.app["calls"].empty(), len(pump.broker.messages["plain", None])) == (True, 2)
        pump.app["go"].set()
        await pump.called(2)
        assert await pump.settled(6) == [("plain", ACCEPTED)] * 6


async def test_calls_that_outlive_their_connection_count_as_running(load: Load) -> None:
    async with pumped(load) as pump:
        for _ in range(4):
            pump.broker.put("plain", message(b"wait"))
        await pump.called(4)
        pump.broker.drop()
        pump.broker.put("plain", message(b"later"))
        async with asyncio.timeout(BOUND_SECONDS):
            while await pump.broker.accepted.get() != "plain" or not pump.broker.connections:
                pass
        await pump.turn("fence")
        assert pump.app["calls"].empty()
        pump.app["go"].set()
        assert await pump.called() == [("plain", None, "later", 1)]


async def test_a_session_is_served_in_order_and_others_beside_it(load: Load) -> None:
    async with pumped(load) as pump:
        pump.broker.put(SESSIONS, message(b"wait", session_id="a"), session_id="a")
        assert await pump.called() == [("ordered", "a", "wait", 1)]
        pump.broker.put(SESSIONS, message(b"second", session_id="a"), session_id="a")
        pump.broker.put(SESSIONS, message(b"other", session_id="b"), session_id="b")
        assert await pump.called() == [("ordered", "b", "other", 1)]
        pump.app["go"].set()
        assert await pump.called() == [("ordered", "a", "second", 1)]


@pytest.mark.parametrize(
    ("cores", "sessions", "asked"), [(1, 8, 2), (2, 8, 4), (4, 3, 3), (1, 1, 1)]
)
async def test_two_sessions_a_core_are_asked_for_at_once_and_more_may_be_open(
    load: Load, cores: int, sessions: int, asked: int
) -> None:
    options = replace(OPTIONS, cores=cores, max_concurrent_sessions=sessions)
    async with pumped(load, options) as pump:
        assert await pump.asked(asked) == list(range(1, asked + 1))
        for number in range(sessions + 1):
            session_id = str(number)
            body = message(b"wait", session_id=session_id)
            pump.broker.put(SESSIONS, body, session_id=session_id)
        assert len({call[1] for call in await pump.called(sessions)}) == sessions
        pump.app["go"].set()
        await pump.called(1)
        assert max(await pump.asked(pump.broker.asked.qsize()), default=0) <= asked


async def test_an_accept_that_ends_with_its_connection_leaves_room_for_the_next(
    load: Load,
) -> None:
    async with pumped(load, replace(OPTIONS, cores=1, max_concurrent_sessions=8)) as pump:
        assert await pump.asked(2) == [1, 2]
        pump.broker.drop()
        for number in range(5):
            session_id = str(number)
            body = message(b"late", session_id=session_id)
            pump.broker.put(SESSIONS, body, session_id=session_id)
        assert {call[1] for call in await pump.called(5)} == set("01234")


async def test_an_idle_session_is_left_and_its_slot_asks_for_the_next(load: Load) -> None:
    async with pumped(load) as pump:
        for number in range(9):
            session_id = str(number)
            body = message(session_id.encode(), session_id=session_id)
            pump.broker.put(SESSIONS, body, session_id=session_id)
        sessions = {call[1] for call in await pump.called(9)}
        assert sessions == set("012345678")
        async with asyncio.timeout(BOUND_SECONDS):
            assert [await pump.broker.detached.get() for _ in range(9)] == [SESSIONS] * 9


async def test_a_large_message_comes_in_pieces(load: Load) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"x" * 200_000))
        ((_, _, body, _),) = await pump.called()
        assert len(body) == 200_000


async def test_a_message_lock_is_renewed_while_its_function_runs(load: Load) -> None:
    async with pumped(load, lock_seconds=0.5) as pump:
        pump.broker.put("plain", message(b"wait"))
        await pump.called()
        async with asyncio.timeout(BOUND_SECONDS):
            operation, body = await pump.broker.renewals.get()
            await pump.broker.renewals.get()
        assert (operation, len(body["lock-tokens"])) == ("com.microsoft:renew-lock", 1)
        pump.app["go"].set()
        assert await pump.settled() == [("plain", ACCEPTED)]


async def test_a_session_lock_is_renewed_while_the_session_is_held(load: Load) -> None:
    options = replace(OPTIONS, session_idle_seconds=BOUND_SECONDS)
    async with pumped(load, options, lock_seconds=0.5) as pump:
        pump.broker.put(SESSIONS, message(b"a", session_id="s"), session_id="s")
        await pump.settled()
        async with asyncio.timeout(BOUND_SECONDS):
            assert await pump.broker.renewals.get() == (
                "com.microsoft:renew-session-lock",
                {"session-id": "s"},
            )


async def test_renewal_ends_with_its_limit_which_counts_from_the_accept(load: Load) -> None:
    options = replace(OPTIONS, session_idle_seconds=BOUND_SECONDS, lock_renewal_seconds=0.1)
    async with pumped(load, options, lock_seconds=0.5) as pump:
        pump.broker.put(SESSIONS, message(b"wait", session_id="s"), session_id="s")
        await pump.called()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await pump.broker.renewals.get()


async def test_it_comes_back_after_the_connection_died_and_what_ran_goes_on(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"wait", message_id="in-hand"))
        await pump.called()
        pump.broker.drop()
        pump.broker.put("plain", message(b"after"))
        pump.broker.put(SESSIONS, message(b"after", session_id="s"), session_id="s")
        assert sorted(call[0] for call in await pump.called(2)) == ["ordered", "plain"]
        await pump.settled(2)
        pump.app["go"].set()
    events = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in events] == ["bus.away", "bus.back", "bus.unsettled"]
    assert events[2]["message_id"] == "in-hand"


async def test_a_lost_lock_is_one_warning(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Error("com.microsoft:message-lock-lost", "too late", {})
    async with pumped(load, settle_error=lost) as pump:
        pump.broker.put("plain", message(b"a", message_id="m-3"))
        await pump.settled()
        text = await logged(capsys, "bus.unsettled")
    (line,) = map(json.loads, (text + capsys.readouterr().out).splitlines())
    assert (line["event"], line["message_id"]) == ("bus.unsettled", "m-3")
    assert "message-lock-lost" in line["error"]


async def test_a_refused_entity_is_told_once_and_tried_again(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devhost.functions.bus.entity.FIRST_BACK_OFF_SECONDS", 0.01)
    refusals = {"plain": Error("amqp:not-found", "no such queue", {})}
    async with pumped(load, refusals=refusals) as pump:
        pump.broker.put(SESSIONS, message(b"other", session_id="s"), session_id="s")
        assert (await pump.called())[0][0] == "ordered"
        pump.broker.refusals = {}
        pump.broker.put("plain", message(b"now"))
        assert (await pump.called())[0][0] == "plain"
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["entity"]) for line in lines] == [("bus.refused", "plain")]


async def test_stopping_gives_back_what_comes_and_lets_calls_end(load: Load) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"wait"))
        pump.broker.put(SESSIONS, message(b"wait", session_id="s"), session_id="s")
        await pump.called(2)
        await pump.intake.stop_intake()
        for session_id in ("s", "t"):
            late = message(b"late", session_id=session_id)
            pump.broker.put(SESSIONS, late, session_id=session_id)
        pump.app["go"].set()
        assert sorted(await pump.settled(2)) == [("plain", ACCEPTED), (SESSIONS, ACCEPTED)]
        await pump.intake.close()
        assert (pump.app["calls"].empty(), pump.broker.closed.is_set()) == (True, True)


async def test_a_message_that_comes_while_stopping_is_released(load: Load) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"first"))
        await pump.settled()
        for connection in pump.broker.connections:  # it was on its way
            for link in connection.links.values():
                if link.address == "plain":
                    pump.broker.messages["plain", None].append(message(b"late"))
        await pump.intake.stop_intake()
        pump.broker.distribute()
        assert await pump.settled() == [("plain", Released())]


async def test_a_call_that_is_cut_is_abandoned(load: Load) -> None:
    async with pumped(load) as pump:
        pump.broker.put("plain", message(b"wait"))
        await pump.called()
        await pump.intake.stop_intake()
        await pump.intake.close()
        assert await pump.settled() == [("plain", ABANDONED)]


async def test_without_auto_complete_nothing_is_settled(load: Load) -> None:
    async with pumped(load, replace(OPTIONS, auto_complete=False)) as pump:
        pump.broker.put("plain", message(b"a"))
        await pump.called()
        await pump.turn("fence")
        assert pump.broker.dispositions.empty()


async def test_a_broker_that_is_away_at_the_start_is_told_once(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts: asyncio.Queue[None] = asyncio.Queue()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        attempts.put_nowait(None)

    async with await asyncio.start_server(hang_up, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        address = BusAddress(host="127.0.0.1", port=port, tls=False, key="v")
        intake = BusIntake(address, load(APP), Invoker(timeout_seconds=60), OPTIONS)
        await intake.start()
        async with asyncio.timeout(BOUND_SECONDS):
            for _ in range(4):
                await attempts.get()
        await intake.stop_intake()
        await intake.close()
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["address"]) == ("bus.away", f"127.0.0.1:{port}")

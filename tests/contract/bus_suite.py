"""Suite of the port `Bus`, for the fake and the real adapter.

A test class inherits a suite and gives it the fixture `bus` with `probe`, freshly made for each
test and empty. Ids are new in every test, so suites may share an account.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Protocol

from aos.domain.envelope import (
    MAIN_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    CancelRun,
    ContinueRun,
    Event,
    Outgoing,
    Reply,
    RunEnded,
    StartRun,
    read_command,
    to_realm,
)
from aos.ports.bus import Bus, ReceivedMessage
from tests.samples import HARD_TEXT, NOON, TRACE, a_request, an_ended_run, an_id


class BusProbe(Protocol):
    """The other end of a bus under test."""

    async def take(
        self, entity: str, *, session_id: str | None = None, seconds: float = 5.0
    ) -> ReceivedMessage | None:
        """Receive and complete the next message; None when none came in time."""
        ...


class BusSuite:
    """Needs the fixtures `bus: Bus` and `probe: BusProbe`, over queues that are empty."""

    async def test_a_command_for_realm_comes_out_on_its_session(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        start = StartRun(request=a_request())
        await bus.send(to_realm(start))
        got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
        assert got is not None
        assert read_command(got.body) == start
        assert (got.entity, got.message_id) == (REALM_QUEUE, start.command_id)
        assert got.session_id == start.conversation_id
        assert got.delivery_count == 1
        assert got.properties.get("run_id") == start.run_id

    async def test_commands_of_one_session_keep_their_order(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        chat = an_id()
        commands = [
            StartRun(request=a_request(conversation_id=chat)),
            CancelRun(request=a_request(conversation_id=chat)),
            ContinueRun(run_id=an_id(), conversation_id=chat),
        ]
        for command in commands:
            await bus.send(to_realm(command))
        got = [await probe.take(REALM_QUEUE, session_id=chat) for _ in commands]
        assert [read_command(message.body) for message in got if message] == commands

    async def test_the_same_command_twice_is_two_messages(self, bus: Bus, probe: BusProbe) -> None:
        start = StartRun(request=a_request())
        await bus.send(to_realm(start))
        await bus.send(to_realm(start))
        for _ in range(2):
            assert await probe.take(REALM_QUEUE, session_id=start.conversation_id) is not None

    async def test_an_end_goes_to_main_without_a_session(self, bus: Bus, probe: BusProbe) -> None:
        request = a_request()
        ended = RunEnded(run=an_ended_run(request), owner="o", reply=request.reply)
        await bus.send(Outgoing(queue=MAIN_QUEUE, command=ended))
        got = await probe.take(MAIN_QUEUE)
        assert got is not None
        assert read_command(got.body) == ended

    async def test_a_scheduled_command_comes_later(self, bus: Bus, probe: BusProbe) -> None:
        chat = an_id()
        soon = datetime.now(UTC) + timedelta(seconds=2)
        later = ContinueRun(run_id=an_id(), conversation_id=chat, due=soon)
        await bus.send(to_realm(later, scheduled_at=soon))
        assert await probe.take(REALM_QUEUE, session_id=chat, seconds=0.5) is None
        got = await probe.take(REALM_QUEUE, session_id=chat, seconds=10.0)
        assert got is not None
        assert got.message_id == later.command_id

    async def test_messages_that_are_sent_at_once_come_each_once_and_at_their_time(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        ends = [RunEnded(run=an_ended_run(a_request()), owner="o") for _ in range(6)]
        soon = datetime.now(UTC) + timedelta(seconds=4)
        times = [None] * 5 + [soon]
        await asyncio.gather(
            *(
                bus.send(Outgoing(queue=MAIN_QUEUE, command=end, scheduled_at=at))
                for end, at in zip(ends, times, strict=True)
            )
        )
        got = [await probe.take(MAIN_QUEUE) for _ in ends[:5]]
        assert [read_command(message.body) for message in got if message] == ends[:5]
        assert await probe.take(MAIN_QUEUE, seconds=0.5) is None
        late = await probe.take(MAIN_QUEUE, seconds=10.0)
        assert late is not None
        assert late.message_id == ends[5].command_id

    async def test_a_reply_has_the_contracts_properties(self, bus: Bus, probe: BusProbe) -> None:
        run_id = an_id()
        reply = Reply(
            entity=RESPONSES_QUEUE,
            message_id=f"{run_id}:reply",
            correlation_id="order-4711",
            session_id="chat",
            body={"version": 1, "type": "run.completed", "output": HARD_TEXT},
            traceparent=TRACE,
        )
        await bus.reply(reply)
        await bus.reply(reply)
        got = await probe.take(RESPONSES_QUEUE)
        assert got is not None
        assert json.loads(got.body) == reply.body
        assert (got.message_id, got.correlation_id) == (reply.message_id, reply.correlation_id)
        assert (got.session_id, got.traceparent) == ("chat", TRACE)
        assert await probe.take(RESPONSES_QUEUE, seconds=0.5) is None

    async def test_an_event_is_published_without_trouble(self, bus: Bus) -> None:
        await bus.publish(
            Event(
                topic="agent-events",
                id=an_id(),
                type="run.completed",
                source="aos/agents/ceo",
                time=NOON,
                data={"output": HARD_TEXT},
            )
        )

    async def test_a_postponed_copy_keeps_what_the_message_was(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        """Session, properties, correlation, reply address and key stay; the attempt is new."""
        first = ReceivedMessage(
            entity=REQUESTS_QUEUE,
            body=b'{"agent_id":"ceo","message":"hi"}',
            message_id=an_id(),
            sequence_number=42,
            correlation_id="c",
            reply_to="elsewhere",
            reply_to_session_id="s",
            content_type="application/json",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            traceparent=TRACE,
            properties={"aos_owner": "me", "n": 1},
        )
        soon = datetime.now(UTC) + timedelta(seconds=4)
        await bus.postpone(first, at=soon, attempt=3)
        assert await probe.take(REQUESTS_QUEUE, seconds=0.5) is None
        got = await probe.take(REQUESTS_QUEUE, seconds=10.0)
        assert got is not None
        assert (got.body, got.key, got.attempt) == (first.body, first.key, 3)
        assert (got.correlation_id, got.reply_to, got.reply_to_session_id) == (
            "c",
            "elsewhere",
            "s",
        )
        assert (got.content_type, got.traceparent) == (first.content_type, TRACE)
        assert {name: got.properties.get(name) for name in first.properties} == first.properties
        assert got.expires_at is not None
        assert first.expires_at is not None
        assert abs(got.expires_at - first.expires_at) < timedelta(seconds=5)

    async def test_a_message_that_never_expires_is_postponed_too(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        """.NET's host says of a message without a time to live that it expires in the year 9999."""
        endless = ReceivedMessage(
            entity=REQUESTS_QUEUE,
            body=b"endless",
            message_id=an_id(),
            sequence_number=42,
            expires_at=datetime.max.replace(tzinfo=UTC),
        )
        await bus.postpone(endless, at=datetime.now(UTC), attempt=1)
        got = await probe.take(REQUESTS_QUEUE, seconds=10.0)
        assert got is not None
        assert got.body == b"endless"
        assert "aos_expires_at" not in got.properties

    async def test_a_postponed_nameless_message_keeps_its_place_as_key(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        first = ReceivedMessage(
            entity=REQUESTS_QUEUE, body=b"{}", message_id=None, sequence_number=4711
        )
        await bus.postpone(first, at=datetime.now(UTC), attempt=1)
        got = await probe.take(REQUESTS_QUEUE)
        assert got is not None
        assert got.key == first.key

    async def test_a_postponed_command_stays_on_its_session(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        start = StartRun(request=a_request())
        await bus.send(to_realm(start))
        got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
        assert got is not None
        await bus.postpone(got, at=datetime.now(UTC), attempt=1)
        again = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
        assert again is not None
        assert read_command(again.body) == start
        assert (again.session_id, again.attempt, again.key) == (got.session_id, 1, got.key)

"""Suites of the ports `DeadLetterQueues` and `FailureStore`, for the fakes and the real adapters.

A test class inherits a suite and gives it the fixtures. Tests share the queues, so each looks only
for its own messages.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any, Protocol

import pytest

from aos.domain.dead_letters import MCP_SUBSCRIPTION, Failure
from aos.domain.envelope import REALM_QUEUE, REQUESTS_QUEUE, StartRun, to_realm
from aos.errors import ErrorInfo
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.dead_letters import DeadLetterQueues, DeadMessage, FailureStore
from tests.contract.bus_suite import BusProbe
from tests.samples import NOON, TRACE, a_request, an_id


class Undertaker(Protocol):
    """Makes dead letters."""

    async def send(self, entity: str, body: bytes, **given: Any) -> None:
        """Send a message to a queue or a topic."""
        ...

    async def bury(self, entity: str, message_id: str, *, session_id: str | None = None) -> None:
        """Abandon the message until the broker dead-letters it."""
        ...


class DeadLetterSuite:
    """Needs the fixtures `queues`, `bus`, `probe` and `undertaker`."""

    @pytest.fixture
    def message_id(self) -> str:
        return an_id()

    async def test_a_dead_letter_shows_what_was_sent_and_why_it_died(
        self, queues: DeadLetterQueues, undertaker: Undertaker, message_id: str
    ) -> None:
        body = b'{"agent_id": "ceo"'
        await undertaker.send(
            REQUESTS_QUEUE,
            body,
            message_id=message_id,
            correlation_id="order-7",
            reply_to="elsewhere",
            reply_to_session_id="s",
            content_type="application/json",
            subject="a request",
            properties={"aos_owner": "me", "n": 1, "traceparent": TRACE},
        )
        await undertaker.bury(REQUESTS_QUEUE, message_id)
        dead = await find(queues, REQUESTS_QUEUE, message_id)
        message = dead.message
        assert (message.entity, message.body) == (REQUESTS_QUEUE, body)
        assert (message.correlation_id, message.reply_to) == ("order-7", "elsewhere")
        assert (message.reply_to_session_id, message.content_type) == ("s", "application/json")
        assert (message.properties["aos_owner"], message.properties["n"]) == ("me", 1)
        assert (message.traceparent, dead.subject) == (TRACE, "a request")
        assert message.sequence_number > 0
        assert message.delivery_count >= 10
        assert dead.broker_reason == "MaxDeliveryCountExceeded"

    async def test_dead_letters_are_shown_by_sequence_number_page_by_page(
        self, queues: DeadLetterQueues, undertaker: Undertaker
    ) -> None:
        ids = [an_id() for _ in range(3)]
        for message_id in ids:
            await undertaker.send(REQUESTS_QUEUE, b"x", message_id=message_id)
            await undertaker.bury(REQUESTS_QUEUE, message_id)
        seen: list[str | None] = []
        start = 0
        while found := await queues.peek(REQUESTS_QUEUE, start=start, limit=2):
            assert len(found) <= 2
            numbers = [dead.message.sequence_number for dead in found]
            assert numbers == sorted(numbers)
            seen += [dead.message.message_id for dead in found]
            start = numbers[-1] + 1
        assert [message_id for message_id in seen if message_id in ids] == ids
        assert len(seen) == len(set(seen))

    async def test_looking_changes_nothing(
        self, queues: DeadLetterQueues, undertaker: Undertaker, message_id: str
    ) -> None:
        await undertaker.send(REQUESTS_QUEUE, b"x", message_id=message_id)
        await undertaker.bury(REQUESTS_QUEUE, message_id)
        first = await find(queues, REQUESTS_QUEUE, message_id)
        number = first.message.sequence_number
        for _ in range(5):
            assert await queues.peek(REQUESTS_QUEUE, start=number, limit=1) == [first]
        assert await queues.remove(REQUESTS_QUEUE, number), "looking has locked it"

    async def test_one_dead_letter_is_removed_and_the_others_stay(
        self, queues: DeadLetterQueues, undertaker: Undertaker
    ) -> None:
        ids = [an_id() for _ in range(3)]
        for message_id in ids:
            await undertaker.send(REQUESTS_QUEUE, b"x", message_id=message_id)
            await undertaker.bury(REQUESTS_QUEUE, message_id)
        number = (await find(queues, REQUESTS_QUEUE, ids[1])).message.sequence_number
        assert await queues.remove(REQUESTS_QUEUE, number)
        assert not await queues.remove(REQUESTS_QUEUE, number)
        left = [dead.message.message_id for dead in await every(queues, REQUESTS_QUEUE)]
        assert [message_id for message_id in left if message_id in ids] == [ids[0], ids[2]]

    async def test_a_dead_letter_of_a_session_is_shown_removed_and_sent_again_in_its_session(
        self, queues: DeadLetterQueues, bus: Bus, probe: BusProbe, undertaker: Undertaker
    ) -> None:
        start = StartRun(request=a_request())
        session = start.conversation_id
        await bus.send(to_realm(start))
        await undertaker.bury(REALM_QUEUE, start.command_id, session_id=session)
        dead = await find(queues, REALM_QUEUE, start.command_id)
        new_id = an_id()
        await queues.resend(dead, message_id=new_id)
        assert await queues.remove(REALM_QUEUE, dead.message.sequence_number)
        got = await probe.take(REALM_QUEUE, session_id=session)
        assert got is not None
        assert (got.message_id, got.session_id, got.delivery_count) == (new_id, session, 1)
        assert (got.body, got.key) == (dead.message.body, start.command_id)
        assert got.properties.get("run_id") == start.run_id

    async def test_a_copy_is_as_new_and_keeps_its_key_and_properties(
        self,
        queues: DeadLetterQueues,
        probe: BusProbe,
        undertaker: Undertaker,
        message_id: str,
    ) -> None:
        await undertaker.send(
            REQUESTS_QUEUE,
            b"{}",
            message_id=message_id,
            correlation_id="order-7",
            reply_to="elsewhere",
            properties={"aos_owner": "me", "attempt": 3},
        )
        await undertaker.bury(REQUESTS_QUEUE, message_id)
        dead = await find(queues, REQUESTS_QUEUE, message_id)
        new_id = an_id()
        await queues.resend(dead, message_id=new_id)
        got = await take(probe, REQUESTS_QUEUE, new_id)
        assert (got.key, got.attempt, got.delivery_count) == (message_id, 0, 1)
        assert (got.correlation_id, got.reply_to) == ("order-7", "elsewhere")
        assert got.properties["aos_owner"] == "me"
        assert not [name for name in got.properties if name.startswith("DeadLetter")]

    async def test_a_dead_letter_of_a_subscription_is_sent_to_its_topic(
        self,
        queues: DeadLetterQueues,
        undertaker: Undertaker,
        message_id: str,
    ) -> None:
        event = json.dumps({"specversion": "1.0", "id": message_id}).encode()
        await undertaker.send("system-events", event, message_id=message_id)
        await undertaker.bury(MCP_SUBSCRIPTION, message_id)
        dead = await find(queues, MCP_SUBSCRIPTION, message_id)
        assert (dead.message.entity, dead.message.body) == (MCP_SUBSCRIPTION, event)
        new_id = an_id()
        await queues.resend(dead, message_id=new_id)
        await undertaker.bury(MCP_SUBSCRIPTION, new_id)
        again = await find(queues, MCP_SUBSCRIPTION, new_id)
        assert again.message.body == event

    async def test_a_request_that_expires_is_a_dead_letter(
        self, queues: DeadLetterQueues, undertaker: Undertaker, message_id: str
    ) -> None:
        await undertaker.send(REQUESTS_QUEUE, b"x", message_id=message_id, ttl_seconds=1.0)
        dead = await find(queues, REQUESTS_QUEUE, message_id, seconds=10.0)
        assert dead.broker_reason == "TTLExpiredException"

    async def test_an_entity_without_dead_letters_has_an_empty_list(
        self, queues: DeadLetterQueues
    ) -> None:
        assert await queues.peek("aos-mcp", start=0, limit=5) == []
        assert not await queues.remove("aos-mcp", 1)


async def every(queues: DeadLetterQueues, entity: str) -> list[DeadMessage]:
    """All dead letters of an entity."""
    seen: list[DeadMessage] = []
    start = 0
    while found := await queues.peek(entity, start=start, limit=50):
        seen += found
        start = found[-1].message.sequence_number + 1
    return seen


async def find(
    queues: DeadLetterQueues, entity: str, message_id: str, *, seconds: float = 5.0
) -> DeadMessage:
    """The dead letter with this id, once it is there."""
    for _ in range(int(seconds / 0.1)):
        for dead in await every(queues, entity):
            if dead.message.message_id == message_id:
                return dead
        await asyncio.sleep(0.1)
    raise AssertionError(f"{entity!r} has no dead letter {message_id!r}")


async def take(probe: BusProbe, entity: str, message_id: str) -> ReceivedMessage:
    """Receive until the message with this id comes."""
    for _ in range(20):
        got = await probe.take(entity)
        if got is not None and got.message_id == message_id:
            return got
    raise AssertionError(f"{message_id!r} did not come")


class FailureStoreSuite:
    """Needs the fixture `store`."""

    async def test_rows_are_listed_by_number_within_their_entity(self, store: FailureStore) -> None:
        entity, other = f"topic-{an_id()}/Subscriptions/s", f"queue-{an_id()}"
        rows = [_row(entity, number) for number in (9, 10, 2**62, 11)]
        for row in [*rows, _row(other, 10)]:
            await store.put(row)
        first, second, last, third = rows
        assert await store.list(entity, first=0, last=None) == [first, second, third, last]
        assert await store.list(entity, first=10, last=11) == [second, third]
        assert await store.list(other, first=11, last=None) == []

    async def test_a_row_is_replaced_and_dropped(self, store: FailureStore) -> None:
        entity = f"queue-{an_id()}"
        await store.put(_row(entity, 1))
        announced = _row(entity, 1, announced=True, run_id=an_id())
        await store.put(announced)
        assert await store.list(entity, first=1, last=1) == [announced]
        await store.drop(entity, 1)
        await store.drop(entity, 1)
        assert await store.list(entity, first=0, last=None) == []


def _row(entity: str, number: int, **more: Any) -> Failure:
    return Failure(
        entity=entity,
        sequence_number=number,
        reason="unreadable",
        error=ErrorInfo(code="invalid_request", message="not JSON: ⚠"),
        failed_at=NOON + timedelta(milliseconds=number % 7),
        **more,
    )

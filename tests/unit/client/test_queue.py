"""The queue client: what it sends, and how it finds its own reply among others'.

The SDK's client is stood in for at its methods; tests/e2e runs the same on a real bus.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AsyncBusClient
from azure.servicebus.exceptions import ServiceBusConnectionError

from aos.client import AosClientError, AosUnreachable, AsyncQueueClient, QueueClient

Client = Callable[..., QueueClient]
RUN = {"version": 1, "type": "run.completed", "run_id": "r1", "output": "Sell."}


@dataclass(slots=True)
class FakeBus:
    """Two queues; `on_send` says what comes of a request."""

    on_send: Callable[[FakeBus, ServiceBusMessage], None]
    replies: list[Any] = field(default_factory=list)
    sent: list[ServiceBusMessage] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    settled: list[tuple[str, int]] = field(default_factory=list)
    locked: set[int] = field(default_factory=set)
    number: int = 0
    peeked: list[int] = field(default_factory=list)

    def put(self, body: Any, correlation_id: str | None) -> None:
        """A reply comes."""
        self.number += 1
        parts = [json.dumps(body).encode()]
        self.replies.append(
            SimpleNamespace(correlation_id=correlation_id, sequence_number=self.number, body=parts)
        )

    def get_queue_sender(self, queue: str) -> Self:
        self.asked["requests"] = queue
        return self

    def get_queue_receiver(self, queue: str, **options: Any) -> Self:
        self.asked |= {"replies": queue, **options}
        return self

    def send_messages(self, message: ServiceBusMessage, *, timeout: float) -> None:
        self.sent.append(message)
        self.on_send(self, message)

    def peek_messages(
        self, *, max_message_count: int, sequence_number: int, timeout: float
    ) -> list[Any]:
        self.peeked.append(sequence_number)
        found = [r for r in self.replies if r.sequence_number >= sequence_number]
        return found[:max_message_count]

    def receive_messages(self, *, max_message_count: int, max_wait_time: float) -> list[Any]:
        found = [r for r in self.replies if r.sequence_number not in self.locked]
        self.locked |= {r.sequence_number for r in found[:max_message_count]}
        return found[:max_message_count]

    def complete_message(self, message: Any) -> None:
        self.settled.append(("complete", message.sequence_number))
        self.replies.remove(message)

    def abandon_message(self, message: Any) -> None:
        self.settled.append(("abandon", message.sequence_number))
        self.locked.discard(message.sequence_number)

    def close(self) -> None:
        self.asked["closed"] = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Makes a client on a stand-in."""

    def made(bus: FakeBus, **options: Any) -> QueueClient:
        monkeypatch.setattr(ServiceBusClient, "from_connection_string", lambda *_, **__: bus)
        return QueueClient(connection_string="Endpoint=sb://x", **options)

    return made


def answering(bus: FakeBus, message: ServiceBusMessage) -> None:
    """AOS answers at once."""
    bus.put(RUN, message.correlation_id)


def test_a_request_has_the_contracts_body_and_properties_and_its_reply_is_found(
    client: Client,
) -> None:
    bus = FakeBus(answering)
    with client(bus) as queue:
        reply = queue.ask("ceo", "What now?", conversation_id="board", key="order-7")
    assert reply == RUN
    [sent] = bus.sent
    assert json.loads(b"".join(sent.body)) == {
        "version": 1,
        "agent_id": "ceo",
        "message": "What now?",
        "conversation_id": "board",
        "metadata": {},
    }
    assert (sent.message_id, sent.content_type) == ("order-7", "application/json")
    assert (sent.reply_to, sent.reply_to_session_id) == (None, None)
    assert (bus.asked["requests"], bus.asked["replies"]) == (
        "aos-requests",
        "businessinfinity-responses",
    )
    assert (bus.replies, bus.settled) == ([], [("complete", 1)])
    assert bus.asked["closed"]


def test_replies_of_others_are_given_back_after_ours_was_found(client: Client) -> None:
    def answer(bus: FakeBus, message: ServiceBusMessage) -> None:
        bus.put(RUN | {"run_id": "theirs"}, "theirs")
        bus.put(RUN, message.correlation_id)
        bus.put(RUN | {"run_id": "theirs"}, None)

    bus = FakeBus(answer)
    bus.put(RUN | {"run_id": "old"}, "old")
    assert client(bus).ask("ceo", "Hello")["run_id"] == "r1"
    assert bus.settled == [("complete", 3), ("abandon", 1), ("abandon", 2), ("abandon", 4)]


def test_replies_that_were_there_before_are_passed_over_before_asking(client: Client) -> None:
    bus = FakeBus(answering)
    for _ in range(250):
        bus.put(RUN, "old")
    assert client(bus).ask("ceo", "Hello") == RUN
    assert bus.peeked == [1, 101, 201, 251, 251]


def test_others_replies_are_not_touched_while_ours_is_not_there(client: Client) -> None:
    bus = FakeBus(lambda bus, message: bus.put(RUN, "theirs"))
    with pytest.raises(
        AosUnreachable, match=r"no reply came on 'businessinfinity-responses' within"
    ):
        client(bus).ask("ceo", "Hello", timeout_seconds=0.3)
    assert (bus.settled, bus.locked) == ([], set())


def test_a_reply_that_somebody_else_takes_is_read_all_the_same(client: Client) -> None:
    bus = FakeBus(answering)
    bus.locked.add(1)
    assert client(bus).ask("ceo", "Hello") == RUN
    assert bus.settled == []


def test_a_refusal_is_an_error_with_its_code(client: Client) -> None:
    error = {"code": "agent_not_found", "message": "there is no agent 'ceo'", "details": {}}
    refused = {"version": 1, "type": "run.refused", "error": error}
    bus = FakeBus(lambda bus, message: bus.put(refused, message.correlation_id))
    with pytest.raises(AosClientError, match="there is no agent") as raised:
        client(bus).ask("ceo", "Hello")
    assert raised.value.code == "agent_not_found"


def test_a_queue_with_sessions_is_read_in_our_own_session(client: Client) -> None:
    bus = FakeBus(answering)
    queue = client(bus, replies="my-replies", session_id="me")
    assert queue.ask("ceo", "Hello") == RUN
    [sent] = bus.sent
    assert (sent.reply_to, sent.reply_to_session_id) == ("my-replies", "me")
    assert bus.asked["session_id"] == "me"


def test_a_request_can_be_sent_without_awaiting_the_reply(client: Client) -> None:
    bus = FakeBus(answering)
    correlation_id = client(bus).send("ceo", "Hello", metadata={"order": 7})
    assert bus.sent[0].correlation_id == bus.sent[0].message_id == correlation_id
    assert len(bus.replies) == 1


def test_a_bus_that_is_away_is_one_line_that_says_what_to_start(client: Client) -> None:
    def away(bus: FakeBus, message: ServiceBusMessage) -> None:
        raise ServiceBusConnectionError(message="connection refused\nmore")

    queue = client(FakeBus(away))
    for ask in (queue.ask, queue.send):
        with pytest.raises(AosUnreachable, match=r"^[^\n]*refused[^\n]*start AOS with `make run`$"):
            ask("ceo", "Hello")


def test_the_connection_string_is_in_no_repr() -> None:
    assert "sb://" not in repr(QueueClient(connection_string="Endpoint=sb://x"))


class AsyncBus:
    """A FakeBus behind the SDK's client for asyncio."""

    def __init__(self, bus: FakeBus) -> None:
        self._bus = bus

    def get_queue_sender(self, queue: str) -> Self:
        self._bus.get_queue_sender(queue)
        return self

    def get_queue_receiver(self, queue: str, **options: Any) -> Self:
        self._bus.get_queue_receiver(queue, **options)
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bus, name)

        async def call(*args: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            return method(*args, **options)

        return call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


@pytest.fixture
def async_client(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AsyncQueueClient]:
    """Makes a client for asyncio on a stand-in."""

    def made(bus: FakeBus, **options: Any) -> AsyncQueueClient:
        fake = AsyncBus(bus)
        monkeypatch.setattr(AsyncBusClient, "from_connection_string", lambda *_, **__: fake)
        return AsyncQueueClient(connection_string="Endpoint=sb://x", **options)

    return made


@pytest.mark.parametrize("options", [{}, {"replies": "my-replies", "session_id": "me"}])
async def test_the_client_for_asyncio_does_the_same(
    client: Client, async_client: Callable[..., AsyncQueueClient], options: dict[str, Any]
) -> None:
    def answer(bus: FakeBus, message: ServiceBusMessage) -> None:
        bus.put(RUN | {"run_id": "theirs"}, "theirs")
        bus.put(RUN, message.correlation_id)

    told = []
    for make in (client, async_client):
        bus = FakeBus(answer)
        bus.put(RUN | {"run_id": "old"}, "old")
        queue = make(bus, **options)
        asked = queue.ask("ceo", "Hello", key="k-1")
        reply = await asked if inspect.isawaitable(asked) else asked
        (sent,) = bus.sent
        bus.asked.pop("closed", None)
        told.append((reply, bus.settled, bus.asked, bus.peeked, str(sent), sent.message_id))
    assert told[0] == told[1]
    assert told[0][0] == RUN


async def test_many_tasks_ask_at_once_and_each_gets_its_own_reply(
    async_client: Callable[..., AsyncQueueClient],
) -> None:
    def answer(bus: FakeBus, message: ServiceBusMessage) -> None:
        said = json.loads(b"".join(message.body))["message"]
        bus.put(RUN | {"output": said}, message.correlation_id)

    bus = FakeBus(answer)
    async with async_client(bus) as queue:
        asks = [queue.ask("ceo", str(n), timeout_seconds=20) for n in range(20)]
        replies = await asyncio.wait_for(asyncio.gather(*asks), 20)
    assert [reply["output"] for reply in replies] == [str(n) for n in range(20)]
    assert bus.replies == []
    assert bus.asked["closed"]


async def test_a_bus_that_is_away_is_said_in_asyncio_too(
    async_client: Callable[..., AsyncQueueClient],
) -> None:
    def away(bus: FakeBus, message: ServiceBusMessage) -> None:
        raise ServiceBusConnectionError(message="connection refused\nmore")

    with pytest.raises(AosUnreachable, match=r"^[^\n]*refused[^\n]*start AOS with `make run`$"):
        await async_client(FakeBus(away)).send("ceo", "Hello")


def test_both_clients_have_the_same_methods() -> None:
    of_both = {name for name in dir(QueueClient) if not name.startswith("_")} - {"close"}
    assert of_both == {name for name in dir(AsyncQueueClient) if not name.startswith("_")} - {
        "aclose"
    }
    assert {"ask", "send"} <= of_both
    assert inspect.iscoroutinefunction(AsyncQueueClient.ask)

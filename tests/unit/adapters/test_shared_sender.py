"""One open sender serves many tasks, and a broken one is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusConnectionError,
    ServiceBusError,
    ServiceBusServerBusyError,
)

from aos.adapters.bus import shared_sender
from aos.adapters.bus.shared_sender import SharedSender
from aos.errors import AosError, RunFailed, TransientError


class Broker:
    """What the fake senders do: `on_send` is asked before a message counts as sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.batches: list[int] = []
        self.largest = 50
        self.opened = 0
        self.closed = 0
        self.sending = 0
        self.on_send: Callable[[], Awaitable[None]] | None = None
        self.fail_open: list[Exception] = []
        self.fail_send: list[Exception] = []

    def sender(self) -> ServiceBusSender:
        return _Sender(self)  # type: ignore[return-value]


class _Sender:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def __aenter__(self) -> _Sender:
        await asyncio.sleep(0)
        if self._broker.fail_open:
            raise self._broker.fail_open.pop(0)
        self._broker.opened += 1
        return self

    async def send_messages(
        self, message: ServiceBusMessage | list[ServiceBusMessage], **_options: float
    ) -> None:
        messages = message if isinstance(message, list) else [message]
        assert self._broker.sending == 0, "an SDK sender serves one send at a time"
        self._broker.sending += 1
        try:
            await asyncio.sleep(0)
            if self._broker.on_send is not None:
                await self._broker.on_send()
            if self._broker.fail_send:
                raise self._broker.fail_send.pop(0)
            if len(messages) > self._broker.largest:
                raise MessageSizeExceededError(message="too big together")
            self._broker.sent += [str(one.message_id) for one in messages]
            self._broker.batches.append(len(messages))
        finally:
            self._broker.sending -= 1

    async def close(self) -> None:
        self._broker.closed += 1


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def sender(broker: Broker) -> SharedSender:
    return SharedSender("aos-realm", broker.sender)


def a_message(message_id: object, session_id: str | None = None) -> ServiceBusMessage:
    return ServiceBusMessage(b"{}", message_id=str(message_id), session_id=session_id)


async def test_many_tasks_send_in_their_order_through_one_sender(
    broker: Broker, sender: SharedSender
) -> None:
    await asyncio.gather(*(sender.send(a_message(number)) for number in range(50)))
    assert broker.sent == [str(number) for number in range(50)]
    assert broker.opened == 1


async def test_messages_without_a_session_that_wait_are_one_batch(
    broker: Broker, sender: SharedSender
) -> None:
    sessions = [None, None, "a", "a", None, None, None]
    sends = [sender.send(a_message(n, session)) for n, session in enumerate(sessions)]
    await asyncio.gather(*sends)
    assert broker.sent == [str(number) for number in range(7)]
    assert broker.batches == [2, 1, 1, 3]


async def test_a_batch_is_bounded(broker: Broker, sender: SharedSender) -> None:
    count = 2 * shared_sender.MOST_TOGETHER + 1
    await asyncio.gather(*(sender.send(a_message(number)) for number in range(count)))
    assert broker.batches == [shared_sender.MOST_TOGETHER, shared_sender.MOST_TOGETHER, 1]


async def test_messages_that_are_too_large_together_are_sent_alone(
    broker: Broker, sender: SharedSender
) -> None:
    broker.largest = 2
    await asyncio.gather(*(sender.send(a_message(number)) for number in range(3)))
    assert (broker.sent, broker.batches) == (["0", "1", "2"], [1, 1, 1])


async def test_a_batch_that_fails_is_sent_again_whole(broker: Broker, sender: SharedSender) -> None:
    broker.fail_send = [ServiceBusConnectionError(message="gone")]
    await asyncio.gather(*(sender.send(a_message(number)) for number in range(3)))
    assert (broker.sent, broker.batches) == (["0", "1", "2"], [3])


async def test_opening_ahead_and_sending_at_once_open_one_sender(
    broker: Broker, sender: SharedSender
) -> None:
    await asyncio.gather(sender.open(), sender.open(), sender.send(a_message(1)))
    assert (broker.opened, sender.is_open) == (1, True)


async def test_a_sender_that_breaks_is_replaced_and_the_message_sent(
    broker: Broker, sender: SharedSender
) -> None:
    broker.fail_send = [ServiceBusConnectionError(message="gone"), ServiceBusError("gone again")]
    broker.fail_open = [ServiceBusConnectionError(message="not yet back")]
    await sender.send(a_message(1))
    await sender.close()
    assert broker.sent == ["1"]
    assert broker.closed == 4, "what failed to open is closed as well"


async def test_a_busy_broker_is_asked_again_through_the_same_sender(
    broker: Broker, sender: SharedSender
) -> None:
    broker.fail_send = [ServiceBusServerBusyError(message="too many requests")]
    await sender.send(a_message(1))
    assert (broker.sent, broker.opened, broker.closed) == (["1"], 1, 0)


async def test_a_message_too_large_fails_at_once_and_the_next_is_sent(
    broker: Broker, sender: SharedSender
) -> None:
    broker.fail_send = [MessageSizeExceededError(message="too big")]
    with pytest.raises(RunFailed) as caught:
        await sender.send(a_message(1))
    assert caught.value.code == "too_large"
    await sender.send(a_message(2))
    assert (broker.sent, broker.opened) == (["2"], 1)


async def test_a_message_that_the_entity_can_never_take_is_not_tried_again(
    broker: Broker, sender: SharedSender
) -> None:
    broker.fail_send = [ServiceBusError("condition: amqp:not-allowed, no session id")]
    with pytest.raises(AosError) as caught:
        await sender.send(a_message(1))
    assert not isinstance(caught.value, TransientError)
    assert caught.value.code == "internal_error"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (MessagingEntityNotFoundError(message="x"), "infra/servicebus.json"),
        (ServiceBusAuthenticationError(message="x"), "AZURE_SERVICEBUS_CONNECTION_STRING"),
        (ServiceBusConnectionError(message="x"), "not sent"),
    ],
)
async def test_what_stays_away_is_transient_in_the_end_and_says_what_to_do(
    broker: Broker,
    sender: SharedSender,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    hint: str,
) -> None:
    monkeypatch.setattr(shared_sender, "SEND_SECONDS", 0.4)
    broker.fail_open = [error] * 100
    with pytest.raises(TransientError, match=f"aos-realm.*{hint}"):
        await sender.send(a_message(1))


async def test_a_broker_that_never_answers_costs_a_bounded_time(
    broker: Broker, sender: SharedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sender, "SEND_SECONDS", 0.3)
    broker.on_send = lambda: asyncio.sleep(60)
    started = asyncio.get_running_loop().time()
    with pytest.raises(TransientError):
        await sender.send(a_message(1))
    assert asyncio.get_running_loop().time() - started < 2
    broker.on_send = None
    await sender.send(a_message(2))
    assert broker.sent == ["2"]


async def test_a_cancelled_caller_breaks_no_send(broker: Broker, sender: SharedSender) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go.wait()

    broker.on_send = wait
    first = asyncio.create_task(sender.send(a_message(1)))
    await asyncio.wait_for(reached.wait(), 5)
    second = asyncio.create_task(sender.send(a_message(2)))
    third = asyncio.create_task(sender.send(a_message(3)))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    go.set()
    await asyncio.wait_for(third, 5)
    assert broker.sent == ["1", "3"], "one under way is finished, one that only waits is not sent"
    assert (broker.opened, broker.closed) == (1, 0)


async def test_closing_tells_those_who_wait(broker: Broker, sender: SharedSender) -> None:
    reached = asyncio.Event()

    async def wait() -> None:
        reached.set()
        await asyncio.sleep(60)

    broker.on_send = wait
    sends = [asyncio.create_task(sender.send(a_message(number))) for number in range(3)]
    await asyncio.wait_for(reached.wait(), 5)
    await sender.close()
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert [type(result) for result in results] == [TransientError] * 3
    assert broker.closed == 1


async def test_a_closed_lane_opens_again(broker: Broker, sender: SharedSender) -> None:
    await sender.send(a_message(1))
    await sender.close()
    await sender.send(a_message(2))
    assert (broker.sent, broker.opened) == (["1", "2"], 2)

"""Webhooks go out over HTTP: to allowed addresses only, bounded in time, without redirects."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from aos.adapters.webhooks import HttpWebhooks
from aos.ports.webhooks import WebhookAnswer
from tests.webhook_receiver import Receiver, receiving

LISTED = frozenset({"127.0.0.1", "localhost"})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


async def post(url: str, *, listed: frozenset[str] = LISTED, seconds: float = 5) -> WebhookAnswer:
    """Post something."""
    client = HttpWebhooks(listed_hosts=listed)
    return await client.post(url, headers={"webhook-id": "e-1"}, body=b"{}", seconds=seconds)


async def test_headers_and_body_arrive_and_the_answer_is_taken(receiver: Receiver) -> None:
    answer = await post(receiver.url)
    assert answer == WebhookAnswer(status=204)
    assert answer.is_taken
    (got,) = receiver.received
    assert (got.path, got.headers["webhook-id"], got.body) == ("/hook", "e-1", b"{}")


async def test_a_refusal_comes_with_the_time_that_it_asks_for(receiver: Receiver) -> None:
    receiver.answer = lambda got: (429, {"Retry-After": "120"})
    answer = await post(receiver.url)
    assert answer == WebhookAnswer(status=429, retry_after_seconds=120.0)
    assert not answer.is_taken


async def test_no_redirect_is_followed(receiver: Receiver) -> None:
    receiver.answer = lambda got: (307, {"Location": receiver.url + "/elsewhere"})
    assert await post(receiver.url) == WebhookAnswer(status=307)
    assert [got.path for got in receiver.received] == ["/hook"]


async def test_a_name_that_resolves_to_a_private_address_is_refused_when_it_is_connected(
    receiver: Receiver,
) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")
    answer = await post(url, listed=frozenset())
    assert answer.fault == "the host 'localhost' resolves to an address that is not public"
    assert receiver.received == []
    assert (await post(url)).is_taken


async def test_a_receiver_that_does_not_answer_is_left_in_time(receiver: Receiver) -> None:
    gate = threading.Event()

    def slow(got: object) -> tuple[int, dict[str, str]]:
        gate.wait(10)
        return 204, {}

    receiver.answer = slow
    answer = await post(receiver.url, seconds=0.3)
    gate.set()
    assert answer == WebhookAnswer(fault="no answer within 0.3 s")


async def test_nobody_at_the_address_is_a_fault_without_the_url() -> None:
    with receiving() as gone:
        pass
    answer = await post(f"{gone.url}?token=secret")
    assert answer.status is None
    assert answer.fault.startswith("no connection")
    assert "secret" not in answer.fault

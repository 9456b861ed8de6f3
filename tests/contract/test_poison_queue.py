"""The storage queue `aos-jobs-poison` on a real queue service (Azurite)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from aos.adapters.poison_queue import AzurePoisonQueue
from aos.adapters.storage_queues import QueueAccount
from aos.domain.dead_letters import JOBS_QUEUE, POISON_QUEUE
from aos.errors import TransientError
from devhost.provision import create_storage
from tests.contract.azurite import Azurite


@pytest_asyncio.fixture
async def service(azurite: Azurite) -> AsyncIterator[QueueServiceClient]:
    create_storage(azurite.connection_string)
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        yield service


@pytest.fixture
def poison(azurite: Azurite) -> AzurePoisonQueue:
    return AzurePoisonQueue(QueueAccount(connection_string=azurite.connection_string))


async def test_a_queue_that_the_host_has_not_made_yet_is_empty(
    service: QueueServiceClient, poison: AzurePoisonQueue
) -> None:
    with contextlib.suppress(ResourceNotFoundError):
        await service.delete_queue(POISON_QUEUE)
    assert await poison.peek(POISON_QUEUE, start=0, limit=5) == []
    assert not await poison.remove(POISON_QUEUE, 1)


async def test_messages_are_shown_sent_again_and_removed_one_by_one(
    service: QueueServiceClient, poison: AzurePoisonQueue
) -> None:
    with contextlib.suppress(ResourceExistsError):
        await service.create_queue(POISON_QUEUE)
    queue, jobs = service.get_queue_client(POISON_QUEUE), service.get_queue_client(JOBS_QUEUE)
    await queue.clear_messages()
    await jobs.clear_messages()
    bodies = {(await queue.send_message(text)).id: text for text in ('{"n": 1}', '{"ü": 2}', "3")}

    shown = await poison.peek(POISON_QUEUE, start=0, limit=5)
    assert {dead.message.message_id: dead.message.body.decode() for dead in shown} == bodies
    numbers = [dead.message.sequence_number for dead in shown]
    assert numbers == sorted(numbers)
    later = await poison.peek(POISON_QUEUE, start=numbers[0] + 1, limit=1)
    assert [dead.message.sequence_number for dead in later] == numbers[1:2]

    second = shown[1]
    await poison.resend(second, message_id="of no use")
    assert await poison.remove(POISON_QUEUE, second.message.sequence_number)
    assert not await poison.remove(POISON_QUEUE, second.message.sequence_number)
    sent = [message.content async for message in jobs.receive_messages()]
    assert sent == [second.message.body.decode()]
    left = await poison.peek(POISON_QUEUE, start=0, limit=5)
    assert [dead.message.sequence_number for dead in left] == [numbers[0], numbers[2]]


async def test_a_queue_service_that_is_away_is_a_transient_error() -> None:
    away = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;"
    away += "QueueEndpoint=http://127.0.0.1:9/a;"
    poison = AzurePoisonQueue(QueueAccount(connection_string=away))
    with pytest.raises(TransientError, match="did not answer"):
        await poison.peek(POISON_QUEUE, start=0, limit=1)

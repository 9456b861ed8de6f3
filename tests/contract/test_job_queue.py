"""The storage queue `aos-jobs` on a real queue service (Azurite)."""

from __future__ import annotations

import pytest
from azure.storage.queue.aio import QueueClient

from aos.adapters.job_queue import AzureJobQueue
from aos.adapters.storage_queues import QueueAccount
from aos.domain.dead_letters import JOBS_QUEUE
from aos.domain.jobs import ArchiveRun, read_job
from aos.errors import TransientError
from devhost.provision import create_storage
from tests.contract.azurite import Azurite


async def test_a_job_reaches_the_queue_as_the_text_that_the_trigger_reads(
    azurite: Azurite,
) -> None:
    create_storage(azurite.connection_string)
    jobs = AzureJobQueue(QueueAccount(connection_string=azurite.connection_string))
    job = ArchiveRun(run_id="r-1", conversation_id="grüße")
    async with QueueClient.from_connection_string(azurite.connection_string, JOBS_QUEUE) as queue:
        await queue.clear_messages()
        await jobs.send(job)
        await jobs.send(job)
        received = [message async for message in queue.receive_messages(max_messages=5)]
        await queue.clear_messages()
    await jobs.close()
    assert [read_job(str(message.content).encode()) for message in received] == [job, job]


async def test_a_queue_that_does_not_answer_is_a_transient_error() -> None:
    nowhere = (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;"
        "QueueEndpoint=http://127.0.0.1:9/a;"
    )
    jobs = AzureJobQueue(QueueAccount(connection_string=nowhere))
    with pytest.raises(TransientError, match=JOBS_QUEUE):
        await jobs.send(ArchiveRun(run_id="r", conversation_id="c"))
    await jobs.close()

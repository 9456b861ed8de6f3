"""Storage queue triggers on a real Azurite."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from tests.contract.azurite import Azurite
from tests.contract.functions.hosting import Running, running_app, until

APP = """
@app.queue_trigger("message", queue_name="jobs", connection="JOBS")
async def job(message: func.QueueMessage) -> None:
    body = message.get_body().decode()
    note("job", body=body, tries=message.dequeue_count, id=message.id,
         inserted=message.insertion_time.isoformat())
    if body == "bad":
        raise RuntimeError("a bad job")

@app.queue_trigger("message", queue_name="not-there-yet", connection="JOBS")
async def late(message: func.QueueMessage) -> None:
    note("late", body=message.get_body().decode())
"""
HOST = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.300", "maxDequeueCount": 3}}}


def _queue(azurite: Azurite, name: str) -> QueueClient:
    return QueueClient.from_connection_string(azurite.connection_string, name)


def _send(queue: QueueClient, text: str) -> str:
    return str(queue.send_message(base64.b64encode(text.encode()).decode()).id)


@pytest.fixture(scope="module")
def app(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with _queue(azurite, "jobs") as queue:
        queue.create_queue()
    environment = {"JOBS": azurite.connection_string}
    folder = tmp_path_factory.mktemp("queue") / "app"
    with running_app(folder, APP, host=HOST, environment=environment) as running:
        yield running


def _noted(app: Running, event: str, body: str) -> list[dict[str, Any]]:
    return [line for line in app.noted(event) if line["body"] == body]


def test_a_message_is_decoded_called_once_and_deleted(app: Running, azurite: Azurite) -> None:
    with _queue(azurite, "jobs") as queue:
        sent = _send(queue, "good")
        until(lambda: _noted(app, "job", "good") != [])
        until(lambda: queue.get_queue_properties().approximate_message_count == 0)
    (line,) = _noted(app, "job", "good")
    assert (line["tries"], line["id"]) == (1, sent)
    assert line["inserted"].endswith("+00:00")


def test_a_message_that_fails_ends_in_the_poison_queue(app: Running, azurite: Azurite) -> None:
    with _queue(azurite, "jobs") as queue, _queue(azurite, "jobs-poison") as poison:
        sent = _send(queue, "bad")
        app.wait_for("queue.poison")
        (buried,) = poison.receive_messages()
        until(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert base64.b64decode(buried.content) == b"bad"
    assert [line["tries"] for line in _noted(app, "job", "bad")] == [1, 2, 3]
    failures = [line for line in app.noted("function.failed") if line.get("message_id") == sent]
    assert [line["error"] for line in failures] == ["RuntimeError: a bad job"] * 3


def test_text_that_is_not_base64_fails_and_says_what_to_do(app: Running, azurite: Azurite) -> None:
    with _queue(azurite, "jobs") as queue:
        sent = str(queue.send_message("plain text").id)
    until(
        lambda: any(
            line.get("message_id") == sent and "messageEncoding" in line["error"]
            for line in app.noted("function.failed")
        )
    )


def test_a_queue_that_is_made_later_is_served(app: Running, azurite: Azurite) -> None:
    with _queue(azurite, "not-there-yet") as queue:
        queue.create_queue()
        _send(queue, "first")
    began = time.monotonic()
    app.wait_for("late")
    assert time.monotonic() - began < 3


def test_plain_text_is_taken_where_host_json_says_so(
    azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = """
@app.queue_trigger("message", queue_name="plain", connection="JOBS")
def plain(message: func.QueueMessage) -> None:
    note("plain", body=message.get_body().decode())
"""
    with _queue(azurite, "plain") as queue:
        queue.create_queue()
        queue.send_message('{"a": 1}')
    with running_app(
        tmp_path_factory.mktemp("plain") / "app",
        source,
        host={"extensions": {"queues": {"messageEncoding": "none"}}},
        environment={"JOBS": azurite.connection_string},
    ) as app:
        assert app.wait_for("plain")["body"] == '{"a": 1}'
        assert app.terminate() == 0

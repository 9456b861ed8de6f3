"""Service Bus triggers against the local Service Bus, both as processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.amqp import AmqpAnnotatedMessage

from tests.contract.functions.bus import LocalBus, local_bus, queue
from tests.contract.functions.hosting import Running, running_app, until

APP = """
def sees(m):
    return {"body": m.get_body().decode(), "session": m.session_id, "message_id": m.message_id,
            "tries": m.delivery_count}

async def work(kind, m):
    note(kind + ".begins", **sees(m))
    word, _, seconds = m.get_body().decode().partition(" ")
    if word == "fail":
        raise RuntimeError("as told")
    if word == "wait":
        await asyncio.sleep(float(seconds))
    note(kind, **sees(m))

def queue_function(name, sessions=False):
    async def function(m: func.ServiceBusMessage) -> None:
        await work(name, m)
    function.__name__ = name
    app.service_bus_queue_trigger("m", queue_name=name, connection="BUS",
        data_type=func.DataType.BINARY, is_sessions_enabled=sessions)(function)

for name in ("plain", "short", "three"):
    queue_function(name)
for name in ("ordered", "short_ordered"):
    queue_function(name, sessions=True)

@app.service_bus_topic_trigger("m", topic_name="topic", subscription_name="all",
                               connection="BUS", data_type=func.DataType.BINARY)
def topic(m: func.ServiceBusMessage) -> None:
    note("topic", subject=m.subject, reply_to=m.reply_to, correlation_id=m.correlation_id,
         content_type=m.content_type, to=m.to, properties=m.user_properties,
         sequence_number=m.sequence_number, lock_token=m.lock_token,
         age=time.time() - m.enqueued_time_utc.replace(
             tzinfo=__import__("datetime").timezone.utc).timestamp(), **sees(m))

@app.service_bus_queue_trigger("m", queue_name="text", connection="BUS")
def text(m: func.ServiceBusMessage) -> None:
    note("text", **sees(m))
"""
QUEUES = [
    queue("plain"),
    queue("text"),
    queue("short", lock="PT5S"),
    queue("three", tries=3),
    queue("ordered", sessions=True),
    queue("short_ordered", sessions=True, lock="PT5S"),
]
TOPICS = [
    {
        "Name": "topic",
        "Properties": {"DefaultMessageTimeToLive": "PT1H"},
        "Subscriptions": [{"Name": "all", "Properties": {"LockDuration": "PT1M"}}],
    }
]
HOST = {
    "extensions": {
        "serviceBus": {
            "maxConcurrentCalls": 16,
            "maxConcurrentSessions": 16,
            "sessionIdleTimeout": "00:00:00.250",
            "maxAutoLockRenewalDuration": "00:10:00",
        }
    }
}


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBus]:
    with local_bus(tmp_path_factory.mktemp("bus"), QUEUES, TOPICS) as running:
        yield running


@pytest.fixture(scope="module")
def app(bus: LocalBus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("bus-app") / "app"
    environment = {"BUS": bus.connection_string}
    with running_app(folder, APP, host=HOST, environment=environment) as running:
        yield running


def _noted(app: Running, event: str, text: str) -> list[dict[str, Any]]:
    return [line for line in app.noted(event) if text in (line["body"], line["session"])]


def test_a_message_arrives_with_what_was_sent(app: Running, bus: LocalBus) -> None:
    bus.send(
        "topic",
        ServiceBusMessage(
            b"hello",
            subject="news",
            message_id="m-1",
            correlation_id="c-1",
            reply_to="answers",
            content_type="text/plain",
            to="all",
            application_properties={"n": 1, "text": "t", "flag": True},
        ),
    )
    line = app.wait_for("topic")
    assert (line["message_id"], line["correlation_id"], line["body"], line["tries"]) == (
        "m-1",
        "c-1",
        "hello",
        1,
    )
    assert (line["subject"], line["reply_to"], line["content_type"], line["to"]) == (
        "news",
        "answers",
        "text/plain",
        "all",
    )
    assert line["properties"] == {"n": 1, "text": "t", "flag": True}
    assert (line["sequence_number"], len(line["lock_token"])) == (1, 36)
    assert -0.1 < line["age"] < 5


def test_a_session_keeps_its_order_and_sessions_run_side_by_side(
    app: Running, bus: LocalBus
) -> None:
    sessions = [f"s-{number}" for number in range(6)]
    for number in range(4):
        bus.send(
            "ordered",
            *(ServiceBusMessage(f"wait 0.1{number}", session_id=session) for session in sessions),
        )
    app.wait_for("ordered", count=24)
    for session in sessions:
        assert [line["body"][-1] for line in _noted(app, "ordered", session)] == list("0123")
    began = [line["at"] for line in app.noted("ordered.begins") if line["session"] in sessions]
    ended = [line["at"] for line in app.noted("ordered") if line["session"] in sessions]
    assert max(ended) - min(began) < 24 * 0.1  # one after the other it would have taken longer


def test_a_failing_message_comes_again_at_once_until_the_broker_buries_it(
    app: Running, bus: LocalBus
) -> None:
    began = time.monotonic()
    bus.send("three", ServiceBusMessage("fail", message_id="doomed"))
    (dead,) = bus.received("three", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    assert time.monotonic() - began < 6
    assert (dead.message_id, dead.dead_letter_reason) == ("doomed", "MaxDeliveryCountExceeded")
    assert [line["tries"] for line in _noted(app, "three.begins", "fail")] == [1, 2, 3]
    failures = [line for line in app.noted("function.failed") if line["message_id"] == "doomed"]
    assert [line["error"] for line in failures] == ["RuntimeError: as told"] * 3


def test_a_body_that_is_no_data_is_buried_without_a_call(app: Running, bus: LocalBus) -> None:
    bus.send("three", AmqpAnnotatedMessage(value_body={"a": 1}))
    (dead,) = bus.received("three", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"
    assert any("cannot be bound" in line["error"] for line in app.noted("function.failed"))


def test_a_text_body_forges_the_metadata_as_in_azure(app: Running, bus: LocalBus) -> None:
    bus.send("text", ServiceBusMessage(b'{"MESSAGEID": "forged"}', message_id="real"))
    assert app.wait_for("text")["message_id"] == "forged"


def test_locks_are_renewed_as_long_as_the_function_works(app: Running, bus: LocalBus) -> None:
    bus.send("short", ServiceBusMessage("wait 7"))
    bus.send("short_ordered", ServiceBusMessage("wait 7", session_id="long"))
    app.wait_for("short", seconds=12)
    app.wait_for("short_ordered", seconds=12)
    for name in ("short", "short_ordered"):
        assert [line["tries"] for line in _noted(app, f"{name}.begins", "wait 7")] == [1]
    assert app.noted("bus.unsettled") == []


def test_a_frozen_broker_only_makes_it_wait(app: Running, bus: LocalBus) -> None:
    bus.send("plain", ServiceBusMessage("wait 0.5"))
    until(lambda: _noted(app, "plain.begins", "wait 0.5") != [])
    os.kill(bus.process.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(bus.process.pid).status() == psutil.STATUS_STOPPED)
    until(lambda: _noted(app, "plain", "wait 0.5") != [])  # its settlement meets a frozen broker
    os.kill(bus.process.pid, signal.SIGCONT)
    bus.send("plain", ServiceBusMessage("thawed"))
    until(lambda: _noted(app, "plain", "thawed") != [])
    assert [line["tries"] for line in _noted(app, "plain.begins", "wait 0.5")] == [1]
    assert app.noted("bus.away") == []


def test_it_is_back_within_a_second_after_the_broker_was_killed(tmp_path: Path) -> None:
    with local_bus(tmp_path, QUEUES, TOPICS) as bus:
        environment = {"BUS": bus.connection_string}
        with running_app(tmp_path / "app", APP, host=HOST, environment=environment) as app:
            bus.send("plain", ServiceBusMessage("wait 2"))
            bus.send("ordered", ServiceBusMessage("wait 2", session_id="s"))
            app.wait_for("plain.begins")
            app.wait_for("ordered.begins")
            bus.kill()
            app.wait_for("bus.away")
            bus.wait_for_attempts(5)  # from the fifth on the host waits longest between two
            bus.start()
            up = time.time()
            # their locks died with the broker, so they come again while the first calls run
            again = [app.wait_for(f"{name}.begins", count=2) for name in ("plain", "ordered")]
            assert max(line["at"] for line in again) - up < 1.0
            for name in ("plain", "ordered"):
                app.wait_for(name, count=2)
            bus.send("plain", ServiceBusMessage("after"))
            until(lambda: _noted(app, "plain", "after") != [])
            assert app.terminate() == 0


def test_a_graceful_stop_ends_calls_and_gives_the_session_back(tmp_path: Path) -> None:
    with local_bus(tmp_path, QUEUES, TOPICS) as bus:
        environment = {"BUS": bus.connection_string}
        with running_app(tmp_path / "one", APP, host=HOST, environment=environment) as app:
            bus.send(
                "ordered",
                ServiceBusMessage("wait 1.0", session_id="s"),
                ServiceBusMessage("next", session_id="s"),
            )
            app.wait_for("ordered.begins")
            assert app.terminate() == 0
            assert [line["body"] for line in app.noted("ordered")] == ["wait 1.0"]
        began = time.time()
        with running_app(tmp_path / "two", APP, host=HOST, environment=environment) as app:
            line = app.wait_for("ordered")
            assert (line["body"], line["tries"]) == ("next", 1)
            assert line["at"] - began < 5

"""A receiver that `notify` names is told of a run's events, once by id, whatever happens."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from aos.adapters.memory import Kept, SentWebhook
from aos.client.validation import read_card_policy
from aos.domain.cards.notify_rules import find_notify_problems
from aos.domain.envelope import AGENT_EVENTS, MAIN_QUEUE, SYSTEM_EVENTS, DeliverNotification
from aos.domain.notify import Notify
from aos.domain.runs.run import RunStatus
from aos.errors import TransientError
from aos.ports.webhooks import WebhookAnswer
from aos.services import notifications
from aos.testing import Answer, Calls, MemoryWorld, ScriptedModel
from tests.unit.entrypoints.laptop_in_memory import call
from tests.unit.tools.worlds import CLOCK, noon, nothing

OLD = "whsec_" + b64encode(b"o" * 32).decode()
NEW = "whsec_" + b64encode(b"n" * 24).decode()
URL = "https://hooks.example.com/aos"
AWAY = WebhookAnswer(status=503)
TAKEN = WebhookAnswer(status=204)
HOUR = 3600.0
SENT: dict[int, list[Kept]] = {}


async def a_world(
    notify: dict[str, Any] | None = None, *answers: Answer, secret: str = OLD
) -> MemoryWorld:
    """An agent whose card names this receiver."""
    world = MemoryWorld(
        model=ScriptedModel(*(answers or ("Hello.",))), settings={"AOS_WEBHOOK_SECRET": secret}
    )
    await world.put_mcp_server(CLOCK, {"now": noon, "set": nothing})
    card: dict[str, Any] = {"agent_id": "ceo", "purpose": "Lead.", "notify": notify}
    card["mcp_tools"] = [{"server": "clock", "approval": "always"}]
    watch(world)
    status = await world.put_agent({k: v for k, v in card.items() if v is not None})
    assert status["errors"] == []
    return world


def events_of(world: MemoryWorld, topic: str) -> dict[str, dict[str, Any]]:
    """The events that were published, by type."""
    bodies = [json.loads(kept.body) for kept in SENT[id(world)] if kept.entity == topic]
    return {body["type"]: body for body in bodies}


@pytest.fixture(autouse=True)
def forget_sent() -> Iterator[None]:
    """Each test begins with nothing sent."""
    yield
    SENT.clear()


def watch(world: MemoryWorld) -> None:
    """Keep what is sent, because the apps take it from the broker."""
    sent = SENT.setdefault(id(world), [])
    world.broker.watchers.append(lambda what, kept: sent.append(kept) if what == "send" else None)


def ids_of(world: MemoryWorld) -> list[str]:
    """The webhook-id of every try."""
    return [sent.headers["webhook-id"] for sent in world.receivers.tries]


async def test_the_receiver_of_the_card_gets_the_event_that_is_published() -> None:
    world = await a_world({"url": URL})
    run = await world.ask("ceo", "Hi")
    (sent,) = world.receivers.tries
    assert sent.url == URL
    assert json.loads(sent.body) == events_of(world, AGENT_EVENTS)["run.completed"]
    assert sent.headers["webhook-id"] == f"{run.run_id}:completed"
    assert sent.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"


async def test_a_delivery_is_signed_with_the_new_and_the_old_secret() -> None:
    world = await a_world({"url": URL}, secret=f"{NEW}, {OLD}")
    await world.ask("ceo", "Hi")
    (sent,) = world.receivers.tries
    at = datetime.fromtimestamp(int(sent.headers["webhook-timestamp"]), tz=UTC)
    expected = [
        Webhook(secret).sign(sent.headers["webhook-id"], at, sent.body.decode())
        for secret in (NEW, OLD)
    ]
    assert sent.headers["webhook-signature"].split(" ") == expected


async def test_the_receiver_of_the_request_replaces_that_of_the_card() -> None:
    world = await a_world({"url": URL})
    await world.ask("ceo", "Hi", notify={"url": "https://other.example.com/"})
    assert [sent.url for sent in world.receivers.tries] == ["https://other.example.com/"]


async def test_a_receiver_gets_only_the_events_that_it_names() -> None:
    world = await a_world({"url": URL, "events": ["run.failed"]})
    await world.ask("ceo", "Hi")
    assert world.receivers.tries == []


async def test_a_run_without_a_receiver_sends_main_its_end_alone() -> None:
    world = await a_world()
    await world.ask("ceo", "Hi")
    assert list(events_of(world, MAIN_QUEUE)) == ["RunEnded"]


async def test_a_call_that_waits_for_a_person_is_told() -> None:
    world = await a_world({"url": URL}, Calls(("clock__now", {})), "Noon.")
    run = await world.ask("ceo", "What time is it?")
    assert run.status is RunStatus.WAITING_APPROVAL
    (sent,) = world.receivers.tries
    assert json.loads(sent.body) == events_of(world, AGENT_EVENTS)["approval.requested"]


async def test_a_queue_gets_the_event_as_a_message() -> None:
    world = await a_world({"queue": "businessinfinity-responses"})
    run = await world.ask("ceo", "Hi")
    (kept,) = world.broker.messages("businessinfinity-responses")
    assert kept.message_id == f"{run.run_id}:completed"
    assert json.loads(kept.body) == events_of(world, AGENT_EVENTS)["run.completed"]


async def test_a_receiver_that_is_away_for_an_hour_gets_the_event_once_with_one_id() -> None:
    world = await a_world({"url": URL})
    begun = world.clock.now()
    taken: list[SentWebhook] = []

    def answer(sent: SentWebhook) -> WebhookAnswer:
        if world.clock.now() < begun + timedelta(hours=1):
            return AWAY
        taken.append(sent)
        return TAKEN

    world.receivers.answer = answer
    run = await world.ask("ceo", "Hi", reply_to="businessinfinity-responses", key="k")
    assert len(world.replies()) == 1, "the reply waits for no receiver"
    await world.advance(3 * HOUR)
    assert [json.loads(sent.body)["id"] for sent in taken] == [f"{run.run_id}:completed"]
    assert set(ids_of(world)) == {f"{run.run_id}:completed"}
    assert len({sent.body for sent in world.receivers.tries}) == 1
    assert 5 <= len(world.receivers.tries) <= 9
    assert world.broker.messages(MAIN_QUEUE) == []


async def test_a_receiver_that_stays_away_is_given_up_after_a_day() -> None:
    world = await a_world({"url": f"{URL}?token=secret"})
    begun = world.clock.now()
    at: list[timedelta] = []

    def answer(sent: SentWebhook) -> WebhookAnswer:
        at.append(world.clock.now() - begun)
        return AWAY

    world.receivers.answer = answer
    run = await world.ask("ceo", "Hi")
    await world.advance(30 * HOUR)
    assert timedelta(hours=24) <= at[-1] < timedelta(hours=24, minutes=2)
    assert world.broker.messages(MAIN_QUEUE) == []
    (dead,) = world.broker.dead_letters(MAIN_QUEUE)
    assert dead.message_id == f"{run.run_id}:completed:notify:given-up"
    failed = events_of(world, SYSTEM_EVENTS)["notification.failed"]
    assert failed["data"] == {
        "run_id": run.run_id,
        "agent_id": "ceo",
        "conversation_id": run.conversation_id,
        "event_id": f"{run.run_id}:completed",
        "event_type": "run.completed",
        "host": "hooks.example.com",
        "failures": len(at),
        "reason": "the receiver answered 503",
    }
    assert "secret" not in str(world.telemetry.lines)


async def test_a_receiver_that_is_gone_is_not_asked_again() -> None:
    world = await a_world({"url": URL})
    world.receivers.answer = lambda sent: WebhookAnswer(status=410)
    await world.ask("ceo", "Hi")
    await world.advance(2 * HOUR)
    assert len(world.receivers.tries) == 1
    assert "notification.failed" in events_of(world, SYSTEM_EVENTS)


async def test_the_replay_of_a_delivery_that_was_given_up_begins_anew() -> None:
    world = await a_world({"url": URL})
    world.receivers.answer = lambda sent: WebhookAnswer(status=410)
    run = await world.ask("ceo", "Hi")
    letters = world.main.dead_letters
    (dead,) = (await call(letters.list)).body["items"]
    assert (dead["reason"], dead["run_id"]) == ("given_up", run.run_id)
    assert dead["error"]["message"] == "the receiver of run.completed: the receiver answered 410"
    world.receivers.answer = lambda sent: AWAY if len(world.receivers.tries) < 3 else TAKEN
    named = {"entity": MAIN_QUEUE, "sequence_number": dead["sequence_number"]}
    assert (await call(letters.replay, "POST", body=named)).status == 200
    await world.settle()
    assert len(world.receivers.tries) == 2
    await world.advance(10.0)
    assert len(world.receivers.tries) == 3
    assert len(set(ids_of(world))) == 1
    assert world.broker.dead_letters(MAIN_QUEUE) == []


async def test_a_retry_after_is_respected() -> None:
    world = await a_world({"url": URL})
    world.receivers.answer = lambda sent: WebhookAnswer(status=429, retry_after_seconds=1800.0)
    await world.ask("ceo", "Hi")
    await world.advance(1700.0)
    assert len(world.receivers.tries) == 1
    await world.advance(200.0)
    assert len(world.receivers.tries) == 2


async def test_a_try_whose_process_died_is_made_again_with_the_same_id() -> None:
    world = await a_world({"url": URL})
    send = world.ports.bus.send

    async def dies(outgoing: Any) -> None:
        if outgoing.scheduled_at is not None:
            raise ConnectionResetError("the process died")
        await send(outgoing)

    world.receivers.answer = lambda sent: AWAY
    world.ports.bus.send = dies  # type: ignore[method-assign]
    with pytest.raises(ConnectionResetError):
        await world.ask("ceo", "Hi")
    world.ports.bus.send = send  # type: ignore[method-assign]
    world.receivers.answer = lambda sent: TAKEN
    world.clock.advance(2 * 86400.0)  # its lock expires
    await world.settle()
    assert len(ids_of(world)) == 2
    assert len(set(ids_of(world))) == 1


async def test_the_end_is_not_recorded_before_its_notification_is_owed() -> None:
    world = await a_world({"url": URL})
    send = world.ports.bus.send
    broken = True

    async def away(outgoing: Any) -> None:
        if broken and outgoing.command.type == "DeliverNotification":
            raise TransientError("the bus is away")
        await send(outgoing)

    world.ports.bus.send = away  # type: ignore[method-assign]
    run = await world.ask("ceo", "Hi")
    assert await world.ports.ledger.is_recorded(run) is False
    broken = False
    await world.advance(HOUR)
    assert ids_of(world)[:1] == [f"{run.run_id}:completed"]


@pytest.mark.parametrize("why", ["busy", "away"])
async def test_the_next_try_is_scheduled_by_the_brokers_clock(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await a_world({"url": URL})
    run = await world.ask("ceo", "Hi", notify={"queue": "businessinfinity-responses"})
    world.receivers.answer = lambda sent: AWAY
    if why == "busy":
        monkeypatch.setattr(notifications, "MOST_A_HOST", 0)
    command = command_of(run.run_id, run.conversation_id, 1)
    await world.main.services.notifications.deliver(command, lag=timedelta(seconds=20))
    (later,) = world.broker.messages(MAIN_QUEUE)
    assert later.visible_at > world.clock.now() + timedelta(seconds=20)


async def test_a_slow_receiver_holds_few_handlers_and_the_rest_is_sent_later() -> None:
    world = await a_world({"url": URL}, *(["Hello."] * 20))
    held: list[asyncio.Event] = []
    post = world.ports.webhooks
    assert post is not None
    real = post.post

    async def slow(url: str, **parts: Any) -> WebhookAnswer:
        gate = asyncio.Event()
        held.append(gate)
        await gate.wait()
        return await real(url, **parts)

    service = world.main.services.notifications
    run = await world.ask("ceo", "Hi", notify={"queue": "businessinfinity-responses"})
    post.post = slow  # type: ignore[method-assign]
    tries = [
        asyncio.create_task(service.deliver(command_of(run.run_id, run.conversation_id, number)))
        for number in range(20)
    ]
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(held) == notifications.MOST_A_HOST
    assert len(world.broker.messages(MAIN_QUEUE)) == 20 - notifications.MOST_A_HOST
    for gate in held:
        gate.set()
    await asyncio.gather(*tries)
    post.post = real  # type: ignore[method-assign]
    await world.advance(60.0)
    assert sorted(ids_of(world)) == sorted(f"e-{number}" for number in range(20))


def command_of(run_id: str, conversation_id: str, number: int) -> DeliverNotification:
    """The command that delivers one event of its own id."""
    return DeliverNotification(
        run_id=run_id,
        conversation_id=conversation_id,
        agent_id="ceo",
        event_id=f"e-{number}",
        event_type="approval.requested",
        time=datetime(2030, 1, 31, tzinfo=UTC),
        notify=Notify(url=URL),
        data={"run_id": run_id},
    )


async def test_the_end_of_a_run_that_was_deleted_is_not_told() -> None:
    world = await a_world({"url": URL})
    world.receivers.answer = lambda sent: AWAY
    run = await world.ask("ceo", "Hi")
    await world.delete_conversation(run.conversation_id)
    await world.advance(10.0)
    assert len(world.receivers.tries) == 1
    assert world.broker.messages(MAIN_QUEUE) == []


@pytest.mark.parametrize("receiver", [{"url": URL}, {"queue": "businessinfinity-responses"}])
async def test_what_a_run_asked_before_it_was_deleted_is_not_told(
    receiver: dict[str, str],
) -> None:
    world = await a_world()
    run = await world.ask("ceo", "Hi")
    await world.delete_conversation(run.conversation_id)
    await world.advance(10.0)
    command = replace(command_of(run.run_id, run.conversation_id, 1), notify=Notify(**receiver))
    await world.main.services.notifications.deliver(command)
    assert (world.receivers.tries, world.replies()) == ([], [])


@pytest.mark.parametrize(
    ("notify", "path"),
    [
        ({"url": "http://hooks.example.com/"}, "notify.url"),
        ({"url": "https://10.1.2.3/"}, "notify.url"),
        ({"url": "https://localhost/"}, "notify.url"),
        ({"queue": "aos-realm"}, "notify.queue"),
        ({"url": URL, "queue": "businessinfinity-responses"}, "notify"),
        ({}, "notify"),
        ({"url": URL, "events": ["run.deleted"]}, "notify.events[0]"),
        ({"url": URL, "event": ["run.failed"]}, "notify.event"),
    ],
)
async def test_a_receiver_that_is_not_allowed_is_an_error_of_the_card(
    notify: dict[str, Any], path: str
) -> None:
    world = MemoryWorld(settings={"AOS_WEBHOOK_SECRET": OLD})
    status = await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "notify": notify})
    assert (status["state"], status["errors"][0]["path"]) == ("rejected", path)


async def test_a_url_needs_a_secret_to_sign_with() -> None:
    world = MemoryWorld()
    card = {"agent_id": "ceo", "purpose": "Lead.", "notify": {"url": URL}}
    (problem,) = (await world.put_agent(card))["errors"]
    assert "AOS_WEBHOOK_SECRET" in problem["hint"]


async def test_the_operator_may_list_a_private_host() -> None:
    world = MemoryWorld(settings={"AOS_WEBHOOK_SECRET": OLD, "AOS_WEBHOOK_HOSTS": "127.0.0.1:9000"})
    card = {"agent_id": "ceo", "purpose": "Lead.", "notify": {"url": "http://127.0.0.1:9000/h"}}
    assert (await world.put_agent(card))["errors"] == []


def test_checking_card_files_needs_no_secret() -> None:
    policy = read_card_policy({"AOS_REPLY_TO": "billing", "AOS_WEBHOOK_HOSTS": "hooks.internal"})
    assert list(find_notify_problems({"url": "http://hooks.internal/"}, policy)) == []
    assert list(find_notify_problems({"queue": "billing"}, policy)) == []

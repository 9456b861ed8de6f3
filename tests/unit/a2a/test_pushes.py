"""Push notifications of tasks: signed, kept in rows, and never sent to private addresses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from aos.adapters.memory import SentWebhook
from aos.domain.pushes import MAX_CONFIGS
from aos.ports.webhooks import WebhookAnswer
from aos.testing import Calls, MemoryWorld
from tests.unit.a2a.kit import SECRET, a_message, a_world, rest, rpc, send, state_of, text_of

URL = "https://client.example.com/pushes"
CONFIG = {
    "id": "main",
    "url": URL,
    "token": "t-1",
    "authentication": {"scheme": "Bearer", "credentials": "secret"},
}
GUARDED = {"mcp_tools": [{"server": "clock", "approval": "always"}]}


def with_config(config: dict[str, Any] = CONFIG, **more: Any) -> dict[str, Any]:
    """The configuration of a request with a receiver."""
    return {"configuration": {"taskPushNotificationConfig": config, **more}}


def bodies(world: MemoryWorld) -> list[dict[str, Any]]:
    """What was sent, each try."""
    return [json.loads(sent.body) for sent in world.receivers.tries]


async def test_the_receiver_gets_the_ended_task_signed_with_its_token() -> None:
    world = await a_world("Hello.")
    task = await send(world, "Hi", **with_config())
    await world.settle()
    (sent,) = world.receivers.tries
    assert sent.url == URL
    assert sent.headers["X-A2A-Notification-Token"] == "t-1"
    assert sent.headers["Authorization"] == "Bearer secret"
    assert sent.headers["Content-Type"] == "application/json"
    signed = {name.lower(): value for name, value in sent.headers.items()}
    late = {**signed, "webhook-timestamp": signed["webhook-timestamp"]}
    pushed = json.loads(sent.body)["task"]
    assert late["webhook-id"] == f"{task['id']}:completed:main"
    assert (pushed["id"], state_of(pushed), text_of(pushed)) == (task["id"], "COMPLETED", "Hello.")
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(int(signed["webhook-timestamp"]), tz=UTC)
    expected = Webhook(SECRET).sign(signed["webhook-id"], at, sent.body.decode())
    assert signed["webhook-signature"] == expected


async def test_a_message_sent_again_with_its_receiver_pushes_once() -> None:
    world = await a_world(Calls(("clock__now", {})), "Noon.", card=GUARDED)
    config = {"url": URL}
    first = await send(world, "When?", **with_config(config))
    await send(world, "When?", **with_config(config))
    assert [key[0] for key in world.tables.pushes] == [first["id"]]
    await send(world, "approve", message_id="2", taskId=first["id"])
    await world.settle()
    assert [next(iter(body)) for body in bodies(world)] == ["statusUpdate", "task"]


async def test_an_answer_with_a_receiver_that_its_task_cannot_have_decides_nothing() -> None:
    world = await a_world(Calls(("clock__now", {})), card=GUARDED)
    run = await world.ask("ceo", "When?")
    params = {"message": a_message("approve", taskId=run.run_id), **with_config()}
    assert (await rpc(world, "SendMessage", params)).reason == "UNSUPPORTED_OPERATION"
    assert len((await world.waiting_approvals()).items) == 1


async def test_a_task_that_waits_for_a_person_is_told_with_what_it_asks() -> None:
    world = await a_world(Calls(("clock__now", {})), "Noon.", card=GUARDED)
    task = await send(world, "When?", **with_config())
    (asked,) = bodies(world)
    assert asked["statusUpdate"]["taskId"] == task["id"]
    assert asked["statusUpdate"]["status"] == task["status"]
    await send(world, "approve", message_id="2", taskId=task["id"])
    await world.settle()
    assert [next(iter(body)) for body in bodies(world)] == ["statusUpdate", "task"]


async def test_the_receiver_of_the_card_is_told_as_well() -> None:
    world = await a_world("Hello.", card={"notify": {"url": "https://hooks.example.com/"}})
    await send(world, "Hi", **with_config())
    await world.settle()
    assert {sent.url for sent in world.receivers.tries} == {URL, "https://hooks.example.com/"}
    types = {json.loads(sent.body).get("type") for sent in world.receivers.tries}
    assert types == {None, "run.completed"}


async def test_a_receiver_that_is_away_gets_the_task_later_once_with_one_id() -> None:
    world = await a_world("Hello.")
    begun = world.clock.now()

    def answer(sent: SentWebhook) -> WebhookAnswer:
        away = world.clock.now() < begun + timedelta(minutes=5)
        return WebhookAnswer(status=503 if away else 204)

    world.receivers.answer = answer
    task = await send(world, "Hi", **with_config())
    await world.advance(1200)
    tries = world.receivers.tries
    assert len(tries) > 2
    assert {sent.headers["webhook-id"] for sent in tries} == {f"{task['id']}:completed:main"}
    done = len(tries)
    await world.advance(1200)
    assert len(world.receivers.tries) == done


async def test_configs_are_created_read_listed_and_deleted() -> None:
    world = await a_world(Calls(("clock__now", {})), "Noon.", card=GUARDED)
    task = await send(world, "When?")
    place = f"tasks/{task['id']}/pushNotificationConfigs"
    made = await rest(world, "POST", place, {"url": URL, "token": "t"})
    shown = {"id": made.body["id"], "taskId": task["id"], "url": URL, "token": "t"}
    assert (made.status, made.body) == (200, shown)
    second = {"taskId": task["id"], **CONFIG}
    named = await rpc(world, "CreateTaskPushNotificationConfig", second)
    assert named.body["result"]["authentication"] == {"scheme": "Bearer"}
    assert (await rest(world, "GET", f"{place}/{made.body['id']}")).body == shown
    listed = await rpc(world, "ListTaskPushNotificationConfigs", {"taskId": task["id"]})
    assert {item["id"] for item in listed.body["result"]["configs"]} == {"main", made.body["id"]}
    for _ in range(2):
        gone = await rest(world, "DELETE", f"{place}/{made.body['id']}")
        assert (gone.status, gone.body) == (200, {})
    assert (await rest(world, "GET", f"{place}/{made.body['id']}")).reason == "TASK_NOT_FOUND"
    by_rpc = {"taskId": task["id"], "id": "main"}
    assert (await rpc(world, "DeleteTaskPushNotificationConfig", by_rpc)).body["result"] is None
    await send(world, "approve", message_id="2", taskId=task["id"])
    await world.settle()
    assert bodies(world) == []


async def test_a_receiver_that_comes_while_the_task_goes_on_is_told_of_its_end() -> None:
    world = await a_world(Calls(("clock__now", {})), "Noon.", card=GUARDED)
    task = await send(world, "When?")
    await rpc(world, "CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": URL})
    assert bodies(world) == []
    await send(world, "approve", message_id="2", taskId=task["id"])
    await world.settle()
    (pushed,) = bodies(world)
    assert state_of(pushed["task"]) == "COMPLETED"


async def test_a_run_that_ends_before_its_receiver_is_written_is_told_all_the_same() -> None:
    world = await a_world("Fast.")
    real = world.ports.pushes.put

    async def put(config: Any) -> None:
        await world.settle()  # the run ends now
        await real(config)

    world.ports.pushes.put = put  # type: ignore[method-assign]
    task = await send(world, "Hi", **with_config(returnImmediately=True))
    await world.settle()
    (pushed,) = bodies(world)
    assert pushed["task"]["id"] == task["id"]


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example.com/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://localhost/",
        "https://[::1]/",
        "ftp://client.example.com/",
        "https://user:pw@client.example.com/",
    ],
)
async def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    world = await a_world(Calls(("clock__now", {})), card=GUARDED)
    task = await send(world, "When?")
    body = {"taskId": task["id"], "url": url}
    reply = await rpc(world, "CreateTaskPushNotificationConfig", body)
    assert (reply.reason, reply.error["code"]) == ("INVALID_PARAMS", -32602)
    assert world.tables.pushes == {}


async def test_a_bad_receiver_of_a_message_begins_no_task() -> None:
    world = await a_world("Hello.")
    params = {"message": a_message("Hi"), **with_config({"url": "https://127.0.0.1/"})}
    assert (await rpc(world, "SendMessage", params)).reason == "INVALID_PARAMS"
    assert world.tables.requests == {}


async def test_a_task_has_a_bounded_number_of_receivers() -> None:
    world = await a_world(Calls(("clock__now", {})), card=GUARDED)
    task = await send(world, "When?")
    for number in range(MAX_CONFIGS + 1):
        body = {"taskId": task["id"], "url": URL, "id": f"c-{number}"}
        reply = await rpc(world, "CreateTaskPushNotificationConfig", body)
    assert reply.reason == "INVALID_PARAMS"
    again = await rpc(world, "CreateTaskPushNotificationConfig", {**body, "id": "c-0"})
    assert "result" in again.body


async def test_without_a_secret_nothing_is_pushed_and_the_card_says_so() -> None:
    world = MemoryWorld()
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    params = {"message": a_message("Hi"), **with_config()}
    reply = await rpc(world, "SendMessage", params)
    assert (reply.error["code"], reply.reason) == (-32003, "PUSH_NOTIFICATION_NOT_SUPPORTED")
    assert world.tables.requests == {}


async def test_a_run_of_another_door_takes_no_receiver() -> None:
    world = await a_world(Calls(("clock__now", {})), card=GUARDED)
    run = await world.ask("ceo", "When?")
    body = {"taskId": run.run_id, "url": URL}
    reply = await rpc(world, "CreateTaskPushNotificationConfig", body)
    assert reply.reason == "UNSUPPORTED_OPERATION"


async def test_receivers_go_with_the_conversation() -> None:
    world = await a_world("Hello.")
    task = await send(world, "Hi", **with_config())
    assert len(world.tables.pushes) == 1
    await world.delete_conversation(task["contextId"])
    await world.advance(10)
    assert world.tables.pushes == {}

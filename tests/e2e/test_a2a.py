"""The SDKs of A2A, unmodified, with an agent on a laptop: every operation, and through a kill."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.client.client import Client
from a2a.helpers import get_artifact_text, new_text_message
from a2a.types import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Role,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError, UnsupportedOperationError
from google.protobuf.json_format import ParseDict
from standardwebhooks.webhooks import Webhook

from devhost.laptop import REPOSITORY
from tests.contract.mcp.kit import NASTY
from tests.e2e.conftest import WEBHOOK_SECRET, Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say
from tests.webhook_receiver import receiving

BINDINGS = ("JSONRPC", "HTTP+JSON")
NODE = Path(__file__).with_name("ask_a2a.mjs")
KILL_SECONDS = 60.0
PAUSE_SECONDS = 0.03
LENGTHS = (("first", 60), ("second", 12))
"""What the model writes before and after the kill, in words; three letters a pause."""


@asynccontextmanager
async def talking(
    road: Road, agent: str, binding: str = "JSONRPC", *, streaming: bool = True
) -> AsyncIterator[Client]:
    """A client made from the agent's card."""
    async with httpx.AsyncClient(timeout=90.0) as http:
        config = ClientConfig(
            httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming
        )
        yield await create_client(f"{road.main}/api/a2a/{agent}", config)


def says(text: str, **fields: str) -> SendMessageRequest:
    """A request with a message."""
    message = new_text_message(text, role=Role.ROLE_USER, **fields)
    return SendMessageRequest(message=message)


async def ask(client: Client, request: SendMessageRequest) -> Task:
    """Send without a stream; the task."""
    (answer,) = [update async for update in client.send_message(request)]
    return answer.task


async def until(look: Callable[[], Any], *, what: str) -> None:
    """Wait in a thread for what happens outside."""
    await asyncio.to_thread(eventually, look, seconds=KILL_SECONDS, what=what)


def output_of(task: Task) -> str:
    (artifact,) = task.artifacts
    return get_artifact_text(artifact)


class Told:
    """What a stream told, as a client keeps it."""

    def __init__(self) -> None:
        self.task = Task()
        self.output = ""
        self.replaced = 0

    def take(self, update: StreamResponse) -> None:
        if update.HasField("task"):
            self.task.CopyFrom(update.task)
            self.output = "".join(get_artifact_text(it) for it in update.task.artifacts)
        elif update.HasField("status_update"):
            self.task.status.CopyFrom(update.status_update.status)
        else:
            said = get_artifact_text(update.artifact_update.artifact)
            append = update.artifact_update.append
            self.replaced += bool(self.output) and not append
            self.output = self.output + said if append else said


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_asks_streams_reads_lists_and_cancels(
    road: Road, model: Model, binding: str
) -> None:
    model.says("Hello there.")
    agent = road.live(f"a2a-{uuid.uuid4().hex[:8]}")
    async with talking(road, agent, binding, streaming=False) as client:
        task = await ask(client, says("Hi"))
        assert (task.status.state, output_of(task)) == (
            TaskState.TASK_STATE_COMPLETED,
            "Hello there.",
        )
        read = await client.get_task(GetTaskRequest(id=task.id))
        assert (read.id, output_of(read), len(read.history)) == (task.id, "Hello there.", 1)
        listed = await client.list_tasks(ListTasksRequest(context_id=task.context_id))
        assert [item.id for item in listed.tasks] == [task.id]
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=task.id))
        run = await asyncio.to_thread(road.call, "GET", f"/api/runs/{task.id}")
        assert run.body["output"] == "Hello there."
    async with talking(road, agent, binding) as client:
        told = Told()
        async for update in client.send_message(says("Again", context_id=task.context_id)):
            told.take(update)
        assert told.task.status.state == TaskState.TASK_STATE_COMPLETED
        assert (told.task.context_id, told.output) == (task.context_id, "Hello there.")
        with pytest.raises(UnsupportedOperationError):
            _ = [it async for it in client.subscribe(SubscribeToTaskRequest(id=told.task.id))]
        with model.held() as hold:
            polling = says("Wait")
            polling.configuration.return_immediately = True
            async with talking(road, agent, binding, streaming=False) as other:
                going = await ask(other, polling)
            hold.wait_for(1, seconds=20)
            ended = await client.cancel_task(CancelTaskRequest(id=going.id))
            assert ended.status.state == TaskState.TASK_STATE_CANCELED


async def test_a_stream_goes_on_through_a_kill_of_realm_and_later_readers_get_the_rest(
    road: Road, model: Model
) -> None:
    texts = [" ".join(f"{name} {n}" for n in range(many)) for name, many in LENGTHS]
    asked: list[Request] = []

    def rule(request: Request) -> Say:
        asked.append(request)
        return Say(texts[min(len(asked), 2) - 1], pause=PAUSE_SECONDS)

    model.server.always(rule)
    agent = road.live(f"a2a-{uuid.uuid4().hex[:8]}")
    first, second, third = Told(), Told(), Told()

    async def read(client: Client) -> None:
        async for update in client.send_message(says("Tell.")):
            first.take(update)

    async def read_again(client: Client, told: Told) -> None:
        async for update in client.subscribe(SubscribeToTaskRequest(id=first.task.id)):
            told.take(update)

    async with talking(road, agent) as client, talking(road, agent, "HTTP+JSON") as other:
        reading = asyncio.create_task(read(client))
        await until(lambda: "first 3" in first.output or None, what="text at the first reader")
        again = asyncio.create_task(read_again(other, second))
        await until(lambda: "first" in second.output or None, what="text at the second reader")
        road.laptop.child("realm").kill9()
        late = asyncio.create_task(read_again(client, third))
        await asyncio.wait_for(asyncio.gather(reading, again, late), KILL_SECONDS)
    assert first.output == second.output == third.output == texts[1]
    assert first.replaced == 1
    state = TaskState.TASK_STATE_COMPLETED
    assert first.task.status.state == second.task.status.state == state


@pytest.fixture
def guarded(road: Road, model: Model, tmp_path: Path) -> str:
    """An agent whose tool `mark` needs a person, and a model that calls it."""
    name = uuid.uuid4().hex[:8]
    road.live_server(
        f"s-{name}", command=sys.executable, args=[NASTY, "--marks", str(tmp_path / "m")]
    )
    grant = {"server": f"s-{name}", "tools": ["mark"], "approval": "always"}

    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say("Marked.")
        return Say(calls=[(request.body["tools"][0]["function"]["name"], {"text": "x"})])

    model.server.always(rule)
    return road.live(f"a2a-{name}", mcp_tools=[grant])


async def test_an_approval_is_input_required_and_the_client_is_pushed_to(
    road: Road, guarded: str, tmp_path: Path
) -> None:
    with receiving() as receiver:
        config = TaskPushNotificationConfig(url=receiver.url, token="t-1")
        async with talking(road, guarded, streaming=False) as client:
            request = says("Mark it.")
            request.configuration.task_push_notification_config.CopyFrom(config)
            task = await ask(client, request)
            assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
            assert "approve or deny" in task.status.message.parts[0].text
            child = road.laptop.child("main")  # the receiver outlives the process
            restarts = child.restarts
            child.kill9()
            await until(lambda: child.restarts > restarts or None, what="another main")
            await until(lambda: _is_up(road), what="main")
            await until(lambda: receiver.received or None, what="the push that asks")
            listed = await client.list_task_push_notification_configs(
                ListTaskPushNotificationConfigsRequest(task_id=task.id)
            )
            (kept,) = listed.configs
            one = {"task_id": task.id, "id": kept.id}
            assert kept == await client.get_task_push_notification_config(
                GetTaskPushNotificationConfigRequest(**one)
            )
            extra = TaskPushNotificationConfig(task_id=task.id, id="extra", url=receiver.url)
            await client.create_task_push_notification_config(extra)
            await client.delete_task_push_notification_config(
                DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="extra")
            )
            bad = TaskPushNotificationConfig(task_id=task.id, url="https://10.0.0.1/")
            with pytest.raises(InvalidParamsError):
                await client.create_task_push_notification_config(bad)
            ended = await ask(client, says("approve", task_id=task.id))
            assert (ended.status.state, output_of(ended)) == (
                TaskState.TASK_STATE_COMPLETED,
                "Marked.",
            )
        await until(lambda: "artifacts" in str(receiver.received[-1].body) or None, what="the end")
        pushed = []
        for got in receiver.received:
            assert got.headers["x-a2a-notification-token"] == "t-1"
            payload = Webhook(WEBHOOK_SECRET).verify(got.body, dict(got.headers))
            pushed.append(ParseDict(payload, StreamResponse()))
    states = {
        (it.status_update.status if it.HasField("status_update") else it.task.status).state
        for it in pushed
    }
    assert states == {TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_COMPLETED}
    assert (tmp_path / "m").read_text().count("x") == 1


def _is_up(road: Road) -> bool | None:
    try:
        return road.call("GET", "/api/status").status == 200 or None
    except OSError:
        return None


@pytest.mark.parametrize("binding", BINDINGS)
def test_the_javascript_sdk_asks_reads_lists_and_is_refused(
    road: Road, model: Model, binding: str
) -> None:
    model.says("Hello there.")
    agent = road.live(f"a2a-{uuid.uuid4().hex[:8]}")
    url = f"{road.main}/api/a2a/{agent}"
    run = subprocess.run(
        ["node", NODE, url, "Hi", binding], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["told"], found["output"], found["state"]) == ("Hello there.", "Hello there.", 3)
    assert found["listed"] == [found["id"]]
    assert found["refusal"] == "TaskNotCancelableError"
    assert set(found["kinds"]) == {"task", "statusUpdate", "artifactUpdate"}


def test_the_example_prints_the_answer(road: Road, model: Model) -> None:
    model.says("Breathe.")
    agent = road.live(f"a2a-{uuid.uuid4().hex[:8]}")
    example = REPOSITORY / "examples" / "a2a_client.py"
    assert len(example.read_text("utf-8").splitlines()) <= 30
    run = subprocess.run(
        [sys.executable, example, agent],
        env={**os.environ, "AOS_URL": road.main},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "Breathe."), run.stderr

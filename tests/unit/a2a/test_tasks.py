"""A client of A2A asks, reads, lists and cancels; its task is a run."""

from __future__ import annotations

from typing import Any

import pytest

from aos.domain.runs.run import RunStatus
from aos.errors import TransientError
from aos.services.run_events import reader
from aos.testing import Calls
from tests.unit.a2a.kit import VERSION, a_message, a_world, rest, rpc, send, state_of, text_of
from tests.unit.entrypoints.keys import list_keys

FACT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def test_a_message_is_a_run_and_its_output_the_artifact() -> None:
    world = await a_world("Hello.")
    task = await send(world, "Hi", contextId="c-1", metadata={"trip": 4})
    run = await world.run(task["id"])
    assert run.status is RunStatus.COMPLETED
    assert task["contextId"] == run.conversation_id == "c-1"
    assert state_of(task) == "COMPLETED"
    assert task["status"]["timestamp"].endswith("Z")
    assert task["artifacts"] == [
        {"artifactId": "output", "name": "output", "parts": [{"text": "Hello."}]}
    ]
    assert task["history"] == [
        a_message("Hi", message_id="m-1", contextId="c-1", taskId=task["id"])
    ]
    assert task["metadata"]["trip"] == 4
    assert task["metadata"]["aos"]["usage"]["output_tokens"] == 1


async def test_a_context_goes_on_in_the_conversation_of_every_door() -> None:
    world = await a_world("One.", "Two.", "Three.")
    first = await send(world, "a", message_id="1")
    await world.ask("ceo", "b", conversation_id=first["contextId"])
    await send(world, "c", message_id="2", contextId=first["contextId"])
    history = await world.history(first["contextId"])
    assert [message.content for message in history] == ["a", "One.", "b", "Two.", "c", "Three."]


async def test_a_message_sent_again_does_not_run_again() -> None:
    world = await a_world("Once.", "Twice.")
    first = await send(world, "Hi")
    again = await send(world, "Hi")
    assert (again["id"], text_of(again)) == (first["id"], "Once.")
    other = await rpc(world, "SendMessage", {"message": a_message("Something else")})
    assert other.error["code"] == -32602
    assert other.error["data"][0]["metadata"]["code"] == "idempotency_conflict"


async def test_one_message_to_two_agents_is_two_tasks() -> None:
    world = await a_world("A.", "B.")
    await world.put_agent({"agent_id": "cfo", "purpose": "Count."})
    first = await send(world, "Hi")
    other = await rpc(world, "SendMessage", {"message": a_message("Hi")}, agent="cfo")
    assert other.body["result"]["task"]["id"] != first["id"]
    read = await rpc(world, "GetTask", {"id": first["id"]}, agent="cfo")
    assert read.reason == "TASK_NOT_FOUND"


async def test_a_client_that_does_not_wait_polls() -> None:
    world = await a_world("Hello.")
    task = await send(world, "Hi", configuration={"returnImmediately": True})
    assert state_of(task) == "SUBMITTED"
    await world.settle()
    read = await rest(world, "GET", f"tasks/{task['id']}")
    assert (read.status, read.headers["content-type"]) == (200, "application/a2a+json")
    assert (state_of(read.body), text_of(read.body)) == ("COMPLETED", "Hello.")


async def test_both_bindings_give_the_same_task() -> None:
    world = await a_world("Hello.")
    body = {"message": a_message("Hi")}
    by_rest = await rest(world, "POST", "message:send", body)
    by_rpc = await rpc(world, "SendMessage", body)
    assert by_rest.body == by_rpc.body["result"]


@pytest.mark.parametrize("rows_a_read", [100, 1])
async def test_history_is_as_long_as_the_client_wants(
    monkeypatch: pytest.MonkeyPatch, rows_a_read: int
) -> None:
    monkeypatch.setattr(reader, "ROWS_A_READ", rows_a_read)
    looks = [Calls(("clock__now", {}), text=text) for text in ("I look.", "Again.")]
    world = await a_world(*looks, "Noon.")
    task = await send(world, "When?")
    lengths: dict[Any, list[str]] = {}
    for length in (None, 0, 1, 5):
        read = await rpc(world, "GetTask", {"id": task["id"], "historyLength": length})
        told = read.body["result"].get("history", [])
        lengths[length] = [part["text"] for message in told for part in message["parts"]]
    whole = ["When?", "I look.", "Again."]
    assert lengths == {None: whole, 0: [], 1: ["Again."], 5: whole}
    read = await rpc(world, "GetTask", {"id": task["id"], "historyLength": 0})
    assert "history" not in read.body["result"]


async def test_an_agent_with_a_schema_answers_with_data() -> None:
    world = await a_world('{"n": 4}', '{"n": 5}', card={"output_schema": FACT})
    task = await send(world, "How many?", message_id="1")
    assert task["artifacts"][0]["parts"] == [{"data": {"n": 4}, "mediaType": "application/json"}]
    as_text = await send(
        world, "And?", message_id="2", configuration={"acceptedOutputModes": ["text/plain"]}
    )
    assert text_of(as_text) == '{"n": 5}'


async def test_a_client_that_takes_no_output_of_the_agent_is_refused() -> None:
    world = await a_world()
    params = {"message": a_message("Hi"), "configuration": {"acceptedOutputModes": ["image/png"]}}
    reply = await rpc(world, "SendMessage", params)
    assert (reply.error["code"], reply.reason) == (-32005, "CONTENT_TYPE_NOT_SUPPORTED")
    for modes in (["text/*"], ["image/png", "*/*"], ["TEXT/PLAIN; charset=utf-8"]):
        body = {
            "message": a_message("Hi", message_id=modes[0]),
            "configuration": {"acceptedOutputModes": modes},
        }
        assert "result" in (await rpc(world, "SendMessage", body)).body


async def test_data_and_files_reach_the_model() -> None:
    world = await a_world("Seen.", AOS_VISION_MODELS="*")
    picture = {"raw": "iVBORw0KGgo=", "mediaType": "image/png"}
    page = {"raw": "SGVsbG8", "filename": "a.txt", "mediaType": "text/plain"}
    far = {"url": "https://example.com/b.png"}
    task = await send(world, "Look", {"data": {"a": [1]}}, picture, page, far)
    (question, _) = await world.history(task["contextId"])
    assert question.content == 'Look\n\n{"a": [1]}'
    assert [part["type"] for part in question.parts] == ["image", "resource", "resource_link"]
    shown = task["history"][0]["parts"]
    assert shown[1:] == [
        {"raw": "iVBORw0KGgo=", "mediaType": "image/png"},
        {"text": "Hello", "filename": "a.txt", "mediaType": "text/plain"},
        {"url": "https://example.com/b.png", "filename": "image", "mediaType": "image/png"},
    ]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"raw": "iVBORw0KGgo=", "mediaType": "image/png"}, "image"),
        ({"url": "https://example.com/b.png"}, "resource_link"),
        ({"raw": "SGVsbG8", "filename": "a.txt", "mediaType": "text/plain"}, "resource"),
    ],
)
async def test_a_message_may_be_a_file_alone(part: dict[str, str], kind: str) -> None:
    world = await a_world("Seen.", AOS_VISION_MODELS="*")
    task = await send(world, part)
    assert text_of(task) == "Seen."
    (question, _) = await world.history(task["contextId"])
    assert [attached["type"] for attached in question.parts] == [kind]
    (shown,) = task["history"][0]["parts"]
    assert shown.get("text", "Hello") == "Hello", "no text that the client has not written"


async def test_a_picture_for_an_agent_that_cannot_see_is_an_error_of_its_kind() -> None:
    world = await a_world("Seen.")
    picture = {"raw": "iVBORw0KGgo=", "mediaType": "image/png"}
    for message in (a_message(picture), a_message("Look", picture)):
        reply = await rpc(world, "SendMessage", {"message": message})
        assert (reply.error["code"], reply.reason) == (-32005, "CONTENT_TYPE_NOT_SUPPORTED")
        assert "Send text and text files only" in reply.error["message"]
    page = {"raw": "SGVsbG8", "filename": "a.txt"}
    assert text_of(await send(world, page)) == "Seen."


async def test_a_failed_run_is_a_failed_task_that_says_why() -> None:
    world = await a_world(*[Calls(("clock__now", {}))] * 9, card={"limits": {"max_turns": 2}})
    task = await send(world, "Loop")
    assert state_of(task) == "FAILED"
    says, data = task["status"]["message"]["parts"]
    assert data["data"]["error"]["code"] == "max_turns"
    assert says["text"] == data["data"]["error"]["message"]


async def test_tasks_are_listed_by_context_and_state_newest_first() -> None:
    world = await a_world("One.", "Two.", Calls(("clock__now", {})))
    first = await send(world, "a", message_id="1", contextId="x")
    world.clock.advance(1)
    second = await send(world, "b", message_id="2", contextId="y")
    await world.put_agent({"agent_id": "cfo", "purpose": "Count."})
    await world.ask("cfo", "not mine")

    async def ids(**params: Any) -> list[str]:
        reply = await rpc(world, "ListTasks", params)
        return [task["id"] for task in reply.body["result"]["tasks"]]

    assert await ids() == [second["id"], first["id"]]
    assert await ids(contextId="x") == [first["id"]]
    assert await ids(status="TASK_STATE_WORKING") == []
    assert await ids(status=3) == [second["id"], first["id"]]
    assert await ids(statusTimestampAfter=second["status"]["timestamp"]) == [second["id"]]
    page = (await rest(world, "GET", "tasks?pageSize=1&includeArtifacts=true")).body
    assert (text_of(page["tasks"][0]), page["pageSize"]) == ("Two.", 1)
    rest_of = (await rest(world, "GET", f"tasks?pageToken={page['nextPageToken']}")).body
    assert [task["id"] for task in rest_of["tasks"]] == [first["id"]]
    assert rest_of["nextPageToken"] == ""
    assert "artifacts" not in rest_of["tasks"][0]


@pytest.mark.parametrize("token", ["x", "2030-01-01T00:00:06.000Z|x", "e30", "a\x00", "ü"])
async def test_a_page_token_that_no_answer_had_is_refused(token: str) -> None:
    world = await a_world("One.")
    await send(world, "a", message_id="1")
    reply = await rpc(world, "ListTasks", {"pageToken": token})
    assert (reply.reason, reply.error["data"][1]["fieldViolations"][0]["field"]) == (
        "INVALID_PARAMS",
        "pageToken",
    )


async def test_a_task_is_cancelled_once() -> None:
    world = await a_world(*[TransientError("away")] * 50)
    task = await send(world, "Hi", configuration={"returnImmediately": True})
    await world.settle()
    ended = await rest(world, "POST", f"tasks/{task['id']}:cancel")
    assert state_of(ended.body) == "CANCELED"
    again = await rpc(world, "CancelTask", {"id": task["id"]})
    assert (again.error["code"], again.reason) == (-32002, "TASK_NOT_CANCELABLE")


async def test_tasks_of_another_owner_are_not_there() -> None:
    known = list_keys("ann", "bob")
    answers = ("Hello.", Calls(("clock__now", {})))
    world = await a_world(*answers, AOS_AUTH="keys", AOS_KEY_OWNERS=known)
    ann, bob = ({**VERSION, "x-functions-key": name} for name in ("ann", "bob"))
    sent = await rpc(world, "SendMessage", {"message": a_message("Hi")}, headers=ann)
    task = sent.body["result"]["task"]
    assert state_of(task) == "COMPLETED"
    one = {"id": task["id"], "taskId": task["id"], "url": "https://example.com/", "message": {}}
    said = a_message("approve", taskId=task["id"], message_id="2")
    for method in ("GetTask", "CancelTask", "SubscribeToTask", "ListTaskPushNotificationConfigs"):
        reply = await rpc(world, method, one, headers=bob)
        assert reply.reason == "TASK_NOT_FOUND", method
    assert (await rpc(world, "SendMessage", {"message": said}, headers=bob)).reason == (
        "TASK_NOT_FOUND"
    )
    listed = await rpc(world, "ListTasks", {}, headers=bob)
    assert listed.body["result"]["tasks"] == []
    assert (await rpc(world, "GetTask", one, headers=ann)).body["result"]["id"] == task["id"]
    mine = await rpc(world, "SendMessage", {"message": a_message("Hi")}, headers=bob)
    assert mine.body["result"]["task"]["id"] != task["id"]


async def test_a_reference_to_a_task_of_another_context_is_refused() -> None:
    world = await a_world("One.", "Two.")
    first = await send(world, "a", message_id="1")
    params = {"message": a_message("b", message_id="2", referenceTaskIds=[first["id"]])}
    reply = await rpc(world, "SendMessage", params)
    assert reply.reason == "UNSUPPORTED_OPERATION"
    params["message"]["contextId"] = first["contextId"]
    assert "result" in (await rpc(world, "SendMessage", params)).body


@pytest.mark.parametrize("binding", ["rpc", "rest"])
async def test_a_client_of_another_version_is_told_which_is_served(binding: str) -> None:
    world = await a_world()
    body = {"message": a_message("Hi")}
    for version in ("0.3", "", "2.0"):
        headers = {"A2A-Version": version}
        reply = (
            await rpc(world, "SendMessage", body, headers=headers)
            if binding == "rpc"
            else await rest(world, "POST", "message:send", body, headers=headers)
        )
        assert reply.reason == "VERSION_NOT_SUPPORTED"
        assert "A2A-Version: 1.0" in reply.error["message"]

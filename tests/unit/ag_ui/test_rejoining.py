"""An input without a question and without answers tells the thread as it is: a page that was loaded
again has its messages, its interrupts, and the run that goes on."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from aos.entrypoints.http.ag_ui import history
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.ag_ui.client import AgUiClient, post, text_of, types_of
from tests.unit.ag_ui.test_interrupts import NOW, SET, asking, interrupts_of
from tests.unit.entrypoints.keys import list_keys


def load_again(client: AgUiClient) -> AgUiClient:
    """The same thread in a page that remembers nothing."""
    again = AgUiClient(client.world, agent=client.agent, thread=client.thread)
    again.runs = 100
    return again


async def test_a_page_that_is_loaded_again_gets_its_interrupts_and_answers_them() -> None:
    client = await asking(Calls(NOW), Calls(SET, text="I set it."), "Done.")
    first = await client.run()
    page = load_again(client)
    events = await page.run()
    (asked,) = interrupts_of(events)
    assert asked["toolCallId"] == interrupts_of(first)[0]["toolCallId"]
    assert [m["role"] for m in page.messages] == [m["role"] for m in client.messages]
    assert events[0]["metadata"] == first[0]["metadata"]
    events = await page.resume(events, True)
    assert events[-1]["outcome"] == {"type": "success"}
    assert text_of(events) == "Done."
    assert [call.tool for call in client.world.servers.calls] == ["now", "set"]
    history = await client.world.history("t")
    assert [m["content"] for m in page.messages] == [m.content for m in history]


async def test_interrupts_are_told_again_behind_an_earlier_question() -> None:
    client = await asking("First.", Calls(SET), "Done.")
    await client.run()
    client.say("Now set it.")
    await client.run()
    page = load_again(client)
    events = await page.run()
    assert len(interrupts_of(events)) == 1
    assert [m["content"] for m in page.messages] == ["Set it.", "First.", "Now set it.", ""]
    events = await page.resume(events, False)
    assert "MESSAGES_SNAPSHOT" not in types_of(events)
    assert text_of(events) == "Done."


@pytest.mark.parametrize("again", [True, False], ids=["loaded again", "the answer at the end"])
async def test_a_thread_at_rest_states_its_messages(again: bool) -> None:
    client = await asking("Hello.")
    await client.run()
    page = load_again(client) if again else client
    events = await page.run()
    assert types_of(events) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
    assert events[-1]["outcome"] == {"type": "success"}
    assert [m["content"] for m in page.messages] == ["Set it.", "Hello."]
    page.say("And now?")
    assert "MESSAGES_SNAPSHOT" not in types_of(await page.run())


async def test_a_run_that_goes_on_is_told_from_its_beginning() -> None:
    client = await asking("Hello.")
    body = {"threadId": "t", "runId": "r1", "messages": client.messages}
    await post(client.world, body)  # the client goes away
    page = load_again(client)
    events = await page.run()
    assert text_of(events) == "Hello."
    assert [m["content"] for m in page.messages] == ["Set it.", "Hello."]


async def test_a_thread_that_is_not_there_is_empty_and_nothing_is_stored() -> None:
    keys = {"AOS_AUTH": "keys", "AOS_KEY_OWNERS": list_keys("ann", "bob")}
    world = MemoryWorld(model=ScriptedModel("Hi."), settings=keys)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    body: dict[str, Any] = {"threadId": "t", "runId": "r", "messages": []}
    ann, bob = {"x-functions-key": "ann"}, {"x-functions-key": "bob"}
    asked = {**body, "messages": [{"id": "1", "role": "user", "content": "Hello"}]}
    assert (await post(world, asked, **ann)).status_code == 200
    await world.settle()
    page = AgUiClient(world)
    mine = await page.post({**body, "runId": "r2"}, **ann)
    others = await page.post(body, **bob)
    none = await page.post({**body, "threadId": "new"}, **bob)
    assert "Hello" in mine
    assert "Hello" not in others
    assert others.replace('"t"', '"new"') == none
    assert len(world.tables.requests) == 1


async def test_a_thread_of_another_agent_is_refused() -> None:
    client = await asking("Hello.")
    await client.run()
    await client.world.put_agent({"agent_id": "cfo", "purpose": "Count."})
    body = {"threadId": "t", "runId": "r", "messages": []}
    answer = await post(client.world, body, agent="cfo")
    assert json.loads(answer.get_body())["error"]["code"] == "agent_mismatch"


async def test_a_conversation_that_is_too_long_is_not_stated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MAX_STATED_CHARACTERS", 60)
    client = await asking("A" * 70)
    await client.run()
    page = client.world.main.caller_runs.read_messages
    one = partial(page, limit=1)
    monkeypatch.setattr(client.world.main.caller_runs, "read_messages", one)
    told = types_of(await load_again(client).run())
    assert told == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]  # it was read already
    client.say("Go on.")
    await client.run()
    assert types_of(await load_again(client).run()) == ["RUN_STARTED", "RUN_FINISHED"]

"""Agents wake by events from anybody: each event once for each agent, in both modes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from aos.domain.cloud_events import EventFault, read_cloud_event
from aos.domain.envelope import AGENT_EVENTS, MAIN_QUEUE, WAKE_SUBSCRIPTION
from aos.domain.runs.run import RunStatus
from aos.entrypoints.bus.messages import Unreadable
from aos.errors import TransientError
from aos.testing import MemoryWorld, ScriptedModel
from aos.testing.triggers import make_trigger_message

ORDER = "com.example.order"
STRUCTURED = "application/cloudevents+json"


def card(agent_id: str, *events: dict[str, Any], **fields: Any) -> dict[str, Any]:
    wake = {"events": [{"type": ORDER, "message": "An order came.", **event} for event in events]}
    return {"agent_id": agent_id, "purpose": "Sell.", "wake": wake, **fields}


async def a_world(*cards: dict[str, Any], model: ScriptedModel | None = None) -> MemoryWorld:
    world = MemoryWorld(model=model or ScriptedModel())
    for one in cards or (card("seller", {}),):
        assert (await world.put_agent(one))["errors"] == []
    return world


def event(**fields: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "1", "source": "shop", "type": ORDER, **fields}


def read(body: Any, content_type: str | None = STRUCTURED, **properties: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_cloud_event(data, content_type=content_type, properties=properties)


async def test_an_event_wakes_the_agent_with_message_and_data() -> None:
    model = ScriptedModel("Thank you.")
    world = await a_world(model=model)
    (run,) = await world.publish_event(ORDER, {"item": "paper", "price": 1.5}, event_id="7")
    assert (run.status, run.output, run.conversation_id) == (
        RunStatus.COMPLETED,
        "Thank you.",
        "home-seller",
    )
    said = model.calls[0].messages[-1].content
    assert said == 'An order came.\n\n{"item": "paper", "price": 1.5}'
    assert run.metadata == {"woken_by": {"event": {"type": ORDER, "source": "tests", "id": "7"}}}
    assert world.tables.requests[run.run_id].request.owner == "agent:seller"
    assert world.replies() == []


async def test_the_same_event_again_starts_nothing_and_another_source_is_another_event() -> None:
    world = await a_world()
    first = await world.publish_event(ORDER, event_id="7")
    assert len(first) == 1
    assert await world.publish_event(ORDER, event_id="7") == []
    assert await world.publish_event(ORDER, "other data", event_id="7") == []
    assert len(await world.publish_event(ORDER, event_id="7", source="elsewhere")) == 1


async def test_several_agents_wake_on_one_event_and_others_sleep() -> None:
    world = await a_world(card("a", {}), card("b", {"conversation": "new"}), card("c"))
    runs = await world.publish_event(ORDER)
    assert [run.agent_id for run in runs] == ["a", "b"]
    assert runs[1].conversation_id == runs[1].run_id
    assert await world.publish_event("com.example.other") == []


async def test_events_of_aos_wake_nobody() -> None:
    world = await a_world(card("seller", {"type": "run.completed"}))
    assert (await world.ask("seller", "Hello")).status is RunStatus.COMPLETED
    assert [kept.message_id for kept in world.broker.messages(AGENT_EVENTS)] != []
    assert await world.woken_runs() == []


async def test_a_reply_is_sent_only_where_the_event_names_a_queue_of_the_list() -> None:
    world = await a_world()
    (run,) = await world.publish_event(ORDER, reply_to="businessinfinity-responses", event_id="1")
    assert [(r["run_id"], r["status"]) for r in world.replies()] == [(run.run_id, "completed")]
    assert await world.publish_event(ORDER, reply_to="somewhere", event_id="2") == []
    refused = [line["code"] for line in world.telemetry.lines if line["event"] == "wake_refused"]
    assert refused == ["invalid_request"]


async def test_a_refusal_is_logged_with_its_code_and_the_others_wake() -> None:
    world = await a_world(card("a", {}, enabled=False), card("b", {}))
    assert [run.agent_id for run in await world.publish_event(ORDER)] == ["b"]
    refused = [line for line in world.telemetry.lines if line["event"] == "wake_refused"]
    assert [(line["agent_id"], line["code"]) for line in refused] == [("a", "agent_disabled")]
    assert world.broker.messages(WAKE_SUBSCRIPTION) == []


async def test_an_event_that_dies_between_two_agents_wakes_each_once() -> None:
    world = await a_world(card("a", {}), card("b", {}))
    insert, fails = world.ports.requests.insert, [True]

    async def dies(request: Any) -> None:
        if request.agent_id == "b" and fails:
            fails.clear()
            raise TransientError("storage is away")
        await insert(request)

    world.ports.requests.insert = dies  # type: ignore[method-assign]
    runs = await world.publish_event(ORDER)
    assert [run.agent_id for run in runs] == ["a", "b"]


async def test_an_hour_without_storage_costs_an_event_an_hour() -> None:
    world = await a_world()
    insert = world.ports.requests.insert

    async def away(request: Any) -> None:
        raise TransientError("storage is away")

    world.ports.requests.insert = away  # type: ignore[method-assign]
    assert await world.publish_event(ORDER, {"item": "paper"}) == []
    assert world.broker.messages(WAKE_SUBSCRIPTION) == []
    assert len(world.broker.messages(MAIN_QUEUE)) == 1
    await world.advance(3600)
    assert await world.woken_runs() == []
    world.ports.requests.insert = insert  # type: ignore[method-assign]
    await world.advance(1800)
    (run,) = await world.woken_runs()
    assert run.status is RunStatus.COMPLETED
    assert world.broker.dead_letters(MAIN_QUEUE) == []


async def test_an_event_waits_while_aos_is_paused() -> None:
    world = await a_world(card("a", {}), card("b", {}))
    await world.main.services.pause_switch.pause(by="ann", reason="")
    assert await world.publish_event(ORDER, {"item": "paper"}) == []
    await world.advance(600)
    assert await world.woken_runs() == []
    await world.main.services.pause_switch.resume()
    await world.advance(6)
    assert [run.agent_id for run in await world.woken_runs()] == ["a", "b"]
    assert world.broker.dead_letters(MAIN_QUEUE) == []


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_"])
async def test_binary_mode_is_the_same_event(prefix: str) -> None:
    world = await a_world()
    attributes = {f"{prefix}{name}": value for name, value in event(subject="x").items()}
    world.broker.send(
        AGENT_EVENTS,
        b'{"item":"paper"}',
        message_id=None,
        content_type="application/json",
        properties=attributes,
    )
    await world.settle()
    (run,) = await world.woken_runs()
    assert (await world.history("home-seller"))[0].content == 'An order came.\n\n{"item": "paper"}'
    assert run.metadata["woken_by"]["event"] == {"type": ORDER, "source": "shop", "id": "1"}


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (event(), STRUCTURED, None),
        (event(data=None), STRUCTURED, "null"),
        (event(data="text"), "Application/CloudEvents+JSON; charset=utf-8", '"text"'),
        (event(data={"a": [1, 2.5]}), STRUCTURED, '{"a": [1, 2.5]}'),
        (event(data_base64=base64.b64encode(b'{"a":1}').decode()), STRUCTURED, '{"a": 1}'),
        (event(data_base64="/w=="), STRUCTURED, '"/w=="'),
        (
            event(data_base64=base64.b64encode(b"{}").decode(), datacontenttype="text/plain"),
            STRUCTURED,
            '"{}"',
        ),
    ],
)
def test_data_of_structured_events(body: Any, content_type: str, data: str | None) -> None:
    assert read(body, content_type).data == data


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b"", "application/json", None),
        (b'{"a":1}', None, '{"a": 1}'),
        (b'{"a":1}', "application/vnd.shop+json", '{"a": 1}'),
        (b"<order/>", "application/xml", '"<order/>"'),
        (b"not json", None, '"not json"'),
        (b"\xff\xfe", "application/octet-stream", '"//4="'),
    ],
)
def test_data_of_binary_events(body: bytes, content_type: str | None, data: str | None) -> None:
    properties = {f"cloudEvents:{name}": value for name, value in event().items()}
    assert read(body, content_type, **properties).data == data


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        ({"item": "paper"}, "application/json", "not a CloudEvent"),
        (event(), None, "not a CloudEvent"),
        ([event()], "application/cloudevents-batch+json", "is not read"),
        ([event()], STRUCTURED, "not a JSON object"),
        (json.dumps(event()), STRUCTURED, "not a JSON object"),
        (b"{", STRUCTURED, "JSON"),
        (event(specversion="0.3"), STRUCTURED, "specversion"),
        (event(id=""), STRUCTURED, "no id"),
        (event(id=7), STRUCTURED, "no id"),
        (event(source=None), STRUCTURED, "no source"),
        (event(type="x" * 1025), STRUCTURED, "1,025"),
        (event(data=1, data_base64="AA=="), STRUCTURED, "both"),
        (event(data_base64="?"), STRUCTURED, "base64"),
    ],
)
def test_what_is_not_an_event_says_what_to_change(
    body: Any, content_type: str | None, words: str
) -> None:
    with pytest.raises(EventFault) as fault:
        read(body, content_type)
    assert words in str(fault.value)


async def test_a_malformed_event_is_never_completed_and_its_dead_letter_says_why() -> None:
    world = await a_world()
    world.broker.send(AGENT_EVENTS, b"rubbish", message_id=None)
    kept = world.broker.receive(WAKE_SUBSCRIPTION)
    assert kept is not None
    last = replace(kept.build_received(), delivery_count=10)
    with pytest.raises(Unreadable, match="not a CloudEvent"):
        await world.main.agent_events.handle(make_trigger_message(last))
    (failure,) = world.tables.failures.values()
    assert (failure.entity, failure.reason) == (WAKE_SUBSCRIPTION, "unreadable")
    assert failure.error is not None
    assert "not a CloudEvent" in failure.error.message


async def test_a_second_entry_of_one_type_has_a_warning() -> None:
    world = MemoryWorld(model=ScriptedModel())
    status = await world.put_agent(card("seller", {}, {"message": "Again"}))
    assert [w["path"] for w in status["warnings"]] == ["wake.events[1]"]
    assert len(await world.publish_event(ORDER)) == 1

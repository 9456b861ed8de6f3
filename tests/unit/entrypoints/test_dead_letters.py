"""Dead letters over HTTP: listing, replaying, deleting; and how messages become some."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from aos.adapters.memory import Kept
from aos.adapters.memory.broker import MemoryBroker
from aos.domain.codec import encode
from aos.domain.dead_letters import ADVICE, ENTITIES
from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RunEnded,
    StartRun,
)
from aos.errors import TransientError
from tests.samples import a_request
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call
from tests.unit.entrypoints.test_callers import KEYS, key

RUBBISH = b"{agent_id: ceo}"
ASK = {"agent_id": "ceo", "message": "Hello"}
TICK: Any = None


async def listed(apps: InMemory, query: str = "") -> list[dict[str, Any]]:
    reply = await call(apps.main.dead_letters.list, query=query)
    assert reply.status == 200
    items: list[dict[str, Any]] = reply.body["items"]
    return items


async def replay(apps: InMemory, entity: str, number: int) -> Reply:
    body = {"entity": entity, "sequence_number": number}
    return await call(apps.main.dead_letters.replay, "POST", body=body)


async def purge(apps: InMemory, entity: str, number: int) -> Reply:
    query = f"entity={entity}&sequence_number={number}"
    return await call(apps.main.dead_letters.purge, "DELETE", query=query)


async def watch(apps: InMemory) -> None:
    """One tick of the timer, long enough after the one before."""
    apps.clock.advance(60)
    await apps.main.dead_letter_timer.tick(TICK)


def bury(broker: MemoryBroker, entity: str, reason: str = "MaxDeliveryCountExceeded") -> Kept:
    """Dead-letter the next message without a handler."""
    session = broker.accept_session(entity) if entity == REALM_QUEUE else None
    kept = broker.receive(entity) if session is None else broker.receive_in(session)
    assert kept is not None
    assert kept.lock is not None
    broker.dead_letter(kept, kept.lock, reason=reason)
    if session is not None:
        broker.release(session)
    return kept


async def test_rubbish_is_listed_with_our_reason_and_advice(apps: InMemory) -> None:
    apps.send(RUBBISH, message_id="m-1")
    await apps.settle()
    (item,) = await listed(apps)
    assert item == {
        "entity": REQUESTS_QUEUE,
        "sequence_number": 1,
        "message_id": "m-1",
        "run_id": None,
        "enqueued_at": item["enqueued_at"],
        "delivery_count": 10,
        "reason": "unreadable",
        "error": {
            "code": "invalid_request",
            "message": item["error"]["message"],
            "type": "caller",
            "retryable": False,
            "details": {},
        },
        "advice": ADVICE["unreadable"],
    }
    assert "not JSON in UTF-8" in item["error"]["message"]
    assert apps.replies() == []


async def test_a_bug_at_every_delivery_is_told_without_its_words(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*given: object) -> None:
        raise RuntimeError("the secret word")

    monkeypatch.setattr(apps.main.services.replies, "deliver", broken)
    async with apps.pumping():
        run = await apps.ask({"message": "Hello"})
    (item,) = await listed(apps, f"entity={MAIN_QUEUE}")
    assert (item["reason"], item["run_id"]) == ("handler_failed", run.body["run_id"])
    assert item["error"]["message"] == "RuntimeError in AOS"
    monkeypatch.undo()
    assert (await replay(apps, MAIN_QUEUE, item["sequence_number"])).body["message_id"]
    await apps.settle()
    assert run.body["run_id"] in apps.tables.seen
    assert apps.tables.failures == {}


async def test_what_no_app_wrote_down_is_explained_by_main(apps: InMemory) -> None:
    for body, reason in (
        (b'{"type": "Nonsense"}', "MaxDeliveryCountExceeded"),
        (json.dumps(encode(StartRun(request=a_request()))).encode(), "MaxDeliveryCountExceeded"),
        (b"{}", "TTLExpiredException"),
        (json.dumps(encode(StartRun(request=a_request()))).encode(), "SomebodyMovedIt"),
    ):
        apps.broker.send(MCP_QUEUE, body, message_id="m")
        bury(apps.broker, MCP_QUEUE, reason)
    items = await listed(apps)
    assert [item["reason"] for item in items] == [
        "unreadable",
        "deliveries_exhausted",
        "expired",
        "moved",
    ]
    codes = [item["error"] and item["error"]["code"] for item in items]
    assert codes == ["invalid_request", "internal_error", "request_expired", None]
    assert "Nonsense" in items[0]["error"]["message"]


async def test_the_list_is_paged_across_all_entities(apps: InMemory) -> None:
    expected: list[tuple[str, int]] = []
    for entity in (REQUESTS_QUEUE, MAIN_QUEUE, MCP_QUEUE):
        for _ in range(3):
            apps.broker.send(entity, b"x", message_id="m")
            expected.append((entity, bury(apps.broker, entity).sequence_number))
    seen: list[tuple[str, int]] = []
    query = "limit=2"
    while query:
        page = await call(apps.main.dead_letters.list, query=query)
        assert len(page.body["items"]) <= 2
        seen += [(item["entity"], item["sequence_number"]) for item in page.body["items"]]
        query = (page.body["next"] or "?").split("?")[1]
    assert seen == expected
    only = await listed(apps, f"entity={MAIN_QUEUE.upper()}")
    assert [item["entity"] for item in only] == [MAIN_QUEUE] * 3


async def test_a_request_that_died_before_it_was_admitted_is_served_by_its_replay(
    apps: InMemory,
) -> None:
    apps.send(ASK, message_id="order-7", correlation_id="c", properties={"aos_owner": "me"})
    number = bury(apps.broker, REQUESTS_QUEUE).sequence_number
    reply = await replay(apps, REQUESTS_QUEUE, number)
    assert (reply.status, reply.body["run_id"]) == (200, None)
    assert reply.body["message_id"].startswith("replay:")
    again = await replay(apps, REQUESTS_QUEUE, number)
    assert (again.status, again.code) == (404, "dead_letter_not_found")
    apps.send(ASK, message_id="order-7", properties={"aos_owner": "me"})  # its sender repeats it
    await apps.settle()
    (stored,) = apps.tables.requests.values()
    assert (stored.request.owner, stored.request.replay_of) == ("queue:me", None)
    assert {kept.correlation_id for kept in apps.replies()} == {"c"}
    assert await listed(apps) == []


async def test_a_replay_that_broke_off_is_repeated_without_a_second_effect(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps.send(ASK, message_id="order-7")
    number = bury(apps.broker, REQUESTS_QUEUE).sequence_number

    async def away(*given: object) -> bool:
        raise TransientError("the bus is away")

    monkeypatch.setattr(apps.world.dead_letters, "remove", away)
    first = await replay(apps, REQUESTS_QUEUE, number)
    assert (first.status, first.code) == (503, "unavailable")
    monkeypatch.undo()
    await apps.settle()
    assert (await replay(apps, REQUESTS_QUEUE, number)).status == 200
    await apps.settle()
    runs = [stored.request for stored in apps.tables.requests.values()]
    assert [run.replay_of for run in runs] in ([None], [None, runs[0].run_id])
    third = await replay(apps, REQUESTS_QUEUE, number)
    assert (third.status, third.code) == (404, "dead_letter_not_found")


async def test_a_command_of_a_run_that_goes_on_is_sent_again(apps: InMemory) -> None:
    asked = await apps.ask({"message": "Hello", "wait_seconds": 0})
    start = bury(apps.broker, REALM_QUEUE)
    await apps.settle()
    reply = await replay(apps, REALM_QUEUE, start.sequence_number)
    assert (reply.status, reply.body["run_id"]) == (200, None)
    (copy,) = apps.broker.messages(REALM_QUEUE)
    assert (copy.session_id, copy.body) == (start.session_id, start.body)
    assert (copy.message_id, copy.deliveries) == (reply.body["message_id"], 0)
    await apps.settle()
    run = await call(apps.main.runs.get, parts={"run_id": asked.body["run_id"]})
    assert run.body["status"] == "completed"


async def test_a_run_that_has_ended_is_asked_again_as_a_new_one(apps: InMemory) -> None:
    asked = await apps.ask({"message": "Hello", "wait_seconds": 0, "metadata": {"n": 7}})
    run_id = asked.body["run_id"]
    (start,) = apps.broker.messages(REALM_QUEUE)
    copy = replace(start)
    await apps.settle()
    apps.broker.send(REALM_QUEUE, copy.body, message_id=copy.message_id, session_id=copy.session_id)
    number = bury(apps.broker, REALM_QUEUE).sequence_number
    reply = await replay(apps, REALM_QUEUE, number)
    assert (reply.status, reply.body["message_id"]) == (200, None)
    await apps.settle()
    run = await call(apps.main.runs.get, parts={"run_id": reply.body["run_id"]})
    assert (run.body["status"], run.body["replay_of"]) == ("completed", run_id)
    assert run.body["metadata"] == {"n": 7}
    assert (await replay(apps, REALM_QUEUE, number)).status == 404


async def test_one_dead_letter_is_deleted_and_the_others_stay(apps: InMemory) -> None:
    for _ in range(2):
        apps.send(RUBBISH)
    await apps.settle()
    first, second = await listed(apps)
    gone = await purge(apps, REQUESTS_QUEUE, first["sequence_number"])
    assert (gone.status, gone.body) == (204, None)
    assert await listed(apps) == [second]
    assert [number for _, number in apps.tables.failures] == [second["sequence_number"]]
    again = await purge(apps, REQUESTS_QUEUE, first["sequence_number"])
    assert (again.status, again.code) == (404, "dead_letter_not_found")


async def test_a_poison_message_of_the_storage_queue_is_listed_replayed_and_deleted(
    apps: InMemory,
) -> None:
    for number in (5, 6):
        now = apps.clock.now()
        apps.broker.poison_jobs.append(
            Kept(
                entity="aos-jobs-poison",
                sequence_number=number,
                body=b"{}",
                message_id=f"id-{number}",
                enqueued_at=now,
                visible_at=now,
                expires_at=now + timedelta(days=7),
                deliveries=5,
                reason="MaxDeliveryCountExceeded",
            )
        )
    items = await listed(apps, "entity=aos-jobs-poison")
    assert [item["reason"] for item in items] == ["deliveries_exhausted"] * 2
    assert (await replay(apps, "aos-jobs-poison", 5)).status == 200
    assert apps.broker.jobs == [b"{}"]
    assert (await purge(apps, "aos-jobs-poison", 6)).status == 204
    assert await listed(apps) == []


async def test_a_new_dead_letter_is_announced_once_as_an_event(apps: InMemory) -> None:
    apps.send(RUBBISH, message_id="m-1")
    await apps.settle()
    for _ in range(3):
        await watch(apps)
    events = [json.loads(kept.body) for kept in apps.broker.messages("system-events")]
    (event,) = [event for event in events if event["type"] == "dead_letter.added"]
    assert event["id"] == "dead-letter:aos-requests:1"
    assert event["data"] == (await listed(apps))[0]
    logged = [line for line in apps.telemetry.lines if line["event"] == "dead_letter_added"]
    assert [line["sequence_number"] for line in logged] == [1]


async def test_an_event_about_a_dead_letter_that_dies_makes_no_other_event(
    apps: InMemory,
) -> None:
    apps.send(RUBBISH)
    await apps.settle()
    for _ in range(4):
        while apps.broker.messages("system-events"):
            bury(apps.broker, "system-events")
        await watch(apps)
    assert apps.broker.messages("system-events") == []


async def test_more_dead_letters_than_one_look_shows_are_all_announced(apps: InMemory) -> None:
    for _ in range(120):
        apps.broker.send(MAIN_QUEUE, b"x", message_id="m")
        bury(apps.broker, MAIN_QUEUE)
    for _ in range(4):
        await watch(apps)
    events = [kept for kept in apps.broker.messages("system-events") if kept.subject != "x"]
    ids = [kept.message_id for kept in events if str(kept.message_id).startswith("dead-letter")]
    assert (len(ids), len(set(ids))) == (120, 120)


async def test_a_row_whose_dead_letter_is_gone_is_deleted_after_an_hour(apps: InMemory) -> None:
    apps.send(RUBBISH)
    await apps.settle()
    await watch(apps)
    (kept,) = apps.broker.dead_letters(REQUESTS_QUEUE)
    apps.broker.remove_dead_letter(kept)  # by another tool
    await watch(apps)
    assert len(apps.tables.failures) == 1
    for _ in range(65):
        await watch(apps)
    assert apps.tables.failures == {}


async def test_an_entity_that_cannot_be_seen_does_not_hide_the_others(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps.broker.send(MAIN_QUEUE, b"x", message_id="m")
    bury(apps.broker, MAIN_QUEUE)
    peek = apps.world.dead_letters.peek

    async def half_away(entity: str, **more: Any) -> Any:
        if entity == REQUESTS_QUEUE:
            raise TransientError("access refused")
        return await peek(entity, **more)

    monkeypatch.setattr(apps.world.dead_letters, "peek", half_away)
    await watch(apps)
    said = [line["event"] for line in apps.telemetry.lines]
    assert {"dead_letters_unseen", "dead_letter_added"} <= set(said)
    assert (await call(apps.main.dead_letters.list)).code == "unavailable"


async def test_a_request_that_expires_unhandled_is_a_dead_letter_and_is_answered(
    apps: InMemory,
) -> None:
    apps.send({**ASK, "metadata": {"n": 7}}, message_id="m-1", correlation_id="c", ttl_seconds=5.0)
    for _ in range(3):
        await watch(apps)
    (item,) = await listed(apps)
    assert (item["reason"], item["error"]["code"]) == ("expired", "request_expired")
    (reply,) = apps.replies()
    body = json.loads(reply.body)
    assert (body["type"], body["error"]["code"]) == ("run.refused", "request_expired")
    assert (reply.correlation_id, body["metadata"]) == ("c", {"n": 7})


async def spend_copies(apps: InMemory, entity: str, *, until: datetime) -> None:
    """Deliver each copy at its time until none comes any more.

    None is for a time after `until`; the last one has a minute to arrive.
    """
    for _ in range(20):
        left = apps.broker.messages(entity)
        if not left:
            break
        (kept,) = left
        assert kept.visible_at < until
        assert kept.expires_at <= until + timedelta(minutes=1)
        apps.clock.advance(max(0.0, (kept.visible_at - apps.clock.now()).total_seconds()))
        await apps.settle()
        apps.broker.dead_letters(entity)
    assert apps.broker.messages(entity) == []
    assert apps.clock.now() < until + timedelta(minutes=5)


async def storage_away(*given: object, **more: object) -> None:
    raise TransientError("storage is away")


async def test_a_command_whose_fault_never_heals_ends_in_the_dead_letters(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies stop when the time to live is over; none outlives it."""
    async with apps.pumping():
        run = await apps.ask({"message": "Hello"})
    monkeypatch.setattr(apps.main.services.replies, "deliver", storage_away)
    request = apps.tables.requests[run.body["run_id"]].request
    ended = apps.tables.conversations[request.conversation_id].runs[request.run_id]
    body = json.dumps(encode(RunEnded.of(request, ended))).encode()
    apps.broker.send(MAIN_QUEUE, body, message_id="m-1", ttl_seconds=3600.0)
    await spend_copies(apps, MAIN_QUEUE, until=apps.clock.now() + timedelta(hours=1))
    (item,) = await listed(apps)
    assert (item["reason"], item["error"]["code"]) == ("dependency_away", "unavailable")
    assert item["message_id"] == "m-1"


async def test_a_request_whose_fault_never_heals_is_refused_as_expired(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps.world.requests, "find", storage_away)
    apps.send(ASK, message_id="m-1", ttl_seconds=3600.0)
    await spend_copies(apps, REQUESTS_QUEUE, until=apps.clock.now() + timedelta(hours=1))
    (reply,) = apps.replies()
    assert json.loads(reply.body)["error"]["code"] == "request_expired"


async def test_a_request_whose_run_was_admitted_is_not_refused(apps: InMemory) -> None:
    apps.send(ASK, message_id="m-1")
    (kept,) = apps.broker.messages(REQUESTS_QUEUE)
    copy = replace(kept)
    await apps.settle()
    apps.broker.send(REQUESTS_QUEUE, copy.body, message_id="m-1")
    bury(apps.broker, REQUESTS_QUEUE)
    await watch(apps)
    (item,) = await listed(apps)
    assert item["run_id"] in apps.tables.requests
    assert [json.loads(reply.body)["type"] for reply in apps.replies()] == ["run.completed"]


@pytest.mark.parametrize(
    ("entity", "number", "code"),
    [
        ("aos-nowhere", 1, "entity_not_found"),
        (REQUESTS_QUEUE, 1, "dead_letter_not_found"),
        (REQUESTS_QUEUE, 2**62, "dead_letter_not_found"),
    ],
)
async def test_what_does_not_exist_is_404(
    apps: InMemory, entity: str, number: int, code: str
) -> None:
    for reply in (await replay(apps, entity, number), await purge(apps, entity, number)):
        assert (reply.status, reply.code) == (404, code)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"sequence_number": 1}, "entity is missing"),
        ({"entity": "aos-main"}, "sequence_number is missing"),
        ({"entity": "aos-main", "sequence_number": "1"}, "a whole number without quotes"),
        ({"entity": "aos-main", "sequence_number": -1}, "a whole number without quotes"),
    ],
)
async def test_a_malformed_replay_is_400(apps: InMemory, body: object, says: str) -> None:
    reply = await call(apps.main.dead_letters.replay, "POST", body=body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert says in reply.message


@pytest.mark.parametrize(
    "query", ["", "entity=aos-main", "entity=aos-main&sequence_number=x", "sequence_number=1"]
)
async def test_a_malformed_deletion_is_400(apps: InMemory, query: str) -> None:
    reply = await call(apps.main.dead_letters.purge, "DELETE", query=query)
    assert (reply.status, reply.code) == (400, "invalid_request")


async def test_dead_letters_are_for_admins() -> None:
    locked = InMemory(KEYS)
    routes = locked.main.dead_letters
    for route, method in ((routes.list, "GET"), (routes.replay, "POST"), (routes.purge, "DELETE")):
        reply = await call(route, method, body={}, headers=key("key-1"))
        assert (reply.status, reply.code) == (403, "forbidden")
    assert (await call(routes.list, headers=key("boss"))).status == 200


def test_every_entity_of_the_configuration_is_looked_into() -> None:
    from tests.unit.test_entity_rules import NAMESPACE

    queues = [queue["Name"] for queue in NAMESPACE["Queues"]]
    subscriptions = [
        f"{topic['Name']}/Subscriptions/{subscription['Name']}"
        for topic in NAMESPACE["Topics"]
        for subscription in topic["Subscriptions"]
    ]
    assert {*queues, *subscriptions, "aos-jobs-poison"} == set(ENTITIES)

"""Do queues keep, hand out, lock, count, expire and dead-letter as Azure's do?"""

from __future__ import annotations

from typing import Any

import pytest

from devhost.servicebus.entities import browse
from devhost.servicebus.entities.message import State
from devhost.servicebus.entities.settlement import (
    Abandoned,
    Completed,
    DeadLettered,
    Deferred,
    Released,
)
from devhost.servicebus.errors import MESSAGE_LOCK_LOST, MESSAGE_NOT_FOUND, BusError
from tests.unit.servicebus.world import START_MS, World, content

DLQ = "q/$deadletterqueue"


def world(**properties: object) -> World:
    return World(queues={"q": {"LockDuration": "PT10S", "MaxDeliveryCount": 3, **properties}})


def test_messages_come_in_order_and_only_as_many_as_are_wanted() -> None:
    bus = world()
    bus.send("q", *(content(str(n)) for n in range(5)))
    client = bus.plain("q", credit=2)
    assert client.bodies == ["0", "1"]
    client.want(1)
    assert client.bodies == ["0", "1", "2"]
    assert [message.sequence for message, _, _ in client.got] == [1, 2, 3]


def test_a_message_that_arrives_goes_to_who_waits_and_receivers_take_turns() -> None:
    bus = world()
    one, two = bus.plain("q", credit=2), bus.plain("q", credit=2)
    bus.send("q", *(content(str(n)) for n in range(4)))
    assert one.bodies == ["0", "2"]
    assert two.bodies == ["1", "3"]


def test_completed_messages_are_gone() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=1)
    client.settle(0, Completed())
    bus.pass_time(60_000)
    assert bus.queue("q").messages == {}
    assert bus.queue("q").locked == {}


def test_an_abandoned_message_comes_again_in_its_place_with_its_properties() -> None:
    bus = world()
    bus.send("q", content("a", own={"k": 1}), content("b"))
    client = bus.plain("q", credit=1)
    client.settle(0, Abandoned({"k": 2, "more": True}))
    client.want(2)
    assert client.bodies == ["a", "a", "b"]
    message = client.got[1][0]
    assert message.delivery_count == 1
    assert message.content.application_properties == {"k": 2, "more": True}


def test_a_released_message_comes_again_uncounted() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=1)
    client.settle(0, Released())
    client.want(1)
    assert client.got[1][0].delivery_count == 0


def test_a_lock_that_ends_counts_a_delivery_and_the_third_is_a_dead_letter() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=10)
    bus.pass_time(25_000)
    assert [message.delivery_count for message, _, _ in client.got] == [0, 1, 2]
    bus.pass_time(10_000)
    assert bus.queue("q").messages == {}
    dead = bus.plain(DLQ, credit=1).got[0][0]
    assert dead.content.application_properties == {
        "DeadLetterReason": "MaxDeliveryCountExceeded",
        "DeadLetterErrorDescription": "Message could not be consumed after 3 delivery attempts.",
    }
    assert dead.sequence == 1


def test_after_its_lock_has_ended_a_message_cannot_be_settled() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=1)
    bus.pass_time(10_000)
    with pytest.raises(BusError) as refusal:
        client.settle(0, Completed())
    assert refusal.value.condition == MESSAGE_LOCK_LOST
    assert len(client.want(1).got) == 2


def test_a_renewed_lock_holds_longer() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=5)
    lock = client.got[0][2]
    assert lock is not None
    bus.pass_time(8_000)
    assert browse.renew_locks(bus.queue("q"), [lock.tag]) == [START_MS + 18_000]
    bus.pass_time(9_000)
    assert len(client.got) == 1
    client.settle(0, Completed())
    bus.pass_time(60_000)
    assert len(client.got) == 1


def test_a_message_is_settled_once() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=1)
    client.settle(0, Completed())
    with pytest.raises(BusError):
        client.settle(0, Abandoned())


def test_locks_stay_when_the_receiver_leaves() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=1)
    client.leave()
    other = bus.plain("q", credit=1)
    assert other.got == []
    lock = client.got[0][2]
    assert lock is not None
    browse.settle_by_token(bus.queue("q"), [lock.tag], Completed())
    bus.commit.flush()
    bus.pass_time(20_000)
    assert other.got == []


def test_dead_letters_keep_number_and_content_and_never_expire() -> None:
    bus = world(DefaultMessageTimeToLive="PT30S")
    bus.send("q", content("a"), content("b", own={"k": 1}))
    client = bus.plain("q", credit=2)
    client.settle(1, DeadLettered({"DeadLetterReason": "why"}))
    bus.pass_time(10 * 86_400_000)
    dead = bus.plain(DLQ, credit=5)
    assert dead.bodies == ["b"]
    assert dead.got[0][0].sequence == 2
    assert dead.got[0][0].content.application_properties == {"k": 1, "DeadLetterReason": "why"}
    for _ in range(5):
        dead.settle(len(dead.got) - 1, Abandoned())
    assert dead.got[-1][0].delivery_count == 4
    with pytest.raises(BusError):
        dead.settle(len(dead.got) - 1, DeadLettered())


def test_deferred_messages_come_by_number_only_and_stay_deferred_when_abandoned() -> None:
    bus = world()
    bus.send("q", content("a"), content("b"))
    client = bus.plain("q", credit=2)
    client.settle(0, Deferred({"note": "later"}))
    client.want(5)
    assert client.bodies == ["a", "b"]
    queue = bus.queue("q")

    def receive(*numbers: int, delete: bool = False) -> list[object]:
        got = browse.receive_deferred(
            queue, numbers, delete=delete, session_id=None, receiver_name=None
        )
        bus.commit.flush()
        return [got[0][0], got[0][1]]

    with pytest.raises(BusError) as refusal:
        receive(1, 2)
    assert refusal.value.condition == MESSAGE_NOT_FOUND
    message, lock = receive(1)
    assert message.delivery_count == 1  # type: ignore[attr-defined]
    browse.settle_by_token(queue, [lock.tag], Abandoned())  # type: ignore[attr-defined]
    bus.commit.flush()
    assert client.bodies == ["a", "b"]
    assert queue.messages[1].message.state is State.DEFERRED
    receive(1, delete=True)
    assert 1 not in queue.messages


def test_received_and_deleted_is_gone_before_it_is_seen() -> None:
    bus = world()
    client = bus.plain("q", credit=3, deletes=True)
    bus.send("q", content("a"), content("b"))
    assert client.bodies == ["a", "b"]
    assert [lock for _, _, lock in client.got] == [None, None]
    assert bus.queue("q").messages == {}


@pytest.mark.parametrize("dead", [True, False])
def test_an_expired_message_is_dropped_or_a_dead_letter(dead: bool) -> None:
    bus = world(DeadLetteringOnMessageExpiration=dead, DefaultMessageTimeToLive="PT1M")
    bus.send("q", content("short", ttl_ms=5_000), content("default"))
    bus.pass_time(5_000)
    assert bus.plain("q", credit=5).bodies == ["default"]
    reasons = [
        message.content.application_properties["DeadLetterReason"]
        for message, _, _ in bus.plain(DLQ, credit=5).got
    ]
    assert reasons == (["TTLExpiredException"] if dead else [])


def test_a_locked_message_expires_when_its_lock_goes() -> None:
    bus = world(DeadLetteringOnMessageExpiration=True)
    bus.send("q", content("a", ttl_ms=5_000))
    client = bus.plain("q", credit=1)
    bus.pass_time(8_000)
    assert len(bus.queue(DLQ).messages) == 0
    client.settle(0, Abandoned())
    assert len(bus.queue(DLQ).messages) == 1
    assert bus.queue("q").messages == {}


def test_scheduled_messages_wait_and_get_a_new_number() -> None:
    bus = world(LockDuration="PT1M")
    client = bus.plain("q", credit=5)
    numbers = bus.send(
        "q",
        content("late", schedule_ms=START_MS + 20_000),
        content("soon", schedule_ms=START_MS + 10_000, ttl_ms=1_000),
        content("now", schedule_ms=START_MS),
    )
    assert numbers == [1, 2, 3]
    assert client.bodies == ["now"]
    seen = browse.peek(bus.queue("q"), from_sequence=0, limit=9, session_id=None)
    assert [message.state.name for message, _ in seen] == ["SCHEDULED", "SCHEDULED", "ACTIVE"]
    bus.pass_time(10_000)
    assert client.bodies == ["now", "soon"]
    assert client.got[1][0].sequence == 4
    assert client.got[1][0].enqueued_ms == START_MS + 10_000
    bus.pass_time(10_000)
    assert client.bodies == ["now", "soon", "late"]


def test_a_cancelled_schedule_never_comes_and_an_unknown_one_is_refused() -> None:
    bus = world()
    numbers = bus.send("q", content("a", schedule_ms=START_MS + 10_000))
    bus.queue("q").cancel_scheduled(numbers)
    bus.commit.flush()
    with pytest.raises(BusError) as refusal:
        bus.queue("q").cancel_scheduled(numbers)
    assert refusal.value.condition == MESSAGE_NOT_FOUND
    bus.pass_time(60_000)
    assert bus.plain("q", credit=1).got == []


def test_a_duplicate_within_the_window_is_accepted_and_dropped() -> None:
    bus = world(RequiresDuplicateDetection=True, DuplicateDetectionHistoryTimeWindow="PT20S")
    bus.send("q", content("a", message_id="x"), content("b", message_id="x"))
    bus.pass_time(19_000)
    bus.send("q", content("c", message_id="x"), content("d", message_id="y"))
    bus.pass_time(1_000)
    bus.send("q", content("e", message_id="x"))
    assert bus.plain("q", credit=9).bodies == ["a", "d", "e"]


def test_nobody_sees_a_message_that_the_disk_did_not_take_and_it_may_come_again() -> None:
    bus = world(RequiresDuplicateDetection=True)
    client = bus.plain("q", credit=5)
    told: list[bool] = []
    bus.disk.broken = True
    bus.queue("q").send([content("a")])
    bus.commit.after(told.append)
    bus.commit.flush()
    assert (told, client.got) == ([False], [])
    bus.disk.broken = False
    bus.send("q", content("a"))
    assert client.bodies == ["a"]


def test_a_settlement_that_the_disk_did_not_take_leaves_the_lock() -> None:
    bus = world()
    bus.send("q", content("a"))
    client = bus.plain("q", credit=1)
    bus.disk.broken = True
    client.settle(0, Completed())
    assert len(bus.queue("q").messages) == 1
    bus.disk.broken = False
    client.settle(0, Completed())
    assert bus.queue("q").messages == {}


def test_receive_and_delete_hands_nothing_out_while_the_disk_is_full() -> None:
    bus = world()
    bus.send("q", content("a"))
    bus.disk.broken = True
    client = bus.plain("q", credit=1, deletes=True)
    assert client.got == []
    bus.disk.broken = False
    bus.pass_time(2_000)
    assert client.bodies == ["a"]


def test_what_arrives_together_is_one_commit() -> None:
    bus = world()
    for n in range(50):
        bus.queue("q").send([content(str(n))])
    bus.commit.flush()
    assert bus.disk.commits == 1


def test_peeking_sees_every_state_and_takes_nothing() -> None:
    bus = world()
    bus.send("q", *(content(str(n)) for n in range(4)))
    bus.plain("q", credit=2).settle(0, Deferred())
    seen = browse.peek(bus.queue("q"), from_sequence=1, limit=3, session_id=None)
    assert [message.sequence for message, _ in seen] == [1, 2, 3]
    assert [lock is None for _, lock in seen] == [True, False, True]


@pytest.mark.parametrize(
    "given",
    [
        {"message_id": "x" * 129},
        {"group_id": "x" * 129},
        {"correlation_id": "\N{ROCKET}" * 65},
        {"reply_to_group_id": "x" * 129},
        {"own": {"a": "x" * 66_000}},
    ],
    ids=",".join,
)
@pytest.mark.parametrize("entity", ["q", "t"])
def test_ids_and_properties_that_service_bus_refuses_are_refused(
    given: dict[str, Any], entity: str
) -> None:
    bus = World(queues={"q": {}}, topics={"t": {}})
    with pytest.raises(BusError) as caught:
        bus.send(entity, content("1", **given))
    assert caught.value.condition == "com.microsoft:argument-error"

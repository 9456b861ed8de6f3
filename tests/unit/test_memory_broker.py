"""The Service Bus in memory settles, locks and forgets as the real one does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aos.adapters.memory import Kept, ManualClock, MemoryBroker, Session
from aos.errors import TransientError

PLAIN, SESSIONS, REPLIES = "aos-main", "aos-realm", "businessinfinity-responses"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock=clock)


def take(broker: MemoryBroker) -> tuple[Kept, int]:
    """The next message of the plain queue and its lock."""
    kept = broker.receive(PLAIN)
    assert kept is not None
    assert kept.lock is not None
    return kept, kept.lock


def accept(broker: MemoryBroker) -> Session:
    session = broker.accept_session(SESSIONS)
    assert session is not None
    return session


def ids(broker: MemoryBroker, entity: str) -> list[str | None]:
    return [kept.message_id for kept in broker.messages(entity)]


def test_a_locked_message_is_given_to_nobody_else(broker: MemoryBroker) -> None:
    broker.send(PLAIN, b"1", message_id="a")
    kept, lock = take(broker)
    assert kept.build_received().delivery_count == 1
    assert broker.receive(PLAIN) is None
    broker.complete(kept, lock)
    assert ids(broker, PLAIN) == []


def test_an_abandoned_message_comes_again_at_once_and_counts(broker: MemoryBroker) -> None:
    broker.send(PLAIN, b"1", message_id="a")
    broker.abandon(*take(broker))
    kept, _ = take(broker)
    assert (kept.message_id, kept.build_received().delivery_count) == ("a", 2)


def test_an_expired_lock_gives_the_message_back_and_cannot_settle(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.send(PLAIN, b"1", message_id="a")
    kept, lock = take(broker)
    clock.advance(60)
    with pytest.raises(TransientError, match="lock"):
        broker.complete(kept, lock)
    again, new = take(broker)
    assert again.build_received().delivery_count == 2
    with pytest.raises(TransientError, match="lock"):
        broker.abandon(kept, lock)
    broker.complete(again, new)


def test_a_renewed_lock_holds_for_another_minute(broker: MemoryBroker, clock: ManualClock) -> None:
    broker.send(PLAIN, b"1", message_id="a")
    kept, lock = take(broker)
    clock.advance(50)
    broker.renew(kept)
    clock.advance(50)
    assert broker.receive(PLAIN) is None
    broker.complete(kept, lock)


def test_the_tenth_failure_dead_letters(broker: MemoryBroker) -> None:
    broker.send(PLAIN, b"1", message_id="a")
    for _ in range(10):
        broker.abandon(*take(broker))
    assert broker.receive(PLAIN) is None
    (dead,) = broker.dead_letters(PLAIN)
    assert (dead.message_id, dead.reason) == ("a", "MaxDeliveryCountExceeded")


def test_what_is_dead_lettered_keeps_the_reason(broker: MemoryBroker) -> None:
    broker.send(PLAIN, b"?", message_id="a")
    broker.dead_letter(*take(broker), reason="not JSON")
    assert [kept.reason for kept in broker.dead_letters(PLAIN)] == ["not JSON"]


def test_a_scheduled_message_is_given_at_its_moment(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    due = clock.now() + timedelta(seconds=30)
    broker.send(PLAIN, b"1", message_id="later", scheduled_at=due)
    assert broker.receive(PLAIN) is None
    assert broker.next_due(PLAIN) == due
    clock.advance(30)
    assert take(broker)[0].message_id == "later"


def test_an_expired_message_is_dead_lettered_and_a_locked_one_does_not_expire(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.send(PLAIN, b"1", message_id="held", ttl_seconds=10)
    broker.send(PLAIN, b"2", message_id="left", ttl_seconds=10)
    kept, lock = take(broker)
    clock.advance(20)
    assert broker.receive(PLAIN) is None
    assert [dead.message_id for dead in broker.dead_letters(PLAIN)] == ["left"]
    broker.complete(kept, lock)


def test_duplicates_of_replies_are_dropped_for_ten_minutes(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.send(REPLIES, b"1", message_id="r:reply")
    clock.advance(599)
    assert broker.send(REPLIES, b"1", message_id="r:reply") is None
    clock.advance(2)
    assert broker.send(REPLIES, b"1", message_id="r:reply") is not None
    broker.send(PLAIN, b"1", message_id="same")
    assert broker.send(PLAIN, b"1", message_id="same") is not None


def test_a_queue_with_sessions_wants_one(broker: MemoryBroker) -> None:
    with pytest.raises(ValueError, match="requires a session id"):
        broker.send(SESSIONS, b"1", message_id="a")


def test_a_session_is_held_by_one_and_keeps_its_order(broker: MemoryBroker) -> None:
    for number in range(3):
        broker.send(SESSIONS, b"1", message_id=f"a{number}", session_id="a")
    broker.send(SESSIONS, b"1", message_id="b0", session_id="b")
    first, second = accept(broker), accept(broker)
    assert (first.session_id, second.session_id) == ("a", "b")
    assert broker.accept_session(SESSIONS) is None
    got = []
    while (kept := broker.receive_in(first)) is not None:
        assert kept.lock is not None
        got.append(kept.message_id)
        broker.complete(kept, kept.lock)
    assert got == ["a0", "a1", "a2"]


def test_an_abandoned_message_of_a_session_comes_before_the_others(broker: MemoryBroker) -> None:
    for number in range(2):
        broker.send(SESSIONS, b"1", message_id=f"a{number}", session_id="a")
    session = accept(broker)
    kept = broker.receive_in(session)
    assert kept is not None
    assert kept.lock is not None
    broker.abandon(kept, kept.lock)
    again = broker.receive_in(session)
    assert again is not None
    assert (again.message_id, again.deliveries) == ("a0", 2)


def test_a_session_given_back_counts_no_delivery(broker: MemoryBroker) -> None:
    broker.send(SESSIONS, b"1", message_id="a", session_id="a")
    session = accept(broker)
    assert broker.receive_in(session) is not None
    broker.release(session)
    kept = broker.receive_in(accept(broker))
    assert kept is not None
    assert kept.deliveries == 1


def test_a_lost_session_is_anothers_and_its_old_holder_can_do_nothing(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.send(SESSIONS, b"1", message_id="a", session_id="a")
    lost = accept(broker)
    kept = broker.receive_in(lost)
    assert kept is not None
    lock = kept.lock
    assert lock is not None
    clock.advance(60)
    new = accept(broker)
    again = broker.receive_in(new)
    assert again is not None
    assert again.deliveries == 2
    with pytest.raises(TransientError, match="lock"):
        broker.receive_in(lost)
    with pytest.raises(TransientError, match="lock"):
        broker.complete(kept, lock)
    broker.release(lost)
    broker.renew(new)


def test_an_entity_that_does_not_exist_is_named_with_those_that_do(broker: MemoryBroker) -> None:
    with pytest.raises(
        ValueError, match=r"the entity 'aos-mian' does not exist; known: .*aos-main"
    ):
        broker.send("aos-mian", b"1", message_id="a")


@pytest.mark.parametrize(
    "given",
    [
        {"message_id": "x" * 129},
        {"message_id": "m", "session_id": "x" * 129},
        {"message_id": "m", "correlation_id": "\N{ROCKET}" * 65},
        {"message_id": "m", "reply_to_session_id": "x" * 129},
        {"message_id": "m", "properties": {"a": "x" * 65_000}},
    ],
    ids=",".join,
)
def test_ids_and_properties_that_service_bus_refuses_are_refused(
    broker: MemoryBroker, given: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="Service Bus refuses"):
        broker.send(PLAIN, b"", **given)
    assert not broker.messages(PLAIN)

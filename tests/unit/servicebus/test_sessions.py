"""Do sessions keep their order, belong to one receiver, and go on at once when it dies?"""

from __future__ import annotations

import pytest

from devhost.servicebus.entities import browse
from devhost.servicebus.entities.settlement import Abandoned, Completed, Deferred
from devhost.servicebus.errors import (
    NOT_ALLOWED,
    SESSION_CANNOT_BE_LOCKED,
    SESSION_LOCK_LOST,
    BusError,
)
from tests.unit.servicebus.world import START_MS, World, content


def world(**properties: object) -> World:
    rules = {"RequiresSession": True, "LockDuration": "PT10S", "MaxDeliveryCount": 10}
    return World(queues={"s": {**rules, **properties}, "plain": {}})


def send(bus: World, session_id: str, *bodies: str) -> None:
    bus.send("s", *(content(body, group_id=session_id) for body in bodies))


def test_a_session_has_its_own_messages_in_order() -> None:
    bus = world()
    send(bus, "a", "a1")
    send(bus, "b", "b1")
    send(bus, "a", "a2")
    assert bus.session("s", "a", credit=9).bodies == ["a1", "a2"]
    assert bus.session("s", "b", credit=9).bodies == ["b1"]


def test_waiting_receivers_get_sessions_as_they_come_each_its_own() -> None:
    bus = world()
    waiting = [bus.session("s", credit=1) for _ in range(64)]
    for n in range(64):
        send(bus, f"c{n}", "first", "second")
    assert [client.granted for client in waiting] == [[f"c{n}"] for n in range(64)]
    assert all(client.bodies == ["first"] for client in waiting)


def test_the_next_available_session_is_the_one_that_has_waited_longest() -> None:
    bus = world()
    for name in ("x", "y", "z"):
        send(bus, name, name)
    assert bus.session("s", "x").granted == ["x"]
    assert bus.session("s").granted == ["y"]
    assert bus.session("s").granted == ["z"]
    assert bus.session("s").granted == []


def test_a_session_without_messages_is_not_available_but_can_be_named() -> None:
    bus = world()
    waiting = bus.session("s", credit=1)
    assert bus.session("s", "empty").granted == ["empty"]
    assert waiting.granted == []


def test_a_locked_session_is_refused_to_others() -> None:
    bus = world()
    bus.session("s", "a")
    with pytest.raises(BusError) as refusal:
        bus.session("s", "a")
    assert refusal.value.condition == SESSION_CANNOT_BE_LOCKED


def test_when_a_receiver_dies_the_next_gets_all_it_held_in_order_and_uncounted() -> None:
    bus = world()
    send(bus, "a", "1", "2", "3", "4")
    first = bus.session("s", "a", credit=3)
    first.settle(1, Completed())
    waiting = bus.session("s", credit=9)
    first.leave()
    assert waiting.bodies == ["1", "3", "4"]
    assert [message.delivery_count for message, _, _ in waiting.got] == [0, 0, 0]


def test_what_is_settled_as_the_link_closes_is_settled() -> None:
    bus = world()
    send(bus, "a", "1", "2")
    first = bus.session("s", "a", credit=2)
    waiting = bus.session("s", credit=9)
    _, held, lock = first.got[0]
    assert lock is not None
    browse.settle_by_token(bus.queue("s"), [lock.tag], Completed())
    bus.queue("s").detach(first.receiver)
    bus.commit.flush()
    assert waiting.bodies == ["2"]
    assert held.gone


def test_a_session_lock_ends_after_its_grace_and_counts_a_delivery() -> None:
    bus = world()
    send(bus, "a", "1", "2")
    first = bus.session("s", "a", credit=1)
    waiting = bus.session("s", credit=9)
    bus.pass_time(10_900)
    assert (first.lost, waiting.bodies) == (0, [])
    bus.pass_time(200)
    assert first.lost == 1
    assert waiting.bodies == ["1", "2"]
    assert [message.delivery_count for message, _, _ in waiting.got] == [1, 0]
    with pytest.raises(BusError) as refusal:
        first.settle(0, Completed())
    assert refusal.value.condition == SESSION_LOCK_LOST


def test_renewing_keeps_the_session_and_only_its_receiver_may() -> None:
    bus = world()
    send(bus, "a", "1")
    client = bus.session("s", "a", credit=1, name="mine")
    sessions = bus.queue("s").sessions
    bus.pass_time(9_000)
    assert sessions.renew("a", "mine") == START_MS + 19_000
    bus.pass_time(9_000)
    client.settle(0, Completed())
    for name in ("other", "mine"):
        bus.pass_time(11_000)
        with pytest.raises(BusError) as refusal:
            sessions.renew("a", name)
        assert refusal.value.condition == SESSION_LOCK_LOST


def test_abandoned_messages_keep_their_order_inside_the_session() -> None:
    bus = world()
    send(bus, "a", "1", "2", "3")
    client = bus.session("s", "a", credit=2)
    client.settle(1, Abandoned())
    client.settle(0, Abandoned())
    client.want(3)
    assert client.bodies == ["1", "2", "1", "2", "3"]


def test_a_session_that_is_left_with_messages_waits_behind_the_others() -> None:
    bus = world()
    send(bus, "a", "1", "2")
    send(bus, "b", "1")
    client = bus.session("s", credit=1)
    client.settle(0, Completed())
    client.leave()
    assert bus.session("s").granted == ["b"]
    assert bus.session("s").granted == ["a"]


def test_a_receiver_that_gave_up_waiting_gets_nothing() -> None:
    bus = world()
    gone, waiting = bus.session("s", credit=1), bus.session("s", credit=1)
    gone.leave()
    send(bus, "a", "1")
    assert (gone.granted, waiting.granted) == ([], ["a"])


def test_nothing_is_left_of_a_session_without_messages_and_state() -> None:
    bus = world()
    for n in range(100):
        send(bus, f"c{n}", "x")
        client = bus.session("s", credit=1)
        client.settle(0, Completed())
        client.leave()
    assert bus.queue("s").backlogs == {}
    assert bus.queue("s").locked == {}


def test_a_new_message_of_a_forgotten_session_makes_it_available_again() -> None:
    bus = world()
    send(bus, "a", "1")
    client = bus.session("s", "a", credit=1)
    client.settle(0, Completed())
    client.leave()
    send(bus, "a", "2")
    assert bus.session("s", credit=1).bodies == ["2"]


def test_session_state_is_kept_and_sessions_are_listed() -> None:
    bus = world()
    send(bus, "a", "1")
    client = bus.session("s", "b", name="mine")
    sessions = bus.queue("s").sessions
    sessions.set_state("b", b"state", "mine")
    bus.commit.flush()
    client.leave()
    assert sessions.list_sessions(None) == ["a", "b"]
    assert sessions.list_sessions(START_MS - 1) == ["b"]
    assert sessions.list_sessions(START_MS) == []
    assert bus.session("s", "b").receiver.backlog is not None
    assert sessions.find_owned("b", None).state == b"state"


def test_deferred_messages_belong_to_the_session() -> None:
    bus = world()
    send(bus, "a", "1")
    client = bus.session("s", "a", credit=1, name="mine")
    client.settle(0, Deferred())

    def receive(session_id: str | None) -> int:
        got = browse.receive_deferred(
            bus.queue("s"), [1], delete=False, session_id=session_id, receiver_name="mine"
        )
        return len(got)

    for wrong in (None, "b"):
        with pytest.raises(BusError):
            receive(wrong)
    assert receive("a") == 1


def test_plain_receivers_and_sessions_do_not_mix_and_a_session_id_is_required() -> None:
    bus = world()
    for attempt in (
        lambda: bus.plain("s"),
        lambda: bus.session("plain", "a"),
        lambda: bus.session("plain"),
        lambda: bus.send("s", content("no session")),
    ):
        with pytest.raises(BusError) as refusal:
            attempt()
        assert refusal.value.condition == NOT_ALLOWED


def test_dead_letters_of_a_session_queue_are_received_without_sessions() -> None:
    bus = world(MaxDeliveryCount=1)
    send(bus, "a", "1")
    bus.session("s", "a", credit=1).settle(0, Abandoned())
    assert bus.plain("s/$deadletterqueue", credit=1).bodies == ["1"]

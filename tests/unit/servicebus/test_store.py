"""Does everything that was accepted survive the process, and nothing more?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from devhost.servicebus.entities.message import State
from devhost.servicebus.entities.settlement import (
    Abandoned,
    Completed,
    DeadLettered,
    Deferred,
    Released,
)
from devhost.servicebus.errors import StoreError
from devhost.servicebus.filters.rules import Rule
from devhost.servicebus.filters.sql import SqlFilter
from devhost.servicebus.lock_file import LockFile
from devhost.servicebus.store import Store
from tests.full_disk import full_disk
from tests.unit.servicebus.world import START_MS, World, content

QUEUES: dict[str, dict[str, Any]] = {
    "q": {"LockDuration": "PT1M", "MaxDeliveryCount": 10},
    "s": {"RequiresSession": True, "MaxDeliveryCount": 10},
    "d": {"RequiresDuplicateDetection": True, "DuplicateDetectionHistoryTimeWindow": "P9000D"},
}
TOPICS = {
    "t": {"Properties": {}, "Subscriptions": [{"Name": "a", "Properties": {}}]},
}


def start(path: Path, *, now_ms: int = START_MS) -> World:
    return World(queues=QUEUES, topics=TOPICS, data=path, now_ms=now_ms)


def restart(bus: World, path: Path) -> World:
    bus.close()
    return start(path, now_ms=bus.now_ms + 1_000)


def test_messages_locked_at_the_end_are_there_at_once_after_it_and_the_delivery_counts(
    tmp_path: Path,
) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", *(content(name, own={"n": 1}) for name in "abc"))
    client = bus.plain("q", credit=3)
    client.settle(1, Abandoned())
    client.want(1)
    client.settle(0, Completed())
    bus = restart(bus, tmp_path / "bus.db")
    assert bus.loaded == 2
    client = bus.plain("q", credit=9)
    assert client.bodies == ["b", "c"]
    assert [message.delivery_count for message, _, _ in client.got] == [2, 1]
    assert client.got[0][0].content.application_properties == {"n": 1}
    assert client.got[0][0].enqueued_ms == START_MS


def test_a_message_is_a_dead_letter_when_the_process_ends_during_its_last_delivery(
    tmp_path: Path,
) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("a"))
    for _ in range(9):
        assert bus.plain("q", credit=1).bodies == ["a"]
        bus = restart(bus, tmp_path / "bus.db")
    bus.plain("q", credit=1)
    bus = restart(bus, tmp_path / "bus.db")
    assert bus.plain("q", credit=1).bodies == []
    (dead,) = bus.plain("q/$deadletterqueue", credit=1).got
    assert dead[0].content.application_properties["DeadLetterReason"] == "MaxDeliveryCountExceeded"
    assert dead[0].delivery_count == 10


def test_deliveries_that_had_ended_or_were_given_back_are_not_counted_again(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("a"), content("b"), content("c"))
    bus.send("s", content("1", group_id="a"))
    client = bus.plain("q", credit=3)
    client.settle(0, Released())
    client.settle(1, Abandoned())
    client.settle(2, Deferred())
    left = bus.session("s", "a", credit=1)
    left.queue.detach(left.receiver)
    bus.commit.flush()
    bus = restart(restart(bus, tmp_path / "bus.db"), tmp_path / "bus.db")
    assert [message.delivery_count for message, _, _ in bus.plain("q", credit=9).got] == [0, 1]
    assert [message.delivery_count for message, _, _ in bus.session("s", credit=9).got] == [0]
    assert bus.queue("q").messages[3].message.delivery_count == 1


def test_more_locks_than_the_file_began_with_are_all_counted(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    many = 4_200
    bus.send("q", *(content(str(n)) for n in range(many)))
    client = bus.plain("q", credit=many)
    for n in range(10):
        client.settle(n, Completed())
    bus = restart(bus, tmp_path / "bus.db")
    client = bus.plain("q", credit=many)
    assert len(client.got) == many - 10
    assert {message.delivery_count for message, _, _ in client.got} == {1}


def test_numbers_go_on_even_when_the_queue_was_empty(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("a"), content("b"))
    client = bus.plain("q", credit=2)
    client.settle(0, Completed())
    client.settle(1, Completed())
    bus = restart(bus, tmp_path / "bus.db")
    assert bus.send("q", content("c")) == [3]


def test_deferred_scheduled_and_dead_messages_stay_what_they_are(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("deferred"), content("dead"))
    bus.send("q", content("later", schedule_ms=START_MS + 5_000))
    bus.send("t", content("topic", schedule_ms=START_MS + 5_000))
    client = bus.plain("q", credit=2)
    client.settle(0, Deferred())
    client.settle(1, DeadLettered({"DeadLetterReason": "why"}))
    bus = restart(bus, tmp_path / "bus.db")
    queue = bus.queue("q")
    assert queue.messages[1].message.state is State.DEFERRED
    assert list(queue.schedule.messages) == [3]
    dead = bus.plain("q/$deadletterqueue", credit=1)
    assert dead.bodies == ["dead"]
    bus.pass_time(5_000)
    assert bus.plain("q", credit=1).bodies == ["later"]
    assert bus.plain("t/subscriptions/a", credit=1).bodies == ["topic"]


def test_sessions_are_available_at_once_and_keep_their_state(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("s", content("1", group_id="a"), content("2", group_id="a"))
    client = bus.session("s", "a", credit=1)
    bus.queue("s").sessions.set_state("a", b"half", None)
    bus.commit.flush()
    assert client.bodies == ["1"]
    bus = restart(bus, tmp_path / "bus.db")
    client = bus.session("s", credit=9)
    assert (client.granted, client.bodies) == (["a"], ["1", "2"])
    assert [message.delivery_count for message, _, _ in client.got] == [1, 0]
    assert bus.queue("s").sessions.find_owned("a", None).state == b"half"


def test_seen_ids_are_remembered(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("d", content("a", message_id="x"))
    bus = restart(bus, tmp_path / "bus.db")
    bus.send("d", content("b", message_id="x"), content("c", message_id="y"))
    assert bus.plain("d", credit=9).bodies == ["a", "c"]


def test_rules_changed_at_run_time_are_kept_until_the_configuration_changes(
    tmp_path: Path,
) -> None:
    def names(bus: World) -> list[str]:
        place = bus.namespace.find("t/subscriptions/a")
        assert place is not None
        assert place.subscription is not None
        return sorted(place.subscription.rules)

    bus = start(tmp_path / "bus.db")
    place = bus.namespace.find("t/subscriptions/a")
    assert place is not None
    assert place.subscription is not None
    place.subscription.add_rule(Rule(name="more", filter=SqlFilter("1=1")))
    bus.commit.flush()
    bus = restart(bus, tmp_path / "bus.db")
    assert names(bus) == ["$default", "more"]
    bus.close()
    rule = {"Name": "new", "Properties": {"SqlFilter": {"SqlExpression": "a = 1"}}}
    subscription = {"Name": "a", "Properties": {}, "Rules": [rule]}
    changed = {"t": {"Properties": {}, "Subscriptions": [subscription]}}
    bus = World(queues=QUEUES, topics=changed, data=tmp_path / "bus.db")
    assert names(bus) == ["new"]
    bus.close()


def test_entities_that_are_gone_keep_their_messages(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("a"))
    bus.close()
    World(queues={"other": {}}, data=tmp_path / "bus.db").close()
    bus = start(tmp_path / "bus.db")
    assert bus.plain("q", credit=1).bodies == ["a"]
    bus.close()


def test_a_commit_that_fails_keeps_none_of_it(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("before"))
    told: list[bool] = []
    with full_disk(tmp_path / "bus.db"):
        bus.queue("q").send([content("small"), content("x" * 200_000, message_id="large")])
        bus.commit.after(told.append)
        bus.commit.flush()
    assert told == [False]
    bus.send("q", content("after"))
    bus = restart(bus, tmp_path / "bus.db")
    assert bus.plain("q", credit=9).bodies == ["before", "after"]
    bus.close()


@pytest.mark.parametrize("kept", [0, 3, 8 * 4096 + 5])
def test_a_file_of_locks_that_a_full_disk_cut_is_mended_and_said(tmp_path: Path, kept: int) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", content("a"), content("b"))
    assert bus.plain("q", credit=1).bodies == ["a"]
    bus.close()
    locks = tmp_path / "bus.locks"
    locks.write_bytes((locks.read_bytes() + bytes(kept))[:kept])
    bus = start(tmp_path / "bus.db", now_ms=bus.now_ms + 1_000)
    assert bus.disk.store is not None
    said = bus.disk.store.mended
    assert ("bus.locks" in said and f"last {kept % 8} bytes" in said) == bool(kept % 8)
    got = bus.plain("q", credit=9).got
    counted = 1 if kept > 8 else 0
    assert [message.delivery_count for message, _, _ in got] == [counted, 0]
    bus.close()


def test_locks_that_a_full_disk_refused_are_noted_when_it_has_room(tmp_path: Path) -> None:
    path = tmp_path / "bus.locks"
    locks = LockFile(path)
    for key in range(1, 4097):
        locks.add(key)
    with full_disk(path):
        with pytest.raises(OSError, match="too large"):
            locks.add(5000)
        locks.drop(1)
    locks.add(5000)
    locks.add(5001)
    locks.close()
    again = LockFile(path)
    assert (again.keys, again.cut_bytes) == ({*range(2, 4097), 5000, 5001}, 0)
    again.close()


def test_a_log_of_the_database_that_was_cut_costs_what_it_held_at_most(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    for name in ("a", "b", "c"):
        bus.send("q", content(name))
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path, cut)
    log = cut / "bus.db-wal"
    os.truncate(log, log.stat().st_size - 100)
    bus.close()
    bus = start(cut / "bus.db")
    assert bus.plain("q", credit=9).bodies == ["a", "b"]
    bus.close()


def test_a_damaged_database_is_left_as_it_is_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    bus = start(tmp_path / "bus.db")
    bus.send("q", *(content("x" * 4_000, message_id=str(n)) for n in range(50)))
    bus.close()
    database = tmp_path / "bus.db"
    os.truncate(database, database.stat().st_size // 2)
    damaged = database.read_bytes()
    with pytest.raises(StoreError, match=r"bus\.db: .*; restore the file from a copy, or move it"):
        start(database)
    assert database.read_bytes() == damaged


def test_a_file_that_is_no_database_or_in_use_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at " * 10)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path / "text")
    bus = start(tmp_path / "bus.db")
    with pytest.raises(StoreError, match="locked"):
        Store(tmp_path / "bus.db")
    bus.close()

"""Is nothing accepted lost, doubled or out of order, whatever happens in whatever order?

Random sends, receipts, settlements, departures, passing time, full disks and restarts; a seed
that fails fails again.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from devhost.servicebus.entities.settlement import (
    Abandoned,
    Completed,
    DeadLettered,
    Outcome,
    Released,
)
from devhost.servicebus.errors import BusError
from tests.unit.servicebus.world import Client, World, content

QUEUES = {
    "plain": {"LockDuration": "PT5S", "MaxDeliveryCount": 4},
    "sessions": {"LockDuration": "PT5S", "MaxDeliveryCount": 4, "RequiresSession": True},
}
STEPS = 120
OUTCOMES: list[Outcome] = [
    Completed(),
    Completed(),
    Abandoned(),
    Released(),
    DeadLettered(),
]


class Story:
    """One seed's run on one queue."""

    def __init__(self, path: str, seed: int, folder: Path) -> None:
        self.path = path
        self.dice = random.Random(seed)
        self.data = folder / "bus.db"
        self.world = World(queues=QUEUES, data=self.data)
        self.clients: list[Client] = []
        self.accepted: set[str] = set()
        self.completed: Counter[str] = Counter()
        self.sent = 0

    def step(self) -> None:
        what = self.dice.choices(
            [self.send, self.receive, self.settle, self.leave, self.wait, self.fill, self.restart],
            weights=[30, 20, 40, 5, 8, 3, 1],
        )[0]
        what()

    def send(self) -> None:
        bodies = [f"{self.sent + n:04d}" for n in range(self.dice.randrange(1, 4))]
        self.sent += len(bodies)
        session_id = self.dice.choice("abc") if self.path == "sessions" else None
        due_ms = self.world.now_ms + 3_000 if self.dice.random() < 0.1 else None
        entity = self.world.queue(self.path)
        entity.send([content(b, group_id=session_id, schedule_ms=due_ms) for b in bodies])
        self.world.commit.after(lambda stored: self.accepted.update(bodies if stored else ()))
        self.world.commit.flush()

    def receive(self) -> None:
        credit = self.dice.randrange(1, 4)
        if self.path == "plain":
            self.clients.append(self.world.plain(self.path, credit=credit))
        else:
            self.clients.append(self.world.session(self.path, credit=credit))

    def settle(self) -> None:
        client = self.dice.choice(self.clients) if self.clients else None
        if client is None or not client.got:
            return
        index = self.dice.randrange(len(client.got))
        outcome = self.dice.choice(OUTCOMES)
        body, broken = client.bodies[index], self.world.disk.broken
        try:
            client.settle(index, outcome)
        except BusError:
            return
        if isinstance(outcome, Completed) and not broken:
            self.completed[body] += 1
        if client.receiver.backlog is not None:
            client.want(self.dice.randrange(1, 3))

    def leave(self) -> None:
        if self.clients:
            self.clients.pop(self.dice.randrange(len(self.clients))).leave()

    def wait(self) -> None:
        self.world.pass_time(self.dice.choice([100, 2_000, 6_000]))

    def fill(self) -> None:
        self.world.disk.broken = not self.world.disk.broken

    def restart(self) -> None:
        now_ms = self.world.now_ms
        self.world.close()
        self.world, self.clients = World(queues=QUEUES, data=self.data, now_ms=now_ms), []

    def left(self) -> Counter[str]:
        """What can still be received, dead letters included, after everybody has gone."""
        self.world.disk.broken = False
        for client in self.clients:
            client.leave()
        self.world.pass_time(30_000)
        bodies: Counter[str] = Counter()
        for path in (self.path, f"{self.path}/$deadletterqueue"):
            for session_id in [*self.world.queue(path).backlogs]:
                client = (
                    self.world.plain(path, credit=10_000)
                    if session_id is None
                    else self.world.session(path, session_id, credit=10_000)
                )
                numbers = [message.sequence for message, _, _ in client.got]
                assert numbers == sorted(numbers) or path != self.path
                bodies.update(client.bodies)
        return bodies


@pytest.mark.parametrize("path", ["plain", "sessions"])
@pytest.mark.parametrize("seed", range(15))
def test_every_accepted_message_is_completed_once_or_still_there(
    path: str, seed: int, tmp_path: Path
) -> None:
    story = Story(path, seed, tmp_path)
    for _ in range(STEPS):
        story.step()
    left = story.left()
    assert story.completed + left == Counter(story.accepted)
    story.world.close()

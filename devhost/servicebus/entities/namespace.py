"""Finds entities by their address. Entry point: `Namespace.find`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from devhost.servicebus.agenda import Agenda
from devhost.servicebus.config import NamespaceConfig
from devhost.servicebus.entities.intake import IntakeRules
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.queue_state import QueueRules
from devhost.servicebus.entities.records import Journal
from devhost.servicebus.entities.topic import Subscription, Topic

DEAD_LETTERS = "/$deadletterqueue"
TRANSFER_DEAD_LETTERS = "/$transfer/$deadletterqueue"
SUBSCRIPTIONS = "/subscriptions/"


@dataclass(frozen=True, slots=True)
class Place:
    """The entity under an address, and its subscription if it is one."""

    entity: Queue | Topic
    subscription: Subscription | None = None


class Namespace:
    """All entities, by their path in lower case."""

    def __init__(self, config: NamespaceConfig, *, journal: Journal, agenda: Agenda) -> None:
        self._journal = journal
        self._agenda = agenda
        self._places: dict[str, Place] = {}
        for queue in config.queues:
            self._add_queue(queue.name.casefold(), queue.rules)
        for entry in config.topics:
            path = entry.name.casefold()
            topic = Topic(path, entry.intake, journal=journal, agenda=agenda)
            self._places[path] = Place(topic)
            for each in entry.subscriptions:
                below = f"{path}{SUBSCRIPTIONS}{each.name.casefold()}"
                subscription = Subscription(
                    each.name, self._make_queue(below, each.rules), each.filters
                )
                topic.subscriptions.append(subscription)
                self._add(below, subscription.queue, subscription)

    def find(self, path: str) -> Place | None:
        """The place under an address in lower case, or None."""
        return self._places.get(path)

    def entities(self) -> Iterator[tuple[str, Place]]:
        """Every path with its place, dead-letter queues included."""
        return iter(self._places.items())

    def _add_queue(self, path: str, rules: QueueRules) -> None:
        self._add(path, self._make_queue(path, rules), None)

    def _add(self, path: str, queue: Queue, subscription: Subscription | None) -> None:
        self._places[path] = Place(queue, subscription)
        assert queue.dead_letters is not None
        self._places[queue.dead_letters.path] = Place(queue.dead_letters)
        transfer = path + TRANSFER_DEAD_LETTERS
        self._places[transfer] = Place(self._make_dead_letters(transfer, queue.rules))

    def _make_queue(self, path: str, rules: QueueRules) -> Queue:
        return Queue(
            path,
            rules,
            journal=self._journal,
            agenda=self._agenda,
            dead_letters=self._make_dead_letters(path + DEAD_LETTERS, rules),
        )

    def _make_dead_letters(self, path: str, rules: QueueRules) -> Queue:
        """Make a dead-letter queue: it has no time to live, no maximum count and no sessions."""
        own = replace(
            rules, max_delivery_count=None, dead_letter_on_expiry=False, intake=IntakeRules()
        )
        return Queue(path, own, journal=self._journal, agenda=self._agenda)

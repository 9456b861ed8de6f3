"""Copies messages of a topic into its subscriptions. Entry points: `Topic`, `Subscription`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from devhost.amqp.errors import EncodeError
from devhost.servicebus.agenda import Agenda
from devhost.servicebus.entities.backlog import Held
from devhost.servicebus.entities.intake import Intake, IntakeRules, check_limits
from devhost.servicebus.entities.message import Content, Message, State
from devhost.servicebus.entities.queue import RETRY_MS, Queue
from devhost.servicebus.entities.records import Journal, MessageRemoved, MessageStored, RulesChanged
from devhost.servicebus.entities.schedule import Schedule, cancel_scheduled
from devhost.servicebus.entities.settlement import DESCRIPTION, REASON
from devhost.servicebus.errors import ENTITY_ALREADY_EXISTS, NOT_FOUND, ActionError, BusError
from devhost.servicebus.filters.actions import RULE_NAME, SqlAction
from devhost.servicebus.filters.rules import Rule, compute_rules_digest, decode_rules, encode_rules

FAILED_RULE = "FilterEvaluationException"
"""Why a message is a dead letter whose rule failed on it."""


class Subscription:
    """A queue that a topic fills, by its rules."""

    def __init__(self, name: str, queue: Queue, rules: Sequence[Rule]) -> None:
        self.name = name
        self.queue = queue
        self.rules = {rule.name.casefold(): rule for rule in rules}
        self._configured = compute_rules_digest(rules)

    def take(self, message: Message) -> None:
        """Copy a message for each matching rule with an action, and once for all matching others.

        A copy that its action cannot change goes to the dead-letter queue.
        """
        matching = [rule for rule in self.rules.values() if rule.filter.matches(message.content)]
        if any(rule.action is None for rule in matching):
            self._put(self.queue, message, message.content)
        for rule in matching:
            if rule.action is not None:
                self._take_changed(message, rule, rule.action)

    def _take_changed(self, message: Message, rule: Rule, action: SqlAction) -> None:
        try:
            draft = action.apply(message.content)
            own = {**draft.application_properties, RULE_NAME: rule.name}
            changed = message.content.with_all_properties(draft.properties, own)
            self.queue.intake.check(changed)
        except (ActionError, EncodeError, BusError) as error:
            assert self.queue.dead_letters is not None
            reason = {REASON: FAILED_RULE, DESCRIPTION: f"The action of {rule.name!r}: {error}"}
            self._put(self.queue.dead_letters, message, message.content.with_properties(reason))
            return
        self._put(self.queue, message, changed)

    def _put(self, queue: Queue, message: Message, content: Content) -> None:
        queue.send_copy(content, origin=message.sequence, expires_ms=message.expires_ms)

    def add_rule(self, rule: Rule) -> None:
        """Add a rule. Raises BusError when the name is in use."""
        if rule.name.casefold() in self.rules:
            raise BusError(ENTITY_ALREADY_EXISTS, f"The rule {rule.name!r} exists already.")
        self._change({**self.rules, rule.name.casefold(): rule})

    def remove_rule(self, name: str) -> None:
        """Remove a rule. Without rules no message comes. Raises BusError for an unknown name."""
        if name.casefold() not in self.rules:
            # The JavaScript SDK recognises a missing entity by these words.
            raise BusError(NOT_FOUND, f"The messaging entity (rule) {name!r} could not be found.")
        self._change({key: rule for key, rule in self.rules.items() if key != name.casefold()})

    def load_rules(self, record: RulesChanged) -> None:
        """Take rules that were changed at run time, unless Config.json has changed since."""
        if record.configured == self._configured:
            self.rules = {rule.name.casefold(): rule for rule in decode_rules(record.rules)}

    def _change(self, rules: dict[str, Rule]) -> None:
        before, self.rules = self.rules, rules
        encoded = encode_rules(list(rules.values()))
        self.queue.journal.write(RulesChanged(self.queue.path, self._configured, encoded))

        def changed(stored: bool) -> None:
            if not stored:
                self.rules = before

        self.queue.journal.after(changed)


class Topic:
    """Takes messages like a queue, holds only scheduled ones, and copies to subscriptions."""

    def __init__(self, path: str, rules: IntakeRules, *, journal: Journal, agenda: Agenda) -> None:
        self.path = path
        self.journal = journal
        self.agenda = agenda
        self.intake = Intake(path, rules, journal=journal, agenda=agenda)
        self.schedule = Schedule()
        self.messages: dict[int, Held] = {}
        """A topic holds none; subscriptions do."""
        self.subscriptions: list[Subscription] = []

    def send(self, contents: Sequence[Content]) -> list[int]:
        """Take messages in, all or none. Returns their numbers. Raises BusError."""
        for content in contents:
            check_limits(content)
            for subscription in self.subscriptions:
                if subscription.queue.rules.requires_session:
                    subscription.queue.intake.check(content)
        fresh, later, numbers = [], [], []
        for content in contents:
            if not self.intake.is_duplicate(content):
                fresh.append(content)
                message = self.intake.stamp(content)
                if message.state is State.SCHEDULED:
                    self.journal.write(MessageStored(self.path, message))
                    later.append(message)
                else:
                    self._copy(message)
            numbers.append(self.intake.last_sequence)
        self.journal.after(
            lambda stored: self.take_in(later) if stored else self.intake.forget(fresh)
        )
        return numbers

    def take_in(self, messages: Sequence[Message]) -> None:
        """Add scheduled messages that are stored already."""
        for message in messages:
            self.schedule.add(message)
            self.agenda.at(message.due_ms or 0, self._tick)

    def cancel_scheduled(self, sequences: Sequence[int]) -> None:
        """Cancel scheduled messages, all or none. Raises BusError."""
        cancel_scheduled(self.path, self.schedule, sequences, self.journal)

    def _copy(self, message: Message) -> None:
        for subscription in self.subscriptions:
            subscription.take(message)

    def _tick(self) -> None:
        waiting = self.schedule.take_due(self.agenda.now_ms())
        for message in waiting:
            self.journal.write(MessageRemoved(self.path, message.sequence))
            self._copy(self.intake.activate(message))
        due_ms = self.agenda.now_ms() + RETRY_MS
        later = [replace(message, due_ms=due_ms) for message in waiting]
        if waiting:
            self.journal.after(lambda stored: None if stored else self.take_in(later))

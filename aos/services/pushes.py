"""Keeps and tells the receivers of the push notifications of A2A tasks. Entry points:
`PushNotifications.put`, `PushNotifications.prepare`.

A receiver is a row beside the request of its run, so it outlives every process. A push tells how
the task stands when it is sent, not when it was ordered: a task that has gone on meanwhile is told
as it is, and what nobody waits for any more is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from aos.domain.cards.hosts import find_url_problem
from aos.domain.envelope import DeliverNotification, to_main
from aos.domain.json_writer import write_json
from aos.domain.notify import NOTIFY_EVENTS, Notify
from aos.domain.pushes import MAX_CONFIGS, PushConfig
from aos.domain.runs.asks import AskRequest, list_asks
from aos.domain.runs.events import make_ended_event
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.errors import Refused
from aos.ports.bus import Bus
from aos.ports.pushes import PushConfigStore
from aos.ports.system import Clock
from aos.services.runs import RunReader

CONTENT_TYPE = "application/json"
WAITS = (RunStatus.WAITING_APPROVAL, RunStatus.WAITING_INPUT)
Describe: TypeAlias = Callable[[Run, Sequence[AskRequest]], Mapping[str, Any]]
"""Writes the payload of a push: a task, or the change of its status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One push that is ready to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class PushNotifications:
    """Main's use case: keep receivers of tasks, and tell them."""

    def __init__(
        self,
        *,
        store: PushConfigStore,
        runs: RunReader,
        describe: Describe,
        listed_hosts: frozenset[str],
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._describe = describe
        self._listed_hosts = listed_hosts
        self._bus = bus
        self._clock = clock

    def check_url(self, url: str) -> None:
        """Raise Refused `invalid_request` for an address that AOS does not send to."""
        problem = find_url_problem(url, self._listed_hosts)
        if problem is not None:
            raise Refused("invalid_request", f"url: {problem.message}; {problem.hint}", field="url")

    async def put(
        self, request: AdmittedRequest, config: PushConfig, *, known: RunStatus
    ) -> PushConfig:
        """Write a receiver. It is told of what happens after `known`, the status that its client
        has seen, also if that happened just now.

        Raises Refused `invalid_request` for an address that AOS does not send to, and for one
        receiver too many.
        """
        self.check_url(config.url)
        kept = await self._store.list_all(request.run_id)
        others = [item for item in kept if item.config_id != config.config_id]
        if len(others) >= MAX_CONFIGS:
            raise Refused(
                "invalid_request",
                f"run {request.run_id!r} has {MAX_CONFIGS} receivers of push notifications; delete"
                " one first",
            )
        await self._store.put(config)
        run = await self._runs.read(request)
        if run.status is not known and (run.status.has_ended or run.status in WAITS):
            await self._bus.send(to_main(_make_command(run, config)))
        return config

    async def list_all(self, run_id: str) -> list[PushConfig]:
        """Return the receivers of a run."""
        return await self._store.list_all(run_id)

    async def find(self, run_id: str, config_id: str) -> PushConfig | None:
        """Return a receiver, or None."""
        return await self._store.find(run_id, config_id)

    async def drop(self, run_id: str, config_id: str) -> None:
        """Remove a receiver. It is told nothing more."""
        await self._store.drop(run_id, config_id)

    async def has_receivers(self, run_id: str) -> bool:
        """Whether a run has receivers."""
        return bool(await self._store.list_all(run_id))

    async def order(self, command: DeliverNotification) -> None:
        """Send a command for each receiver of the task, so that each has tries of its own."""
        if command.event_type not in NOTIFY_EVENTS:
            return
        for config in await self._store.list_all(command.run_id):
            own = replace(
                command, notify=Notify(url=config.url), data=None, push_id=config.config_id
            )
            await self._bus.send(to_main(own))

    async def prepare(self, command: DeliverNotification) -> Push | None:
        """Make the push of a command; None if its receiver was removed, or nothing is to be told.

        Raises TransientError when storage is away.
        """
        config = await self._store.find(command.run_id, command.push_id)
        if config is None:
            return None
        request = await self._runs.find_request(command.run_id, owner=None)
        run = await self._runs.read(request)
        asks: Sequence[AskRequest] = ()
        if not run.status.has_ended:
            head = await self._runs.find_head(command.conversation_id)
            asks = list_asks(head, command.run_id)
            if not asks:
                return None
        body = write_json(self._describe(run, asks), ensure_ascii=False, separators=(",", ":"))
        return Push(
            url=config.url, headers=config.build_headers(), body=body.encode("utf-8", "replace")
        )


def _make_command(run: Run, config: PushConfig) -> DeliverNotification:
    """Make the command that tells one receiver how the run stands."""
    if run.status.has_ended:
        event = make_ended_event(run, data={}, traceparent=None)
        event_id, event_type, time = event.id, event.type, event.time
    else:
        assert run.waiting is not None
        event_type = "approval.requested" if run.status is WAITS[0] else "input.requested"
        event_id = f"{run.run_id}:{'-'.join(run.waiting.tool_call_ids[:1])}:{event_type}"
        time = run.waiting.since
    return DeliverNotification(
        run_id=run.run_id,
        conversation_id=run.conversation_id,
        agent_id=run.agent_id,
        event_id=event_id,
        event_type=event_type,
        time=time,
        notify=Notify(url=config.url),
        push_id=config.config_id,
    )

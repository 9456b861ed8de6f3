"""Tells receivers outside of AOS of a run's events. Entry point: `Notifications.deliver`.

A delivery is a message on `aos-main` until the receiver has taken it: after a failed try main sends
the command to itself, scheduled for the next try. So a delivery survives any crash, and a receiver
may get an event twice, always with the same `webhook-id`. A slow receiver takes at most
`MOST_A_HOST` of main's handlers, all of them together `MOST_AT_ONCE`; what comes beyond that waits
as a scheduled message.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from aos.domain.cards.hosts import find_url_problem
from aos.domain.envelope import (
    AGENT_EVENTS,
    SYSTEM_EVENTS,
    DeliverNotification,
    Event,
    Reply,
    to_main,
)
from aos.domain.json_writer import write_json
from aos.domain.runs.events import describe_run, make_ended_event, name_source
from aos.domain.webhooks import GONE, WebhookSecret, build_headers, find_next_try
from aos.errors import Refused
from aos.ports.bus import LARGEST_BODY_BYTES, Bus
from aos.ports.conversations import ConversationStore
from aos.ports.requests import RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Level, Telemetry
from aos.ports.webhooks import WebhookAnswer, WebhookClient
from aos.services.pushes import CONTENT_TYPE as PUSH_TYPE
from aos.services.pushes import PushNotifications

TRY_SECONDS = 10.0
MOST_AT_ONCE = 8
MOST_A_HOST = 4
BUSY_PAUSE_SECONDS = 5.0
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class Notifications:
    """Main's use case: deliver the events of runs to the receivers that `notify` names."""

    def __init__(
        self,
        *,
        client: WebhookClient,
        pushes: PushNotifications,
        secrets: Sequence[WebhookSecret],
        listed_hosts: frozenset[str],
        conversations: ConversationStore,
        requests: RequestStore,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        public_url: str = "",
    ) -> None:
        self._client = client
        self._pushes = pushes
        self._secrets = secrets
        self._listed_hosts = listed_hosts
        self._conversations = conversations
        self._requests = requests
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._public_url = public_url
        self._under_way: Counter[str] = Counter()

    async def deliver(self, command: DeliverNotification, *, lag: timedelta = timedelta()) -> None:
        """Try once to deliver; may be repeated. Raises TransientError when a service is away.

        `lag` is how far our clock is behind the broker's: the next try is scheduled by the
        broker's, or it would come back at once, again and again.
        """
        if command.notify.pushes:
            await self._pushes.order(command)
            command = replace(command, notify=replace(command.notify, pushes=False))
            if not command.notify.wants(command.event_type):
                return
        host, url = _read_host(command), command.notify.url
        if url is None:
            event = await self._make_event(command)
            if event is not None and command.notify.queue is not None:
                await self._bus.reply(_make_message(command, event, command.notify.queue))
        elif self._is_busy(host):
            await self._send_later(command, seconds=BUSY_PAUSE_SECONDS, lag=lag)
        else:
            with self._under_way_at(host):  # counted before the first wait
                answer = await self._push(command) if command.push_id else await self._tell(command)
            if answer is not None:
                await self._follow(command, answer, lag)

    async def _tell(self, command: DeliverNotification) -> WebhookAnswer | None:
        """Post an event; None if its run was deleted."""
        event = await self._make_event(command)
        if event is None or command.notify.url is None:
            return None
        body = write_json(event.to_cloud_event(), ensure_ascii=False, separators=(",", ":"))
        packed, headers = body.encode("utf-8", "replace"), {"Content-Type": CONTENT_TYPE}
        return await self._post(command, command.notify.url, packed, headers)

    async def _push(self, command: DeliverNotification) -> WebhookAnswer | None:
        """Post a push notification of A2A; None if nobody is to be told any more."""
        try:
            push = await self._pushes.prepare(command)
        except Refused:
            push = None
        if push is None:
            self._log("notification_dropped", command, reason="there is nothing to tell any more")
            return None
        headers = {**push.headers, "Content-Type": PUSH_TYPE}
        return await self._post(command, push.url, push.body, headers)

    def _is_busy(self, host: str) -> bool:
        under_way = self._under_way
        return under_way[host] >= MOST_A_HOST or under_way.total() >= MOST_AT_ONCE

    @contextlib.contextmanager
    def _under_way_at(self, host: str) -> Iterator[None]:
        self._under_way[host] += 1
        try:
            yield
        finally:
            self._under_way[host] -= 1
            if not self._under_way[host]:
                del self._under_way[host]

    async def _make_event(self, command: DeliverNotification) -> Event | None:
        """Make the event; None if its run was deleted."""
        event = await self._read_event(command)
        if event is None:
            self._log("notification_dropped", command, reason="the run was deleted")
        return event

    async def _read_event(self, command: DeliverNotification) -> Event | None:
        stored = await self._requests.find(command.run_id)  # a deletion scrubs it before the run
        if stored is not None and stored.scrubbed:
            return None
        if command.data is not None:
            return Event(
                topic=AGENT_EVENTS,
                id=command.event_id,
                type=command.event_type,
                source=name_source(command.agent_id),
                time=command.time,
                data=command.data,
                traceparent=command.traceparent,
            )
        run = await self._conversations.find_run(command.conversation_id, command.run_id)
        if run is None or run.ended_at is None or stored is None:
            return None
        data = describe_run(run, max_bytes=LARGEST_BODY_BYTES, public_url=self._public_url)
        return make_ended_event(run, data=data, traceparent=command.traceparent)

    async def _post(
        self, command: DeliverNotification, url: str, body: bytes, headers: Mapping[str, str]
    ) -> WebhookAnswer:
        """Sign and post. The rules of the operator are those of today."""
        problem = find_url_problem(url, self._listed_hosts)
        if problem is not None:
            return WebhookAnswer(fault=f"the URL is not allowed: {problem.hint}")
        if not self._secrets:
            return WebhookAnswer(fault="AOS has no secret to sign with; set AOS_WEBHOOK_SECRET")
        signed = build_headers(
            self._secrets, webhook_id=command.delivery_id, at=self._clock.now(), body=body
        )
        return await self._client.post(
            url, headers={**headers, **signed}, body=body, seconds=TRY_SECONDS
        )

    async def _follow(
        self, command: DeliverNotification, answer: WebhookAnswer, lag: timedelta
    ) -> None:
        """Schedule the next try of a failed delivery, or give it up."""
        if answer.is_taken:
            return
        now = self._clock.now()
        failed = replace(command, failures=command.failures + 1, since=command.since or now)
        assert failed.since is not None
        at = find_next_try(
            now=now,
            since=failed.since,
            failures=failed.failures,
            jitter=self._ids.jitter(),
            retry_after_seconds=answer.retry_after_seconds,
        )
        if at is None or answer.status == GONE:
            await self._give_up(failed, answer)
            return
        await self._bus.send(to_main(failed, scheduled_at=at + lag))
        self._log("notification_postponed", failed, reason=_describe(answer))

    async def _send_later(
        self, command: DeliverNotification, *, seconds: float, lag: timedelta
    ) -> None:
        pause = timedelta(seconds=seconds * (1 + self._ids.jitter()))
        await self._bus.send(to_main(command, scheduled_at=self._clock.now() + lag + pause))

    async def _give_up(self, command: DeliverNotification, answer: WebhookAnswer) -> None:
        """Tell the operator that this delivery is not tried again, and leave a dead letter."""
        reason = _describe(answer)
        await self._bus.send(to_main(replace(command, failures=0, since=None, given_up=reason)))
        await self._bus.publish(
            Event(
                topic=SYSTEM_EVENTS,
                id=f"{command.delivery_id}:notification",
                type="notification.failed",
                source=name_source(command.agent_id),
                time=self._clock.now(),
                data={
                    "run_id": command.run_id,
                    "agent_id": command.agent_id,
                    "conversation_id": command.conversation_id,
                    "event_id": command.event_id,
                    "event_type": command.event_type,
                    "host": _read_host(command),
                    "failures": command.failures,
                    "reason": reason,
                },
                traceparent=command.traceparent,
            )
        )
        self._log("notification_failed", command, level="error", reason=reason)

    def _log(
        self, event: str, command: DeliverNotification, *, reason: str, level: Level = "warning"
    ) -> None:
        self._telemetry.log(
            event,
            level=level,
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            agent_id=command.agent_id,
            event_type=command.event_type,
            host=_read_host(command),
            failures=command.failures,
            reason=reason,
        )


def _read_host(command: DeliverNotification) -> str:
    """The receiver without the rest of its URL, which may hold a secret."""
    if command.notify.url is None:
        return command.notify.queue or ""
    return urlsplit(command.notify.url).netloc.rpartition("@")[2].lower()


def _describe(answer: WebhookAnswer) -> str:
    return answer.fault or f"the receiver answered {answer.status}"


def _make_message(command: DeliverNotification, event: Event, queue: str) -> Reply:
    """The event as a message of a queue, with the event's id."""
    return Reply(
        entity=queue,
        message_id=event.id,
        correlation_id=None,
        session_id=command.conversation_id,
        body=event.to_cloud_event(),
        traceparent=event.traceparent,
    )

"""Makes the events of a run. Entry points: `make_ended_event`, `make_notification`."""

from __future__ import annotations

from typing import Any

from aos.domain.codec import encode
from aos.domain.envelope import AGENT_EVENTS, DeliverNotification, Event
from aos.domain.json_writer import write_json
from aos.domain.notify import Notify
from aos.domain.runs.run import Run


def describe_run(run: Run, *, max_bytes: int, public_url: str) -> dict[str, Any]:
    """Return the run object; with a URL in place of its output when it is too large for the
    bus."""
    raw = encode(run)
    if len(write_json(raw)) <= max_bytes:
        return raw
    url = f"{public_url}/api/runs/{run.run_id}"
    return {**raw, "output": None, "output_parts": None, "details": {"url": url}}


def make_ended_event(run: Run, *, data: dict[str, Any], traceparent: str | None) -> Event:
    """Make the event that tells of a run's end; `data` describes the run."""
    assert run.ended_at is not None
    kind = run.status.value
    return Event(
        topic=AGENT_EVENTS,
        id=f"{run.run_id}:{kind}",
        type=f"run.{kind}",
        source=name_source(run.agent_id),
        time=run.ended_at,
        data=data,
        traceparent=traceparent,
    )


def name_source(agent_id: str) -> str:
    """Return the `source` of an agent's events."""
    return f"aos/agents/{agent_id}"


def make_notification(
    event: Event,
    notify: Notify | None,
    *,
    run_id: str,
    conversation_id: str,
    agent_id: str,
    data: dict[str, Any] | None,
) -> DeliverNotification | None:
    """Make the command that sends the event to the receiver; None if it does not want the event.

    `data` None: the data is the ended run, which is read when it is sent.
    """
    if notify is None or not (notify.pushes or notify.wants(event.type)):
        return None
    return DeliverNotification(
        run_id=run_id,
        conversation_id=conversation_id,
        agent_id=agent_id,
        event_id=event.id,
        event_type=event.type,
        time=event.time,
        notify=notify,
        data=data,
        traceparent=event.traceparent,
    )

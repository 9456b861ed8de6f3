"""A receiver of webhooks is told of a run once by id, signed, whatever process dies."""

from __future__ import annotations

import json
import uuid

from standardwebhooks.webhooks import Webhook

from tests.e2e.conftest import WEBHOOK_SECRET, Model
from tests.e2e.road import Road, eventually
from tests.webhook_receiver import Received, receiving

AFTER_SECONDS = 60.0


def test_main_is_killed_between_two_tries_and_the_receiver_gets_the_event(
    road: Road, model: Model
) -> None:
    model.says("Hello.")
    agent = road.live(f"tell-{uuid.uuid4().hex[:8]}")
    away = True
    taken: list[Received] = []

    def answer(got: Received) -> tuple[int, dict[str, str]]:
        if away:
            return 503, {}
        taken.append(got)
        return 204, {}

    with receiving() as receiver:
        receiver.answer = answer
        body = {"message": "Hi", "notify": {"url": receiver.url}}
        run = road.call("POST", f"/api/agents/{agent}/run", body).body
        eventually(lambda: receiver.received or None, seconds=20, what="the first try")
        child = road.laptop.child("main")
        restarts = child.restarts
        child.kill9()
        eventually(lambda: child.restarts > restarts or None, seconds=10)
        away = False
        eventually(lambda: taken or None, seconds=AFTER_SECONDS, what="the delivery")
        got = taken[0]
        event = Webhook(WEBHOOK_SECRET).verify(got.body, dict(got.headers))
    assert {r.headers["webhook-id"] for r in receiver.received} == {event["id"]}
    assert len(receiver.received) >= 2
    assert (event["type"], event["data"]) == ("run.completed", run)
    assert json.loads(got.body) == event

"""Receives webhooks in the simulation; is often away. Entry points: `make_receivers`, `told`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aos.adapters.memory import SentWebhook, WebhookReceivers
from aos.adapters.memory.clock import FIRST_MOMENT
from aos.domain.notify import Notify
from aos.domain.pushes import PushConfig
from aos.ports.webhooks import WebhookAnswer

if TYPE_CHECKING:
    from tests.simulation.world import World

NOTIFY_URL = "https://receiver.example.com/hook"
NOTIFY = Notify(url=NOTIFY_URL)
PUSHED = "main"
"""The id of the receivers of push notifications."""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MOST_REFUSALS = 4
"""Refusals of one event: fewer than would last until a delivery is given up."""


def make_receivers(seed: int) -> WebhookReceivers:
    """Make the receivers of a world. Their chances do not touch those of the world."""
    chances = random.Random(seed + 2)
    refused: dict[str, int] = {}
    taken: set[str] = set()
    receivers = WebhookReceivers()

    def answer(sent: SentWebhook) -> WebhookAnswer:
        name = sent.headers["webhook-id"]
        if name in taken:  # a copy that comes days later is not given up
            return WebhookAnswer(status=204)
        if chances.random() < 0.5 and refused.get(name, 0) < MOST_REFUSALS:
            refused[name] = refused.get(name, 0) + 1
            return WebhookAnswer(status=503)
        taken.add(name)
        return WebhookAnswer(status=204)

    receivers.answer = answer
    return receivers


def make_push_config(run_id: str) -> PushConfig:
    """A receiver of the push notifications of a task."""
    return PushConfig(run_id=run_id, config_id=PUSHED, url=NOTIFY_URL, created_at=FIRST_MOMENT)


def told(world: World, run_id: str) -> None:
    """Whether the receiver of an ended run was told, once by id and content."""
    request, run = world.admitted[run_id], world.checks.ended.get(run_id)
    if run is None or request.notify is None:
        return
    if request.notify.has_receiver:
        _told_once(world, run_id, f"{run_id}:{run.status.value}")
    if run_id in world.pushed:
        _told_once(world, run_id, f"{run_id}:{run.status.value}:{PUSHED}")


def _told_once(world: World, run_id: str, name: str) -> None:
    bodies = {t.body for t in world.receivers.tries if t.headers["webhook-id"] == name}
    if world.checks.is_scrubbed(run_id):
        return  # who was away until then is sent what is left
    if len(bodies) != 1:
        world.checks.fail(f"the receiver of {run_id} got {len(bodies)} contents of {name}")

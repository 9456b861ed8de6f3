"""Holds what all connections share. Entry point: `Broker`."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from devhost.amqp.performatives import Error
from devhost.servicebus.agenda import Agenda
from devhost.servicebus.entities.namespace import Namespace
from devhost.servicebus.errors import BusError
from devhost.servicebus.group_commit import GroupCommit
from devhost.servicebus.policies import Policies

MAX_MESSAGE_SIZE = 262_144
"""Bytes of one message, as in Azure's Standard tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """The entities, the policies, the journal and the agenda, with a name for this process."""

    namespace: Namespace
    policies: Policies
    commit: GroupCommit
    agenda: Agenda
    container_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    next_number: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    def next_tracking_id(self) -> str:
        """A new id by which a client can name a link or an error."""
        return f"{self.container_id}_{self.next_number()}"

    def error(self, refusal: BusError) -> Error:
        """The AMQP error for a refusal. It has all three fields: Azure's SDK reads the third."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        text = (
            f"{refusal.description} TrackingId:{self.next_tracking_id()}, "
            f"SystemTracker:aos-local, Timestamp:{moment}"
        )
        return Error(refusal.condition, text, {})

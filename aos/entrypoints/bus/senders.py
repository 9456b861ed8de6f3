"""Says who sent a message on `aos-requests`, and for whom. Entry points: `read_sender`,
`SenderRights`.

Service Bus does not say which identity sent a message: who may send at all is a role on the queue.
So a sender names itself (`aos_owner`), and its owner begins with `queue:`. It acts for a person or
a key (`aos_on_behalf_of`) only where the operator lists that owner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aos.domain.caller import Caller, is_door_owner
from aos.domain.envelope import REQUESTS_QUEUE
from aos.errors import Refused
from aos.ports.bus import ReceivedMessage

OWNERS = "queue:"
"""Every owner of the queue begins with this prefix."""
MAX_OWNER = 256
OWNER = "aos_owner"
ON_BEHALF_OF = "aos_on_behalf_of"
EVERYBODY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The sender of a message, and the owner that it acts for; None: it acts for itself."""

    name: str = f"{OWNERS}{REQUESTS_QUEUE}"
    on_behalf_of: str | None = None

    @property
    def owner(self) -> str:
        """The owner of what the message creates, in whose runs it acts."""
        return self.on_behalf_of or self.name

    @property
    def scope(self) -> str:
        """The scope of the idempotency keys: of this sender, and of the owner it acts for."""
        acted_for = "" if self.on_behalf_of is None else f" for {self.on_behalf_of}"
        return f"queue:{REQUESTS_QUEUE}{acted_for}:{self.name}"

    @property
    def caller(self) -> Caller:
        """The caller, with the rights of an owner and no others."""
        if self.on_behalf_of is None:
            return Caller(owner=self.name)
        return Caller(owner=self.on_behalf_of, sent_by=self.name)


class SenderRights:
    """The owners that senders may act for, as the operator lists them; `*` means all."""

    def __init__(self, owners: Iterable[str] = ()) -> None:
        self._owners = frozenset(owners)

    def read_allowed(self, message: ReceivedMessage) -> Sender:
        """Return the sender. Raises Refused `forbidden` if it may not act for the owner."""
        sender = read_sender(message)
        owner = sender.on_behalf_of
        if owner is None or owner in self._owners or EVERYBODY in self._owners:
            return sender
        raise Refused(
            "forbidden",
            f"senders on {REQUESTS_QUEUE} may not act for {owner!r}: the operator's setting"
            " AOS_QUEUE_MAY_ACT_FOR does not list that owner. Let the operator add it, or leave"
            f" {ON_BEHALF_OF} out to ask as {sender.name!r}",
            field=ON_BEHALF_OF,
        )


def read_sender(message: ReceivedMessage) -> Sender:
    """Return who a message says it is from. Raises Refused `invalid_request`.

    Every sender may name any owner of the queue, but not owners of keys, signed-in persons or
    agents as its own, because those do not begin with `queue:`.
    """
    name, owner = (message.properties.get(field) for field in (OWNER, ON_BEHALF_OF))
    if owner is not None and (not isinstance(owner, str) or not is_door_owner(owner)):
        raise Refused(
            "invalid_request",
            f"the property {ON_BEHALF_OF} must be an owner of HTTP: a person's id, the name of a"
            f" key, or key: and its SHA-256; an owner of the queue goes into {OWNER}",
            field=ON_BEHALF_OF,
        )
    if name is None:
        return Sender(on_behalf_of=owner)
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= MAX_OWNER
        or not name.isprintable()  # a line break would merge the owner with the idempotency key
    ):
        raise Refused(
            "invalid_request",
            f"the property {OWNER} must be a text of 1 to {MAX_OWNER} printable characters",
            field=OWNER,
        )
    return Sender(name=f"{OWNERS}{name}", on_behalf_of=owner)


def read_sender_or_default(message: ReceivedMessage) -> Sender:
    """Return the sender, or the default if its properties are not valid."""
    try:
        return read_sender(message)
    except Refused:
        return Sender()

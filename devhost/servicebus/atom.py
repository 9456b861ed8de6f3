"""Answers the reads of Azure's administration clients in ATOM. Entry point: `Atom.answer`.

Built is what tells how many messages an entity holds: `GET` of a queue, a topic or a subscription.
Everything else is 501, and says so. As in Azure, each read needs a token with the right to manage.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape

from devhost.servicebus.broker import Broker
from devhost.servicebus.entities.message import State
from devhost.servicebus.entities.namespace import Place
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.topic import Topic
from devhost.servicebus.errors import TokenError
from devhost.servicebus.policies import Right

_CONNECT = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
_COUNTS = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
_FEED = '<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">Entities</title></feed>'
_NAMES = ("active", "dead_letter", "scheduled", "transfer", "transfer_dead_letter")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomAnswer:
    """A status line and a body."""

    status: str
    body: str
    media_type: str = "application/atom+xml;type=entry;charset=utf-8"


class Atom:
    """The administration interface of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def answer(self, method: str, target: str, authorization: str | None) -> AtomAnswer:
        """Answer one request."""
        path = unquote(target.partition("?")[0]).strip("/")
        refusal = self._find_refusal(path.casefold(), authorization)
        if refusal is not None:
            return _make_error("401 Unauthorized", "401", refusal)
        place = self._broker.namespace.find(path.casefold())
        if method != "GET" or path.startswith("$") or _is_list(path):
            return _make_error(
                "501 Not Implemented",
                "50100",
                f"The local Service Bus does not answer {method} /{path}: it takes its entities"
                " from Config.json, and reads of single entities are built.",
            )
        if place is None or "$" in path:
            return AtomAnswer(  # as Azure does for what does not exist
                status="200 OK", body=_FEED, media_type="application/atom+xml;type=feed"
            )
        return AtomAnswer(status="200 OK", body=_write_entry(path, place))

    def _find_refusal(self, path: str, authorization: str | None) -> str | None:
        """Why the token does not allow to manage the path; None if it does."""
        if not authorization:
            return "MissingToken: The request has no Authorization header."
        try:
            grant = self._broker.policies.check_token(
                authorization,
                audience=f"https://local/{path}",
                now_ms=self._broker.agenda.now_ms(),
            )
        except TokenError as error:
            return str(error)
        if grant.allows(path, (Right.MANAGE,)):
            return None
        return f"Unauthorized: 'Manage' claim(s) are required to read {path!r}."


def _is_list(path: str) -> bool:
    last = path.casefold().rpartition("/")[2]
    return not path or last in ("subscriptions", "rules") or "/rules/" in path.casefold()


def _write_entry(path: str, place: Place) -> str:
    name = path.rpartition("/")[2]
    kind, numbers = _count(place)
    total = sum(numbers[name] for name in ("active", "dead_letter", "scheduled"))
    counts = "".join(
        f"<d2p1:{_camel(each)}MessageCount>{numbers[each]}</d2p1:{_camel(each)}MessageCount>"
        for each in _NAMES
    )
    total_line = "" if kind == "Topic" else f"<MessageCount>{total}</MessageCount>"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        '<entry xmlns="http://www.w3.org/2005/Atom">'
        f"<id>https://local/{escape(path)}</id>"
        f'<title type="text">{escape(name)}</title><updated>{now}</updated>'
        '<content type="application/xml">'
        f'<{kind}Description xmlns="{_CONNECT}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        f'{total_line}<CountDetails xmlns:d2p1="{_COUNTS}">{counts}</CountDetails>'
        f"</{kind}Description></content></entry>"
    )


def _count(place: Place) -> tuple[str, dict[str, int]]:
    """The kind of an entity in ATOM, and its counts. Messages under a lock are active."""
    numbers = dict.fromkeys(_NAMES, 0)
    entity = place.entity
    if isinstance(entity, Topic):
        numbers["scheduled"] = len(entity.schedule.messages)
        return "Topic", numbers
    assert isinstance(entity, Queue)
    held = entity.messages.values()
    numbers["active"] = sum(each.message.state is State.ACTIVE for each in held)
    numbers["scheduled"] = len(entity.schedule.messages)
    if entity.dead_letters is not None:
        numbers["dead_letter"] = len(entity.dead_letters.messages)
    return ("Queue" if place.subscription is None else "Subscription"), numbers


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _make_error(status: str, code: str, detail: str) -> AtomAnswer:
    body = f"<Error><Code>{code}</Code><Detail>{escape(detail)}</Detail></Error>"
    return AtomAnswer(status=status, body=body, media_type="application/xml; charset=utf-8")

"""What does a request's query ask for?

Values are read from the URL, because the host drops empty ones, and an empty value is a mistake
that its sender should hear of. Unknown names are passed over.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import azure.functions as func

from aos.domain.cards.identity import ID_PATTERN, ID_RULE
from aos.domain.runs.run import RunStatus
from aos.entrypoints.http.calls import Call
from aos.errors import Refused

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 100
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,30})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Query:
    """The query of one request; every reading raises Refused `invalid_request`."""

    def __init__(self, request: func.HttpRequest) -> None:
        self._values = _values(request)

    def text(self, name: str) -> str | None:
        """A value, None when it is not there."""
        value = self._values.get(name)
        if value is not None and not value:
            raise Refused("invalid_request", f"{name} is empty; give it a value or leave it out")
        return value

    def limit(self, *, default: int = DEFAULT_LIMIT) -> int:
        """How many items a page may have."""
        value = self.text("limit")
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= LARGEST_LIMIT:
            raise Refused(
                "invalid_request",
                f"limit is {value[:40]!r}; write a whole number from 1 to {LARGEST_LIMIT}",
            )
        return int(value)

    def after(self) -> str | None:
        """Where the page begins: what an earlier page gave in its `next`."""
        value = self.text("after")
        return None if value is None else _opened(value)

    def flag(self, name: str) -> bool:
        """`true` or `false`; not there is false."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise Refused("invalid_request", f"{name} is {value[:40]!r}; write true or false")
        return value == "true"

    def status(self) -> RunStatus | None:
        """The status that runs must have."""
        value = self.text("status")
        if value is None:
            return None
        try:
            return RunStatus(value)
        except ValueError as error:
            known = ", ".join(RunStatus)
            raise Refused(
                "invalid_request", f"status is {value[:40]!r}; write one of {known}"
            ) from error

    def agent_id(self) -> str | None:
        """The agent whose runs are wanted."""
        value = self.text("agent_id")
        if value is not None and not re.fullmatch(ID_PATTERN, value):
            raise Refused("invalid_request", f"agent_id is {value[:80]!r}; an id is {ID_RULE}")
        return value

    def since(self, *, now: datetime) -> datetime | None:
        """The time from which runs are wanted, within what can be stored."""
        value = self.text("since")
        if value is None:
            return None
        # "+" means a space in a query; who writes an offset unescaped means "+"
        text = re.sub(r" (\d\d:\d\d)$", r"+\1", value)
        moment = _moment(text)
        if moment is None:
            raise Refused(
                "invalid_request",
                f"since is {value[:60]!r}; write a time with its offset, such as"
                " 2026-01-31T12:00:00Z",
            )
        return min(max(moment, EARLIEST), now + timedelta(days=1))


def next_page(call: Call, token: str | None) -> str | None:
    """The path and query of the page after this one; None: this was the last."""
    if token is None:
        return None
    wanted = {
        name: value
        for name, value in _values(call.request).items()
        if name in call.route.query and name != "after"
    }
    path = call.route.path
    for name in call.route.parameters:
        path = path.replace(f"{{{name}}}", call.part(name))
    return f"/api/{path}?{urlencode({**wanted, 'after': _sealed(token)})}"


def _values(request: func.HttpRequest) -> Mapping[str, str]:
    """Every name once; of one that is there several times a reading will find all, and fail."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(urlsplit(request.url).query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return {**request.params, **{name: ",".join(values) for name, values in found.items()}}


def _moment(text: str) -> datetime | None:
    """RFC 3339; a leap second is its minute's end; what no clock can show becomes the nearest."""
    if not _TIME.fullmatch(text):
        return None
    text = re.sub(r":60(?=[.Zz+-])", ":59", text.upper().replace(" ", "T"))
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        return EARLIEST
    except ValueError:
        return None


def _sealed(token: str) -> str:
    """A token for the URL that cannot be mistaken for another thing."""
    raw = token.encode()
    return base64.urlsafe_b64encode(_seal(raw) + raw).decode().rstrip("=")


def _opened(text: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if _seal(raw[4:]) == raw[:4] and len(raw) > 4:
            return raw[4:].decode()
    except (binascii.Error, ValueError):
        pass
    raise Refused(
        "invalid_request", f"after is {text[:40]!r}; take it from the next of an earlier page"
    )


def _seal(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:4]

"""Reads the query of a request. Entry points: `Query`, `seal_token`, `open_token`.

Values are read from the URL, because the host drops empty values, and an empty value is an error of
the sender. Unknown names are ignored.
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
from aos.entrypoints.http.responder import Call
from aos.errors import Refused

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 100
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,30})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Query:
    """The query of one request. Every method raises Refused `invalid_request` for a wrong value."""

    def __init__(self, request: func.HttpRequest) -> None:
        self._read_values = _read_values(request)

    def text(self, name: str) -> str | None:
        """Return a value, or None if it is missing."""
        value = self._read_values.get(name)
        if value is not None and not value:
            raise Refused("invalid_request", f"{name} is empty; give it a value or leave it out")
        return value

    def limit(self, *, default: int = DEFAULT_LIMIT) -> int:
        """Return the most items of a page."""
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
        """Return where the page begins, from the `next` of an earlier page."""
        value = self.text("after")
        return None if value is None else open_token(value, field="after")

    def flag(self, name: str) -> bool:
        """Return a flag: `true` or `false`; the default is false."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise Refused("invalid_request", f"{name} is {value[:40]!r}; write true or false")
        return value == "true"

    def status(self) -> RunStatus | None:
        """Return the status that runs must have."""
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
        """Return the agent whose runs are wanted."""
        value = self.text("agent_id")
        if value is not None and not re.fullmatch(ID_PATTERN, value):
            raise Refused("invalid_request", f"agent_id is {value[:80]!r}; an id is {ID_RULE}")
        return value

    def since(self, *, now: datetime) -> datetime | None:
        """Return the time since which runs are wanted, within the range that can be stored."""
        value = self.text("since")
        # an unescaped "+" of an offset arrives as a space
        if value is None:
            return None
        return read_since(re.sub(r" (\d\d:\d\d)$", r"+\1", value), now=now)


def read_since(text: str, *, now: datetime) -> datetime:
    """Return the time since which runs are wanted. Raises Refused `invalid_request`."""
    moment = _parse_time(text)
    if moment is None:
        raise Refused(
            "invalid_request",
            f"since is {text[:60]!r}; write a time with its offset, such as 2026-01-31T12:00:00Z",
            field="since",
        )
    return min(max(moment, EARLIEST), now + timedelta(days=1))


def make_next(call: Call, token: str | None) -> str | None:
    """Return path and query of the next page, or None after the last."""
    if token is None:
        return None
    wanted = {
        name: value
        for name, value in _read_values(call.request).items()
        if name in call.route.query and name != "after"
    }
    path = call.route.path
    for name in call.route.parameters:
        path = path.replace(f"{{{name}}}", call.part(name))
    return f"/api/{path}?{urlencode({**wanted, 'after': seal_token(token)})}"


def _read_values(request: func.HttpRequest) -> Mapping[str, str]:
    """Return each name once. A name with several values gets a value that every method refuses."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(urlsplit(request.url).query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return {**request.params, **{name: ",".join(values) for name, values in found.items()}}


def _parse_time(text: str) -> datetime | None:
    """Parse an RFC 3339 time.

    A leap second becomes the end of its minute; a time outside the possible range becomes the
    nearest possible one.
    """
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


def seal_token(token: str) -> str:
    """Encode a token for the URL, with a checksum against mistakes."""
    raw = token.encode()
    return base64.urlsafe_b64encode(_seal(raw) + raw).decode().rstrip("=")


def open_token(text: str, *, field: str) -> str:
    """Return the token of a page. Raises Refused for a text that `seal_token` did not make."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if _seal(raw[4:]) == raw[:4] and len(raw) > 4:
            return raw[4:].decode()
    except (binascii.Error, ValueError):
        pass
    raise Refused(
        "invalid_request", f"{field} is {text[:40]!r}; copy it from an earlier page", field=field
    )


def _seal(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:4]

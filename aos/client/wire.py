"""Decides how one HTTP call to AOS is made and repeated. Entry points: `Sender.send`,
`Sender.open`.

A retryable fault (AOS away, time-out, 503 with `retryable`) is repeated with growing waits within a
budget. A call with a condition (If-Match) is not repeated once AOS may have acted on it. If nothing
listens and nothing ever answered this client, the call fails at once: AOS is not started. The flows
do no I/O: a transport performs `Call` and `Read`.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aos.client.address import Address
from aos.client.errors import AosClientError, AosUnreachable, explain_not_running
from aos.client.flows import Flow, Item, Json, Pause
from aos.client.paths import strip_host
from aos.client.waits import CALL_SECONDS
from aos.errors import ConfigurationError

RETRY_SECONDS = 30.0
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024
AWAY_STATUS = frozenset({408, 429, 502, 503, 504})
EVENT_STREAM = "text/event-stream"
MAX_ITEMS = 100_000
READ_BYTES = 64 * 1024
_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; as an effect: send it, and answer a `Head` or `NoAnswer`.

    `path` begins with `/api`. `repeatable` means that AOS may get it twice. `timeout_seconds`
    limits the answer's beginning, each reading, and a whole answer that is not a stream.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = CALL_SECONDS
    repeatable: bool = True
    accept: frozenset[int] = frozenset({200, 201, 202, 204})


@dataclass(frozen=True, slots=True)
class Read:
    """An effect: answer the next bytes of the last call's answer, b"" at its end, or `NoAnswer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The beginning of an answer: status, and headers with names in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Nothing came, or the answer was cut. `reached`: AOS may have acted on the request."""

    reason: str
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer: status, headers (names in lower case), and the JSON object."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Away:
    """An attempt that failed for now. `reached`: AOS may have acted on it."""

    error: AosClientError
    reached: bool


class Sender:
    """Sends calls to one AOS. Several threads and tasks may use it."""

    def __init__(self, address: Address, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.address = address
        self._retry_seconds = retry_seconds
        self._answered = False

    def send(self, call: Call) -> Flow[Answer]:
        """Send the call; return the answer if its status is one of `call.accept`.

        Raises AosClientError with the error object of the answer, and AosUnreachable if no answer
        came in time.
        """
        answer: Answer = yield from self._repeat(call, self._try)
        return answer

    def open(self, call: Call) -> Flow[Head]:
        """Send the call; return the head of an event stream, which `Read` reads, or of a 204.

        Raises as `send` does.
        """
        head: Head = yield from self._repeat(call, self._try_to_open)
        return head

    def get(self, path: str) -> Flow[Json]:
        """Return the JSON object at `path`. Raises as `send` does."""
        return (yield from self.send(Call(method="GET", path=path))).body

    def ask(self, call: Call) -> Flow[Json]:
        """Send the call; return the JSON object of the answer. Raises as `send` does."""
        return (yield from self.send(call)).body

    def read_pages(self, path: str, limit: int) -> Flow[None]:
        """Yield the items of a list, page by page, at most `limit`."""
        next_path: str | None = path
        while next_path is not None and limit > 0:
            page = yield from self.get(next_path)
            items = page.get("items", [])[:limit]
            for item in items:
                yield Item(item)
            limit -= len(items)
            following = page.get("next")
            next_path = strip_host(following) if following else None

    def collect(self, path: str) -> Flow[list[Json]]:
        """Return the items of a list, of all pages."""
        items: list[Json] = []
        flow, answer = self.read_pages(path, MAX_ITEMS), None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration:
                return items
            if isinstance(effect, Item):
                items.append(effect.value)
                answer = None
            else:
                answer = yield effect

    def _repeat(self, call: Call, send_once: Callable[[Call], Flow[Any]]) -> Flow[Any]:
        end, wait = time.monotonic() + self._retry_seconds, FIRST_WAIT_SECONDS
        while True:
            found = yield from send_once(self._sign(call))
            if not isinstance(found, _Away):
                return found
            pause = found.error.retry_after or wait * (0.5 + random.random() / 2)
            if not self._can_repeat(call, found) or time.monotonic() + pause > end:
                raise found.error
            yield Pause(pause)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _sign(self, call: Call) -> Call:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **call.headers}
        if self.address.key:
            headers["x-functions-key"] = self.address.key
        for name, value in headers.items():
            if not _HEADER.fullmatch(value):
                raise ConfigurationError(
                    f"{name} {value[:40]!r} cannot be sent; write printable ASCII characters"
                )
        return replace(call, headers=headers)

    def _can_repeat(self, call: Call, found: _Away) -> bool:
        return call.repeatable if found.reached else self._answered

    def _try(self, call: Call) -> Flow[Answer | _Away]:
        head: Head | NoAnswer = yield call
        if isinstance(head, NoAnswer):
            return self._explain(head)
        return (yield from self._read(call, head))

    def _try_to_open(self, call: Call) -> Flow[Head | _Away]:
        head: Head | NoAnswer = yield call
        if isinstance(head, NoAnswer):
            return self._explain(head)
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if head.status == 204 or (head.status == 200 and kind == EVENT_STREAM):
            self._answered = True
            return head
        found = yield from self._read(call, head)
        return found if isinstance(found, _Away) else self._refuse_foreign(head)

    def _explain(self, nothing: NoAnswer) -> _Away:
        error = explain_not_running(self.address.url, nothing.reason)
        return _Away(error, reached=nothing.reached)

    def _read(self, call: Call, head: Head) -> Flow[Answer | _Away]:
        """Read an answer to its end; raise its error."""
        text = yield from _read_all(head, seconds=call.timeout_seconds)
        if isinstance(text, NoAnswer):
            return self._explain(text)
        body = parse_object(text) if len(text) <= MAX_ANSWER_BYTES else None
        if head.status == 204:
            body = {}
        if body is not None and head.status in call.accept:
            self._answered = True
            return Answer(status=head.status, headers=head.headers, body=body)
        error = body.get("error") if body else None
        if not isinstance(error, dict):
            return self._refuse_foreign(head)
        self._answered = True
        refusal = AosClientError(
            error, status=head.status, retry_after=_read_retry_after(head.headers)
        )
        if refusal.retryable and head.status in AWAY_STATUS:
            return _Away(refusal, reached=False)
        raise refusal

    def _refuse_foreign(self, head: Head) -> _Away:
        """Return an error for an answer that is not from AOS but from its host or a proxy."""
        status = head.status
        if status == 401:
            message = "a key is missing or unknown: set --key or AOS_KEY"
            raise AosClientError({"code": "unauthorized", "message": message}, status=status)
        message = f"{self.address.url} answered {status}, but the answer is not from AOS"
        error = AosUnreachable(message, status=status, retry_after=_read_retry_after(head.headers))
        if status not in AWAY_STATUS:
            raise error
        return _Away(error, reached=True)


def _read_all(head: Head, *, seconds: float) -> Flow[bytes | NoAnswer]:
    """Return the answer's bytes, at most one more than allowed; NoAnswer if it was cut, or did not
    end in time."""
    text, end = b"", time.monotonic() + seconds
    while len(text) <= MAX_ANSWER_BYTES:
        chunk: bytes | NoAnswer = yield Read()
        if isinstance(chunk, NoAnswer):
            return chunk
        if not chunk:
            break
        text += chunk
        if time.monotonic() > end:
            return NoAnswer(reason=f"the answer did not end within {seconds:g} s", reached=True)
    told = head.headers.get("content-length", "")
    if told.isdigit() and len(text) < int(told):
        return NoAnswer(reason="the answer was cut", reached=True)
    return text


def parse_object(text: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object; None for what is not one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter where it is nested too deep
        return None
    return value if isinstance(value, dict) else None


def _read_retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if re.fullmatch("[0-9]{1,9}", text) else None

"""Sends one HTTP call to AOS and repeats it where that is safe. Entry points: `Transport.send`,
`Transport.open`.

It uses urllib (ADR 0032), bounded in time and size. A retryable fault (AOS away, time-out, 503
with `retryable`) is repeated with growing waits within a budget. A call with a condition (If-Match)
is not repeated once AOS may have acted on it. If nothing listens and nothing ever answered this
client, the call fails at once: AOS is not started.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aos.client.address import Address
from aos.client.errors import AosClientError, AosUnreachable, explain_not_running
from aos.client.waits import CALL_SECONDS

RETRY_SECONDS = 30.0
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024
AWAY_STATUS = frozenset({408, 429, 502, 503, 504})
EVENT_STREAM = "text/event-stream"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `path` begins with `/api`. `repeatable` means that AOS may get it twice."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = CALL_SECONDS
    repeatable: bool = True
    accept: frozenset[int] = frozenset({200, 201, 202, 204})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer: status, headers (names in lower case), and the JSON object."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Away:
    """An attempt that failed for now. `reached`: AOS may have acted on it."""

    error: AosClientError
    reached: bool
    retry_after: float | None = None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, because a redirect would send the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Transport:
    """Sends calls to one AOS. Several threads may use it."""

    def __init__(
        self,
        address: Address,
        *,
        retry_seconds: float = RETRY_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        self._answered = False
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if _is_loopback(address.url):  # a loopback address is never behind a proxy
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def send(self, call: Call) -> Answer:
        """Send the call; return the answer if its status is one of `call.accept`.

        Raises AosClientError with the error object of the answer, and AosUnreachable if no answer
        came in time.
        """
        return self._repeat(call, self._try)

    def open(self, call: Call) -> http.client.HTTPResponse:
        """Send the call; return the open answer, an event stream or 204. The caller closes it.

        Raises as `send` does. `call.timeout_seconds` limits each reading too.
        """
        return self._repeat(call, self._try_to_open)

    def _repeat(self, call: Call, send_once: Callable[[Call], T | _Away]) -> T:
        end, wait = time.monotonic() + self._retry_seconds, FIRST_WAIT_SECONDS
        while True:
            found = send_once(call)
            if not isinstance(found, _Away):
                return found
            pause = found.retry_after or wait * (0.5 + random.random() / 2)
            if not self._can_repeat(call, found) or time.monotonic() + pause > end:
                raise found.error
            self._sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _can_repeat(self, call: Call, found: _Away) -> bool:
        return call.repeatable if found.reached else self._answered

    def _try(self, call: Call) -> Answer | _Away:
        try:
            with self._send(call) as response:
                return self._read(call, response.status, response)
        except urllib.error.HTTPError as error:
            with error:
                return self._read(call, error.code, error)
        except (OSError, http.client.HTTPException) as error:
            return self._handle_no_answer(error)

    def _try_to_open(self, call: Call) -> http.client.HTTPResponse | _Away:
        try:
            response = self._send(call)
        except urllib.error.HTTPError as error:
            with error:
                found = self._read(call, error.code, error)
        except (OSError, http.client.HTTPException) as error:
            return self._handle_no_answer(error)
        else:
            kind = response.headers.get_content_type()
            if response.status == 204 or kind == EVENT_STREAM:
                self._answered = True
                return response
            with response:
                found = self._handle_foreign_answer(response.status, {})
        assert isinstance(found, _Away)  # an error is never an answer that the call accepts
        return found

    def _send(self, call: Call) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", **call.headers}
        if self.address.key:
            headers["x-functions-key"] = self.address.key
        request = urllib.request.Request(
            self.address.url + call.path, data=call.body, headers=headers, method=call.method
        )
        response: http.client.HTTPResponse = self._opener.open(
            request, timeout=call.timeout_seconds
        )
        return response

    def _handle_no_answer(self, error: Exception) -> _Away:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        refused = isinstance(reason, ConnectionRefusedError)
        text = "connection refused" if refused else str(reason) or type(reason).__name__
        reached = not refused and not isinstance(reason, socket.gaierror)
        return _Away(explain_not_running(self.address.url, text), reached=reached)

    def _read(self, call: Call, status: int, response: Any) -> Answer | _Away:
        text = response.read(MAX_ANSWER_BYTES + 1)
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = _parse_object(text) if len(text) <= MAX_ANSWER_BYTES else None
        if status == 204 and status in call.accept:
            body = {}
        if body is not None and status in call.accept:
            self._answered = True
            return Answer(status=status, headers=headers, body=body)
        error = body.get("error") if body else None
        if not isinstance(error, dict):
            return self._handle_foreign_answer(status, headers)
        self._answered = True
        refusal = AosClientError(error, status=status)
        if refusal.retryable and status in AWAY_STATUS:
            return _Away(refusal, reached=False, retry_after=_read_retry_after(headers))
        raise refusal

    def _handle_foreign_answer(self, status: int, headers: Mapping[str, str]) -> _Away:
        """Return an error for an answer that is not from AOS but from its host or a proxy."""
        if status == 401:
            message = "a key is missing or unknown: set --key or AOS_KEY"
            raise AosClientError({"code": "unauthorized", "message": message}, status=status)
        message = f"{self.address.url} answered {status}, but the answer is not from AOS"
        error = AosUnreachable(message, status=status)
        if status not in AWAY_STATUS:
            raise error
        return _Away(error, reached=True, retry_after=_read_retry_after(headers))


def _parse_object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _read_retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

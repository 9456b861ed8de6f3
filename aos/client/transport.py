"""Performs a client's HTTP calls with urllib (ADR 0032). Entry point: `UrllibTransport`."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aos.client.address import Address
from aos.client.flows import Blocking, Flow, Json, Pause, Work, iterate, run
from aos.client.wire import READ_BYTES, Call, Head, NoAnswer, Read

T = TypeVar("T")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, because a redirect would send the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class UrllibTransport(Blocking):
    """Carries flows out, blocking. Several threads may use it."""

    def __init__(self, address: Address, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = address.url
        self._sleep = sleep
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if is_loopback(address.url):  # a loopback address is never behind a proxy
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def carry_out(self, flow: Flow[T]) -> T:
        """Perform the flow's effects; return its result."""
        with closing(_Exchange(self._opener, self._url, self._sleep)) as exchange:
            return run(flow, exchange.perform)

    def read_items(self, flow: Flow[None]) -> Iterator[Json]:
        """Perform the flow's effects; yield its items."""
        with closing(_Exchange(self._opener, self._url, self._sleep)) as exchange:
            yield from iterate(flow, exchange.perform)


class _Exchange:
    """The calls of one flow, of which the last is open."""

    def __init__(
        self, opener: urllib.request.OpenerDirector, url: str, sleep: Callable[[float], None]
    ) -> None:
        self._opener = opener
        self._url = url
        self._sleep = sleep
        self._response: Any = None  # an answer of http.client, or an HTTPError

    def perform(self, effect: object) -> Any:
        """Perform an effect; return its answer."""
        match effect:
            case Call():
                return self._open(effect)
            case Read():
                return self._read()
            case Pause(seconds):
                self.close()
                return self._sleep(seconds)
            case Work(do):
                return do()
        raise TypeError(f"{effect!r} is not an effect")

    def close(self) -> None:
        """Close what is open."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _open(self, call: Call) -> Head | NoAnswer:
        self.close()
        request = urllib.request.Request(
            self._url + call.path, data=call.body, headers=dict(call.headers), method=call.method
        )
        try:
            self._response = self._opener.open(request, timeout=call.timeout_seconds)
        except urllib.error.HTTPError as error:
            self._response = error
        except (OSError, http.client.HTTPException) as error:
            return _explain(error)
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Head(status=self._response.status, headers=headers)

    def _read(self) -> bytes | NoAnswer:
        try:
            chunk: bytes = self._response.read1(READ_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return _explain(error)
        return chunk


def _explain(error: Exception) -> NoAnswer:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    refused = isinstance(reason, ConnectionRefusedError)
    text = "connection refused" if refused else str(reason) or type(reason).__name__
    return NoAnswer(reason=text, reached=not refused and not isinstance(reason, socket.gaierror))


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Handles what all HTTP requests have in common. Entry point: `HttpResponder.answer`.

`HttpResponder` identifies the caller, limits the body, calls the route's handler, and turns the
result or the error into a response.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import azure.functions as func

from aos.domain.caller import Caller
from aos.domain.codec import encode
from aos.domain.json_writer import write_json
from aos.entrypoints.http.bodies import refuse_encoding, require_length
from aos.entrypoints.http.callers import AuthPolicy
from aos.entrypoints.http.laptop import refuse_pages
from aos.entrypoints.ids import parse_traceparent
from aos.entrypoints.route import Route
from aos.errors import CODES, AosError, Refused, TransientError

if TYPE_CHECKING:  # the ports import the whole domain, which GET /api/status does not need
    from aos.ports.system import Ids
    from aos.ports.telemetry import Telemetry

JSON = "application/json"
RETRY_AFTER_SECONDS = 2
PAUSED_RETRY_AFTER_SECONDS = 30
LONGEST_RETRY_AFTER_SECONDS = 3600
SERVER_ERROR = 500
UNAUTHORIZED = 401
_WITH_RETRY_AFTER = (429, 503)
_WITH_BODY = ("POST", "PUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as a handler gets it."""

    request: func.HttpRequest
    route: Route
    caller: Caller | None
    traceparent: str | None

    @property
    def known_caller(self) -> Caller:
        """The caller of a route that is not open to anyone."""
        assert self.caller is not None
        return self.caller

    @property
    def owner(self) -> str | None:
        """The owner whose runs the caller may see; None (for an admin) means all owners."""
        assert self.caller is not None
        return self.caller.visible_owner

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.route_params.get(name) or "")

    def header(self, name: str) -> str | None:
        """Return a header, or None."""
        value = self.request.headers.get(name)
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a handler: a status, headers, and a JSON value.

    Instead of the value it may have `raw` bytes of a media type, or a `stream` of them.
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    stream: AsyncGenerator[bytes, None] | None = None
    mimetype: str = JSON


NO_CONTENT = Answer(status=204, body=None, raw=b"")
"""The answer of a deletion."""

Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
Explain: TypeAlias = Callable[[Exception], AosError]
"""Returns what callers are told of an error, as `HttpResponder.explain` does for a route."""
ErrorForm: TypeAlias = Callable[[Call, AosError, Answer], Answer]
"""Writes an error, and the answer of AOS to it, in the form of a protocol."""


class HttpResponder:
    """Receives requests and sends answers for all routes of an app.

    `ready` is awaited before a handler that uses storage, the bus or the model.
    """

    def __init__(
        self,
        *,
        routes: Mapping[str, Route],
        auth: AuthPolicy,
        telemetry: Telemetry,
        ids: Ids,
        max_body_bytes: int,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._routes = routes
        self._auth = auth
        self._telemetry = telemetry
        self._ids = ids
        self._max_body_bytes = max_body_bytes
        self._ready = ready

    async def answer(
        self,
        name: str,
        request: func.HttpRequest,
        handler: Handler,
        *,
        at_once: bool = False,
        form: ErrorForm | None = None,
    ) -> func.HttpResponse:
        """Answer one request. Never raises, except when it is cancelled.

        `at_once`: the handler has no dependencies, so `ready` is not awaited. `form` writes errors
        where the route speaks a protocol that has an own form for them.
        """
        route = self._routes[name]
        traceparent = parse_traceparent(request.headers.get("traceparent"))
        call = Call(request=request, route=route, caller=None, traceparent=traceparent)
        if not route.traced:
            answer = await self._handle(call, handler, at_once=at_once, form=form)
            return _build_response(call, answer)
        with self._telemetry.span(
            route.title,
            kind="server",
            traceparent=traceparent,
            **{
                "entry": "http",
                "http.request.method": request.method,
                "http.route": f"/api/{route.path}",
            },
        ) as span:
            call = replace(call, traceparent=span.traceparent)
            answer = await self._handle(call, handler, at_once=at_once, form=form)
            span.set(**{"http.response.status_code": answer.status})
            if answer.status >= SERVER_ERROR:
                span.set(**{"error.type": str(answer.status)})
        if answer.stream is not None:
            answer = replace(answer, stream=self._trace_stream(call, answer.stream))
        return _build_response(call, answer)

    async def _trace_stream(
        self, call: Call, pieces: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """Send the pieces inside a span of the request's trace.

        The request's own span has ended by then, and the worker sends the pieces in a task that
        knows nothing of it.
        """
        sent = 0
        with self._telemetry.span(
            f"stream {call.route.title}", kind="internal", traceparent=call.traceparent
        ) as span:
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                        sent += 1
            except Exception as error:
                self._log("stream_broken", call.route, error)
                raise
            finally:
                span.set(pieces=sent)

    async def _handle(
        self, call: Call, handler: Handler, *, at_once: bool, form: ErrorForm | None
    ) -> Answer:
        """Return the handler's answer, or the answer for the error that was raised."""
        request, route = call.request, call.route
        try:
            if self._auth.mode == "off":
                refuse_pages(request)
            caller = self._auth.identify_caller(request, route)
            if route.any_method and request.method.upper() not in route.allowed:
                raise refuse_method(request, route.allowed)
            if route.method in _WITH_BODY:
                refuse_encoding(request)
                require_length(request, body_needed=route.needs_body)
            size = len(request.get_body())
            if size > self._max_body_bytes:
                raise Refused(
                    "too_large",
                    f"the body has {size:,} bytes, the limit is {self._max_body_bytes:,};"
                    " send less",
                )
            if not at_once:
                await self._ready()
            return await handler(replace(call, caller=caller))
        except AosError as error:
            refusal, answer = error, self._answer_refusal(route, error)
        except Exception as error:
            refusal, answer = self._answer_failure(route, error)
        return answer if form is None else form(call, refusal, answer)

    def _answer_refusal(self, route: Route, error: AosError) -> Answer:
        status = CODES[error.code].http_status or 500
        if status >= 500:
            self._telemetry.log(
                "http_failed",
                level="warning",
                route=route.title,
                status=status,
                code=error.code,
                reason=str(error),
            )
        headers: dict[str, str] = {}
        if status == UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if status in _WITH_RETRY_AFTER:
            headers["Retry-After"] = str(_retry_after(error))
        if "allow" in error.info.details:
            headers["Allow"] = str(error.info.details["allow"])
        return Answer(status=status, body={"error": encode(error.info)}, headers=headers)

    def _answer_failure(self, route: Route, error: Exception) -> tuple[AosError, Answer]:
        """Answer an unexpected error with an id."""
        failure = self.explain(route, error)
        return failure, Answer(status=500, body={"error": encode(failure.info)})

    def explain(self, route: Route, error: Exception) -> AosError:
        """Return what callers are told of an error.

        One that AOS does not know is logged, and told by the id under which it is found.
        """
        if isinstance(error, AosError):
            return error
        error_id = self._log("http_broken", route, error)
        return AosError(
            "internal_error",
            f"AOS failed on its own side; the operator finds {error_id} in the logs",
            error_id=error_id,
        )

    def _log(self, event: str, route: Route, error: Exception) -> str:
        """Log an unexpected error with its traceback; return the id under which it is found."""
        error_id = self._ids.new_id()
        self._telemetry.log(
            event,
            level="error",
            route=route.title,
            error_id=error_id,
            reason=repr(error),
            traceback="".join(traceback.format_exception(error)),
        )
        return error_id


def refuse_method(request: func.HttpRequest, allowed: Collection[str]) -> Refused:
    """Return the refusal of a method that a known path does not serve."""
    allow = ", ".join(sorted(allowed))
    return Refused(
        "method_not_allowed",
        f"this path does not serve {request.method[:20]}; use {allow}",
        allow=allow,
    )


def _retry_after(error: AosError) -> int:
    """Return whole seconds, at least one."""
    wanted = error.retry_after_seconds if isinstance(error, TransientError) else None
    if error.code == "paused":
        return PAUSED_RETRY_AFTER_SECONDS
    if wanted is None:
        return RETRY_AFTER_SECONDS
    return max(1, min(LONGEST_RETRY_AFTER_SECONDS, round(wanted)))


def _build_response(call: Call, answer: Answer) -> func.HttpResponse:
    if answer.stream is not None:
        from aos.entrypoints.http.streams import StreamedResponse

        return StreamedResponse(answer.stream, mimetype=answer.mimetype, headers=answer.headers)
    raw = b"" if call.request.method.upper() == "HEAD" else answer.raw
    if raw is None:
        text = write_json(answer.body, ensure_ascii=False, separators=(",", ":"))
        raw = text.encode("utf-8", "replace")
    return func.HttpResponse(
        raw,
        status_code=answer.status,
        headers=dict(answer.headers),
        mimetype=answer.mimetype,
    )

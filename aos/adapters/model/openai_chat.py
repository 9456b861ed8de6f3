"""Asks a model through an OpenAI-compatible endpoint. Entry point: `OpenAIChatModel.complete`.

It also works with Azure OpenAI (`https://<name>.openai.azure.com/openai/v1`), by key or by
identity. It asks once; the run does the retries. It does not use the `openai` SDK (ADR 0097). The
first call imports aiohttp; `warm` does so earlier.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aos.adapters.model.answers import read_answer, read_models
from aos.adapters.model.attachments import describe_attachments
from aos.adapters.model.attempts import (
    LIMIT_FORMS,
    is_about_form,
    is_about_limit,
    is_about_stream,
    leave_out_fields,
    limit_output,
    list_attempts,
    list_stream_forms,
    name_fields,
)
from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.faults import is_about_encryption, make_fault
from aos.adapters.model.http_client import (
    AnswerTooLarge,
    ModelClient,
    Refusal,
    limit_time,
    open_token_provider,
)
from aos.adapters.model.requests import build_request_body
from aos.adapters.model.responses_answers import read_response
from aos.adapters.model.responses_requests import build_responses_body, leave_out_reasoning
from aos.adapters.system import SystemClock
from aos.domain.model_api import ModelApi
from aos.errors import OperatorFault, RunFailed, TransientError, UnreadableAnswer
from aos.ports.model import ModelAnswer, ModelCall, TextSink
from aos.ports.system import Clock

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential

LISTING_TIMEOUT_SECONDS = 10.0
LISTING_AGE_SECONDS = 30.0
MOST_CUT_STREAMS = 2
"""After as many streams in a row without an end, an endpoint is asked for whole answers."""
SHORTEST_MASKED_KEY = 8
"""Shorter keys are placeholders, and may be parts of words."""
_NO_LISTING = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Api:
    """The path of one API, and the functions that write its requests and read its answers."""

    path: str
    build_body: Callable[..., dict[str, Any]]
    read_answer: Callable[..., ModelAnswer]


_APIS: dict[ModelApi, _Api] = {
    "chat": _Api(path="/chat/completions", build_body=build_request_body, read_answer=read_answer),
    "responses": _Api(
        path="/responses", build_body=build_responses_body, read_answer=read_response
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """The names that the endpoint listed, and when (monotonic seconds)."""

    names: tuple[str, ...]
    at: float


class _Heard:
    """Passes the text of a stream on and notes that there was some. Implements `TextSink`."""

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink
        self.text = False

    def begin(self, model: str | None, *, reason: str | None = None) -> None:
        self._sink.begin(model, reason=reason)

    def add(self, text: str) -> float:
        self.text = True
        return self._sink.add(text)


class OpenAIChatModel:
    """The model behind an OpenAI-compatible endpoint. Implements `ChatModel`."""

    def __init__(self, endpoint: ModelEndpoint, *, clock: Clock | None = None) -> None:
        self._endpoint = endpoint
        self._clock = clock or SystemClock()
        self._client: ModelClient | None = None
        self._credential: DefaultAzureCredential | None = None
        self._listing: _Listing | None = None
        self._lock = asyncio.Lock()
        self._without_schemas: set[str] = set()
        self._without_reasoning: set[str] = set()
        self._without_fields: set[str] = set()
        self._newer_limits: set[str] = set()
        self._stream_forms: dict[str, int] = {}
        self._cut_streams: dict[str, int] = {}

    def is_configured(self) -> bool:
        """Whether an endpoint is set."""
        return bool(self._endpoint.base_url)

    async def warm(self) -> None:
        """Import aiohttp in a thread and open the client, so that the first run need not wait for
        it."""
        if self.is_configured():
            await asyncio.to_thread(_load)
            self._open_client()

    async def list_served(self) -> frozenset[str]:
        """Return the names that the endpoint lists, at most 30 s old; empty if it lists none.

        Raises TransientError if they cannot be read, also if the key may not list them.
        """
        try:
            return frozenset(await self._list_names())
        except RunFailed as error:
            raise TransientError(str(error)) from error

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Ask once within `call.timeout_seconds`, without retries.

        Raises TransientError and RunFailed as `ChatModel` describes.
        """
        async with limit_time(call.timeout_seconds):
            model = call.model or await self._find_default_model()
            endpoint = self._endpoint.key_of(model)
            if not self._endpoint.vision.can_see(model):
                call = describe_attachments(call)
            if endpoint in self._without_schemas:
                call = replace(call, response_schema=None)
            if call.sink is not None:
                return await self._ask_for_stream(call, model=model, endpoint=endpoint)
            return await self._ask_with_schema(call, model=model, endpoint=endpoint)

    async def _ask_for_stream(self, call: ModelCall, *, model: str, endpoint: str) -> ModelAnswer:
        """Ask for a stream in the form that the endpoint takes, at last without a stream.

        An endpoint that took a form before, or has begun to answer, refuses something else.
        """
        assert call.sink is not None
        heard = _Heard(call.sink)
        call = replace(call, sink=heard)
        forms = list_stream_forms(call, has_options=self._endpoint.api == "chat")
        known = endpoint in self._stream_forms
        first = self._stream_forms.get(endpoint, 0)
        last = len(forms) - 1
        refusal: RunFailed | None = None
        place = last if self._cut_streams.get(endpoint, 0) >= MOST_CUT_STREAMS else first
        while place < last:
            try:
                answer = await self._ask_with_schema(forms[place], model=model, endpoint=endpoint)
            except UnreadableAnswer:
                self._cut_streams[endpoint] = self._cut_streams.get(endpoint, 0) + 1
                raise
            except RunFailed as error:
                is_about = is_about_stream(error)
                if not is_about_form(error) or heard.text or (known and not is_about):
                    raise
                refusal = refusal or error
                place = place + 1 if is_about else last
                continue
            self._cut_streams.pop(endpoint, None)
            self._stream_forms[endpoint] = place
            return answer
        try:
            answer = await self._ask_with_schema(forms[last], model=model, endpoint=endpoint)
        except RunFailed as error:
            raise refusal or error from None
        if refusal is not None:
            self._stream_forms[endpoint] = last  # it takes the same request without a stream
        return answer

    async def _ask_with_schema(self, call: ModelCall, *, model: str, endpoint: str) -> ModelAnswer:
        answer, asked = await self._ask_first(list_attempts(call), model=model, endpoint=endpoint)
        if asked.response_schema is not call.response_schema:
            self._without_schemas.add(endpoint)  # it takes the same request without a schema
        return answer

    async def _ask_first(
        self, attempts: list[ModelCall], *, model: str, endpoint: str
    ) -> tuple[ModelAnswer, ModelCall]:
        """Return the answer to the first call that the endpoint does not refuse, and that call.

        Raises what the last one raised.
        """
        *others, last = attempts
        for attempt in others:
            try:
                return await self._ask(attempt, model=model, endpoint=endpoint), attempt
            except RunFailed as error:
                if not is_about_form(error):
                    raise
        return await self._ask(last, model=model, endpoint=endpoint), last

    async def _ask(self, call: ModelCall, *, model: str, endpoint: str) -> ModelAnswer:
        """Ask, and once more without the endpoint's extra fields if it refuses the request.

        Some endpoints (Groq) refuse a field that they sent themselves.
        """
        names = name_fields(call, endpoint)
        if names and endpoint in self._without_fields:
            call, names = leave_out_fields(call), frozenset()
        try:
            return await self._ask_once(call, model=model, endpoint=endpoint)
        except RunFailed as error:
            if not names or not is_about_form(error):
                raise
            refusal = error
        try:
            answer = await self._ask_once(leave_out_fields(call), model=model, endpoint=endpoint)
        except RunFailed:
            raise refusal from None
        if any(f"'{name}'" in str(refusal) for name in names):
            self._without_fields.add(endpoint)
        return answer

    async def _ask_once(self, call: ModelCall, *, model: str, endpoint: str) -> ModelAnswer:
        """Ask, under the name for the limit of tokens that the endpoint takes."""
        forms: tuple[str | None, ...] = (*LIMIT_FORMS, None)
        if endpoint in self._newer_limits:
            forms = (LIMIT_FORMS[1], LIMIT_FORMS[0], None)
        for form in forms[:-1]:
            limited = limit_output(call, form)
            try:
                answer = await self._ask_as(limited, model=model, endpoint=endpoint)
            except RunFailed as error:
                if call.output_tokens is None or not is_about_limit(error):
                    raise
                continue
            if form == LIMIT_FORMS[1] and call.output_tokens is not None:
                self._newer_limits.add(endpoint)
            return answer
        return await self._ask_as(limit_output(call, None), model=model, endpoint=endpoint)

    async def _ask_as(self, call: ModelCall, *, model: str, endpoint: str) -> ModelAnswer:
        api = _APIS[self._endpoint.api]
        body = api.build_body(call, model=model, endpoint=endpoint)
        answer = await self._post_readable(
            body, timeout_seconds=call.timeout_seconds, sink=call.sink
        )
        return api.read_answer(answer, asked=model, endpoint=endpoint, now=self._clock.now())

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        client, self._client = self._client, None
        credential, self._credential = self._credential, None
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()

    async def _post_readable(
        self, body: dict[str, Any], *, timeout_seconds: float, sink: TextSink | None
    ) -> bytes:
        """Post the body, and once more without encrypted reasoning if the endpoint refuses that.

        Another deployment or another key may have encrypted it, or the model has none.
        """
        model = body["model"]
        if model in self._without_reasoning:
            body = leave_out_reasoning(body) or body
        try:
            return await self._post(body, timeout_seconds=timeout_seconds, sink=sink)
        except RunFailed as error:
            shorter = leave_out_reasoning(body)
            if shorter is None or not is_about_encryption(error):
                raise
            if shorter["input"] == body["input"]:  # the model has none to encrypt
                self._without_reasoning.add(model)
        return await self._post(shorter, timeout_seconds=timeout_seconds, sink=sink)

    async def _post(
        self, body: dict[str, Any], *, timeout_seconds: float, sink: TextSink | None
    ) -> bytes:
        path = _APIS[self._endpoint.api].path

        async def post(client: ModelClient) -> bytes:
            if sink is None:
                return await client.post(path, body, timeout_seconds=timeout_seconds)
            return await client.read_stream(
                path, body, timeout_seconds=timeout_seconds, sink=self._mask_texts(sink)
            )

        return await self._request(post, model=body["model"])

    async def _find_default_model(self) -> str:
        if self._endpoint.model:
            return self._endpoint.model
        names = await self._list_names()
        if not names:
            raise OperatorFault(
                "model_misconfigured",
                "the model endpoint lists no models at /models. If /v1 is missing"
                " at the end of AOS_MODEL_ENDPOINT, add it; otherwise set AOS_MODEL to the name of"
                " the model to ask",
            )
        return names[0]

    async def _list_names(self) -> tuple[str, ...]:
        """Return the listing; one task reads it again when it is older than 30 s."""
        async with self._lock:
            listing = self._listing
            if listing is None or time.monotonic() - listing.at >= LISTING_AGE_SECONDS:
                at = time.monotonic()
                async with limit_time(LISTING_TIMEOUT_SECONDS):
                    listing = _Listing(names=await self._list(), at=at)
                self._listing = listing
            return listing.names

    async def _list(self) -> tuple[str, ...]:
        async def get(client: ModelClient) -> bytes:
            return await client.get("/models", timeout_seconds=LISTING_TIMEOUT_SECONDS)

        try:
            body = await self._request(get, model=None)
        except OperatorFault as error:
            if error.info.details.get("status") in _NO_LISTING:
                return ()
            raise
        return read_models(body)

    async def _request(
        self, ask: Callable[[ModelClient], Awaitable[bytes]], *, model: str | None
    ) -> bytes:
        """Return the body of a successful answer; raise all other answers as AosErrors."""
        if not self.is_configured():
            raise OperatorFault(
                "model_misconfigured", "the model endpoint is missing: set AOS_MODEL_ENDPOINT"
            )
        try:
            return self._mask_key(await ask(self._open_client()))
        except Refusal as refusal:
            body, now = self._mask_key(refusal.body), self._clock.now()
            raise make_fault(
                refusal.status, body, refusal.headers, model=model, now=now
            ) from refusal
        except AnswerTooLarge as error:
            raise RunFailed("model_output_invalid", str(error)) from error

    def _mask_key(self, body: bytes) -> bytes:
        """The body without the key, which some endpoints repeat in an error."""
        key = (self._endpoint.api_key or "").encode()
        return body.replace(key, b"***") if len(key) >= SHORTEST_MASKED_KEY else body

    def _mask_texts(self, sink: TextSink) -> Callable[[str], float]:
        """What takes the text of a stream, without the key."""
        key = self._endpoint.api_key or ""
        if len(key) < SHORTEST_MASKED_KEY:
            return sink.add
        return lambda text: sink.add(text.replace(key, "***"))

    def _open_client(self) -> ModelClient:
        if self._client is None:
            self._client = ModelClient(self._endpoint.base_url or "", self._find_key())
        return self._client

    def _find_key(self) -> str | Callable[[], Awaitable[str]]:
        scope = self._endpoint.identity_scope
        if scope is None:
            return self._endpoint.api_key or "none"
        token, self._credential = open_token_provider(scope, self._endpoint.client_id)
        return token


def _load() -> None:
    import aiohttp  # noqa: F401

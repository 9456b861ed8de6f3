"""Which OpenAI-compatible model does exactly what a test tells it?

`running_model()` serves `/v1/models`, `/v1/chat/completions` and `/v1/responses` from a thread of
its own, standard library only, keep-alive included. Unscripted, it answers with what it saw: the
number of messages, and the last one (`2 messages, last: hi`), so that a test can tell answers apart
and sees which history the model was shown. A script is a list of `Say`, one for each next request,
or a function from the request to a `Say`.

    with running_model() as model:
        model.script(Say(status=429, headers={"Retry-After": "1"}), Say("hello"))
        ...  # AOS_MODEL_ENDPOINT = model.endpoint
        assert model.requests[-1].messages[-1]["content"] == "hi"
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from tests.responses_api import read_messages, write_response
from tests.streaming_api import write_stream

START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: method, path, headers (names in lower case) and JSON body."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of a chat completion, also where a request to /responses has items."""
        if "input" in self.body:
            return read_messages(self.body)
        found: list[dict[str, Any]] = self.body.get("messages", [])
        return found


@dataclass(frozen=True, slots=True)
class Say:
    """One answer. `text` is the model's; `body` (bytes, or JSON) replaces the whole answer.

    `delay` seconds go by before it; `pieces` > 1 sends the body in as many parts, `pause` seconds
    apart, as are the events of a stream; `cut` closes the connection after so many bytes of the
    body (0: without any answer).
    `calls` are tool calls, each a name and its arguments (an object, or a text as it is); all have
    the same id in every answer, as with models that repeat theirs. `finish` is why the model
    stopped, as a chat completion names it, where that is not the text's end or the calls. A request
    for a stream is answered with one, unless `whole`.
    """

    text: str | None = None
    status: int = 200
    body: bytes | Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pieces: int = 1
    pause: float = 0.0
    cut: int | None = None
    model: str | None = None
    usage: Mapping[str, Any] | None = None
    calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    finish: str | None = None
    whole: bool = False


Script: TypeAlias = Callable[[Request], Say]


def echo(request: Request) -> Say:
    """The unscripted answer: it names the messages seen."""
    last = request.messages[-1]["content"] if request.messages else ""
    return Say(f"{len(request.messages)} messages, last: {last}")


class ScriptedModel:
    """The running model, as its test sees it."""

    def __init__(self, models: tuple[str, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.models = models
        self._loop = loop
        self.requests: list[Request] = []
        self.listings: list[Request] = []
        self.port = 0
        self._next: deque[Say] = deque()
        self._listing: Say | None = None
        self._rule: Script = echo
        self._gate = asyncio.Event()
        self._gate.set()
        self._asked = threading.Condition()

    @property
    def endpoint(self) -> str:
        """What `AOS_MODEL_ENDPOINT` holds."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *answers: Say) -> None:
        """Give these answers to the next requests; then the rule answers again."""
        self._next.extend(answers)

    def forget(self) -> None:
        """Forget the requests, and the answers that no request took."""
        self.requests.clear()
        self.listings.clear()
        self._next.clear()
        self._listing = None

    def always(self, rule: Script | Say) -> None:
        """Answer by this rule from now on."""
        self._rule = rule if callable(rule) else lambda _: rule

    def list_with(self, answer: Say | None) -> None:
        """Answer GET /v1/models with this (None: with `models` again)."""
        self._listing = answer

    def hold(self) -> None:
        """Take requests, but answer none until `release`."""
        self._loop.call_soon_threadsafe(self._gate.clear)

    def release(self) -> None:
        """Answer what was held."""
        self._loop.call_soon_threadsafe(self._gate.set)

    def wait_for(self, count: int, *, seconds: float = 10.0) -> None:
        """Block until so many completions were asked for; raises TimeoutError."""
        with self._asked:
            if not self._asked.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} requests of {count} in {seconds:g} s")

    async def held(self) -> None:
        """Wait while requests are held (on the server's loop)."""
        await self._gate.wait()

    def answer(self, request: Request) -> Say:
        """Record the request and choose its answer (on the server's loop)."""
        if request.method == "GET" and request.path.endswith("/models"):
            self.listings.append(request)
            rows = [{"id": name, "object": "model"} for name in self.models]
            return self._listing or Say(body={"object": "list", "data": rows})
        if not request.path.endswith(("/chat/completions", "/responses")):
            return Say(status=404, body={"error": {"message": f"no route {request.path}"}})
        with self._asked:
            self.requests.append(request)
            self._asked.notify_all()
        return self._next.popleft() if self._next else self._rule(request)


@contextlib.contextmanager
def running_model(
    *, models: tuple[str, ...] = ("scripted",), port: int = 0
) -> Iterator[ScriptedModel]:
    """A scripted model on a free loopback port (or on `port`), stopped at the end."""
    loop = asyncio.new_event_loop()
    model = ScriptedModel(models, loop)
    started = threading.Event()
    stopping = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(_serve(model, port, started, stopping),), daemon=True
    )
    thread.start()
    if not started.wait(START_SECONDS):
        raise RuntimeError("the scripted model did not start")
    try:
        yield model
    finally:
        model.release()
        loop.call_soon_threadsafe(stopping.set)
        thread.join(START_SECONDS)
        loop.close()


async def _serve(
    model: ScriptedModel, port: int, started: threading.Event, stopping: asyncio.Event
) -> None:
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await _converse(model, reader, writer)
        connections.discard(task)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    model.port = server.sockets[0].getsockname()[1]
    started.set()
    await stopping.wait()
    server.close()
    for task in list(connections):
        task.cancel()
    if connections:
        await asyncio.wait(list(connections))


async def _converse(
    model: ScriptedModel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one connection until it ends."""
    while True:
        request = await _read(reader)
        said = model.answer(request)
        await model.held()
        if said.delay:
            await asyncio.sleep(said.delay)
        events = _list_events(said, request)
        body = _body(said, request) if events is None else b"".join(events)
        if events is not None:
            said = replace(said, headers={"Content-Type": "text/event-stream", **said.headers})
        if said.cut is not None:
            if said.cut:
                writer.write(_head(said, len(body)) + body[: said.cut])
                await writer.drain()
            return
        if events is not None and said.pause:
            writer.write(_head(said, len(body)))
            for event in events:
                writer.write(event)
                await writer.drain()
                await asyncio.sleep(said.pause)
            continue
        if said.pieces == 1:
            writer.write(_head(said, len(body)) + body)
            await writer.drain()
            continue
        writer.write(_head(said, len(body)))
        size = -(-len(body) // said.pieces)
        for start in range(0, len(body), size):
            writer.write(body[start : start + size])
            await writer.drain()
            await asyncio.sleep(said.pause)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, json.loads(raw) if raw else {})


def _body(said: Say, request: Request) -> bytes:
    if isinstance(said.body, bytes):
        return said.body
    return json.dumps(said.body if said.body is not None else _completion(said, request)).encode()


def _list_events(said: Say, request: Request) -> list[bytes] | None:
    """The answer as a stream, if the request asks for one and a good answer is scripted."""
    if request.body.get("stream") is not True or said.status != 200 or said.whole:
        return None
    if isinstance(said.body, bytes):
        return None
    answer = said.body if said.body is not None else _completion(said, request)
    options = request.body.get("stream_options") or {}
    return write_stream(answer, with_usage=options.get("include_usage") is True)


def _completion(said: Say, request: Request) -> dict[str, Any]:
    if request.path.endswith("/responses"):
        return write_response(
            request.body,
            text=said.text,
            calls=said.calls,
            finish=said.finish,
            model=said.model,
            usage=said.usage,
        )
    usage = said.usage or {"prompt_tokens": len(request.messages), "completion_tokens": 1}
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.calls:
        message["tool_calls"] = [_call(name, arguments) for name, arguments in said.calls]
    reason = said.finish or ("tool_calls" if said.calls else "stop")
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": said.model or request.body.get("model", "scripted"),
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": dict(usage),
    }


def _call(name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": "call_0", "type": "function", "function": {"name": name, "arguments": text}}


def _head(said: Say, length: int) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(length), **said.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {said.status} Scripted\r\n{lines}\r\n".encode("latin-1")

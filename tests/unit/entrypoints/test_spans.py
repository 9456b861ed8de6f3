"""What a run's trace looks like through the doors: kinds, parents and names of its spans."""

from __future__ import annotations

import asyncio
import contextvars
import json
from typing import Any

import azure.functions as func
import pytest
from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aos.adapters.telemetry.reporting import make_telemetry
from aos.entrypoints.http.streams import StreamedResponse
from aos.errors import RunFailed, TransientError
from aos.services.run_events.feeds import Feeds
from tests.unit.entrypoints.laptop_in_memory import InMemory, call, request
from tests.unit.finished_spans import finished_spans

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENTS_SPAN, HOSTS_SPAN = "00f067aa0ba902b7", "b7ad6b7169203331"
FROM_THE_CLIENT = f"00-{TRACE_ID}-{CLIENTS_SPAN}-01"
BY_THE_HOST = f"00-{TRACE_ID}-{HOSTS_SPAN}-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    exporter = finished_spans()
    exporter.clear()
    return exporter


@pytest.fixture
async def traced(exporter: InMemorySpanExporter) -> InMemory:
    """main and realm with the real telemetry, as if Application Insights were connected."""
    apps = InMemory(
        {"AOS_MODEL": "gpt-5"},
        telemetry=make_telemetry(
            app="main",
            environment="dev",
            level="info",
            connection_string="InstrumentationKey=00000000-0000-0000-0000-000000000000",
            configure=False,
        ),
    )
    await apps.put({"agent_id": "ceo", "purpose": "Lead."})
    exporter.clear()
    return apps


def seen(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The finished spans by name, each name once."""
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert len(spans) == len(exporter.get_finished_spans())
    return spans


def parent(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def own(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def traces(spans: dict[str, ReadableSpan]) -> set[str]:
    return {f"{span.context.trace_id:032x}" for span in spans.values() if span.context is not None}


async def test_a_run_over_http_is_one_trace_of_server_consumer_and_client_spans(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    async with traced.pumping():
        reply = await traced.ask({"message": "Hi"}, headers={"traceparent": FROM_THE_CLIENT})
    spans = seen(exporter)
    door, turn = spans["POST /api/agents/{agent_id}/run"], spans["agent_operation"]
    chat, ended = spans["chat gpt-5"], spans["process aos-main"]
    assert len(spans) == 4
    assert traces(spans) == {TRACE_ID}
    assert [span.kind for span in (door, turn, chat, ended)] == [
        SpanKind.SERVER,
        SpanKind.CONSUMER,
        SpanKind.CLIENT,
        SpanKind.CONSUMER,
    ]
    assert [parent(span) for span in (door, turn, chat)] == [CLIENTS_SPAN, own(door), own(turn)]
    for span in (turn, chat, ended):
        assert (span.attributes or {})["run_id"] == reply.body["run_id"]


async def test_the_doors_span_lies_below_the_hosts_own_and_not_beside_it(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    """The worker attaches the host's span before it calls; the header still has the client's."""
    token = context.attach(TraceContextTextMapPropagator().extract({"traceparent": BY_THE_HOST}))
    try:
        await call(
            traced.main.runs.get,
            parts={"run_id": "r1"},
            headers={"traceparent": FROM_THE_CLIENT},
        )
    finally:
        context.detach(token)
    [span] = exporter.get_finished_spans()
    assert (span.name, parent(span)) == ("GET /api/runs/{run_id}", HOSTS_SPAN)


async def test_a_request_on_the_queue_is_taken_by_a_consumer_span_of_its_trace(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    traced.send({"agent_id": "ceo", "message": "Hi"}, traceparent=FROM_THE_CLIENT)
    await traced.settle()
    spans = seen(exporter)
    door = spans["process aos-requests"]
    assert set(spans) == {
        *("process aos-requests", "agent_operation", "chat gpt-5", "process aos-main")
    }
    assert (door.kind, parent(door), traces(spans)) == (
        *(SpanKind.CONSUMER, CLIENTS_SPAN, {TRACE_ID}),
    )
    attributes = dict(door.attributes or {})
    assert attributes["messaging.system"] == "servicebus"
    assert attributes["messaging.destination.name"] == "aos-requests"
    [reply] = traced.replies()
    assert reply.traceparent is not None
    assert reply.traceparent.split("-")[1] == TRACE_ID


async def test_a_run_that_waited_for_another_is_traced_in_its_own_trace(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    """Realm starts it while it handles the command of the run before."""
    others = TRACE_ID.replace("4", "5")
    for number, trace_id in enumerate((TRACE_ID, others)):
        body = {"agent_id": "ceo", "message": "Hi", "conversation_id": "board"}
        traced.send(body, message_id=f"m-{number}", traceparent=f"00-{trace_id}-{CLIENTS_SPAN}-01")
    await traced.settle()
    chats = [span for span in exporter.get_finished_spans() if span.name == "chat gpt-5"]
    assert [f"{span.context.trace_id:032x}" for span in chats if span.context is not None] == [
        *(TRACE_ID, others)
    ]


async def test_a_call_of_the_model_has_the_attributes_of_the_genai_conventions(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    async with traced.pumping():
        reply = await traced.ask({"message": "moonshine", "conversation_id": "board"})
    chat = seen(exporter)["chat gpt-5"]
    usage = reply.body["usage"]
    assert dict(chat.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.model": reply.body["model"],
        "gen_ai.agent.id": "ceo",
        "gen_ai.agent.name": "ceo",
        "gen_ai.conversation.id": "board",
        "gen_ai.usage.input_tokens": usage["input_tokens"],
        "gen_ai.usage.output_tokens": usage["output_tokens"],
        "run_id": reply.body["run_id"],
    }


async def test_a_call_that_the_model_refuses_is_a_failed_span_without_its_words(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    traced.model.then(RunFailed("model_rejected", "cannot say: moonshine"))
    async with traced.pumping():
        await traced.ask({"message": "Hi"})
    chat = seen(exporter)["chat gpt-5"]
    assert chat.status.status_code is StatusCode.ERROR
    for name in ("error.type", "error_code"):  # Azure Monitor's exporter drops the first
        assert (chat.attributes or {})[name] == "model_rejected"
    assert all("moonshine" not in span.to_json() for span in exporter.get_finished_spans())


async def read_events(traced: InMemory, run_id: str) -> func.HttpResponse:
    """The answer to a reader of a run's events, in a task that has none of the request's context,
    as under Azure's worker."""
    return await traced.main.run_events.get(
        request(
            "GET",
            headers={"accept": "text/event-stream", "traceparent": FROM_THE_CLIENT},
            parts={"run_id": run_id},
        )
    )


async def send(answer: func.HttpResponse) -> list[bytes]:
    """Send a stream as the app's web server does."""

    async def collect() -> list[bytes]:
        return [piece async for piece in answer.pieces]

    assert isinstance(answer, StreamedResponse)
    return await asyncio.create_task(collect(), context=contextvars.Context())


async def test_a_stream_is_sent_in_a_span_of_its_requests_trace(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    async with traced.pumping():
        run = await traced.ask({"message": "Hi"})
    exporter.clear()
    pieces = await send(await read_events(traced, run.body["run_id"]))
    spans = seen(exporter)
    door = spans["GET /api/runs/{run_id}/events"]
    told = spans["stream GET /api/runs/{run_id}/events"]
    assert set(spans) == {door.name, told.name}
    assert (told.kind, parent(told), traces(spans)) == (SpanKind.INTERNAL, own(door), {TRACE_ID})
    assert dict(told.attributes or {}) == {"pieces": len(pieces)}
    assert b"run.completed" in pieces[-1]


async def test_a_stream_that_breaks_is_a_failed_span_and_a_line_of_its_trace(
    traced: InMemory,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = await traced.ask({"message": "Hi", "wait_seconds": 0})  # it has told nothing yet
    answer = await read_events(traced, run.body["run_id"])
    exporter.clear()

    def follow(*_: Any, **__: Any) -> None:
        raise ValueError("bug")

    monkeypatch.setattr(Feeds, "open", follow)
    with pytest.raises(ValueError, match="bug"):
        await send(answer)
    [told] = exporter.get_finished_spans()
    assert told.status.status_code is StatusCode.ERROR
    assert (told.attributes or {})["error_code"] == "ValueError"
    (line,) = [json.loads(text) for text in caplog.messages if "stream_broken" in text]
    assert (line["trace_id"], line["level"]) == (TRACE_ID, "error")
    assert line["error_id"]


@pytest.mark.parametrize("name", ["health", "status"])
async def test_probes_leave_no_span(
    traced: InMemory, exporter: InMemorySpanExporter, name: str
) -> None:
    for app in (traced.main, traced.realm):
        reply = await call(getattr(app.about, name), headers={"traceparent": FROM_THE_CLIENT})
        assert reply.status == 200
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("broken", "status", "failed"),
    [(None, 404, False), (TransientError("away"), 503, True), (ValueError("bug"), 500, True)],
)
async def test_only_an_answer_that_is_our_fault_fails_the_doors_span(
    traced: InMemory,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    broken: Exception | None,
    status: int,
    failed: bool,
) -> None:
    async def find(*_: Any, **__: Any) -> None:
        if broken is not None:
            raise broken

    monkeypatch.setattr(traced.world.requests, "find", find)
    reply = await call(traced.main.runs.get, parts={"run_id": f"{1:032x}"})
    [span] = exporter.get_finished_spans()
    assert (reply.status, (span.attributes or {})["http.response.status_code"]) == (status, status)
    assert (span.status.status_code is StatusCode.ERROR) is failed
    assert ((span.attributes or {}).get("error.type") == str(status)) is failed
    assert (span.attributes or {})["http.route"] == "/api/runs/{run_id}"


async def test_a_message_that_is_abandoned_has_a_failed_span(
    traced: InMemory, exporter: InMemorySpanExporter
) -> None:
    traced.send(b"not JSON")
    await traced.settle()
    spans = exporter.get_finished_spans()
    assert {span.name for span in spans} == {"process aos-requests"}
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    assert json.loads(spans[0].to_json())["attributes"]["error.type"] == "Unreadable"

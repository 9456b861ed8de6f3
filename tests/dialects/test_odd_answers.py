"""More odd answers that people met: each costs at most the run, never the conversation."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.runs.run import Run, RunStatus
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.testing import MemoryWorld
from tests.dialects.dialects import DIALECTS, speaking
from tests.scripted_model import Request, Say, ScriptedModel

AGENT = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}
CLOCK = {"server_id": "clock", "command": "npx", "args": ["-y", "@modelcontextprotocol/clock"]}
[OPENAI] = [dialect for dialect in DIALECTS if dialect.name == "openai"]


@pytest.fixture
async def world(memory: MemoryWorld) -> MemoryWorld:
    await memory.put_mcp_server(CLOCK, {"now": lambda args: f"noon in {args.get('zone', 'UTC')}"})
    await memory.put_agent(AGENT)
    return memory


def strictly(*answers: Say) -> Any:
    """Answers these in turn and then greets, as an endpoint as strict as OpenAI's."""
    rest = list(answers)
    return speaking(OPENAI, lambda _: rest.pop(0) if rest else Say("Hello."))


def message(**fields: Any) -> Say:
    """An answer with this message, beside the usual."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **fields}}
    return Say(body={"choices": [choice]})


def outcome(run: Run) -> tuple[str, str]:
    return run.status.value, run.output if run.error is None else run.error.message


@pytest.mark.parametrize(
    "name",
    [
        "functions.clock__now",
        "clock__now<|channel|>commentary",
        "",
        "get the time",
        'now" />',
        "n" * 300,
        "时间",
    ],
)
async def test_a_made_up_name_does_not_make_the_history_unusable(
    world: MemoryWorld, server: ScriptedModel, name: str
) -> None:
    server.always(strictly(Say(calls=[(name, {})])))
    run = await world.ask("ceo", "What time?", conversation_id="c")
    assert outcome(run) == ("completed", "Hello.")
    assert "there is no tool" in server.requests[1].messages[-1]["content"]
    assert outcome(await world.ask("ceo", "And?", conversation_id="c")) == ("completed", "Hello.")


@pytest.mark.parametrize(
    ("arguments", "zone"),
    [
        ("null", "UTC"),
        (json.dumps('{"zone": "CET"}'), "CET"),
        ('""', "UTC"),
        (" ", "UTC"),
    ],
)
async def test_arguments_in_another_form_are_read_and_shown_as_an_object(
    world: MemoryWorld, server: ScriptedModel, arguments: str, zone: str
) -> None:
    server.always(strictly(Say(calls=[("clock__now", arguments)])))
    run = await world.ask("ceo", "What time?", conversation_id="c")
    assert outcome(run) == ("completed", "Hello.")
    assert server.requests[1].messages[-1]["content"] == f"noon in {zone}"
    assert outcome(await world.ask("ceo", "And?", conversation_id="c")) == ("completed", "Hello.")


@pytest.mark.parametrize(
    "arguments", ['{"zone": "CET"} Done.', "[1]", '"CET"', '{"zone": NaN}', '"\\"{}\\""']
)
async def test_arguments_that_are_not_an_object_are_told_to_the_model(
    world: MemoryWorld, server: ScriptedModel, arguments: str
) -> None:
    server.always(strictly(Say(calls=[("clock__now", arguments)])))
    run = await world.ask("ceo", "What time?")
    assert outcome(run) == ("completed", "Hello.")
    assert "are not a JSON object" in server.requests[1].messages[-1]["content"]


CALL = {"name": "clock__now", "arguments": '{"zone": "CET"}'}


@pytest.mark.parametrize(
    "said",
    [
        {"function_call": CALL},
        {"tool_calls": {"id": "1", "type": "function", "function": CALL}},
        {"tool_calls": [CALL]},
        {"tool_calls": [{"index": 0, "function": CALL}], "content": ""},
        {"tool_calls": [None, {"function": CALL}], "function_call": None},
    ],
)
async def test_a_call_is_made_in_whichever_form_it_comes(
    world: MemoryWorld, server: ScriptedModel, said: dict[str, Any]
) -> None:
    server.always(strictly(message(**said)))
    run = await world.ask("ceo", "What time?")
    assert outcome(run) == ("completed", "Hello.")
    assert server.requests[1].messages[-1]["content"] == "noon in CET"
    assert len(server.requests) == 2


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "prefix"])
async def test_an_endpoint_that_refuses_its_own_fields_is_shown_none(
    world: MemoryWorld, server: ScriptedModel, field: str
) -> None:
    def groq(request: Request) -> Say:
        for place, said in enumerate(request.messages):
            if field in said:
                fault = f"'messages.{place}' : property '{field}' is unsupported"
                return Say(status=400, body={"error": {"message": fault}})
        return message(content="Hello.", **{field: "so I think"})

    server.always(groq)
    for _ in range(3):
        run = await world.ask("ceo", "Hello?", conversation_id="c")
        assert outcome(run) == ("completed", "Hello.")
    assert len(server.requests) == 4, "it is asked twice only once"


async def test_a_refusal_for_another_reason_keeps_its_words(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(message(content="Hello.", reasoning="I think"))
    await world.ask("ceo", "Hello?", conversation_id="c")
    server.script(
        Say(status=400, body={"error": "temperature is too hot"}),
        Say(status=400, body={"error": "something else"}),
    )
    run = await world.ask("ceo", "Hello?", conversation_id="c")
    assert run.status is RunStatus.FAILED
    assert "temperature is too hot" in outcome(run)[1]
    await world.ask("ceo", "Hello?", conversation_id="c")
    assert any("reasoning" in said for said in server.requests[-1].messages)


async def test_a_web_page_in_place_of_an_answer_is_an_operators_mistake(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    page = Say(body=b"\xef\xbb\xbf<!DOCTYPE html><title>Sign in</title>")
    server.always(page)
    run = await world.ask("ceo", "Hello?")
    assert run.waiting is not None
    assert run.waiting.error is not None
    assert run.waiting.error.code == "model_misconfigured"
    assert "a web page" in run.waiting.reason
    assert len(server.requests) == 1


async def test_an_error_beside_an_empty_choice_counts(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    error = {"code": 400, "message": "the prompt is not for this model"}
    for choice in ({}, {"message": None}, {"message": {"content": None}}):
        server.always(Say(body={"error": error, "choices": [choice]}))
        run = await world.ask("ceo", "Hello?")
        assert run.error is not None
        assert run.error.code == "model_rejected"
        assert "not for this model" in run.error.message


def stream(*chunks: dict[str, Any], done: bool = True) -> Say:
    """An answer in events, as gateways send that only stream."""
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}" for chunk in chunks]
    end = ["data: [DONE]"] if done else []
    text = "\r\n\r\n".join([": ping", *lines, *end, ""])
    return Say(body=text.encode(), headers={"Content-Type": "text/event-stream"})


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


async def test_an_answer_that_streams_is_read_once(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    def piece(index: int, **function: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, "function": function}])

    calls = stream(
        delta(role="assistant", content=None, reasoning_content="I "),
        delta(reasoning_content="think"),
        piece(0, name="clock__now", arguments=""),
        piece(0, arguments='{"zone": '),
        piece(1, name="clock__now", arguments='{"zone": "UTC"}'),
        piece(0, arguments='"CET"}'),
        delta(finish="tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": "7", "completion_tokens": 2.0}},
    )
    text = stream(delta(content="Noon\u2028"), delta(content="."), delta(finish="stop"))
    server.always(strictly(calls, text))
    run = await world.ask("ceo", "What time?")
    assert outcome(run) == ("completed", "Noon\u2028.")
    assert (run.usage.input_tokens, run.usage.output_tokens) == (7, 2)
    shown = server.requests[1].messages
    assert [message["content"] for message in shown[-2:]] == ["noon in CET", "noon in UTC"]
    assert shown[-3]["reasoning_content"] == "I think"


async def test_a_stream_that_was_cut_is_not_an_answer(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(stream(delta(content="Half of"), done=False))
    assert outcome(await world.ask("ceo", "Hello?")) == ("completed", "Hello.")
    assert len(server.requests) == 2


async def test_an_error_in_a_stream_counts(world: MemoryWorld, server: ScriptedModel) -> None:
    server.script(
        stream(delta(content="Hel"), {"error": {"code": 400, "message": "no such image"}})
    )
    run = await world.ask("ceo", "Hello?")
    assert run.error is not None
    assert (run.error.code, "no such image" in run.error.message) == ("model_rejected", True)


async def test_a_stream_of_the_responses_api_is_read(server: ScriptedModel) -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]}
    server.script(
        stream(
            {"type": "response.output_text.delta", "delta": "Hi."},
            {"type": "response.completed", "response": {"status": "completed", "output": [said]}},
            done=False,
        )
    )
    endpoint = ModelEndpoint(base_url=server.endpoint, model="m", api_key="k", api="responses")
    adapter = OpenAIChatModel(endpoint)
    world = MemoryWorld(model=adapter)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    assert outcome(await world.ask("ceo", "Hello?")) == ("completed", "Hi.")
    await adapter.close()


PACKED = {"Content-Encoding": "gzip"}


async def test_an_answer_in_gzip_is_read_once(world: MemoryWorld, server: ScriptedModel) -> None:
    text = "Noon. " * 20_000
    body = gzip.compress(json.dumps({"choices": [{"message": {"content": text}}]}).encode())
    server.script(Say(body=body, headers=PACKED, pieces=3))
    assert outcome(await world.ask("ceo", "Hello?")) == ("completed", text)
    refusal = gzip.compress(b'{"error": "the temperature is too hot"}')
    server.script(Say(status=400, body=refusal, headers=PACKED))
    assert "too hot" in outcome(await world.ask("ceo", "Hello?"))[1]
    assert len(server.requests) == 2


async def test_a_small_gzip_that_is_large_unpacked_is_too_large(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(Say(body=gzip.compress(b" " * 50_000_000), headers=PACKED))
    run = await world.ask("ceo", "Hello?")
    assert run.error is not None
    assert "more than 1048576 bytes" in run.error.message


async def test_a_broken_gzip_is_asked_for_again(world: MemoryWorld, server: ScriptedModel) -> None:
    server.script(Say(body=b"not gzip", headers=PACKED))
    assert outcome(await world.ask("ceo", "Hello?")) == ("completed", "Hello.")
    assert len(server.requests) == 2


async def test_a_property_whose_name_endpoints_refuse_reaches_the_tool_under_its_own(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    part = {"type": "object", "properties": {"時間 帯": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"user name": {"type": "string"}, "parts": {"type": "array", "items": part}},
        "required": ["user name"],
    }
    tool = ToolSchema(name="greet", input_schema=schema)
    world.servers.add("greeter", tool, lambda a: ToolOutcome(outcome="ok", content=json.dumps(a)))
    await world.put_mcp_server({**CLOCK, "server_id": "greeter"}, {})
    await world.put_agent({**AGENT, "mcp_tools": ["greeter"]})

    def answer(request: Request) -> Say:
        if request.messages[-1]["role"] == "tool":
            return Say(request.messages[-1]["content"])
        offered = request.body["tools"][0]["function"]["parameters"]["properties"]
        [name] = [name for name in offered if name != "parts"]
        [zone] = offered["parts"]["items"]["properties"]
        arguments = {name: "Ada", "parts": [{zone: "CET"}]}
        return Say(calls=[("greeter__greet", arguments)])

    server.always(speaking(OPENAI, answer))
    run = await world.ask("ceo", "Greet.")
    assert json.loads(run.output) == {"user name": "Ada", "parts": [{"時間 帯": "CET"}]}


CALL_TEXT = '{"name": "clock__now", "arguments": {"zone": "CET"}}'


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{CALL_TEXT}\n</tool_call>",
        f"I look.\n```json\n{CALL_TEXT}\n```",
        f"[TOOL_CALLS][{CALL_TEXT}]",
        '[TOOL_CALLS]clock__now[ARGS]{"zone": "CET"}',
        '<|python_tag|>{"name": "clock__now", "parameters": {"zone": "CET"}}',
        '<|python_tag|>clock__now(zone="CET")',
        '{"name": "clock__now", "parameters": {}}',
        "<tool_call>\n<function=clock__now>\n<parameter=zone>\nCET\n</parameter>",
        "<\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>clock__now\n```json\n{}\n```",
        f"<tool_call>{CALL_TEXT[:-12]}",
    ],
)
async def test_a_call_that_came_as_text_is_not_made_and_says_what_the_endpoint_lacks(
    world: MemoryWorld, server: ScriptedModel, text: str
) -> None:
    server.always(Say(text))
    run = await world.ask("ceo", "What time?")
    assert (run.status, run.output, run.finish_reason) == (
        RunStatus.COMPLETED,
        text.strip(),
        "unparsed_tool_call",
    )
    [line] = [x for x in world.telemetry.lines if x["event"] == "model_tool_call_unparsed"]
    assert (line["tool"], "--enable-auto-tool-choice" in line["reason"]) == ("clock__now", True)


@pytest.mark.parametrize(
    "text",
    [
        "I would call clock__now.",
        '<tool_call>{"name": "made_up", "arguments": {}}</tool_call>',
        '{"name": "clock__now"}',
        '```json\n{"zone": "CET"}\n```',
        "[1, 2]",
        "<tool_call>" * 50_000,
        "[" * 50_000,
    ],
)
async def test_a_text_that_calls_no_tool_of_the_agent_is_an_answer(
    world: MemoryWorld, server: ScriptedModel, text: str
) -> None:
    server.always(Say(text))
    run = await world.ask("ceo", "What time?")
    assert (run.status, run.finish_reason) == (RunStatus.COMPLETED, None)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Say(status=204, body=b""), "an empty body"),
        (Say(body=b'{"choices": [{'), "broken JSON"),
        (Say(body=b"[]"), "not an object"),
        (Say(body={"ok": True}), "without choices"),
        (Say(body={"choices": [None]}), "without choices"),
        (Say(body=b"OK"), "broken JSON"),
        (Say(body=b"null"), "not an object"),
    ],
)
async def test_an_endpoint_that_never_answers_readably_says_at_once_what_to_do(
    world: MemoryWorld, server: ScriptedModel, answer: Say, says: str
) -> None:
    server.always(answer)
    run = await world.ask("ceo", "What time?")
    assert (run.status, run.error) == (RunStatus.IN_PROGRESS, None)
    assert run.waiting is not None
    assert run.waiting.error is not None
    assert (run.waiting.error.code, len(server.requests)) == ("model_misconfigured", 3)
    assert says in run.waiting.reason
    assert "ends with /v1" in run.waiting.reason
    server.always(Say("Noon."))
    await world.advance(120)
    run = await world.run(run.run_id)
    assert (run.output, run.waiting) == ("Noon.", None)


async def test_an_unreadable_answer_now_and_then_costs_nothing(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(Say(status=204, body=b""), Say(body=b"{"), Say(status=503), Say(body=b"{"))
    run = await world.ask("ceo", "What time?")
    assert (run.output, run.waiting) == ("Hello.", None)


def said(content: object, **more: Any) -> Say:
    """An answer with this content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, **more}
    return Say(body={"choices": [choice]})


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>clock__now\n<arg_key>zone</arg_key>\n<arg_value>CET</arg_value>\n</tool_call>",
        "<|tool_call_begin|>functions.clock__now:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
        '<invoke name="clock__now"><parameter name="zone">CET</parameter></invoke>',
        '```tool_code\nclock__now(zone="CET")\n```',
    ],
)
async def test_calls_in_the_words_of_further_models_are_found(
    world: MemoryWorld, server: ScriptedModel, text: str
) -> None:
    server.always(Say(text))
    assert (await world.ask("ceo", "What time?")).finish_reason == "unparsed_tool_call"


@pytest.mark.parametrize(
    "content",
    [
        {"type": "text", "text": "Hi."},
        [{"type": "text", "text": {"value": "Hi."}}],
        [{"type": "output_text", "text": "Hi."}],
    ],
)
async def test_content_in_further_forms_is_read(
    world: MemoryWorld, server: ScriptedModel, content: object
) -> None:
    server.always(said(content))
    assert outcome(await world.ask("ceo", "Hello?")) == ("completed", "Hi.")


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "max_output_tokens", "LENGTH", "model_length"])
async def test_a_limit_in_the_words_of_further_endpoints_cuts_the_output(
    world: MemoryWorld, server: ScriptedModel, reason: str
) -> None:
    server.always(said("Once", finish_reason=reason))
    assert (await world.ask("ceo", "Tell.")).finish_reason == "length"


@pytest.mark.parametrize("reason", ["SAFETY", "CONTENT_FILTER", "content-filter"])
async def test_a_filter_in_the_words_of_further_endpoints_fails_the_run(
    world: MemoryWorld, server: ScriptedModel, reason: str
) -> None:
    server.always(said("Once", finish_reason=reason))
    run = await world.ask("ceo", "Tell.")
    assert run.error is not None
    assert run.error.code == "content_filtered"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 402, "message": "Insufficient credits"}},
        {"error": {"type": "insufficient_funds", "message": "x"}},
        {"code": "insufficient_quota", "message": "You exceeded your quota"},
    ],
)
async def test_a_spent_quota_in_the_words_of_further_endpoints_waits_for_an_operator(
    world: MemoryWorld, server: ScriptedModel, body: dict[str, Any]
) -> None:
    server.always(Say(body=body))
    run = await world.ask("ceo", "Hello?")
    assert run.waiting is not None
    assert run.waiting.error is not None
    assert run.waiting.error.code == "model_quota"

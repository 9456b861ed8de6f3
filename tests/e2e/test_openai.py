"""The unmodified openai client on real processes: what a network, two apps and kills add to the
in-process tests of tests/unit/openai_door. How a conversation goes on through other doors is in
test_one_conversation.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from devhost.laptop import REPOSITORY
from tests.contract.mcp.kit import NASTY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

TEXT = " ".join(f"word {number}" for number in range(40))
PAUSE_SECONDS = 0.03
KILL_SECONDS = 60.0


@pytest.fixture(scope="module")
def client(road: Road) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{road.main}/api/openai/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def agent(road: Road) -> str:
    return road.live(f"openai-{uuid.uuid4().hex[:8]}")


class Reader(threading.Thread):
    """Reads the stream of a response to its end, and goes on after what it has when it is cut."""

    def __init__(self, client: OpenAI, agent: str) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._agent = agent
        self.told: list[Any] = []
        self.cuts = 0
        self.start()

    @property
    def is_over(self) -> bool:
        return bool(self.told) and self.told[-1].type == "response.completed"

    def has_told(self, characters: int) -> bool:
        return len(_text(self.told)) > characters

    def run(self) -> None:
        pause = threading.Event()
        stream: Any = self._client.responses.create(model=self._agent, input="Tell.", stream=True)
        while not self.is_over:
            try:
                for event in stream or self._go_on():
                    self.told.append(event)
            except (openai.OpenAIError, httpx2.HTTPError):
                self.cuts += 1
                pause.wait(0.2)
            stream = None

    def _go_on(self) -> Any:
        name, after = self.told[0].response.id, self.told[-1].sequence_number
        return self._client.responses.retrieve(name, stream=True, starting_after=after)


def test_a_stream_goes_through_kills_of_realm_and_main_and_tells_each_letter_once(
    client: OpenAI, road: Road, agent: str, model: Model
) -> None:
    model.server.always(Say(TEXT, pause=PAUSE_SECONDS))
    reader = Reader(client, agent)
    for name in ("realm", "main"):
        seen = len(_text(reader.told))
        eventually(partial(reader.has_told, seen + 20), seconds=KILL_SECONDS, what="more text")
        road.laptop.child(name).kill9()
    reader.join(KILL_SECONDS)
    told = reader.told
    assert reader.is_over
    assert reader.cuts > 0
    assert told[-1].response.output_text == _text(told) == TEXT
    numbers = [event.sequence_number for event in told]
    assert numbers == sorted(set(numbers))
    name = told[0].response.id
    for place in range(0, len(told) - 1, 9):
        after = told[place].sequence_number
        rest = client.responses.retrieve(name, stream=True, starting_after=after)
        assert _text(list(rest)) == _text(told[place + 1 :])


def test_items_wait_for_a_response_without_input_and_are_deleted_with_it(
    client: OpenAI, agent: str, model: Model
) -> None:
    """As azure-ai-projects' samples begin a conversation."""
    items: Any = [{"type": "message", "role": "user", "content": "How large is France?"}]
    made = client.conversations.create(items=items, metadata={"topic": "geography"})
    extra = {"agent_reference": {"name": agent, "type": "agent_reference"}}
    first = client.responses.create(conversation=made.id, input="", extra_body=extra)
    assert first.output_text == "2 messages, last: How large is France?"
    assert first.usage is not None
    assert first.usage.total_tokens > 0
    items[0]["content"] = "And its capital?"
    client.conversations.items.create(made.id, items=items)
    second = client.responses.create(conversation=made.id, extra_body=extra)
    assert second.output_text == "4 messages, last: And its capital?"
    assert len(list(client.conversations.items.list(made.id))) == 4
    assert client.conversations.delete(made.id).deleted
    alone = client.responses.create(model=agent, input="One?")
    client.responses.delete(alone.id)


def test_a_chat_completion_is_stateless_and_streams(
    client: OpenAI, agent: str, model: Model
) -> None:
    messages: Any = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Two?"},
    ]
    for _ in range(2):
        made = client.chat.completions.create(model=agent, messages=messages)
        assert made.choices[0].message.content == "4 messages, last: Two?"
    chunks = client.chat.completions.create(model=agent, messages=messages, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "4 messages, last: Two?"


def test_a_response_is_cancelled(client: OpenAI, agent: str, model: Model) -> None:
    with model.held() as hold:
        made = client.responses.create(model=agent, input="Never.", background=True)
        assert client.responses.retrieve(made.id).status in ("queued", "in_progress")
        hold.wait_for(1, seconds=20)
        assert client.responses.cancel(made.id).status == "cancelled"


def test_an_approval_is_requested_and_given(
    client: OpenAI, road: Road, model: Model, tmp_path: Path
) -> None:
    name, marks = uuid.uuid4().hex[:8], tmp_path / "marks"
    road.live_server(f"s-{name}", command=sys.executable, args=[NASTY, "--marks", str(marks)])
    grant = {"server": f"s-{name}", "tools": ["mark"], "approval": "always"}
    agent = road.live(f"a-{name}", mcp_tools=[grant])

    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"the tool said: {last['content']}")
        tool = request.body["tools"][0]["function"]["name"]
        return Say(calls=[(tool, {"text": last["content"]})])

    model.server.always(rule)
    made = client.responses.create(model=agent, input="x")
    (wish,) = made.output
    assert wish.type == "mcp_approval_request"
    assert not marks.exists()
    done = client.responses.create(
        model=agent,
        previous_response_id=made.id,
        input=[{"type": "mcp_approval_response", "approval_request_id": wish.id, "approve": True}],
    )
    assert [item.type for item in done.output] == ["mcp_call", "message"]
    assert done.output_text.startswith("the tool said: ")
    assert marks.read_text() == "x\n"
    by_javascript = finish(start("ask_openai.mjs", road.main, agent, "decide"))
    assert by_javascript.startswith("mcp_approval_request mcp_call message the tool said: ")
    assert marks.read_text() == "x\nx\n"


def _text(events: list[Any]) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    """A client of JavaScript, in tests/e2e."""
    program = str(REPOSITORY / "tests" / "e2e" / name)
    pipe = subprocess.PIPE
    return subprocess.Popen(["node", program, *arguments], stdout=pipe, stderr=pipe, text=True)


def finish(program: subprocess.Popen[str]) -> str:
    """What the program has printed."""
    told, errors = program.communicate(timeout=KILL_SECONDS)
    assert (program.returncode, errors) == (0, "")
    return told.strip()


def test_each_streaming_client_reads_on_through_a_kill_of_realm(
    client: OpenAI, road: Road, agent: str, model: Model
) -> None:
    """The clients do nothing for it: their streams only pause."""
    model.server.always(Say(TEXT, pause=PAUSE_SECONDS))
    chat = client.chat.completions.create(
        model=agent, messages=[{"role": "user", "content": "Tell."}], stream=True
    )
    chunks = iter(chat)
    told = ""
    while not told:
        told = next(chunks).choices[0].delta.content or ""
    before = len(model.server.requests)
    programs = [
        start("ask_openai.mjs", road.main, agent, "stream"),
        start("ask_open_responses.mjs", road.main, agent, "stream"),
    ]
    model.server.wait_for(before + len(programs), seconds=20)
    road.laptop.child("realm").kill9()
    assert [finish(program) for program in programs] == [TEXT, TEXT]
    assert told + "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT


def test_openais_client_for_javascript_cancels(road: Road, agent: str, model: Model) -> None:
    with model.held():
        cancelling = start("ask_openai.mjs", road.main, agent, "cancel")
        assert finish(cancelling) == "cancelled cancelled"


def test_the_ai_sdks_provider_streams_keeps_its_history_and_gives_up(
    client: OpenAI, road: Road, agent: str, model: Model
) -> None:
    """npm `@ai-sdk/open-responses`, which has no form for approvals."""

    def answer(request: Request) -> Say:
        match request.messages[-1]["content"]:
            case "Plan?":
                return Say('{"step": "sell"}')
            case "Tell.":
                return Say(TEXT, pause=PAUSE_SECONDS)
            case asked:
                return Say(f"{len(request.messages)} messages, last: {asked}")

    model.server.always(answer)
    told = finish(start("ask_open_responses.mjs", road.main, agent))
    first, (second, reason), plan, given_up, refused = map(json.loads, told.splitlines())
    assert first == "2 messages, last: One?"
    assert second.startswith("4 messages, last: Instructions for this answer:\nBe brief.")
    assert (reason, plan, given_up) == ("stop", {"step": "sell"}, "AbortError")
    assert refused == [404, "model_not_found"]

    def look() -> bool:  # who goes away cancels nothing
        runs = road.call("GET", f"/api/runs?agent_id={agent}&limit=1").body["items"]
        return bool(runs) and runs[0]["output"] == TEXT

    eventually(look, seconds=20, what="the end of the run that was given up")


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "openai_client.py"],
        [sys.executable, "agent_framework_client.py"],
        ["node", "openai_client.mjs"],
    ],
)
def test_the_examples_run(road: Road, model: Model, command: list[str]) -> None:
    road.live("ceo")
    model.says("Example.")
    program, name = command
    done = subprocess.run(
        [program, str(REPOSITORY / "examples" / name)],
        env={**os.environ, "AOS_URL": road.main},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Example.\nExample.\n")

"""What goes onto the bus or into a table comes back as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aos.domain.codec import decode, encode
from aos.domain.envelope import (
    Command,
    EnvelopeError,
    Outgoing,
    StartRun,
    read_command,
    to_realm,
)
from aos.domain.runs.conversation import ActiveRun, Conversation, Message
from aos.domain.runs.run import AdmittedRequest, Run
from tests.texts import texts
from tests.unit.domain import values
from tests.unit.domain.values import NOON, a_request

quick = settings(max_examples=60, deadline=None)


@quick
@given(values.commands)
def test_a_command_survives_the_wire(command: Command) -> None:
    assert read_command(json.dumps(encode(command)).encode()) == command


@quick
@given(values.outgoing)
def test_an_outbox_entry_survives_storage(outgoing: Outgoing) -> None:
    assert decode(Outgoing, json.loads(json.dumps(encode(outgoing)))) == outgoing


@quick
@given(values.conversations)
def test_a_head_survives_storage(conversation: Conversation) -> None:
    assert decode(Conversation, json.loads(json.dumps(encode(conversation)))) == conversation


@quick
@given(values.messages)
def test_a_message_survives_storage(message: Message) -> None:
    assert decode(Message, json.loads(json.dumps(encode(message)))) == message


@quick
@given(values.runs)
def test_a_run_survives_the_wire(run: Run) -> None:
    assert decode(Run, json.loads(json.dumps(encode(run)))) == run


@quick
@given(values.requests)
def test_a_request_survives_storage(request: AdmittedRequest) -> None:
    assert decode(AdmittedRequest, json.loads(json.dumps(encode(request)))) == request


@quick
@given(values.active_runs)
def test_an_active_run_survives_storage(active: ActiveRun) -> None:
    assert decode(ActiveRun, json.loads(json.dumps(encode(active)))) == active


@quick
@given(values.commands, st.dictionaries(texts(min_size=3, max_size=8), values.plain, max_size=3))
def test_unknown_envelope_fields_are_ignored(command: Command, more: dict[str, object]) -> None:
    envelope = encode(command)
    more = {f"x_{name}": value for name, value in more.items()}
    assert read_command(json.dumps({**more, **envelope}).encode()) == command


def test_an_envelope_has_the_contracts_common_fields() -> None:
    command = StartRun(request=a_request("a"))
    envelope = encode(command)
    names = ["version", "type", "command_id", "run_id", "conversation_id", "attempt"]
    assert list(envelope)[: len(names)] == names
    assert (envelope["version"], envelope["type"], envelope["attempt"]) == (1, "StartRun", 0)
    beside = ("owner", "admitted_at", "catalog_version")
    assert {name: envelope[name] for name in beside} == {
        "owner": "ann",
        "admitted_at": "2030-01-01T12:00:00.000Z",
        "catalog_version": 1,
    }
    assert not set(beside) & set(envelope["request"])


def test_the_same_command_has_the_same_id_however_often_it_is_made() -> None:
    first, again = StartRun(request=a_request("a")), StartRun(request=a_request("a"), attempt=3)
    assert first.command_id == again.command_id
    assert to_realm(first).session_id == "chat"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\xff\xfe{", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"version": 2, "type": "StartRun"}', "version 2"),
        (b'{"version": 1, "type": "StopRun"}', "unknown command type 'StopRun'"),
        (b'{"version": 1}', "unknown command type None"),
        (b'{"type": "ContinueRun", "run_id": "r"}', "conversation_id"),
        (b'{"type": "ContinueRun", "run_id": "r", "conversation_id": "c", "due": "soon"}', "soon"),
        (b'{"type": "StartRun", "request": {}, "owner": "o"}', "admitted_at"),
        (b'{"type": "StartRun", "request": 5, "owner": "o", "admitted_at": "x"}', "StartRun"),
        (b'{"type": "RunEnded", "run": {"status": "done"}, "owner": "o"}', "RunEnded"),
        (b'{"type": "RunEnded", "run": null, "owner": "o"}', "RunEnded"),
    ],
)
def test_what_is_not_an_envelope_of_ours_is_refused_with_its_reason(body: bytes, says: str) -> None:
    with pytest.raises(EnvelopeError, match=says):
        read_command(body)


A_RESULT = {
    "type": "ToolResult",
    "run_id": "r",
    "conversation_id": "c",
    "tool_call_id": "call_0",
    "outcome": "ok",
    "content": "noon",
}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("content", "5", "content is not a text"),
        ("content", "null", "content is not a text"),
        ("content", r'"\ud800"', "lone surrogate"),
        ("outcome", '"maybe"', "outcome is not one"),
        ("outcome", '["ok"]', "outcome is not one"),
        ("parts", "[1]", r"parts\[0\] is not an object"),
        ("parts", '[{"x": NaN}]', "JSON lacks"),
        ("tokens", "-5", "tokens is negative"),
        ("tokens", "1e999", "JSON lacks"),
        ("tokens", "Infinity", "JSON lacks"),
        ("attempt", "Infinity", "JSON lacks"),
        ("run_id", "[1]", "run_id is not a text"),
        ("conversation_id", "{}", "conversation_id is not a text"),
        ("tool_call_id", "0", "tool_call_id is not a text"),
        ("content", "[" * 3000, "not JSON"),
    ],
)
def test_a_forged_result_has_the_types_of_a_real_one_or_is_refused(
    field: str, value: str, says: str
) -> None:
    rest = json.dumps({name: item for name, item in A_RESULT.items() if name != field})
    body = f'{rest[:-1]}, "{field}": {value}}}'
    with pytest.raises(EnvelopeError, match=says):
        read_command(body.encode())


def test_a_missing_version_is_the_first() -> None:
    envelope = encode(StartRun(request=a_request("a")))
    del envelope["version"]
    assert read_command(json.dumps(envelope).encode()) == StartRun(request=a_request("a"))


def test_moments_are_written_in_utc_with_milliseconds() -> None:
    assert encode(StartRun(request=a_request("a", admitted_at=NOON)))["admitted_at"].endswith(
        ":00.000Z"
    )

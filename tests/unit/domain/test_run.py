"""Run ids, digests and times, as the contract has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from aos.domain.codec import decode, encode
from aos.domain.runs.run import Run, RunStatus, Usage, request_digest, run_id_for
from aos.domain.wire_time import from_wire_time, to_wire_time
from aos.errors import ErrorInfo
from tests.unit.domain.values import NOON, a_request

RUN_OBJECT = [
    "run_id", "agent_id", "card_digest", "conversation_id", "status", "output", "output_parts",
    "usage", "model", "error", "metadata", "created_at", "started_at", "ended_at", "replay_of",
]  # fmt: skip


def test_the_same_key_in_the_same_scope_is_the_same_run() -> None:
    assert run_id_for(scope="http:ann", key="k") == run_id_for(scope="http:ann", key="k")
    others = {("http:ann", "k2"), ("http:bob", "k"), ("queue:aos-requests:ann", "k")}
    ids = {run_id_for(scope=scope, key=key) for scope, key in others}
    assert run_id_for(scope="http:ann", key="k") not in ids
    assert len(ids) == 3


def test_the_digest_covers_what_makes_two_requests_the_same() -> None:
    same = {"agent_id": "ceo", "message": "hi", "conversation_id": None, "metadata": {"a": 1}}
    digest = request_digest(**same)  # type: ignore[arg-type]
    assert digest == request_digest(**{**same, "metadata": {"a": 1}})  # type: ignore[arg-type]
    changes = [
        {"agent_id": "cfo"},
        {"message": "ho"},
        {"message": [{"type": "text", "text": "hi"}]},
        {"conversation_id": "c"},
        {"metadata": {"a": 2}},
    ]
    others = {request_digest(**{**same, **change}) for change in changes}  # type: ignore[arg-type]
    assert digest not in others
    assert len(others) == len(changes)


def test_the_digest_does_not_depend_on_the_order_of_metadata() -> None:
    first, second = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    common = {"agent_id": "ceo", "message": "hi", "conversation_id": None}
    assert request_digest(metadata=first, **common) == request_digest(  # type: ignore[arg-type]
        metadata=second,
        **common,  # type: ignore[arg-type]
    )


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    berlin = datetime(2030, 1, 1, 13, 0, 0, 1999, tzinfo=timezone(timedelta(hours=1)))
    assert to_wire_time(berlin) == "2030-01-01T12:00:00.001Z"
    assert to_wire_time(None) is None
    assert from_wire_time(None) is None
    assert from_wire_time("2030-01-01T12:00:00.001Z") == NOON + timedelta(milliseconds=1)
    assert from_wire_time("2030-01-01T13:00:00+01:00") == datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_the_run_object_has_the_contracts_fields_in_order() -> None:
    run = Run.from_request(a_request("a", metadata={"k": "v"}))
    assert list(encode(run, without=("waiting",))) == RUN_OBJECT
    assert encode(run, without=("waiting",)) == {
        **dict.fromkeys(RUN_OBJECT),
        "run_id": run.run_id,
        "agent_id": "ceo",
        "conversation_id": "chat",
        "status": "queued",
        "output": "",
        "usage": encode(Usage()),
        "metadata": {"k": "v"},
        "created_at": "2030-01-01T12:00:00.000Z",
    }


def test_an_error_on_the_wire_says_who_must_act() -> None:
    error = ErrorInfo(code="model_unavailable", message="away", details={"since": "noon"})
    run = Run.from_request(a_request("a")).end(RunStatus.FAILED, at=NOON, error=error)
    assert encode(run)["error"] == {
        "code": "model_unavailable",
        "message": "away",
        "type": "retry",
        "retryable": True,
        "details": {"since": "noon"},
    }


@pytest.mark.parametrize("status", RunStatus)
def test_four_ways_to_end(status: RunStatus) -> None:
    ends = {"completed", "failed", "cancelled", "timed_out"}
    assert status.has_ended == (status.value in ends)


def test_a_code_of_a_newer_version_is_read_after_a_rollback() -> None:
    read = decode(ErrorInfo, {"code": "from_the_future", "message": "no fuel", "type": "caller"})
    assert read == ErrorInfo(code="internal_error", message="from_the_future: no fuel")


def test_a_code_that_is_not_in_the_contract_cannot_be_raised() -> None:
    with pytest.raises(ValueError, match="made_up"):
        ErrorInfo(code="made_up", message="")


def test_usage_adds_up() -> None:
    total = Usage(input_tokens=1, output_tokens=2) + Usage(input_tokens=3, output_tokens=4)
    assert total == Usage(input_tokens=4, output_tokens=6)
    assert encode(total) == {"input_tokens": 4, "output_tokens": 6, "total_tokens": 10}

"""A schema is made of the dataclass that the answer is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from aos.domain.codec import encode
from aos.domain.runs.run import Usage
from aos.domain.runs.waiting import Turn, TurnTool, Waiting
from aos.entrypoints.http.answers import NOT_OF_A_MESSAGE, NOT_OF_AN_APPROVAL, ConversationAnswer
from aos.entrypoints.http.openapi import build_schemas
from aos.entrypoints.http.shapes import ANSWERS, SHAPES
from tests.golden.tool_values import APPROVALS
from tests.golden.values import (
    AT,
    ERROR,
    FULL_HEAD,
    FULL_MESSAGE,
    FULL_RUN,
    LATER,
    MINIMAL_MESSAGE,
    OTHER_RUN,
)

ENCODED: dict[str, dict[str, Any]] = {
    "Run": encode(
        replace(
            FULL_RUN,
            finish_reason="length",
            waiting=Waiting(
                kind="retry",
                since=AT,
                until=LATER,
                reason="the key is wrong",
                ends_with="a valid key",
                error=ERROR,
                tool_call_ids=("call_1",),
            ),
            unavailable_servers=("github",),
            parent_run_id=OTHER_RUN,
            child_run_ids=(OTHER_RUN,),
            turns=(
                Turn(
                    turn=1,
                    started_at=AT,
                    milliseconds=5,
                    input_tokens=3,
                    output_tokens=4,
                    tools=(TurnTool(name="github/create_issue", state="ok", milliseconds=7),),
                ),
            ),
            children_usage=Usage(input_tokens=9, output_tokens=4),
            sent_by="queue:till",
        )
    ),
    "ErrorInfo": encode(ERROR),
    "Message": encode(FULL_MESSAGE, without=NOT_OF_A_MESSAGE),
    "Approval": encode(APPROVALS["full"], without=NOT_OF_AN_APPROVAL),
    "Conversation": encode(ConversationAnswer.of(FULL_HEAD)),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_schema_names_the_fields_that_are_written_in_their_order(name: str) -> None:
    assert list(ANSWERS[name]["properties"]) == list(ENCODED[name])
    whole = {"$ref": f"{SHAPES}{name}", "components": {"schemas": ANSWERS}}
    Draft202012Validator(whole).validate(ENCODED[name])


def test_a_field_that_may_be_left_out_is_not_required_and_never_null() -> None:
    schema, message = build_schemas()["message"], encode(MINIMAL_MESSAGE)
    Draft202012Validator(schema).validate(message)
    assert schema["required"] == ["role", "content", "run_id", "created_at"]
    assert not Draft202012Validator(schema).is_valid({**message, "tool_call_id": None})


def test_a_digest_and_a_code_are_held_to_their_form() -> None:
    schema = build_schemas()["run"]
    for wrong in ({"card_digest": "d1"}, {"error": {**encode(ERROR), "code": "no_such_code"}}):
        assert not Draft202012Validator(schema).is_valid({**encode(FULL_RUN), **wrong})

"""The messages between host and worker are as strict as protobuf makes them in Azure."""

from __future__ import annotations

import pytest

from devhost.worker.messages import messages


def test_a_field_that_the_protocol_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_field"):
        messages.InvocationRequest(no_such_field=1)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError):
        messages.TypedData(string=1)


def test_a_message_comes_back_as_it_was_sent() -> None:
    http = messages.RpcHttp(method="GET", headers={"a": "b"}, body=messages.TypedData(bytes=b"x"))
    sent = messages.StreamingMessage(
        request_id="1",
        invocation_request=messages.InvocationRequest(
            input_data=[messages.ParameterBinding(name="req", data=messages.TypedData(http=http))],
            trigger_metadata={"sys": messages.TypedData(json="{}")},
        ),
    )
    got = messages.StreamingMessage.FromString(sent.SerializeToString())
    assert got == sent
    assert got.WhichOneof("content") == "invocation_request"


def test_a_message_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="NullableString"):
        _ = messages.NullableString

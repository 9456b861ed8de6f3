"""One trace id, carried by the W3C's rules."""

from __future__ import annotations

import pytest

from aos.adapters.telemetry.trace_context import (
    is_valid_traceparent,
    make_child_traceparent,
    make_traceparent,
    trace_id,
)

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_new_traceparent_is_valid_sampled_and_fresh() -> None:
    one, other = make_traceparent(), make_traceparent()
    assert is_valid_traceparent(one)
    assert one.endswith("-01")
    assert trace_id(one) != trace_id(other)


def test_a_child_keeps_trace_and_flags_and_has_a_span_of_its_own() -> None:
    for parent in (GOOD, GOOD[:-2] + "00"):
        child = make_child_traceparent(parent)
        assert child.split("-")[1] == parent.split("-")[1]
        assert child.split("-")[2] != parent.split("-")[2]
        assert child.split("-")[3] == parent.split("-")[3]


def test_a_later_version_is_continued_as_version_zero() -> None:
    child = make_child_traceparent("01" + GOOD[2:] + "-more")
    assert child.startswith("00-")
    assert trace_id(child) == trace_id(GOOD)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        "x",
        GOOD.upper(),
        GOOD + "-more",
        "ff" + GOOD[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        GOOD + "\n",
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(bad: str | None) -> None:
    assert not is_valid_traceparent(bad)
    assert is_valid_traceparent(make_child_traceparent(bad))

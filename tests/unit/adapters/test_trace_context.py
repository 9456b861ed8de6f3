"""One trace id, carried by the W3C's rules."""

from __future__ import annotations

import pytest

from aos.adapters.telemetry.trace_context import (
    child_traceparent,
    new_traceparent,
    trace_id,
    valid_traceparent,
)

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_new_traceparent_is_valid_sampled_and_fresh() -> None:
    one, other = new_traceparent(), new_traceparent()
    assert valid_traceparent(one)
    assert one.endswith("-01")
    assert trace_id(one) != trace_id(other)


def test_a_child_keeps_trace_and_flags_and_has_a_span_of_its_own() -> None:
    for parent in (GOOD, GOOD[:-2] + "00"):
        child = child_traceparent(parent)
        assert child.split("-")[1] == parent.split("-")[1]
        assert child.split("-")[2] != parent.split("-")[2]
        assert child.split("-")[3] == parent.split("-")[3]


def test_a_later_version_is_continued_as_version_zero() -> None:
    child = child_traceparent("01" + GOOD[2:] + "-more")
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
    assert not valid_traceparent(bad)
    assert valid_traceparent(child_traceparent(bad))

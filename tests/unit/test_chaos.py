"""The verdict of `make chaos` notices what it is for: each planted fault is found, alone."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.verdict import End, Fault, Request, Seen, judge, list_latencies, list_recoveries

ANSWER = "re: 1 no. 7 marked"
REPLY = End(status="completed", text=ANSWER, reply_id="r:reply")


def make_seen() -> Seen:
    """A request over the queue with one effect, answered once."""
    request = Request(number=1, door="queue", effects=1, conversation_id="own-1")
    return Seen(
        requests={1: request},
        accepted={1: 100.0},
        ended={1: 104.0},
        ends={1: [REPLY]},
        questions=Counter({1: 1}),
        answers={1: [ANSWER]},
        effects=Counter({"1-a": 1}),
        dead={"aos-requests": 0},
    )


def find_kinds(seen: Seen) -> list[str]:
    return [line.partition(":")[0] for line in judge(seen).list_faults()]


def test_a_request_that_was_done_once_is_clean() -> None:
    seen = make_seen()
    seen.ends[1].append(REPLY)  # the same reply may come twice, with the same id
    assert judge(seen).is_clean


def test_an_accepted_request_without_an_end_is_lost() -> None:
    seen = make_seen()
    del seen.ends[1], seen.ended[1]
    assert find_kinds(seen) == ["lost"]


def test_a_run_that_failed_is_not_done() -> None:
    seen = make_seen()
    seen.ends[1] = [End(status="failed", text="internal_error")]
    seen.answers[1] = []
    assert find_kinds(seen) == ["failed"]


@pytest.mark.parametrize(
    "second",
    [
        End(status="completed", text="re: 1 no. 8 marked", reply_id="r:reply"),
        End(status="completed", text=ANSWER, reply_id="other:reply"),
        End(status="cancelled", text=ANSWER, reply_id="r:reply"),
    ],
    ids=["another content", "another id", "another status"],
)
def test_a_second_reply_is_found(second: End) -> None:
    seen = make_seen()
    seen.ends[1].append(second)
    assert "doubled" in find_kinds(seen)


@pytest.mark.parametrize(
    ("questions", "answers"),
    [(2, [ANSWER]), (0, []), (1, [ANSWER, ANSWER]), (1, []), (1, ["re: 1 no. 8 marked"])],
)
def test_a_conversation_that_does_not_hold_the_one_answer_is_found(
    questions: int, answers: list[str]
) -> None:
    seen = make_seen()
    seen.questions[1], seen.answers[1] = questions, answers
    assert find_kinds(seen) == ["doubled"]


def test_an_effect_that_came_twice_is_found() -> None:
    seen = make_seen()
    seen.effects["1-a"] = 2
    assert find_kinds(seen) == ["repeated"]


def test_a_call_told_as_made_without_an_effect_is_found() -> None:
    seen = make_seen()
    seen.effects.clear()
    assert find_kinds(seen) == ["untrue"]


def test_a_dead_letter_is_found() -> None:
    seen = make_seen()
    seen.dead = {"aos-realm": 1}
    assert find_kinds(seen) == ["dead"]


def test_recovery_counts_from_the_first_fault_without_the_time_that_faults_last() -> None:
    seen = make_seen()
    kill = Fault(kind="kill -9", target="realm", began=101.0, over=101.0)
    later = Fault(kind="kill -9", target="main", began=103.0, over=103.0)
    freeze = Fault(kind="SIGSTOP", target="realm", began=99.0, over=102.0)
    slow = Fault(kind="slow", target="azurite", began=101.5, over=103.0)
    after = Fault(kind="kill -9", target="realm", began=105.0, over=105.0)
    assert list_latencies(seen) == [4.0]
    assert list_recoveries(seen, [kill, later, after]) == [3.0]
    assert list_recoveries(seen, [freeze, kill]) == [2.0]
    assert list_recoveries(seen, [kill, slow, freeze]) == [1.0]
    assert list_recoveries(seen, [after]) == []

"""How a conversation moves: each rule gives the whole next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aos.domain.envelope import CancelRun, ContinueRun, RunEnded
from aos.domain.runs import absence, advance
from aos.domain.runs.active_run import WALL_LIMIT
from aos.domain.runs.advance import NextAction
from aos.domain.runs.conversation import CardView, Conversation, Message, Step
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus, Usage
from aos.domain.runs.waiting import START_LIMIT, Turn
from tests.unit.domain.values import CARD, NOON, a_request, ended, wake

FIRST, SECOND, THIRD = a_request("first"), a_request("second"), a_request("third")
LATER = NOON + timedelta(minutes=1)


def started(request: AdmittedRequest = FIRST, *behind: AdmittedRequest) -> Conversation:
    """A conversation with an active run, others queued behind it."""
    state = advance.admit(None, request, known=False, now=NOON).conversation
    state = advance.start_next(state, CARD, now=NOON).conversation
    return replace(state, queued=behind)


def cancelling(request: AdmittedRequest) -> CancelRun:
    """A caller wants this run to end."""
    return CancelRun(request=request)


def spent(state: Conversation, *, seconds: float) -> Conversation:
    """The conversation with so much on the clock of its active run."""
    assert state.active is not None
    return replace(state, active=replace(state.active, clock_seconds=seconds))


def code(step: Step) -> str | None:
    """The error code of the one run that a step writes."""
    (run,) = step.runs
    return run.error.code if run.error else None


class TestAdmitting:
    def test_the_first_request_begins_the_conversation_and_waits_in_it(self) -> None:
        step = advance.admit(None, FIRST, known=False, now=NOON)
        assert step == Step(
            conversation=Conversation(
                conversation_id="chat",
                agent_id="ceo",
                owner="ann",
                created_at=NOON,
                queued=(FIRST,),
            ),
            runs=(Run.from_request(FIRST),),
        )

    def test_a_request_that_finds_an_active_run_waits_behind_it(self) -> None:
        step = advance.admit(started(), SECOND, known=False, now=NOON)
        assert step.conversation == started(FIRST, SECOND)
        assert step.runs == (Run.from_request(SECOND),)

    def test_a_request_that_rejects_a_busy_conversation_does_not_wait(self) -> None:
        picky = replace(SECOND, rejects_busy=True)
        assert code(advance.admit(started(), picky, known=False, now=NOON)) == "conversation_busy"
        waits = advance.admit(None, FIRST, known=False, now=NOON).conversation
        assert code(advance.admit(waits, picky, known=False, now=NOON)) == "conversation_busy"
        free = started().end_active(RunStatus.COMPLETED, now=NOON).conversation
        assert code(advance.admit(free, picky, known=False, now=NOON)) is None

    @pytest.mark.parametrize("request_", [FIRST, SECOND], ids=["active", "queued"])
    def test_a_run_that_the_head_knows_changes_nothing(self, request_: AdmittedRequest) -> None:
        state = started(FIRST, SECOND)
        assert advance.admit(state, request_, known=False, now=LATER) == Step(conversation=state)

    def test_a_run_that_has_ended_changes_nothing(self) -> None:
        state = started().end_active(RunStatus.COMPLETED, now=NOON).conversation
        assert advance.admit(state, FIRST, known=True, now=LATER) == Step(conversation=state)

    def test_another_owner_loses_the_race_and_the_history_stays(self) -> None:
        stranger = a_request("stranger", owner="bob")
        step = advance.admit(started(), stranger, known=False, now=LATER)
        assert code(step) == "conversation_not_found"
        assert step.messages == ()
        assert step.conversation == replace(started(), outbox=(ended(stranger, step.runs[0]),))

    def test_an_admin_may_continue_anybodys_conversation(self) -> None:
        admin = a_request("admin", owner="root", as_admin=True)
        step = advance.admit(started(), admin, known=False, now=LATER)
        assert step.conversation.queued == (admin,)
        assert step.conversation.owner == "ann"

    def test_another_agent_loses_the_race(self) -> None:
        step = advance.admit(started(), a_request("other", agent_id="cfo"), known=False, now=LATER)
        assert code(step) == "agent_mismatch"

    def test_the_33rd_waiting_run_ends_as_conversation_full(self) -> None:
        waiting = tuple(a_request(f"w{number}") for number in range(advance.MAX_QUEUED_RUNS))
        full = started(FIRST, *waiting)
        step = advance.admit(full, SECOND, known=False, now=LATER)
        assert code(step) == "conversation_full"
        assert step.conversation.queued == waiting
        almost = started(FIRST, *waiting[1:])
        assert advance.admit(almost, SECOND, known=False, now=LATER).conversation.queued == (
            *waiting[1:],
            SECOND,
        )


class TestCancelling:
    def test_the_active_run_ends_and_the_next_is_woken(self) -> None:
        step = advance.cancel(started(FIRST, SECOND), cancelling(FIRST), known=True, now=LATER)
        (run,) = step.runs
        assert (run.status, run.error, run.ended_at) == (RunStatus.CANCELLED, None, LATER)
        assert step.conversation.active is None
        assert step.conversation.outbox == (ended(FIRST, run), wake(SECOND))

    def test_a_queued_run_ends_and_the_active_one_goes_on(self) -> None:
        step = advance.cancel(
            started(FIRST, SECOND, THIRD), cancelling(SECOND), known=True, now=LATER
        )
        (run,) = step.runs
        assert run.status is RunStatus.CANCELLED
        assert step.conversation == replace(started(FIRST, THIRD), outbox=(ended(SECOND, run),))

    def test_a_cancel_before_its_start_ends_the_run_and_the_start_changes_nothing(self) -> None:
        step = advance.cancel(None, cancelling(FIRST), known=False, now=NOON)
        (run,) = step.runs
        assert run.status is RunStatus.CANCELLED
        assert step.conversation.outbox == (ended(FIRST, run),)
        late = advance.admit(step.conversation, FIRST, known=True, now=LATER)
        assert late == Step(conversation=step.conversation)

    def test_an_ended_run_stays_as_it_is(self) -> None:
        state = started().end_active(RunStatus.COMPLETED, now=NOON).conversation
        assert advance.cancel(state, cancelling(FIRST), known=True, now=LATER) == Step(
            conversation=state
        )


class TestOwing:
    def test_an_idle_conversation_owes_nothing(self) -> None:
        state = started().end_active(RunStatus.COMPLETED, now=NOON).conversation
        assert advance.find_next_action(state, now=LATER) == NextAction(what="nothing")

    def test_a_queued_run_is_owed_its_start(self) -> None:
        state = advance.admit(None, FIRST, known=False, now=NOON).conversation
        assert advance.find_next_action(state, now=NOON) == NextAction(what="start")

    def test_an_active_run_is_owed_a_turn(self) -> None:
        assert advance.find_next_action(started(FIRST, SECOND), now=NOON) == NextAction(what="turn")

    def test_nothing_is_owed_before_the_moment_of_the_retry(self) -> None:
        state = replace(started(), retry_at=LATER, retry_since=NOON)
        assert advance.find_next_action(state, now=NOON) == NextAction(what="wait", until=LATER)
        assert advance.find_next_action(state, now=LATER) == NextAction(what="turn")

    def test_a_run_that_waited_a_day_to_start_expires_first(self) -> None:
        state = started(a_request("late", admitted_at=NOON), SECOND)
        now = NOON + START_LIMIT
        assert advance.find_next_action(state, now=now) == NextAction(what="expire", request=SECOND)
        step = state.expire(SECOND, now=now)
        (run,) = step.runs
        assert (run.status, code(step)) == (RunStatus.TIMED_OUT, "start_timeout")
        assert step.conversation.queued == ()
        assert step.conversation.active == state.active

    @pytest.mark.parametrize(
        ("seconds", "now"),
        [(60.0, NOON), (0.0, NOON + WALL_LIMIT)],
        ids=["its clock is spent", "two days have passed"],
    )
    def test_a_run_is_timed_out_when(self, seconds: float, now: datetime) -> None:
        state = spent(started(), seconds=seconds)
        assert advance.find_next_action(state, now=now) == NextAction(what="time_out")
        step = state.time_out(now=now)
        assert (step.runs[0].status, code(step)) == (RunStatus.TIMED_OUT, "run_timeout")

    def test_two_days_count_also_while_it_waits_for_the_model(self) -> None:
        now = NOON + WALL_LIMIT
        state = replace(started(), retry_at=now + timedelta(minutes=5), retry_since=NOON)
        assert advance.find_next_action(state, now=now) == NextAction(what="time_out")


class TestStarting:
    def test_the_first_in_the_queue_becomes_active_on_the_card_of_now(self) -> None:
        state = advance.admit(started(), SECOND, known=False, now=NOON).conversation
        state = state.end_active(RunStatus.COMPLETED, now=NOON).conversation
        step = advance.start_next(state, replace(CARD, digest="d2"), now=LATER)
        active = step.conversation.active
        assert active is not None
        assert (active.request, active.card_digest, active.started_at) == (SECOND, "d2", LATER)
        (run,) = step.runs
        assert (run.status, run.card_digest, run.started_at) == (
            RunStatus.IN_PROGRESS,
            "d2",
            LATER,
        )

    @pytest.mark.parametrize("state_of_agent", ["disabled", "removed"])
    def test_an_agent_that_is_gone_ends_the_run_and_wakes_the_next(
        self, state_of_agent: str
    ) -> None:
        state = replace(started(), active=None, queued=(FIRST, SECOND))
        card = CardView(state=state_of_agent)  # type: ignore[arg-type]
        step = advance.start_next(state, card, now=LATER)
        assert code(step) == f"agent_{state_of_agent}"
        assert step.conversation.queued == (SECOND,)
        assert step.conversation.outbox == (ended(FIRST, step.runs[0]), wake(SECOND))

    def test_only_disabling_ends_a_run_that_goes_on(self) -> None:
        assert advance.end_if_disabled(started(), CARD, now=LATER) is None
        assert advance.end_if_disabled(started(), CardView(state="removed"), now=LATER) is None
        step = advance.end_if_disabled(started(), CardView(state="disabled"), now=LATER)
        assert step is not None
        assert code(step) == "agent_disabled"


class TestAnswering:
    def test_the_turn_enters_the_history_and_the_run_completes(self) -> None:
        state = replace(started(FIRST, SECOND), next_sequence=4, retries=3, retry_since=NOON)
        usage = Usage(input_tokens=7, output_tokens=2)
        step = advance.complete(state, text="yes", usage=usage, model="m", seconds=2.5, now=LATER)
        assert state.active is not None
        run = replace(
            state.active.run,
            status=RunStatus.COMPLETED,
            output="yes",
            usage=usage,
            model="m",
            ended_at=LATER,
            waiting=None,
            turns=(
                Turn(
                    turn=1,
                    started_at=LATER - timedelta(seconds=2.5),
                    milliseconds=2500,
                    input_tokens=7,
                    output_tokens=2,
                ),
            ),
        )
        told = {"run_id": FIRST.run_id}
        assert step == Step(
            conversation=replace(
                state,
                active=None,
                next_sequence=6,
                retries=0,
                retry_since=None,
                outbox=(ended(FIRST, run), wake(SECOND)),
            ),
            messages=(
                Message(sequence=4, role="user", content="first?", created_at=NOON, **told),
                Message(sequence=5, role="assistant", content="yes", created_at=LATER, **told),
            ),
            runs=(run,),
        )

    def test_the_last_run_leaves_nobody_to_wake(self) -> None:
        step = started().end_active(RunStatus.COMPLETED, now=LATER)
        assert step.conversation.outbox == (ended(FIRST, step.runs[0]),)
        assert not step.conversation.has_continuation
        assert step.conversation.is_busy
        assert not step.conversation.clear_outbox().is_busy


class TestWaitingForTheModel:
    def test_the_wait_becomes_state_with_one_command_scheduled(self) -> None:
        step = absence.wait_for_model(started(), now=NOON)
        due = NOON + timedelta(minutes=1)
        active = step.conversation.require_active()
        assert active.retry is not None
        assert (active.retry.kind, active.retry.since, active.retry.until) == ("retry", NOON, due)
        assert step.runs == (active.run,)
        assert active.run.waiting == active.retry
        assert replace(step.conversation, active=replace(active, retry=None)) == replace(
            started(), retry_at=due, retry_since=NOON, retries=1, outbox=(wake(FIRST, due=due),)
        )
        assert not step.conversation.has_continuation

    def test_it_waits_1_2_4_8_15_15_minutes_and_the_clock_stands_still(self) -> None:
        state, now, waits = started(), NOON, []
        for _ in range(6):
            state = absence.wait_for_model(state, now=now).conversation.clear_outbox()
            assert state.retry_at is not None
            waits.append((state.retry_at - now) / timedelta(minutes=1))
            now = state.retry_at
        assert waits == [1, 2, 4, 8, 15, 15]
        assert state.active is not None
        assert state.active.clock_seconds == 0.0

    def test_a_longer_retry_after_is_honoured(self) -> None:
        step = absence.wait_for_model(started(), now=NOON, retry_after=timedelta(minutes=7))
        assert step.conversation.retry_at == NOON + timedelta(minutes=7)

    def test_the_last_try_is_when_the_day_is_over(self) -> None:
        state = replace(started(), retry_since=NOON, retries=90)
        nearly = NOON + absence.OUTAGE_LIMIT - timedelta(minutes=2)
        step = absence.wait_for_model(state, now=nearly)
        assert step.conversation.retry_at == NOON + absence.OUTAGE_LIMIT

    def test_after_a_day_the_run_ends_as_model_unavailable(self) -> None:
        state = replace(started(FIRST, SECOND), retry_since=NOON, retry_at=LATER, retries=90)
        step = absence.wait_for_model(state, now=NOON + absence.OUTAGE_LIMIT)
        assert code(step) == "model_unavailable"
        head = step.conversation
        assert (head.retry_at, head.retry_since, head.retries) == (None, None, 0)
        assert head.has_continuation

    def test_the_command_of_the_wait_ends_it_whatever_our_clock_says(self) -> None:
        state = absence.wait_for_model(started(), now=NOON).conversation.clear_outbox()
        command = ContinueRun(run_id=FIRST.run_id, conversation_id="chat", due=state.retry_at)
        woken = advance.clear_wait(state, command).conversation
        assert advance.find_next_action(woken, now=NOON) == NextAction(what="turn")
        assert woken.retry_since == NOON

    @pytest.mark.parametrize("due", [None, NOON - timedelta(minutes=1)])
    def test_the_command_of_another_wait_changes_nothing(self, due: datetime | None) -> None:
        state = absence.wait_for_model(started(), now=NOON).conversation.clear_outbox()
        command = ContinueRun(run_id=FIRST.run_id, conversation_id="chat", due=due)
        assert advance.clear_wait(state, command) == Step(conversation=state)

    def test_an_idle_conversation_is_not_moved_by_a_late_command(self) -> None:
        state = started().end_active(RunStatus.COMPLETED, now=NOON).conversation.clear_outbox()
        command = ContinueRun(run_id=FIRST.run_id, conversation_id="chat")
        assert advance.clear_wait(state, command) == Step(conversation=state)


class TestGivingUp:
    def test_the_active_run_ends_as_internal_error(self) -> None:
        step = started(FIRST, SECOND).give_up(now=LATER)
        assert code(step) == "internal_error"
        assert step.runs[0].run_id == FIRST.run_id
        assert step.conversation.has_continuation

    def test_a_run_that_never_got_as_far_as_a_save_ends_too(self) -> None:
        state = replace(started(), active=None, queued=(SECOND, THIRD))
        step = state.give_up(now=LATER)
        assert (step.runs[0].run_id, code(step)) == (SECOND.run_id, "internal_error")
        assert step.conversation.queued == (THIRD,)

    def test_without_a_run_there_is_nothing_to_give_up(self) -> None:
        state = replace(started(), active=None)
        assert state.give_up(now=LATER) == Step(conversation=state)


def test_a_handler_short_of_time_leaves_the_rest_to_a_command() -> None:
    step = started().continue_later()
    assert step.conversation == replace(started(), outbox=(wake(FIRST),))
    assert step.conversation.has_continuation


def test_two_steps_in_one_transaction_keep_all_messages_and_the_last_word_on_each_run() -> None:
    admitted = advance.admit(None, FIRST, known=False, now=NOON)
    begun = advance.start_next(admitted.conversation, CARD, now=NOON)
    said = advance.complete(
        begun.conversation, text="a", usage=Usage(), model="m", seconds=1.0, now=LATER
    )
    whole = admitted.then(begun).then(said)
    assert whole == Step(conversation=said.conversation, messages=said.messages, runs=said.runs)


EVENTS = st.lists(
    st.sampled_from(["start1", "start2", "start3", "cancel1", "cancel2", "begin", "answer",
                     "away", "disable", "give_up", "hour"]),
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_whatever_happens_a_run_ends_once_and_history_has_no_gap(events: list[str]) -> None:
    """The rules as a machine: any order of commands and outcomes keeps the promises."""
    state: Conversation | None = None
    rows: dict[str, Run] = {}
    sequences: list[int] = []
    told: list[str] = []
    now = NOON
    for event in events:
        now += timedelta(hours=1) if event == "hour" else timedelta(seconds=1)
        step = _next(state, event, rows, now)
        if step is None:
            continue
        for run in step.runs:
            before = rows.get(run.run_id)
            assert before is None or not before.status.has_ended
            rows[run.run_id] = run
        sequences += [message.sequence for message in step.messages]
        told += [
            item.command.run_id
            for item in step.conversation.outbox
            if isinstance(item.command, RunEnded)
        ]
        queued = bool(step.conversation.queued) and step.conversation.active is None
        just_ended = any(run.status.has_ended for run in step.runs)
        assert not (queued and just_ended) or step.conversation.has_continuation
        state = step.conversation.clear_outbox()
    assert sequences == list(range(len(sequences)))
    assert sorted(told) == sorted(run_id for run_id, run in rows.items() if run.status.has_ended)


def _next(
    state: Conversation | None, event: str, rows: dict[str, Run], now: datetime
) -> Step | None:
    request = {"1": FIRST, "2": SECOND, "3": THIRD}.get(event[-1])
    if request is not None:
        known = request.run_id in rows
        if event.startswith("start"):
            return advance.admit(state, request, known=known, now=now)
        return advance.cancel(state, cancelling(request), known=known, now=now)
    if state is None:
        return None
    if event == "begin" and state.active is None and state.queued:
        return advance.start_next(state, CARD, now=now)
    if event == "give_up":
        return state.give_up(now=now)
    if state.active is None:
        return None
    match event:
        case "answer":
            return advance.complete(state, text="a", usage=Usage(), model="m", seconds=1.0, now=now)
        case "away":
            return absence.wait_for_model(state, now=now)
        case "disable":
            return advance.end_if_disabled(state, CardView(state="disabled"), now=now)
    return None

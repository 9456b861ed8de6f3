"""What a person said is written after the conversation was deleted, by a main that dies then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from aos.domain.caller import Caller
from aos.domain.tools.questions import QuestionAnswer
from aos.domain.tools.tool import Decision
from aos.errors import Refused, TransientError
from aos.testing import MemoryWorld
from tests.unit.tools import test_approvals, test_questions

ANN = Caller(owner="local")
HOUR = 3600.0


@dataclass(frozen=True)
class Late:
    """A world whose conversation was deleted while a person was asked something."""

    world: MemoryWorld
    run_id: str
    ask_id: str
    rows: dict[tuple[str, str], Any]
    row: Any
    say: Callable[[], Awaitable[Any]]
    not_found: str

    def write(self) -> None:
        """The row of a request that was under way; its main is dead."""
        self.rows[self.run_id, self.ask_id] = self.row


async def _decision() -> Late:
    world, run_id, call_id = await test_approvals.asking()
    decide = world.main.services.approvals.decide
    now = world.clock.now()
    return Late(
        world=world,
        run_id=run_id,
        ask_id=call_id,
        rows=world.tables.decisions,
        row=Decision(decision="approve", reason="secret", decided_by="local", decided_at=now),
        say=lambda: decide(run_id, call_id, "approve", "", caller=ANN),
        not_found="tool_call_not_found",
    )


async def _answer() -> Late:
    world, run_id, question_id = await test_questions.asking()
    answer = world.main.services.questions.answer
    said = QuestionAnswer(action="accept", answered_by="local", answered_at=world.clock.now())
    return Late(
        world=world,
        run_id=run_id,
        ask_id=question_id,
        rows=world.tables.answers,
        row=said,
        say=lambda: answer(run_id, question_id, "accept", {"seat": "1"}, caller=ANN),
        not_found="question_not_found",
    )


@pytest.fixture(params=[_decision, _answer], ids=["a decision", "an answer"])
async def late(request: pytest.FixtureRequest) -> Late:
    made: Late = await request.param()
    await made.world.delete_conversation("c")
    await made.world.advance(600)
    assert made.rows == {}
    return made


async def clean(world: MemoryWorld) -> None:
    """The timer `clean` ticks, and what it begins is done."""
    await world.main.services.cleaner.clean()
    await world.advance(10)


async def test_it_goes_with_the_next_try(late: Late) -> None:
    late.write()
    with pytest.raises(Refused) as caught:
        await late.say()
    assert caught.value.code == late.not_found
    await late.world.advance(600)
    assert late.rows == {}


async def test_it_goes_an_hour_after_the_deletion_though_nobody_tries_again(late: Late) -> None:
    await clean(late.world)
    late.write()
    await late.world.advance(HOUR)
    await clean(late.world)
    assert late.rows == {}


async def test_it_goes_when_the_bus_is_back(late: Late) -> None:
    await clean(late.world)
    late.write()
    await late.world.advance(HOUR)
    send = late.world.ports.bus.send

    async def fail(outgoing: object) -> None:
        raise TransientError("Service Bus is away")

    late.world.ports.bus.send = fail  # type: ignore[method-assign]
    await clean(late.world)
    late.world.ports.bus.send = send  # type: ignore[method-assign]
    assert late.rows != {}
    await late.world.advance(600)
    await clean(late.world)
    assert late.rows == {}


async def test_what_has_begun_since_is_untouched(late: Late) -> None:
    world = late.world
    await clean(world)
    late.write()
    run = await world.ask("ceo", "And now?", conversation_id="c")
    messages = await world.history("c")
    await world.advance(HOUR)
    await clean(world)
    assert late.rows == {}
    assert await world.run(run.run_id) == run
    assert await world.history("c") == messages
    assert not world.tables.requests[run.run_id].scrubbed

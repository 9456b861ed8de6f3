"""Several models that do not answer in time stay within the time of one turn."""

from __future__ import annotations

from aos.errors import EmptyAnswer, TransientError
from aos.ports.model import ModelAnswer, ModelCall
from aos.services.execution.unit_of_work import HANDLER_SECONDS
from aos.testing import MemoryWorld, ScriptedModel

MODELS = ["a", "b", "c", "d"]


class SlowModel(ScriptedModel):
    """Does not answer in time; with `empty_after`, answers after these seconds without a text."""

    def __init__(self, world: list[MemoryWorld], *, empty_after: float | None = None) -> None:
        super().__init__()
        self._world = world
        self._empty_after = empty_after

    async def complete(self, call: ModelCall) -> ModelAnswer:
        self.calls.append(call)
        clock = self._world[0].clock
        if self._empty_after is not None and self._empty_after <= call.timeout_seconds:
            clock.advance(self._empty_after)
            raise EmptyAnswer("no text")
        clock.advance(call.timeout_seconds)
        raise TransientError("too slow")


async def ask_slow(
    model: SlowModel,
    worlds: list[MemoryWorld],
    *,
    run_seconds: int = 1800,
    model_seconds: int = 120,
) -> float:
    """Ask an agent with four models; return the seconds that the handlers took."""
    world = MemoryWorld(model=model, settings={"AOS_MODEL_TIMEOUT_SECONDS": str(model_seconds)})
    worlds.append(world)
    card = {"agent_id": "ceo", "purpose": "x", "model": MODELS}
    status = await world.put_agent({**card, "limits": {"run_timeout_seconds": run_seconds}})
    assert status["state"] == "active"
    began = world.clock.monotonic()
    await world.ask("ceo", "hi")
    return world.clock.monotonic() - began


async def test_fallback_models_that_are_slow_too_leave_the_handler_its_time() -> None:
    worlds: list[MemoryWorld] = []
    model = SlowModel(worlds)
    assert await ask_slow(model, worlds) <= HANDLER_SECONDS
    assert [call.model for call in model.calls][:2] == ["a", "b"]
    assert model.calls[1].timeout_seconds == 120


async def test_an_empty_answer_is_asked_for_again_within_the_handlers_time() -> None:
    worlds: list[MemoryWorld] = []
    model = SlowModel(worlds, empty_after=200)
    assert await ask_slow(model, worlds, model_seconds=230) <= HANDLER_SECONDS


async def test_fallback_models_that_are_slow_too_end_with_the_runs_time() -> None:
    worlds: list[MemoryWorld] = []
    model = SlowModel(worlds)
    assert await ask_slow(model, worlds, run_seconds=90) <= 95

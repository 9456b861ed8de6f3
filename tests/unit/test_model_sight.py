"""main's health says what keeps the model from answering, as the runs that main reads say."""

from __future__ import annotations

import json

import azure.functions as func
import pytest

from aos.domain.runs.run import RunStatus
from aos.errors import AosError, OperatorFault, TransientError
from aos.ports.model import ModelCall
from aos.testing import Answer, MemoryWorld, ScriptedModel

SECRET = "sk-5ecret"
AWAY = [
    (
        OperatorFault("model_misconfigured", f"401: key {SECRET} is wrong"),
        "model_misconfigured",
    ),
    (OperatorFault("model_quota", "no quota is left"), "model_quota"),
    (TransientError("the model endpoint answered 503"), "model_unavailable"),
]


class Endpoint:
    """A model that fails until it is mended."""

    def __init__(self, fault: AosError) -> None:
        self.fault: AosError | None = fault
        self.model = ScriptedModel(*[self.answer] * 99)

    def answer(self, call: ModelCall) -> Answer:
        if self.fault is not None:
            raise self.fault
        return "Hello."


async def health_of(world: MemoryWorld) -> str:
    request = func.HttpRequest(method="GET", url="http://127.0.0.1/api/health", body=b"")
    answer = await world.main.about.health(request)
    assert answer.status_code == 200
    assert SECRET not in answer.get_body().decode()
    return str(json.loads(answer.get_body())["model"])


async def waiting_world(endpoint: Endpoint) -> tuple[MemoryWorld, str]:
    world = MemoryWorld(model=endpoint.model)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    assert await health_of(world) == "configured"
    run = await world.ask("ceo", "Hi")
    await world.advance(120.0)
    return world, run.run_id


@pytest.mark.parametrize(("fault", "code"), AWAY, ids=[code for _, code in AWAY])
async def test_health_says_why_runs_wait_for_the_model(fault: AosError, code: str) -> None:
    endpoint = Endpoint(fault)
    world, run_id = await waiting_world(endpoint)
    await world.run(run_id)
    assert await health_of(world) == code
    endpoint.fault = None
    await world.advance(1800.0)
    assert (await world.run(run_id)).status is RunStatus.COMPLETED
    assert await health_of(world) == "configured"


async def test_the_mender_sees_it_where_nobody_asks_and_it_is_forgotten_when_no_run_waits() -> None:
    world, _ = await waiting_world(Endpoint(AWAY[0][0]))
    await world.main.services.mender.mend()
    assert await health_of(world) == "model_misconfigured"
    world.clock.advance(3600.0)  # nothing happens meanwhile
    assert await health_of(world) == "configured"

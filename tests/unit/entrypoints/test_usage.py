"""Usage over HTTP: by agent, owner, day and model, for whom, with which costs, and its bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from aos.domain.runs.run import Usage
from aos.entrypoints.http.openapi import build_openapi
from aos.errors import StaleWrite
from aos.ports.ledger import CountedRun
from aos.services import usage as reports
from tests.samples import NOON, a_request, an_ended_run
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call
from tests.unit.entrypoints.test_callers import KEYS, key

PRICES = {
    "currency": "EUR",
    "m": {"input": "2.50", "cached_input": "0.25", "output": "10"},
    "free": {"input": 0, "output": 0.0},
}
PERIOD = "from=2030-01-01&to=2030-01-03"
SPENT = Usage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=60)
COST = "0.0026"
"""600 at 2.50, 400 at 0.25 and 100 at 10 for a million."""


@pytest.fixture
def world() -> InMemory:
    return InMemory({**KEYS, "AOS_MODEL_PRICES": json.dumps(PRICES)})


async def record(world: InMemory, agent_id: str, owner: str, **more: Any) -> None:
    run = an_ended_run(a_request(agent_id=agent_id))
    ended_at = NOON + timedelta(days=more.pop("days", 0))
    run = replace(run, ended_at=ended_at, **{"usage": SPENT, "model": "m", **more})
    await world.world.ledger.record(CountedRun(run=run, owner=owner))


async def record_some(world: InMemory) -> None:
    await record(world, "ceo", "sales")
    await record(world, "ceo", "sales", days=1)
    await record(world, "ceo", "boss", model="m-2029-12-31")
    await record(world, "cfo", "boss", days=2, model=None, usage=Usage())


async def get(world: InMemory, query: str = PERIOD, who: str = "boss") -> Reply:
    reply = await call(world.main.usage.get, query=query, headers=key(who))
    if reply.status == 200:
        components = build_openapi(auth="keys", reply_to=())["components"]
        shape = {"$ref": "#/components/schemas/UsageReport", "components": components}
        Draft202012Validator(shape).validate(reply.body)
    return reply


def one(name: str | None, runs: int, cost: str | None, of: int | None = None) -> dict[str, Any]:
    number = runs if of is None else of
    return {
        "key": name,
        "runs": runs,
        "input_tokens": 1000 * number,
        "cached_tokens": 400 * number,
        "output_tokens": 100 * number,
        "reasoning_tokens": 60 * number,
        "total_tokens": 1100 * number,
        "cost": cost,
    }


async def test_usage_is_summed_by_agent_with_its_cost(world: InMemory) -> None:
    await record_some(world)
    assert (await get(world)).body == {
        "first_day": "2030-01-01",
        "last_day": "2030-01-03",
        "by": "agent",
        "currency": "EUR",
        "unpriced_models": [],
        "total": one(None, 4, "0.0078", of=3),
        "items": [one("ceo", 3, "0.0078"), one("cfo", 1, "0", of=0)],
        "next": None,
    }


@pytest.mark.parametrize(
    ("by", "items"),
    [
        ("owner", [("boss", 2, COST), ("sales", 2, "0.0052")]),
        ("day", [("2030-01-01", 2, "0.0052"), ("2030-01-02", 1, COST), ("2030-01-03", 1, "0")]),
        ("model", [(None, 1, "0"), ("m", 2, "0.0052"), ("m-2029-12-31", 1, COST)]),
    ],
)
async def test_usage_is_summed_by_other_keys(world: InMemory, by: str, items: list[Any]) -> None:
    await record_some(world)
    body = (await get(world, f"{PERIOD}&by={by}")).body
    assert [(item["key"], item["runs"], item["cost"]) for item in body["items"]] == items
    assert body["total"] == one(None, 4, "0.0078", of=3)


async def test_the_period_agent_and_owner_narrow_it(world: InMemory) -> None:
    await record_some(world)
    for query, runs in (
        ("from=2030-01-02&to=2030-01-02", 1),
        (f"{PERIOD}&agent_id=ceo", 3),
        (f"{PERIOD}&owner=boss", 2),
        (f"{PERIOD}&owner=boss&agent_id=ceo", 1),
        (f"{PERIOD}&owner=nobody", 0),
    ):
        assert (await get(world, query)).body["total"]["runs"] == runs


async def test_callers_see_their_own_and_admins_everybodys(world: InMemory) -> None:
    await record_some(world)
    own = (await get(world, f"{PERIOD}&by=owner", who="key-1")).body
    assert [(item["key"], item["runs"]) for item in own["items"]] == [("sales", 2)]
    assert (await get(world, f"{PERIOD}&owner=sales", who="key-2")).body["total"]["runs"] == 2
    refused = await get(world, f"{PERIOD}&owner=boss", who="key-1")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert (await call(world.main.usage.get, query=PERIOD)).status == 401


async def test_a_model_without_a_price_has_no_cost_and_is_named(world: InMemory) -> None:
    await record_some(world)
    await record(world, "coo", "boss", model="dear")
    await record(world, "coo", "boss", model="free")
    body = (await get(world)).body
    assert {item["key"]: item["cost"] for item in body["items"]} == {
        "ceo": "0.0078",
        "cfo": "0",
        "coo": None,
    }
    assert (body["total"]["cost"], body["unpriced_models"]) == (None, ["dear"])


async def test_without_prices_there_are_no_costs() -> None:
    world = InMemory(KEYS)
    await record_some(world)
    body = (await get(world)).body
    assert (body["currency"], body["total"]) == (None, one(None, 4, None, of=3))


async def test_items_are_paged_and_the_total_is_of_all(world: InMemory) -> None:
    for number in range(5):
        await record(world, f"agent-{number}", "boss")
    query: str | None = f"{PERIOD}&limit=2"
    found: list[list[str]] = []
    while query is not None and len(found) < 9:
        body = (await get(world, query)).body
        assert body["total"]["runs"] == 5
        found.append([item["key"] for item in body["items"]])
        query = body["next"] and body["next"].partition("?")[2]
    assert found == [["agent-0", "agent-1"], ["agent-2", "agent-3"], ["agent-4"]]


async def test_the_default_is_thirty_days_until_today(world: InMemory) -> None:
    today = world.clock.now().date()
    body = (await get(world, "")).body
    assert body["first_day"] == (today - timedelta(days=29)).isoformat()
    assert body["last_day"] == today.isoformat()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("from=2030-01-01&to=2030-04-03", "93 days"),
        ("from=2030-01-02&to=2030-01-01", "after"),
        ("from=2030-02-30", "2030-02-30"),
        ("from=2030-01-01T00:00:00Z", "write a day"),
        ("to=yesterday", "yesterday"),
        ("by=month", "agent, owner, day, model"),
        ("agent_id=Not%20an%20id", "agent_id"),
        ("after=x", "after"),
        ("limit=101", "limit"),
    ],
)
async def test_a_wrong_question_is_refused(world: InMemory, query: str, says: str) -> None:
    reply = await get(world, query)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert says in reply.message


async def test_ninety_two_days_may_be_asked_for_and_the_first_day_of_all(world: InMemory) -> None:
    assert (await get(world, "from=2030-01-01&to=2030-04-02")).status == 200
    assert (await get(world, "to=0001-01-02")).body["first_day"] == "0001-01-01"


async def test_more_rows_than_can_be_summed_are_refused(
    world: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record_some(world)
    monkeypatch.setattr(reports, "MOST_ROWS", 3)
    reply = await get(world)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "fewer days" in reply.message
    assert (await get(world, f"{PERIOD}&agent_id=cfo")).status == 200


async def test_a_run_of_an_ordinary_conversation_is_counted_for_its_owner() -> None:
    world = InMemory()
    await world.put({"agent_id": "ceo", "purpose": "Lead."})
    async with world.pumping():
        run = (await world.ask({"message": "Hello"})).body
    body = (await call(world.main.usage.get, query="by=owner")).body
    (item,) = body["items"]
    assert (item["key"], item["runs"]) == ("local", 1)
    assert item["total_tokens"] == run["usage"]["total_tokens"] > 0


async def test_an_end_that_is_recorded_again_is_counted_once(world: InMemory) -> None:
    run = replace(an_ended_run(a_request(agent_id="ceo")), usage=SPENT)
    await world.world.ledger.record(CountedRun(run=run, owner="boss"))
    with pytest.raises(StaleWrite):
        await world.world.ledger.record(CountedRun(run=run, owner="boss"))
    assert (await get(world)).body["total"] == one(None, 1, COST)

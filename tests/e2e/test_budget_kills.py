"""A daily budget counts what the model's endpoint counts, whatever process dies when."""

from __future__ import annotations

import uuid

import pytest
from azure.data.tables import TableServiceClient

from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually

AFTER_SECONDS = 60.0


def spent(road: Road, agent: str) -> tuple[int, int]:
    """The tokens and the lost turns of an agent's budget."""
    account = road.laptop.storage_connection_string
    with TableServiceClient.from_connection_string(account) as service:
        query = f"PartitionKey eq '{agent}' and RowKey ge 'spent:' and RowKey lt 'spent;'"
        rows = list(service.get_table_client("aosusage").query_entities(query))
    assert all(row["open_turns"] == "{}" for row in rows)
    return sum(row["tokens"].value for row in rows), sum(row["lost_turns"].value for row in rows)


@pytest.mark.parametrize("name", ["realm", "main", "mcp"])
def test_no_token_is_counted_twice_or_lost_unseen(road: Road, model: Model, name: str) -> None:
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}")
    agent = road.live(f"thrifty-{uuid.uuid4().hex[:8]}", limits={"max_tokens_per_day": 10_000})
    mark = uuid.uuid4().hex
    child = road.laptop.child(name)
    restarts = child.restarts
    with model.held() as hold:
        asked = [road.ask(agent, f"{mark} {number}", wait_seconds=0) for number in range(4)]
        hold.wait_for(4, seconds=20)  # a turn that was entered and not asked is lost too
        child.kill9()
        eventually(lambda: child.restarts > restarts or None, seconds=5)
    runs = [road.ended(answer.body["run_id"], seconds=AFTER_SECONDS) for answer in asked]
    assert {run["status"] for run in runs} == {"completed"}
    used = sum(run["usage"]["total_tokens"] for run in runs)
    each = used // len(runs)
    counted = each * model.asked(mark)
    tokens, lost = spent(road, agent)
    assert counted == tokens + each * lost
    assert tokens == used
    assert (lost > 0) == (name == "realm")

"""The code and the broker's configuration say the same about queues and topics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aos.adapters.memory.entities import RULES, EntityRules
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    WAKE_SUBSCRIPTION,
)
from aos.domain.retries import GIVE_UP_AT_DELIVERY, MAX_DELIVERY_COUNT

FILE = Path(__file__).parents[2] / "infra" / "servicebus.json"
NAMESPACE = json.loads(FILE.read_text(encoding="utf-8"))["UserConfig"]["Namespaces"][0]
SECONDS = {"D": 86400, "H": 3600, "M": 60, "S": 1}


def seconds(duration: str) -> float:
    """An ISO 8601 duration of one unit."""
    match = re.fullmatch(r"PT?([0-9]+)([DHMS])", duration)
    assert match is not None
    return float(match[1]) * SECONDS[match[2]]


def rules_of(properties: dict[str, Any]) -> EntityRules:
    """The rules as the memory broker has them."""
    detects = properties["RequiresDuplicateDetection"]
    window = seconds(properties["DuplicateDetectionHistoryTimeWindow"]) if detects else 0.0
    return EntityRules(
        sessions=properties["RequiresSession"],
        duplicate_seconds=window,
        lock_seconds=seconds(properties["LockDuration"]),
        max_delivery_count=properties["MaxDeliveryCount"],
        ttl_seconds=seconds(properties["DefaultMessageTimeToLive"]),
        dead_letter_on_expiry=properties["DeadLetteringOnMessageExpiration"],
    )


def test_the_memory_broker_has_the_rules_of_the_configuration() -> None:
    queues = {queue["Name"]: rules_of(queue["Properties"]) for queue in NAMESPACE["Queues"]}
    topics = {topic["Name"]: topic["Properties"] for topic in NAMESPACE["Topics"]}
    assert {name: RULES[name] for name in queues} == queues
    assert queues.keys() | topics.keys() | {WAKE_SUBSCRIPTION} == RULES.keys()
    for name, properties in topics.items():
        assert seconds(properties["DefaultMessageTimeToLive"]) == RULES[name].ttl_seconds
    (agent_events,) = (t for t in NAMESPACE["Topics"] if t["Name"] == AGENT_EVENTS)
    (wake,) = agent_events["Subscriptions"]
    unused = {"RequiresDuplicateDetection": False, "DuplicateDetectionHistoryTimeWindow": "PT1M"}
    assert rules_of({**wake["Properties"], **unused}) == RULES[WAKE_SUBSCRIPTION]
    (rule,) = wake["Rules"]  # `MemoryBroker.send` holds the same
    assert rule["Properties"]["SqlFilter"]["SqlExpression"] == "aos_app IS NULL"


def test_a_handler_gives_up_before_the_broker_does() -> None:
    ours = {REQUESTS_QUEUE, MAIN_QUEUE, MCP_QUEUE, REALM_QUEUE}
    counts = {
        queue["Name"]: queue["Properties"]["MaxDeliveryCount"] for queue in NAMESPACE["Queues"]
    }
    assert ours <= counts.keys()
    assert {counts[name] for name in ours} == {MAX_DELIVERY_COUNT}
    assert MAX_DELIVERY_COUNT > GIVE_UP_AT_DELIVERY

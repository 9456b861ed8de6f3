"""Do topics copy what the filters let through, and do filters understand their SQL?"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from devhost.amqp.types import Int
from devhost.servicebus.errors import ARGUMENT_ERROR, BusError
from devhost.servicebus.filters.correlation import CorrelationFilter
from devhost.servicebus.filters.rules import (
    DEFAULT_RULE,
    FalseFilter,
    Rule,
    decode_rules,
    encode_rules,
)
from devhost.servicebus.filters.sql import SqlFilter
from tests.unit.servicebus.world import START_MS, World, content


def sql(expression: str) -> dict[str, Any]:
    return {
        "Name": "rule",
        "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": expression}},
    }


def topic(*rules: dict[str, Any], **properties: Any) -> World:
    named = {"Name": "Sub", "Properties": properties, "Rules": list(rules)}
    all_of_them = {"Name": "all", "Properties": {}}
    return World(topics={"T": {"Properties": {}, "Subscriptions": [named, all_of_them]}})


def test_each_subscription_gets_a_copy_of_what_its_rules_let_through() -> None:
    bus = topic(sql("color = 'red'"), sql("color = 'red' OR size > 3"))
    bus.send("t", content("a", own={"color": "red", "size": 9}), content("b", own={"size": 1}))
    filtered = bus.plain("t/subscriptions/sub", credit=9)
    everything = bus.plain("t/subscriptions/all", credit=9)
    assert filtered.bodies == ["a"]
    assert everything.bodies == ["a", "b"]
    assert [(m.sequence, m.origin_sequence) for m, _, _ in everything.got] == [(1, 1), (2, 2)]


def test_rules_change_at_run_time() -> None:
    bus = topic()
    place = bus.namespace.find("t/subscriptions/sub")
    assert place is not None
    assert place.subscription is not None
    place.subscription.remove_rule("$default")
    bus.send("t", content("nobody"))
    place.subscription.add_rule(Rule(name="r", filter=SqlFilter("sys.Label = 'x'")))
    with pytest.raises(BusError):
        place.subscription.add_rule(Rule(name="R", filter=FalseFilter()))
    bus.send("t", content("x", subject="x"), content("y", subject="y"))
    assert bus.plain("t/subscriptions/sub", credit=9).bodies == ["x"]


def test_a_schedule_lives_in_the_topic_until_its_time() -> None:
    bus = topic()
    client = bus.plain("t/subscriptions/all", credit=9)
    first, second = bus.send(
        "t",
        content("a", schedule_ms=START_MS + 5_000),
        content("b", schedule_ms=START_MS + 5_000),
    )
    bus.topic("t").cancel_scheduled([second])
    bus.commit.flush()
    bus.pass_time(4_000)
    assert (client.got, list(bus.topic("t").schedule.messages)) == ([], [first])
    bus.pass_time(1_000)
    assert client.bodies == ["a"]


def test_the_shortest_time_to_live_counts() -> None:
    own = {"Name": "own", "Properties": {"DefaultMessageTimeToLive": "PT1M"}}
    properties = {"DefaultMessageTimeToLive": "PT10S"}
    bus = World(topics={"t": {"Properties": properties, "Subscriptions": [own]}})
    bus.send("t", content("a"), content("b", ttl_ms=5_000))
    held = bus.queue("t/subscriptions/own").messages.values()
    assert [entry.message.expires_ms for entry in held] == [START_MS + 10_000, START_MS + 5_000]


MESSAGE = content(
    "m",
    subject="Order",
    correlation_id="c-1",
    group_id="s",
    own={
        "Color": "red",
        "size": Int(3),
        "price": 2.5,
        "ok": True,
        "id": uuid.UUID(int=1),
        "map": {"a": 1},
    },
)


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("1=1", True),
        ("1 = 2", False),
        ("color = 'red'", True),
        ("COLOR = 'red' AND size = 3", True),
        ("user.color <> 'red'", False),
        ("color != 'blue'", True),
        ("size >= 3 AND size < 4", True),
        ("size + 1 = 4 AND -size = -3 AND size * 2 > price", True),
        ("ok", True),
        ("ok = true AND NOT ok = FALSE", True),
        ("missing = 'x'", False),
        ("NOT missing = 'x'", False),
        ("missing <> 'x'", False),
        ("missing IS NULL", True),
        ("missing IS NOT NULL", False),
        ("color IS NOT NULL", True),
        ("missing = 1 OR color = 'red'", True),
        ("missing = 1 AND color = 'red'", False),
        ("color = 'x' AND missing = 1 OR size = 3", True),
        ("color = 'x' AND (missing = 1 OR size = 3)", False),
        ("NOT (color = 'blue' OR size = 9)", True),
        ("NOT NOT color = 'red'", True),
        ("sys.Label = 'Order'", True),
        ("sys.Subject = 'Order' and sys.CorrelationId = 'c-1' and sys.SessionId = 's'", True),
        ("sys.To IS NULL", True),
        ("size = '3'", False),
        ("[Color] = 'red'", True),
        ("\"Color\" = 'red'", True),
        ("color = 'it''s'", False),
        ("color LIKE 'r%'", True),
        ("color LIKE '_e_'", True),
        ("color NOT LIKE 'r%'", False),
        ("color LIKE 'r!%' ESCAPE '!'", False),
        ("color IN ('blue', 'red')", True),
        ("size NOT IN (1, 2)", True),
        ("missing NOT IN (1, 2)", False),
        ("EXISTS(color) AND NOT EXISTS(missing)", True),
        ("size / 0 = 1", False),
        ("size % 2 = 1", True),
        ("size / 2 = 1 AND -size / 2 = -1 AND -size % 2 = -1", True),
        ("price / 2 = 1.25 AND price % 2 = 0.5", True),
        ("property('Color') = 'red' AND p('co' + 'lor') = color", True),
        ("property(size) IS NULL", True),
        ("newid() <> newid()", True),
        ("id = id", True),
        ("map < map", False),
        ("color > 3", False),
    ],
)
def test_sql_filters_decide_as_sql_does(expression: str, matches: bool) -> None:
    assert SqlFilter(expression).matches(MESSAGE) is matches


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "color =",
        "= 1",
        "color = 'open",
        "(color = 'red'",
        "color = 'red')",
        "color 'red'",
        "color IS 'red'",
        "color IN ()",
        "color NOT 'x'",
        "color LIKE size",
        "sys.Nothing = 1",
        "a ; b",
        "newid( = 1",
        "property() = 1",
        "color = 'red';",
        "a = @p",
        "(" * 40 + "1=1" + ")" * 40,
        "a" * 2_000,
    ],
)
def test_wrong_sql_is_refused_with_its_place(expression: str) -> None:
    with pytest.raises(BusError) as refusal:
        SqlFilter(expression)
    assert refusal.value.condition == ARGUMENT_ERROR


@pytest.mark.parametrize(
    ("system", "own", "matches"),
    [
        ({}, {}, True),
        ({"subject": "Order"}, {"color": "red"}, True),
        ({"subject": "order"}, {}, False),
        ({"to": "x"}, {}, False),
        ({}, {"size": 3}, True),
        ({}, {"ok": 1}, False),
        ({}, {"missing": "x"}, False),
    ],
)
def test_correlation_filters_want_equality(
    system: dict[str, Any], own: dict[str, Any], matches: bool
) -> None:
    assert CorrelationFilter(system=system, properties=own).matches(MESSAGE) is matches


def test_rules_survive_their_encoding() -> None:
    rules = [
        DEFAULT_RULE,
        Rule(name="no", filter=FalseFilter(), created_ms=5),
        Rule(name="c", filter=CorrelationFilter(system={"to": "x"}, properties={"n": Int(1)})),
    ]
    assert decode_rules(encode_rules(rules)) == rules
    (read,) = decode_rules(encode_rules([Rule(name="s", filter=SqlFilter("a = 1"))]))
    assert isinstance(read.filter, SqlFilter)
    assert read.filter.expression == "a = 1"

"""Do actions of rules change copies as Azure documents its SQL, and are wrong ones refused?"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from devhost.amqp.types import Int
from devhost.servicebus.config import parse_config
from devhost.servicebus.entities.settlement import DESCRIPTION, REASON
from devhost.servicebus.errors import ARGUMENT_ERROR, ActionError, BusError
from devhost.servicebus.filters.actions import SqlAction
from devhost.servicebus.filters.rules import DEFAULT_RULE, Rule, decode_rules, encode_rules
from devhost.servicebus.filters.sql import SqlFilter
from devhost.servicebus.server import Ports, Server
from tests.unit.servicebus.peer import Peer, question
from tests.unit.servicebus.world import World, body_of, content

OWN: dict[str, Any] = {
    "Color": "red",
    "size": Int(7),
    "price": 2.5,
    "ok": True,
    "id": uuid.UUID(int=1),
}
MESSAGE = content("m", subject="Order", correlation_id="c-1", group_id="s", own=OWN)


@pytest.mark.parametrize(
    ("expression", "changes"),
    [
        ("SET a = 1", {"a": 1}),
        ("set A = 'it''s'", {"A": "it's"}),
        ("SET user.a = 1.5;", {"a": 1.5}),
        ('SET [a b] = TRUE; SET "c" = false', {"a b": True, "c": False}),
        ("SET a = 1 SET b = a + 1, SET c = b * 3; SET d = c % 4", {"a": 1, "b": 2, "c": 6, "d": 2}),
        ("SET a = (size + 1) / 2", {"a": 4}),
        ("SET a = -size / 2", {"a": -3}),
        ("SET a = color + '-' + sys.Label", {"a": "red-Order"}),
        ("SET a = missing", {"a": None}),
        ("SET a = NULL", {"a": None}),
        ("SET a = missing + 1", {"a": None}),
        ("SET a = property('co' + 'lor')", {"a": "red"}),
        ("SET COLOR = 'blue'", {"Color": "blue"}),
        ("SET size = '8'", {"size": Int(8)}),
        ("SET size = size / 2.0", {"size": Int(4)}),
        ("SET color = size", {"Color": "7"}),
        ("SET price = 3", {"price": 3.0}),
        ("SET ok = 'false'", {"ok": False}),
        ("SET id = '00000000-0000-0000-0000-000000000002'", {"id": uuid.UUID(int=2)}),
        ("SET set = 1; REMOVE set; SET remove = 2", {"remove": 2}),
    ],
)
def test_set_makes_or_changes_a_property_and_keeps_its_type(
    expression: str, changes: dict[str, Any]
) -> None:
    draft = SqlAction(expression).apply(MESSAGE)
    wanted = {**OWN, **changes}
    assert draft.application_properties == wanted
    assert {key: type(value) for key, value in draft.application_properties.items()} == {
        key: type(value) for key, value in wanted.items()
    }
    assert draft.properties == MESSAGE.properties


def test_remove_takes_a_property_away_and_one_that_is_not_there_is_no_error() -> None:
    draft = SqlAction("REMOVE COLOR; REMOVE user.size, REMOVE nothing").apply(MESSAGE)
    assert sorted(draft.application_properties) == ["id", "ok", "price"]


def test_system_properties_are_set_as_text_and_removed() -> None:
    action = SqlAction(
        "SET sys.Label = 'new'; SET sys.To = 5; SET sys.MessageId = newid();"
        "REMOVE sys.CorrelationId SET sys.ContentType = sys.Label + '!'"
    )
    properties = action.apply(MESSAGE).properties
    assert (properties.subject, properties.to, properties.content_type) == ("new", "5", "new!")
    assert properties.correlation_id is None
    assert uuid.UUID(str(properties.message_id))


@pytest.mark.parametrize(
    "expression",
    [
        "",
        ";",
        "SET",
        "SET a",
        "SET a =",
        "SET a = 1,",
        "SET a = 1;;",
        "SET a = 1 b",
        "SET 'a' = 1",
        "SET a = b = c",
        "SET a = (b = c)",
        "SET a = EXISTS(b)",
        "SET a = NOT b",
        "SET sys.Nothing = 1",
        "SET sys.SequenceNumber = 1",
        "SET sys. = 1",
        "REMOVE",
        "REMOVE a = 1",
        "REMOVE sys.MessageId",
        "[SET] a = 1",
        "DELETE a",
        "SET a = " + "(" * 40 + "1" + ")" * 40,
        "SET a = 1;" * 33,
        "SET a = '" + "x" * 1_024 + "'",
    ],
)
def test_wrong_actions_are_refused(expression: str) -> None:
    with pytest.raises(BusError) as refusal:
        SqlAction(expression)
    assert refusal.value.condition == ARGUMENT_ERROR


@pytest.mark.parametrize(
    "expression",
    [
        "SET size = 'many'",
        "SET price = 'x'",
        "SET ok = 'maybe'",
        "SET id = 'x'",
        "SET sys.MessageId = missing",
    ],
)
def test_what_cannot_be_converted_is_an_error(expression: str) -> None:
    with pytest.raises(ActionError):
        SqlAction(expression).apply(MESSAGE)


def rule(name: str, expression: str, action: str | None = None) -> dict[str, Any]:
    properties: dict[str, Any] = {"SqlFilter": {"SqlExpression": expression}}
    if action is not None:
        properties["Action"] = {"SqlExpression": action}
    return {"Name": name, "Properties": properties}


def topic(*rules: dict[str, Any], **properties: Any) -> World:
    named = {"Name": "sub", "Properties": properties, "Rules": list(rules)}
    whole = {"Name": "all", "Properties": {}}
    return World(topics={"t": {"Properties": {}, "Subscriptions": [named, whole]}})


def test_rules_without_actions_make_one_copy_and_each_action_one_of_its_own() -> None:
    bus = topic(
        rule("one", "size > 1"),
        rule("two", "size > 2"),
        rule("red", "size > 3", "SET color = 'red'; REMOVE sys.Label"),
        rule("blue", "size > 3", "SET color = 'blue'"),
        rule("not", "size > 9", "SET color = 'none'"),
    )
    bus.send("t", content("a", subject="x", own={"size": 5, "Color": "none"}))
    copies = [message for message, _, _ in bus.plain("t/subscriptions/sub", credit=9).got]
    assert [
        (each.content.application_properties, each.content.properties.subject) for each in copies
    ] == [
        ({"size": 5, "Color": "none"}, "x"),
        ({"size": 5, "Color": "red", "RuleName": "red"}, None),
        ({"size": 5, "Color": "blue", "RuleName": "blue"}, "x"),
    ]
    assert [(each.origin_sequence, body_of(each)) for each in copies] == [(1, "a")] * 3
    (untouched,) = bus.plain("t/subscriptions/all", credit=9).got
    assert untouched[0].content.application_properties == {"size": 5, "Color": "none"}


@pytest.mark.parametrize(
    ("action", "properties"),
    [("SET size = 'many'", {}), ("REMOVE sys.SessionId", {"RequiresSession": True})],
    ids=["conversion", "session"],
)
def test_a_copy_that_cannot_be_changed_is_a_dead_letter(
    action: str, properties: dict[str, Any]
) -> None:
    bus = topic(rule("bad", "1=1", action), **properties)
    bus.send("t", content("a", own={"size": Int(5)}, group_id="s"))
    ((dead, _, _),) = bus.plain("t/subscriptions/sub/$deadletterqueue", credit=9).got
    own = dead.content.application_properties
    assert (own["size"], own[REASON]) == (5, "FilterEvaluationException")
    assert "'bad'" in own[DESCRIPTION]
    assert bus.plain("t/subscriptions/all", credit=9).bodies == ["a"]


def test_actions_survive_their_encoding() -> None:
    acting = Rule(name="a", filter=SqlFilter("a = 1"), action=SqlAction("SET b = 2"))
    plain, read = decode_rules(encode_rules([DEFAULT_RULE, acting]))
    assert plain.action is None
    assert read.action is not None
    assert read.action.expression == "SET b = 2"


async def test_add_rule_takes_an_action_and_enumerate_rules_shows_it() -> None:
    document = {"Topics": [{"Name": "t", "Subscriptions": [{"Name": "s"}]}]}
    server = Server(
        parse_config({"UserConfig": {"Namespaces": [document]}}), Ports(amqp=0, http=None)
    )
    port, _ = await server.start()
    peer = await Peer.connect(port)
    peer.open_node("t/subscriptions/s/$management")
    statuses = []
    for expression in ("SET color = 'red'", "SET ="):
        body = {
            "rule-name": f"acting{expression[-1]}",
            "rule-description": {
                "sql-filter": {"expression": "1=1"},
                "sql-rule-action": {"expression": expression},
            },
        }
        answer, _ = await peer.ask(question({"operation": "com.microsoft:add-rule"}, body))
        statuses.append((answer["statusCode"], answer.get("errorCondition")))
    assert statuses == [(200, None), (400, "com.microsoft:argument-error")]
    _, shown = await peer.ask(
        question({"operation": "com.microsoft:enumerate-rules"}, {"skip": Int(0), "top": Int(9)})
    )
    described = [each["rule-description"].value for each in shown["rules"]]
    actions = [(fields[2], fields[1].descriptor, fields[1].value) for fields in described]
    assert actions == [
        ("$Default", 0x13700000005, []),
        ("acting'", 0x13700000006, ["SET color = 'red'", None]),
    ]
    await peer.close()
    await server.stop()

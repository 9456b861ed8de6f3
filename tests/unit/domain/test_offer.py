"""Which tools are offered under which names, and what becomes of what a model asks for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aos.domain.cards.agent_card import AgentCard, agent_card_from_dict
from aos.domain.runs.conversation import Message
from aos.domain.runs.window import select_window
from aos.domain.tools.offer import Target, make_offer, plan_calls, read_json_object
from aos.domain.tools.tool import (
    MAX_SHOWN_BYTES,
    AskedCall,
    ServerTools,
    ToolSchema,
    cut_for_model,
    make_tool_call_id,
    make_tool_name,
)
from tests.texts import texts
from tests.unit.domain.values import NOON

RUN_ID = "0123abcd-0000-4000-8000-000000000000"


def a_card(*grants: object, **fields: object) -> AgentCard:
    return agent_card_from_dict(
        {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": list(grants), **fields}
    )


def a_server(server_id: str, *tools: str, **fields: object) -> ServerTools:
    whole = {"state": "ready", "listed_at": NOON, **fields}
    return ServerTools(
        server_id=server_id,
        tools=tuple(ToolSchema(name=name) for name in tools),
        **whole,  # type: ignore[arg-type]
    )


def a_message(sequence: int, role: str, run_id: str = RUN_ID) -> Message:
    return Message(
        sequence=sequence,
        role=role,  # type: ignore[arg-type]
        content=str(sequence),
        run_id=run_id,
        created_at=NOON,
    )


@given(texts(min_size=1, max_size=80), texts(min_size=1, max_size=200))
def test_an_offered_name_is_one_that_every_endpoint_takes(server_id: str, tool: str) -> None:
    name = make_tool_name(server_id, tool)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert make_tool_name(server_id, tool) == name


@pytest.mark.parametrize(("server_id", "tool"), [("github", "create_issue"), ("a" * 30, "b" * 32)])
def test_a_name_that_fits_is_left_as_it_is(server_id: str, tool: str) -> None:
    assert make_tool_name(server_id, tool) == f"{server_id}__{tool}"


def test_characters_that_endpoints_refuse_are_replaced_and_a_hash_tells_the_names_apart() -> None:
    names = [make_tool_name("files", tool) for tool in ("read.file", "read/file")]
    assert [name.rpartition("_")[0] for name in names] == ["files__read_file"] * 2
    assert len(set(names)) == 2


@pytest.mark.parametrize("tool", ["list the files", "天気を調べる", "Ünïcode: a/b"])
def test_a_tool_is_granted_and_guarded_by_its_own_name_in_any_script(tool: str) -> None:
    guarded = {"server": "s", "tools": [tool], "approval": "always"}
    (target,) = make_offer(a_card(guarded), {"s": a_server("s", tool, "other")}).targets.values()
    assert (target.tool, target.approval) == (tool, "always")
    (offered,) = make_offer(a_card(f"s/{tool}"), {"s": a_server("s", tool, "x")}).tools
    assert re.fullmatch(r"s__[A-Za-z0-9_-]{1,61}", offered.name)


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = {make_tool_name("github", "x" * 100 + end) for end in ("a", "b")}
    assert len(names) == 2
    assert {len(name) for name in names} == {64}


def test_two_tools_that_would_share_a_name_get_two() -> None:
    servers = {"a": a_server("a", "b__c"), "a__b": a_server("a__b", "c")}
    offer = make_offer(a_card("a", "a__b"), servers)
    assert len(offer.tools) == len(offer.targets) == 2
    assert set(offer.targets.values()) == {
        Target(server_id="a", tool="b__c"),
        Target(server_id="a__b", tool="c"),
    }


def test_a_tool_that_is_granted_twice_is_offered_once_and_the_stricter_grant_holds() -> None:
    guarded = {"server": "a", "tools": ["b"], "approval": "always"}
    for grants in (("a", guarded), (guarded, "a")):
        offer = make_offer(a_card(*grants), {"a": a_server("a", "b")})
        assert [tool.name for tool in offer.tools] == ["a__b"]
        assert offer.targets["a__b"].approval == "always"


def test_a_server_that_failed_offers_nothing_and_the_model_is_not_told_what_it_printed() -> None:
    offer = make_offer(a_card("a"), {"a": a_server("a", "b", state="failed", error="boom")})
    assert offer.tools == ()
    assert offer.unavailable == ("a",)


def test_a_leader_at_the_deepest_level_delegates_no_further() -> None:
    card = a_card(agent_type="LeadershipAgent", team=["cfo"])
    assert [tool.name for tool in make_offer(card, {}, depth=4).tools] == ["delegate"]
    deepest = make_offer(card, {}, depth=5)
    assert deepest.tools == ()
    asked = [AskedCall(name="delegate", arguments='{"agent_id": "cfo", "message": "x"}')]
    (call,) = plan_calls(asked, deepest, run_id=RUN_ID, turn=0)
    assert call.result is not None
    assert call.result.content.startswith("tree_limit: ")


def test_the_delegate_tool_says_what_each_colleague_is_for() -> None:
    card = a_card(agent_type="LeadershipAgent", team=["cfo", "cto", "coo"])
    purposes = {"cfo": "Watch the\n  money.", "coo": "Run it."}
    (tool,) = make_offer(card, {}, purposes=purposes).tools
    assert tool.description.endswith("\nYour team:\n- cfo: Watch the money.\n- coo: Run it.")
    assert tool.parameters["properties"]["agent_id"]["enum"] == ["cfo", "cto", "coo"]


@pytest.mark.parametrize("size", [1, 10, 100])
def test_the_purposes_of_a_team_are_bounded_together(size: int) -> None:
    team = [f"agent-{number}" for number in range(size)]
    card = a_card(agent_type="LeadershipAgent", team=team)
    purposes = {agent_id: "word " * 1000 for agent_id in team}
    (tool,) = make_offer(card, {}, purposes=purposes).tools
    assert len(tool.description) <= 1024
    assert tool.description.count("…") == size


def test_calls_get_our_ids_by_run_turn_and_index() -> None:
    calls = plan_calls([AskedCall(name="x", arguments="{}")] * 2, make_offer(a_card(), {}),
                       run_id=RUN_ID, turn=3)  # fmt: skip
    assert [call.tool_call_id for call in calls] == ["call_0123abcd_3_0", "call_0123abcd_3_1"]
    assert calls[0].tool_call_id == make_tool_call_id(RUN_ID, turn=3, index=0)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "1",
        '{"a": NaN}',
        '{"a": ' + "[" * 32 + "]" * 32 + "}",
        '{"a": ' * 400 + "1" + "}" * 400,
        '{"a": [' + "[]," * 50_001 + "[]]}",
        "[" * 100_000,
        '{"a":"\\ud800"}',
        '{"a": 1e999}',
        '{"a": [{"b": -1e999}]}',
        '{"a": ' + "9" * 400 + "}",
        '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_json_object_is_none(text: str) -> None:
    assert read_json_object(text) is None


@given(texts(max_size=40), st.integers(80, 200))
def test_a_result_is_shown_within_its_limit(text: str, limit: int) -> None:
    whole = text * 20
    seen = cut_for_model(whole, limit=limit)
    assert len(seen.encode("utf-8", "replace")) <= limit or seen == whole
    if len(whole.encode("utf-8", "replace")) <= limit:
        assert seen == whole


def test_a_result_that_is_too_large_says_what_was_cut() -> None:
    seen = cut_for_model("ü" * MAX_SHOWN_BYTES)
    assert len(seen.encode()) <= MAX_SHOWN_BYTES
    assert seen.endswith("[cut: the whole result has 131,072 bytes]")


def test_a_window_of_no_size_to_speak_of_still_holds_the_last_turn_whole() -> None:
    history = [
        a_message(0, "user"),
        a_message(1, "assistant"),
        a_message(2, "tool"),
        a_message(3, "tool"),
    ]
    assert select_window(history, size=1, run_id=RUN_ID) == history[1:]


def test_a_window_leaves_out_results_whose_call_is_cut() -> None:
    history = [
        a_message(0, "assistant", "other"),
        a_message(1, "tool", "other"),
        a_message(2, "assistant", "other"),
    ]
    assert select_window(history, size=2, run_id=RUN_ID) == history[2:]


def test_arguments_may_be_nested_as_deep_as_any_text_that_aos_reads() -> None:
    assert read_json_object('{"a": ' + "[" * 31 + "]" * 31 + "}") is not None

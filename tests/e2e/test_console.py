"""The console in Chromium, used as a person uses it.

`make console` installs what it needs. Without a browser these tests are skipped as NOT CHECKED.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.mcp.kit import ASKING, NASTY
from tests.e2e.browsing import DESKTOP, Browser, chromium
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

__all__ = ["chromium"]

AFTER_KILL_SECONDS = 60.0
FIRST_PAINT_MILLISECONDS = 500
MOST_BYTES = 150_000
PHONE = (390, 844)
MESSAGE = "Message to {}"


@pytest.fixture
def browser(chromium: Browser, road: Road) -> Iterator[Browser]:
    """The browser on a page of the console; at the end nothing was said on its error console."""
    chromium.open(f"{road.main}/api/console#/health")
    yield chromium
    assert chromium.do("errors") == []


def go(browser: Browser, road: Road, view: str) -> None:
    browser.do("go", url=f"{road.main}/api/console#/{view}")


def say(browser: Browser, agent: str, text: str) -> None:
    browser.do("fill", label=MESSAGE.format(agent), text=text)
    browser.do("press", key="Enter")


def mark(request: Request) -> Say:
    """The model marks what it was asked to, then says what the tool said."""
    last = request.messages[-1]
    if last["role"] == "tool":
        return Say(f"the tool said: {last['content']}")
    return Say(calls=[(request.body["tools"][0]["function"]["name"], {"text": last["content"]})])


def test_realm_is_killed_in_the_middle_of_an_answer_which_begins_again(
    browser: Browser, road: Road, model: Model
) -> None:
    model.says("Cash, then people.")
    model.server.script(Say("Growth comes first, says the draft.", pieces=40, pause=0.5))
    agent = road.live(f"chat-{uuid.uuid4().hex[:8]}")
    go(browser, road, f"chat/{agent}")
    realm = road.laptop.child("realm")
    restarts = realm.restarts
    say(browser, agent, "What matters most?")
    browser.see("Growth")
    realm.kill9()
    eventually(lambda: realm.restarts > restarts or None, seconds=10)
    browser.see("Cash, then people.", "What happened", within_seconds=AFTER_KILL_SECONDS)
    assert "Growth" not in browser.do("text", css="#log")
    browser.do("reload")
    browser.see("What matters most?", "Cash, then people.")
    assert browser.do("text", css="#log").count("Cash, then people.") == 1


def test_a_chat_that_another_page_began_shows_its_question_at_once_and_once(
    browser: Browser, road: Road, model: Model
) -> None:
    model.server.script(Say("Growth comes first, says the draft.", pieces=12, pause=0.5))
    agent, name = road.live(f"chat-{uuid.uuid4().hex[:8]}"), f"c-{uuid.uuid4().hex[:8]}"
    road.ask(agent, "What matters most?", conversation_id=name, wait_seconds=0)
    go(browser, road, f"chat/{agent}/{name}")
    browser.see("What matters most?")
    assert "the draft." not in browser.do("text", css="#log")
    browser.see("the draft.", "What happened", within_seconds=30)
    for _ in range(2):
        assert browser.do("text", css="#log").count("What matters most?") == 1
        browser.do("reload")
        browser.see("What matters most?", "the draft.")


def test_a_call_is_approved_in_the_chat_after_a_reload(
    browser: Browser, road: Road, model: Model, tmp_path: Path
) -> None:
    model.server.always(mark)
    name, marks = uuid.uuid4().hex[:8], tmp_path / "marks"
    road.live_server(f"s-{name}", command=sys.executable, args=[NASTY, "--marks", str(marks)])
    grant = {"server": f"s-{name}", "tools": ["mark"], "approval": "always"}
    agent = road.live(f"a-{name}", mcp_tools=[grant])
    go(browser, road, f"chat/{agent}")
    say(browser, agent, "buy the chair")
    browser.see("May the agent call")
    browser.do("reload")
    browser.see("May the agent call", "buy the chair")
    browser.click("Approve", within="#log")
    browser.see("the tool said: marked")
    assert marks.read_text() == "buy the chair\n"
    browser.click("What happened", role="link")
    browser.see("Approval of", "approved", "Turn 2: model")


@pytest.fixture
def booker(road: Road, model: Model, tmp_path: Path) -> str:
    """An agent whose tool asks for a seat."""
    name = uuid.uuid4().hex[:8]
    args = [ASKING, "newest", str(tmp_path / "marks")]
    road.live_server(f"q-{name}", command=sys.executable, args=args)

    def book(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"the tool said: {last['content']}")
        name = request.body["tools"][0]["function"]["name"]
        return Say(calls=[(name, {"flight": last["content"]})])

    model.server.always(book)
    return road.live(f"b-{name}", mcp_tools=[f"q-{name}/book"])


def test_a_tools_question_is_answered_in_the_chat(
    browser: Browser, road: Road, booker: str
) -> None:
    go(browser, road, f"chat/{booker}")
    say(browser, booker, "LH1")
    browser.see("Which seat?")
    browser.do("reload")
    browser.see("Which seat?", "LH1")
    browser.do("fill", label="Seat", text="by the window")
    browser.click("Answer", within="#log")
    browser.see("Not accepted:")
    assert browser.do("axe") == []
    browser.do("fill", label="Seat", text="12A")
    browser.click("Answer", within="#log")
    browser.see("the tool said: booked 12A on LH1")


@pytest.mark.parametrize("view", ["approvals", "runs/{}"])
def test_an_answer_that_is_being_typed_stays_while_the_page_renews_itself(
    browser: Browser, road: Road, booker: str, view: str
) -> None:
    run_id = road.ask(booker, "LH2", wait_seconds=0).body["run_id"]
    eventually(
        lambda: road.call("GET", f"/api/runs/{run_id}").body["status"] == "waiting_input" or None,
        seconds=30,
    )
    go(browser, road, view.format(run_id))
    browser.see("Which seat?")
    browser.do("fill", label="Seat", text="14C")
    others = road.ask(booker, "LH3", wait_seconds=0).body["run_id"]
    if view == "approvals":
        browser.see(f"run {others[:8]}")
    else:
        for _ in range(2):
            browser.do("hears", path=f"/api/runs/{run_id}")
    assert browser.do("value", label="Seat") == "14C"
    assert browser.do("has_focus", label="Seat")
    browser.click("Answer")
    run = road.ended(run_id)
    assert run["output"] == "the tool said: booked 14C on LH2"
    road.call("POST", f"/api/runs/{others}/cancel", {})


def test_a_pause_is_seen_and_ended(browser: Browser, road: Road, model: Model) -> None:
    model.says("Cash.")
    agent = road.live(f"pause-{uuid.uuid4().hex[:8]}")
    go(browser, road, "health")
    browser.see("AOS admits new requests")
    browser.click("Pause")
    browser.do("fill", label="Reason (callers read it)", text="we move house")
    browser.click("Pause", within="dialog")
    try:
        browser.see("AOS is paused", "we move house")
        refused = eventually(
            lambda: (asked := road.ask(agent, "Hello")).status != 200 and asked, seconds=10
        )
        assert (refused.status, "we move house" in refused.body["error"]["message"]) == (503, True)
        assert browser.do("axe") == []
        go(browser, road, "chat")
        browser.see("Paused")
        go(browser, road, "health")
        browser.click("Resume")
        browser.see("AOS admits new requests")
    finally:
        road.call("POST", "/api/ops/resume", {})
    eventually(lambda: road.ask(agent, "Hello").status == 200 or None, seconds=10)


def test_a_broken_card_is_mended_in_the_editor_and_rolled_back(
    browser: Browser, road: Road
) -> None:
    agent = road.live(f"card-{uuid.uuid4().hex[:8]}", purpose="Lead.")
    etag = road.upload(
        f"agents/{agent}.json", {"agent_id": agent, "purpose": "Lead.", "purpos_scope": "All"}
    )
    road.judged(f"agents/{agent}", etag)
    go(browser, road, f"agents/{agent}")
    browser.see("The card as uploaded was rejected", "purpos_scope", "The last valid version")
    card = {"agent_id": agent, "purpose": "Lead the company."}
    browser.do("fill", label="Card (JSON)", text=json.dumps({**card, "enabeld": True}))
    browser.see("not valid", "the nearest known field is 'enabled'")
    browser.do("fill", label="Card (JSON)", text=json.dumps(card, indent=2))
    browser.see("digest ")
    browser.click("Save")
    browser.see("Saved and live")
    assert road.call("GET", f"/api/agents/{agent}").body["card"] == card
    versions = road.call("GET", f"/api/agents/{agent}/versions").body["items"]
    old = versions[1]["digest"]
    browser.click(f"Compare version {old[:8]} with the one that serves")
    browser.see('+   "purpose": "Lead the company."')
    browser.click(f"Roll back to version {old[:8]}")
    browser.click("Roll back", within="dialog")
    browser.see("Rolled back")
    eventually(
        lambda: road.call("GET", f"/api/agents/{agent}").body["serving_digest"] == old or None,
        seconds=10,
    )


def test_a_dead_letter_is_replayed(browser: Browser, road: Road, model: Model) -> None:
    model.says("Late, but here.")
    agent = road.live(f"late-{uuid.uuid4().hex[:8]}")
    road.laptop.take_down("main")
    try:
        body = {"version": 1, "agent_id": agent, "message": "Hello"}
        key = road.send(body, time_to_live=timedelta(seconds=1))
        eventually(
            lambda: any(m.message_id == key for m in road.dead_letters()) or None,
            seconds=30,
            every=0.5,
            what="the dead letter",
        )
    finally:
        road.laptop.bring_up("main")
    (letter,) = [m for m in road.dead_letters() if m.message_id == key]
    browser.open(f"{road.main}/api/console#/dead-letters")
    browser.see("What to do:")
    browser.click(f"Replay aos-requests {letter.sequence_number}")
    browser.see("Replayed")
    go(browser, road, f"runs?agent_id={agent}")
    browser.see("Late, but here.", within_seconds=AFTER_KILL_SECONDS)


def test_the_list_of_runs_says_why_a_run_failed_and_its_timeline_shows_when(
    browser: Browser, road: Road, model: Model
) -> None:
    agent = road.live(f"fails-{uuid.uuid4().hex[:8]}")
    model.fails(400, times=1)
    run = road.ask(agent, "Hello").body
    assert run["status"] == "failed", run
    go(browser, road, "runs")
    browser.do("select", label="Status", value="failed")
    browser.see(run["error"]["code"])
    go(browser, road, f"runs?status=failed&agent_id={agent}")
    browser.click(run["run_id"][:8], role="link")
    browser.see("Why it failed", run["error"]["message"], "Trace id", "run.failed", "Queue")
    browser.see("Turn 1: model failed")
    browser.open(f"{road.main}/api/console#/runs?agent_id={agent}", size=PHONE)
    browser.see(run["error"]["message"])
    assert browser.do("fits", text=run["error"]["message"])


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_barrier_for_people_who_do_not_see_or_use_a_mouse(
    chromium: Browser, road: Road, model: Model, scheme: str, size: tuple[int, int]
) -> None:
    model.says("Cash.")
    agent = road.live("barriers")
    run = road.ask(agent, "What matters?", conversation_id="barriers").body
    views = {
        "chat": "Message to",
        f"chat/{agent}/barriers": "What matters?",
        "agents": agent,
        f"agents/{agent}": "unchanged",
        "agents/+new": "Id of the agent",
        "mcp-servers": "MCP servers",
        "runs": run["run_id"][:8],
        f"runs/{run['run_id']}": "run.completed",
        "approvals": "Approvals",
        "dead-letters": "Dead letters",
        "usage": "Tokens",
        "health": "aos-requests",
    }
    chromium.open(f"{road.main}/api/console#/health", scheme=scheme, size=size)
    for view, text in views.items():
        go(chromium, road, view)
        if text != "Message to":
            chromium.see(text)
        assert chromium.do("axe") == [], view
        assert not chromium.do("wide"), f"{view} is wider than the screen"
    assert chromium.do("errors") == []


def test_the_page_is_small_and_seen_at_once(chromium: Browser, road: Road) -> None:
    paints = []
    for _ in range(3):
        chromium.open(f"{road.main}/api/console#/health")
        chromium.see("aos-requests")
        paints.append(chromium.do("paint"))
    assert min(paints) <= FIRST_PAINT_MILLISECONDS, paints
    assert chromium.do("bytes") <= MOST_BYTES

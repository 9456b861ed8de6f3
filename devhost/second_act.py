"""Plays the second act of `make demo`: a tool, an approval, a delegation, a kill. Entry point:
`SecondAct.tell`.

The model is a script (`devhost/scripted_model.py`), because the laptop's own is too small to call
tools; the act says so. Everything else is real: the MCP server, the approval, the second agent's
run, the killed process.
"""

from __future__ import annotations

import contextlib
import json
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aos.client.errors import AosClientError
from devhost.errors import LaptopError
from devhost.scripted_model import Line

SERVER_ID, BUYER_ID, CFO_ID = "demo-tools", "demo-buyer", "demo-cfo"
SERVER = {
    "server_id": SERVER_ID,
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-everything"],
    "tools": ["get-sum"],
}
BUYER = {
    "agent_id": BUYER_ID,
    "agent_type": "LeadershipAgent",
    "purpose": "Buy what the office needs",
    "mcp_tools": [{"server": SERVER_ID, "tools": ["get-sum"], "approval": "always"}],
    "team": [CFO_ID],
}
CFO = {"agent_id": CFO_ID, "purpose": "Decide what the company can afford"}
QUESTION = "A desk for 340 and a chair for 240: may we buy them?"
PERSON_SECONDS = 90.0
"""How long the act waits for a person to decide, where there is one."""
READY_SECONDS = 60.0
RUN_SECONDS = 120.0
POLL_SECONDS = 0.2
CFO_SECONDS = 3.0
"""How long the script lets the CFO think, at first: time to kill realm."""
BANNER = (
    "NOT A MODEL: in the second act a SCRIPT answers at the model's endpoint. Every word of the",
    "agents below was written in advance. The tool, the approval, the two runs and the kill are",
    "real. With a model of yours (AOS_MODEL_ENDPOINT) agents do the same by themselves.",
)


class Client(Protocol):
    """What the act needs of `aos.client.AosClient`."""

    def agent(self, agent_id: str) -> dict[str, Any]:
        """Return an agent."""

    def mcp_server(self, server_id: str) -> dict[str, Any]:
        """Return an MCP server."""

    def put_agent(self, agent_id: str, card: Mapping[str, Any]) -> dict[str, Any]:
        """Upload a card."""

    def put_mcp_server(self, server_id: str, card: Mapping[str, Any]) -> dict[str, Any]:
        """Upload a card."""

    def tools(self) -> Iterator[dict[str, Any]]:
        """List MCP servers as last seen."""

    def start(
        self, agent_id: str, message: str, *, conversation_id: str, stream: bool
    ) -> dict[str, Any]:
        """Ask an agent without waiting."""

    def events(self, run_id: str, *, timeout_seconds: float) -> Iterator[dict[str, Any]]:
        """Follow a run's events."""

    def approve(self, run_id: str, tool_call_id: str) -> dict[str, Any]:
        """Let a tool call be made."""

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""


@dataclass(slots=True)
class Script:
    """The lines of both agents, chosen by what was said so far. `is_cfo_asked` is set when the CFO
    is asked."""

    is_cfo_asked: threading.Event = field(default_factory=threading.Event)

    def choose(self, messages: Sequence[Mapping[str, Any]]) -> Line:
        """Return the next line of the agent whose messages these are."""
        about = str(messages[0].get("content"))
        if CFO["purpose"] in about:
            return self._speak_as_cfo()
        if str(BUYER["purpose"]) in about and any(
            QUESTION in str(m.get("content")) for m in messages
        ):
            return self._speak_as_buyer(messages)
        return Line(
            status=503, seconds=0.0, text="make demo plays its second act; your model is back soon"
        )

    def _speak_as_cfo(self) -> Line:
        is_first = not self.is_cfo_asked.is_set()
        self.is_cfo_asked.set()
        return Line(
            text="580 is within this month's budget. Buy both.",
            seconds=CFO_SECONDS if is_first else 0.5,
        )

    def _speak_as_buyer(self, messages: Sequence[Mapping[str, Any]]) -> Line:
        results = [str(message.get("content")) for message in messages if message["role"] == "tool"]
        if not results:
            return Line(tool=f"{SERVER_ID}__get-sum", arguments={"a": 340, "b": 240})
        if results[0].startswith("denied"):
            return Line(text="You denied the call, so I have no sum, and I buy nothing.")
        if len(results) == 1:
            message = "May we buy a desk and a chair for 580 together?"
            return Line(tool="delegate", arguments={"agent_id": CFO_ID, "message": message})
        return Line(text=f"Yes, you may. The sum is 580, and the CFO says: {results[1]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondAct:
    """Scenes 6 to 9. `stage` lets the script answer for realm, `kill` kills realm, `is_watched`
    says whether a person is there. Raises LaptopError if a scene fails."""

    client: Client
    stage: Callable[[Script], AbstractContextManager[object]]
    kill: Callable[[], None]
    say: Callable[[str], None]
    main_url: str
    is_watched: bool
    aos: str = "aos"

    def tell(self) -> str:
        """Play all scenes; return the id of the run."""
        self.say("")
        for line in BANNER:
            self.say(f"   *** {line}")
        script = Script()
        try:
            with self.stage(script):
                self._put_cards()
                return self._play(script)
        except AosClientError as error:
            raise LaptopError(f"{error.error.get('code')}: {error}") from error

    def _put_cards(self) -> None:
        self.say(
            "6. A tool is a JSON card too: an MCP server from npm, which mcp starts when needed."
        )
        self.say(f"     {json.dumps(SERVER)}")
        self._put(self.client.mcp_server, self.client.put_mcp_server, SERVER_ID, SERVER)
        self.say("   An agent that may use it, if a person approves; and its colleague:")
        for card in (BUYER, CFO):
            self.say(textwrap.indent(textwrap.fill(json.dumps(card), 92), "     "))
            self._put(self.client.agent, self.client.put_agent, str(card["agent_id"]), card)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            seen = {server["server_id"]: server for server in self.client.tools()}
            state = seen.get(SERVER_ID, {}).get("state")
            if state == "ready":
                return
            if time.monotonic() > deadline:
                raise LaptopError(f"the tools of {SERVER_ID} are not listed: {seen.get(SERVER_ID)}")
            time.sleep(POLL_SECONDS)

    def _put(
        self,
        get: Callable[[str], dict[str, Any]],
        put: Callable[[str, Mapping[str, Any]], dict[str, Any]],
        name: str,
        card: Mapping[str, Any],
    ) -> None:
        """Upload a card, but never over another's."""
        try:
            there = get(name).get("card")
        except AosClientError as error:
            if error.status != 404:
                raise
        else:
            if there != card:
                raise LaptopError(f"{name} is a card of your own; rename it to see the second act")
        put(name, card)

    def _play(self, script: Script) -> str:
        conversation_id = f"demo-{uuid.uuid4().hex[:8]}"
        run = self.client.start(BUYER_ID, QUESTION, conversation_id=conversation_id, stream=True)
        run_id = str(run["run_id"])
        self.say(f'7. Ask {BUYER_ID}: "{QUESTION}"')
        self.say("   See it think, in the console:")
        self.say(f"     {self.main_url}/api/console#/chat/{BUYER_ID}/{conversation_id}")
        with contextlib.ExitStack() as stack:
            for event in self.client.events(run_id, timeout_seconds=RUN_SECONDS + PERSON_SECONDS):
                self._show(event, script, stack)
        ended = self.client.get_run(run_id)
        if ended["status"] != "completed":
            raise LaptopError(f"the run ended {ended['status']}: {ended.get('error')}")
        self.say(textwrap.indent(textwrap.fill(str(ended["output"]).strip(), 90), "     > "))
        self.say("   What happened, step by step, with the times:")
        self.say(f"     {self.main_url}/api/console#/runs/{run_id}")
        self.say(f"     {self.aos} show {run_id}")
        self.say("   (the script is gone; your model answers again, also for these agents)")
        return run_id

    def _show(self, event: Mapping[str, Any], script: Script, stack: contextlib.ExitStack) -> None:
        data = event["data"]
        match event["type"]:
            case "approval.requested":
                self._ask_for_decision(str(event["run_id"]), data, stack)
            case "approval.decided":
                stack.close()
                self.say(f"   decided: {data['decision']}")
            case "tool.called" if data["name"] == "delegate":
                self.say(
                    f"8. It asks its colleague, which is a run of its own: {data['arguments']}"
                )
                self._kill_in_the_middle(script)
            case "tool.called":
                self.say(f"   calls {data['name']} with {data['arguments']}")
            case "tool.completed":
                self.say(f"   {data['name']} said: {textwrap.shorten(data['content'], 200)}")
            case _:
                pass

    def _ask_for_decision(
        self, run_id: str, data: Mapping[str, Any], stack: contextlib.ExitStack
    ) -> None:
        call_id = str(data["tool_call_id"])
        self.say(f"   It wants to call {data['name']} with {data['arguments']}, and waits:")
        self.say("   nothing runs, and nothing is lost if every process is killed now.")
        command = f"{self.aos} approve {run_id} {call_id}"
        if self.is_watched:
            self.say(
                "   >>> APPROVE IT: the button is in the console, at the address above; or type"
            )
            self.say(f"     {command}")
            self.say(f"   (if nobody decides, the demo approves after {PERSON_SECONDS:g} s)")
        else:
            self.say("   Nobody is at this terminal, so the demo decides:")
            self.say(f"     {command}")
        timer = threading.Timer(
            PERSON_SECONDS if self.is_watched else 0.0, self._approve, (run_id, call_id)
        )
        timer.daemon = True
        timer.start()
        stack.callback(timer.cancel)

    def _approve(self, run_id: str, call_id: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                self.client.approve(run_id, call_id)
            except AosClientError as error:  # the event is told before the call is in the list
                if error.status != 404:
                    return
                time.sleep(POLL_SECONDS)
            else:
                return

    def _kill_in_the_middle(self, script: Script) -> None:
        if not script.is_cfo_asked.wait(READY_SECONDS):
            raise LaptopError(f"{CFO_ID} was not asked within {READY_SECONDS:g} s")
        time.sleep(CFO_SECONDS / 3)
        self.say(f"9. {CFO_ID} is in the middle of its turn: kill -9 realm.")
        self.kill()
        self.say("   realm starts again, asks the model again, and the run goes on.")

"""Plays the demonstration of the first start and of `make demo`. Entry point: `Story.tell`.

A card becomes an agent. The agent answers through the queue and, in the same conversation, over
HTTP. An edit goes live. A broken card is refused with a reason while the old agent still answers.
The demonstration never changes the user's own cards; it then uses another name. At the end it
restores its card.
"""

from __future__ import annotations

import json
import textwrap
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devhost.doors import Answer, Doors
from devhost.errors import LaptopError

CARD = """\
{
  "agent_id": "ceo",
  "agent_type": "LeadershipAgent",
  "purpose": "Strategic oversight and company growth",
  "purpose_scope": "Strategic planning, major decisions",
  "adapter_name": "ceo",
  "mcp_tools": [],
  "enabled": true
}
"""
"""The example of the deployment plan, byte for byte."""

NAMES = ("ceo", "demo-ceo", "demo-ceo-2", "demo-ceo-3", "demo-ceo-4")
LIVE_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.1
FIRST_QUESTION = "In one short sentence: what does a company need most to grow?"
SECOND_QUESTION = "And what is the first step?"
THIRD_QUESTION = "Are you still there? Answer in one short sentence."


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The five scenes. `say` gets each line. Raises LaptopError if a scene fails."""

    doors: Doors
    say: Callable[[str], None]
    main_url: str
    key_header: str = ""
    config_container: str = "aos-config"

    def tell(self) -> str:
        """Play all scenes; return the id of the agent that stays."""
        agent_id, etag = self._show_the_card()
        conversation_id = f"demo-{uuid.uuid4().hex[:8]}"
        self._ask_through_the_queue(agent_id, conversation_id)
        self._continue_over_http(agent_id, conversation_id)
        original = card_for(agent_id)
        try:
            etag = self._edit(agent_id, etag)
            etag = self._break(agent_id, conversation_id, etag)
        finally:
            self._put_back(agent_id, original)
        return agent_id

    def _show_the_card(self) -> tuple[str, str]:
        """Choose a name whose card is absent or the demonstration's own, and make it live; return
        id and ETag."""
        for agent_id in NAMES:
            body, there = card_for(agent_id), self.doors.read_card(agent_id)
            if there is not None and there.body != body:
                self.say(f"(agents/{agent_id}.json is your own card: the demonstration skips it)")
                continue
            self.say(f"1. An agent is a JSON file. {self.config_container}/agents/{agent_id}.json:")
            self.say(textwrap.indent(body.decode().rstrip(), "     "))
            etag = there.etag if there else self.doors.write_card(agent_id, body, over=None)
            seconds = self._wait_until_live(agent_id, etag)
            self.say("   live" if there else f"   uploaded, live after {seconds:.1f} s")
            return agent_id, etag
        raise LaptopError(f"the names {', '.join(NAMES)} are all used by your own cards")

    def _ask_through_the_queue(self, agent_id: str, conversation_id: str) -> None:
        self.say(f'2. Through the queue aos-requests: "{FIRST_QUESTION}"')
        answer = self.doors.ask_queue(agent_id, FIRST_QUESTION, conversation_id)
        self.say(
            f"   reply on businessinfinity-responses, correlation_id {answer.correlation_id}, "
            f"after {answer.milliseconds:.0f} ms:"
        )
        self._quote(answer)

    def _continue_over_http(self, agent_id: str, conversation_id: str) -> None:
        body = json.dumps({"message": SECOND_QUESTION, "conversation_id": conversation_id})
        self.say("3. The same conversation over HTTP; paste this to do it again:")
        self.say(f"     {curl(self.main_url, agent_id, body, self.key_header)}")
        answer = self.doors.ask_http(agent_id, SECOND_QUESTION, conversation_id)
        self.say(f"   answered after {answer.milliseconds:.0f} ms:")
        self._quote(answer)

    def _edit(self, agent_id: str, etag: str) -> str:
        self.say("4. A live edit: another purpose, uploaded over the old card.")
        card = json.loads(card_for(agent_id))
        card["purpose"] = "Calm advice in few words"
        new = self.doors.write_card(agent_id, _to_bytes(card), over=etag)
        self.say(f"   live after {self._wait_until_live(agent_id, new):.1f} s")
        return new

    def _break(self, agent_id: str, conversation_id: str, etag: str) -> str:
        card = json.loads(card_for(agent_id))
        card["purpos"] = card.pop("purpose")
        self.say('5. A broken card: "purpos" instead of "purpose".')
        new = self.doors.write_card(agent_id, _to_bytes(card), over=etag)
        status = self._wait_for_status(agent_id, new)
        if status.get("state") != "rejected":
            raise LaptopError(f"the broken card was not refused: {status.get('state')!r}")
        self.say(f"   refused; {self.config_container}/status/agents/{agent_id}.json says:")
        for error in status.get("errors", []):
            self.say(f"     {error.get('path')}: {error.get('message')}; {error.get('hint')}")
        answer = self.doors.ask_http(agent_id, THIRD_QUESTION, conversation_id)
        self.say("   and the old agent still answers:")
        self._quote(answer)
        return new

    def _put_back(self, agent_id: str, original: bytes) -> None:
        """Restore the demonstration's card, unless another writer has changed it."""
        there = self.doors.read_card(agent_id)
        if there is None or there.body == original or not _is_the_storys(there.body, agent_id):
            return
        etag = self.doors.write_card(agent_id, original, over=there.etag)
        self._wait_until_live(agent_id, etag)
        self.say("   (the original card is restored)")

    def _wait_until_live(self, agent_id: str, etag: str) -> float:
        """Wait until the status file reports the upload with this ETag as active; return the
        seconds."""
        began = time.monotonic()
        status = self._wait_for_status(agent_id, etag)
        if status.get("state") != "active":
            raise LaptopError(f"the card of {agent_id!r} is {status.get('state')!r}: {status}")
        return time.monotonic() - began

    def _wait_for_status(self, agent_id: str, etag: str) -> dict[str, Any]:
        deadline = time.monotonic() + LIVE_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            status = self.doors.status(agent_id)
            if status and str(status.get("source_etag", "")).strip('"') == etag.strip('"'):
                return status
            time.sleep(POLL_SECONDS)
        raise LaptopError(
            f"status/agents/{agent_id}.json does not report the upload within "
            f"{LIVE_TIMEOUT_SECONDS:g} s"
        )

    def _quote(self, answer: Answer) -> None:
        status = answer.run.get("status")
        if status in ("queued", "in_progress"):
            seconds = answer.milliseconds / 1000
            raise LaptopError(f"the model needs longer than {seconds:.0f} s here; the run goes on")
        if status not in ("completed", None):
            raise LaptopError(f"the run ended {status}: {answer.text}")
        text = textwrap.shorten(answer.text, 400, placeholder=" …")
        self.say(textwrap.indent(textwrap.fill(text, 90), "     > "))


def card_for(agent_id: str) -> bytes:
    """Return the demonstration's card under that id."""
    return CARD.replace('"agent_id": "ceo"', f'"agent_id": "{agent_id}"').encode()


def curl(main_url: str, agent_id: str, body: str, key_header: str) -> str:
    """Return the command line for one run over HTTP."""
    key = f' -H "{key_header}"' if key_header else ""
    return (
        f"curl -s {main_url}/api/agents/{agent_id}/run -H 'Content-Type: application/json'{key} "
        f"-d '{body}'"
    )


def _to_bytes(card: dict[str, Any]) -> bytes:
    return (json.dumps(card, indent=2) + "\n").encode()


def _is_the_storys(body: bytes, agent_id: str) -> bool:
    """Whether the demonstration itself uploaded these bytes."""
    card = json.loads(card_for(agent_id))
    edited = {**card, "purpose": "Calm advice in few words"}
    broken = {**card, "purpos": card["purpose"]}
    del broken["purpose"]
    return body in (_to_bytes(edited), _to_bytes(broken))

"""Records HTTP answers and events of one filled and one empty world in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aos.domain.envelope import CallTool, Event, ToolResult, read_command, to_realm
from aos.testing import Calls
from tests.golden.kinds import Kind
from tests.golden.messages import RecordingBus
from tests.golden.tool_values import FULL_SERVER
from tests.golden.values import FREE, PARTS
from tests.unit.entrypoints.laptop_in_memory import InMemory, request

_SERVER = {
    "server_id": "github",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-x"],
}
_CARD = {
    "agent_id": "ceo",
    "purpose": "Führt.",
    "mcp_tools": [{"server": "github", "tools": ["create_issue"], "approval": "always"}],
}
_WITHOUT_ADAPTER = {"agent_id": "cfo", "purpose": "Counts.", "adapter_name": "nowhere"}
Answers = dict[str, Any]


class Scene:
    """A world whose answers and events are noted by name."""

    def __init__(self) -> None:
        self.apps = InMemory()
        self.answers: Answers = {}
        self.events = RecordingBus()
        publish = self.apps.bus.publish

        async def note(event: Event) -> None:
            await self.events.publish(event)
            await publish(event)

        self.apps.bus.publish = note  # type: ignore[method-assign]  # to see events before they are bytes

    async def ask(self, name: str, route: Any, method: str = "GET", **given: Any) -> Any:
        """Call a route and note status, headers and body as they are."""
        response = await route(request(method, **given))
        body = response.get_body().decode()
        self.answers[name] = {
            "status": response.status_code,
            "headers": dict(response.headers),
            "body": body,
        }
        return json.loads(body)

    def noted_events(self) -> Answers:
        """The first event of each type."""
        noted: Answers = {}
        for message in self.events.sent:
            noted.setdefault(f"event-{message['subject']}", message)
        return noted


async def filled() -> Answers:
    """A run that asks a person, calls a tool and answers; a card that is refused."""
    scene = Scene()
    apps, main = scene.apps, scene.apps.main
    await apps.config.write("mcp-servers/github.json", json.dumps(_SERVER).encode())
    await apps.world.tools.put(FULL_SERVER)
    await apps.put(_CARD)
    apps.model.then(
        Calls(("github__create_issue", {"title": "Grüße"}), text="Soll ich?"), "Fertig."
    )
    body = {"message": "Tu es.", "conversation_id": "c", "metadata": FREE, "wait_seconds": 0}
    run = await scene.ask(
        "run-accepted", main.runs.start, "POST", body=body, parts={"agent_id": "ceo"}
    )
    await apps.settle()
    run_part = {"run_id": run["run_id"]}
    await scene.ask("run-waiting", main.runs.get, parts=run_part)
    listed = await scene.ask("approvals", main.tools.approvals)
    call_parts = {**run_part, "tool_call_id": listed["items"][0]["tool_call_id"]}
    decision = {"decision": "approve", "reason": "Los."}
    await scene.ask("decision", main.tools.decide, "POST", body=decision, parts=call_parts)
    await apps.settle()
    await _answer_call(apps)
    await scene.ask("run", main.runs.get, parts=run_part)
    await scene.ask("runs", main.runs.list)
    await scene.ask("conversation", main.conversations.get, parts={"conversation_id": "c"})
    await scene.ask("conversations", main.conversations.list)
    await scene.ask("messages", main.conversations.messages, parts={"conversation_id": "c"})
    await scene.ask("tools", main.tools.list)
    await scene.ask("cards", main.agents.list)
    await scene.ask("card", main.agents.get, parts={"agent_id": "ceo"})
    await scene.ask("card-versions", main.agents.versions, parts={"agent_id": "ceo"})
    await scene.ask("error", main.runs.start, "POST", body={"mesage": 1}, parts={"agent_id": "ceo"})
    return {**scene.answers, **scene.noted_events()}


async def _answer_call(apps: InMemory) -> None:
    (kept,) = apps.broker.messages("aos-mcp")
    command = read_command(kept.body)
    assert isinstance(command, CallTool)
    result = ToolResult(
        run_id=command.run_id,
        conversation_id=command.conversation_id,
        tool_call_id=command.tool_call_id,
        outcome="ok",
        content="#1",
        parts=PARTS,
    )
    await apps.bus.send(to_realm(result))
    await apps.settle()


async def empty() -> Answers:
    """A run with nothing but a message, and lists without items."""
    scene = Scene()
    apps, main = scene.apps, scene.apps.main
    await scene.ask("approvals", main.tools.approvals)
    await scene.ask("runs", main.runs.list)
    await scene.ask("conversations", main.conversations.list)
    await scene.ask("tools", main.tools.list)
    await scene.ask("error", main.runs.get, parts={"run_id": "x"})
    await apps.put({"agent_id": "ceo", "purpose": "Lead."})
    apps.model.then("Hi.")
    body = {"message": "Hi", "wait_seconds": 0}
    run = await scene.ask(
        "run-accepted", main.runs.start, "POST", body=body, parts={"agent_id": "ceo"}
    )
    await apps.settle()
    await scene.ask("run", main.runs.get, parts={"run_id": run["run_id"]})
    conversation = {"conversation_id": run["conversation_id"]}
    await scene.ask("conversation", main.conversations.get, parts=conversation)
    await scene.ask("messages", main.conversations.messages, parts=conversation)
    return {**scene.answers, **scene.noted_events()}


async def without_adapter() -> Answers:
    """A run of an agent whose adapter is not deployed."""
    scene = Scene()
    await scene.apps.put(_WITHOUT_ADAPTER)
    body = {"message": "Hi", "wait_seconds": 0}
    route = scene.apps.main.runs.start
    await scene.ask("run-accepted", route, "POST", body=body, parts={"agent_id": "cfo"})
    await scene.apps.settle()
    return scene.noted_events()


_SCENES = {"full": filled, "minimal": empty, "without_adapter": without_adapter}


async def _write(scene: str) -> Mapping[str, Any]:
    return await _SCENES[scene]()


ANSWERS: tuple[Kind, ...] = tuple(
    Kind(name=f"answers/{scene}", examples={scene: scene}, write=_write) for scene in _SCENES
)

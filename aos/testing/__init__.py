"""Tests agents, and what is built around them, without a cloud, a model or a wait. Entry points:
`MemoryWorld`, `ScriptedModel`, `Calls`, `Ask`.

`MemoryWorld` is the real apps on storage and bus in memory, with a clock that moves when the test
moves it. `ScriptedModel` gives the answers that the test wrote down. `Calls` is an answer that asks
for tools, `Ask` what a tool returns to ask a person.

    world = MemoryWorld(model=ScriptedModel("Sell.", "Buy."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    run = await world.ask("ceo", "What now?", conversation_id="board")
    assert run.output == "Sell."
"""

from aos.testing.asking import Ask
from aos.testing.model import Answer, Calls, ScriptedModel
from aos.testing.world import MemoryWorld

__all__ = ["Answer", "Ask", "Calls", "MemoryWorld", "ScriptedModel"]

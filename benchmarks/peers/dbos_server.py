"""Serves agents of pydantic-ai that DBOS makes durable, as DBOS and pydantic-ai document it. Entry
point: `main`.

FastAPI under uvicorn with uvloop; workflows and steps in SQLite, as DBOS keeps them by default; a
conversation's messages in a table of their own, written by the workflow under its own id, so that
they need no step (and no commit of DBOS) of their own. The tool is a function in the same process,
a step. It runs in the virtual environment of requirements.txt:
`python -m benchmarks.peers.dbos_server --model URL --data FOLDER` prints its port.
"""

from __future__ import annotations

import argparse
import socket
import sqlite3
import sys
import uuid
from pathlib import Path
from typing import Any

import uvicorn
from dbos import DBOS, DBOSConfig, SetWorkflowID
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic_ai import Agent, ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.durable_exec.dbos import DBOSDurability
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

KEPT_TURNS = 20
"""The turns of a conversation that the model reads, as in AOS."""


class RunBody(BaseModel):
    """The body of the request, as AOS accepts it."""

    message: str
    conversation_id: str | None = None


class Conversations:
    """The messages of each conversation, in SQLite."""

    def __init__(self, path: Path) -> None:
        self._store = sqlite3.connect(path, check_same_thread=False)
        self._store.execute("PRAGMA journal_mode=WAL")
        self._store.execute("PRAGMA synchronous=NORMAL")
        self._store.execute(
            "CREATE TABLE turns (id INTEGER PRIMARY KEY, run TEXT UNIQUE, conversation TEXT,"
            " messages BLOB)"
        )
        self._store.execute("CREATE INDEX by_conversation ON turns (conversation, id)")
        self._store.commit()

    def read(self, conversation_id: str) -> list[ModelMessage]:
        """Return the messages of the last turns, oldest first."""
        rows = self._store.execute(
            "SELECT messages FROM turns WHERE conversation = ? ORDER BY id DESC LIMIT ?",
            (conversation_id, KEPT_TURNS),
        ).fetchall()
        return [
            message
            for (text,) in reversed(rows)
            for message in ModelMessagesTypeAdapter.validate_json(text)
        ]

    def add(self, conversation_id: str, run_id: str, messages: bytes) -> None:
        """Keep a turn. A second time changes nothing, so a recovered workflow may do it again."""
        self._store.execute(
            "INSERT OR IGNORE INTO turns (run, conversation, messages) VALUES (?, ?, ?)",
            (run_id, conversation_id, messages),
        )
        self._store.commit()


@DBOS.step()
async def echo(message: str) -> str:
    """Echoes back the input."""
    return f"Echo: {message}"


def _make_agents(model_url: str) -> dict[str, Agent[None, str]]:
    model = OpenAIChatModel("instant", provider=OpenAIProvider(base_url=model_url, api_key="none"))
    instructions = "You are bench. Your purpose: Answer at once."
    tools: dict[str, list[Any]] = {"bench": [], "bench-tools": [echo]}
    return {
        name: Agent(
            model,
            name=name,
            instructions=instructions,
            tools=offered,
            capabilities=[DBOSDurability()],
        )
        for name, offered in tools.items()
    }


def create_app(model_url: str, data: Path) -> FastAPI:
    """Make the app and launch DBOS; `data` is a folder for the SQLite files."""
    config: DBOSConfig = {
        "name": "peer",
        "system_database_url": f"sqlite:///{data / 'dbos.sqlite'}",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    agents = _make_agents(model_url)
    conversations = Conversations(data / "conversations.sqlite")

    @DBOS.workflow()
    async def run_agent(
        agent_id: str, run_id: str, conversation_id: str, message: str, history: list[ModelMessage]
    ) -> str:
        result = await agents[agent_id].run(message, message_history=history or None)
        conversations.add(conversation_id, run_id, result.new_messages_json())
        return result.output

    app = FastAPI()

    @app.post("/api/agents/{agent_id}/run")
    async def run(agent_id: str, body: RunBody) -> dict[str, str]:
        run_id = str(uuid.uuid4())
        conversation_id = body.conversation_id or run_id
        history = conversations.read(conversation_id)
        with SetWorkflowID(run_id):
            output = await run_agent(agent_id, run_id, conversation_id, body.message, history)
        return {
            "run_id": run_id,
            "conversation_id": conversation_id,
            "status": "completed",
            "output": output,
        }

    DBOS.launch()
    return app


def main() -> None:
    """Serve on a free port, which is printed first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, type=Path)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    app = create_app(options.model, options.data)
    listener = socket.create_server(("127.0.0.1", 0))
    # asyncio sets this on its own sockets; without it a response waits 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

"""Serves the floor: a turn with only a web framework, a model client and two commits. Entry point:
`create_app`.

It is a small FastAPI app that keeps runs and messages in SQLite. It commits once when the request
arrives and once when the model has answered through the openai client. `python -m benchmarks.floor
--port 0 --model http://127.0.0.1:PORT/v1 --data FILE` prints its port.
"""

from __future__ import annotations

import argparse
import socket
import sqlite3
import sys
import uuid

import openai
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class RunBody(BaseModel):
    """The body of the request, as AOS accepts it."""

    message: str
    conversation_id: str | None = None


def create_app(model_url: str, data: str) -> FastAPI:
    """Make the app; `data` is the SQLite file."""
    app = FastAPI()
    model = openai.AsyncOpenAI(base_url=model_url, api_key="none", max_retries=0)
    store = sqlite3.connect(data, check_same_thread=False)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, conversation TEXT, status TEXT)")
    store.execute("CREATE TABLE messages (conversation TEXT, role TEXT, content TEXT)")
    store.execute("CREATE INDEX by_conversation ON messages (conversation)")
    store.commit()

    @app.post("/api/agents/{agent_id}/run")
    async def run(agent_id: str, body: RunBody) -> dict[str, str]:
        run_id = str(uuid.uuid4())
        conversation = body.conversation_id or run_id
        rows = store.execute(
            "SELECT role, content FROM messages WHERE conversation = ?"
            " ORDER BY rowid DESC LIMIT 40",
            (conversation,),
        ).fetchall()
        store.execute("INSERT INTO runs VALUES (?, ?, 'in_progress')", (run_id, conversation))
        store.execute("INSERT INTO messages VALUES (?, 'user', ?)", (conversation, body.message))
        store.commit()
        history = [{"role": role, "content": content} for role, content in reversed(rows)]
        answer = await model.chat.completions.create(
            model="instant",
            messages=[
                {"role": "system", "content": f"You are {agent_id}."},
                *history,
                {"role": "user", "content": body.message},
            ],
        )
        text = answer.choices[0].message.content or ""
        store.execute("INSERT INTO messages VALUES (?, 'assistant', ?)", (conversation, text))
        store.execute("UPDATE runs SET status = 'completed' WHERE id = ?", (run_id,))
        store.commit()
        return {
            "run_id": run_id,
            "conversation_id": conversation,
            "status": "completed",
            "output": text,
        }

    return app


def main() -> None:
    """Serve on a free port, which is printed first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", options.port))
    # asyncio sets this on its own sockets; without it a response waits 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = create_app(options.model, options.data)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

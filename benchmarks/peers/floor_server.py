"""Serves the bare floor: the least that answers a request over HTTP with a call of the model. Entry
point: `create_app`.

It keeps nothing. It is aiohttp on both sides, with the JSON written by hand, because a client
library costs more than the call. `python -m benchmarks.peers.floor_server --model URL` prints its
port.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

TOOL = {
    "type": "function",
    "function": {
        "name": "echo",
        "description": "Echoes back the input.",
        "parameters": {
            "type": "object",
            "properties": {"message": {"type": "string"}},
            "required": ["message"],
        },
    },
}


def create_app(model_url: str) -> web.Application:
    """Make the app."""
    app = web.Application()
    client: list[aiohttp.ClientSession] = []

    async def keep_client(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            client.append(session)
            yield

    async def ask(body: dict[str, Any]) -> dict[str, Any]:
        async with client[0].post(f"{model_url}/chat/completions", json=body) as response:
            answer = await response.json()
        message: dict[str, Any] = answer["choices"][0]["message"]
        return message

    async def run(request: web.Request) -> web.Response:
        agent_id = request.match_info["agent_id"]
        asked = await request.json()
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": f"You are {agent_id}."},
            {"role": "user", "content": asked["message"]},
        ]
        tools = {"tools": [TOOL]} if agent_id.endswith("-tools") else {}
        message = await ask({"model": "instant", "messages": messages, **tools})
        if calls := message.get("tool_calls"):
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": "Echo: Measured."}
                for call in calls
            ]
            message = await ask(
                {"model": "instant", "messages": [*messages, message, *results], **tools}
            )
        return web.json_response(
            {"run_id": str(uuid.uuid4()), "status": "completed", "output": message["content"]}
        )

    app.cleanup_ctx.append(keep_client)
    app.router.add_post("/api/agents/{agent_id}/run", run)
    return app


async def serve(model_url: str) -> None:
    """Serve on a free port until the process is killed; print the port first."""
    runner = web.AppRunner(create_app(model_url), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    asyncio.run(serve(parser.parse_args().model))

"""A server of the official SDK whose tools ask a person.

python asking_server.py newest|old MARKS

`book` asks by a resolver: a result `input_required` in the newest revision, the request
`elicitation/create` in the older ones. `order` asks twice by that request. Each writes a line into
the file MARKS when it has done its work. `old` knows the old handshake alone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel, Field

server = MCPServer("asking")


class Seat(BaseModel):
    seat: str = Field(pattern="^[0-9]+[A-F]$")
    window: bool = False


class Consent(BaseModel):
    sure: bool


def choose() -> Elicit[Seat]:
    """Ask for the seat."""
    return Elicit("Which seat?", Seat)


def mark(text: str) -> None:
    with Path(sys.argv[2]).open("a") as marks:
        marks.write(f"{text}\n")


@server.tool()
def book(flight: str, seat: Annotated[Seat, Resolve(choose)]) -> str:
    """Book a seat."""
    mark(f"{flight} {seat.seat}")
    return f"booked {seat.seat} on {flight}"


@server.tool()
async def order(item: str, context: Context[Any, Any]) -> str:
    """Order something, after two questions."""
    first = await context.elicit(f"Order {item}?", Consent)
    if first.action != "accept" or not first.data.sure:
        return f"not ordered: {first.action}"
    second = await context.elicit("Really?", Consent)
    if second.action != "accept":
        return f"not really: {second.action}"
    mark(item)
    return f"ordered {item}"


def refuse_the_newest() -> None:
    """Answer `server/discover` with an error, and pass everything else on to the server."""
    source, (reading, writing) = sys.stdin.buffer, os.pipe()

    def run() -> None:
        with os.fdopen(writing, "wb", buffering=0) as sink:
            for line in source:
                message = json.loads(line)
                if message.get("method") != "server/discover":
                    sink.write(line)
                    continue
                error = {"code": -32601, "message": "Method not found"}
                told = {"jsonrpc": "2.0", "id": message["id"], "error": error}
                sys.stdout.write(json.dumps(told) + "\n")
                sys.stdout.flush()

    threading.Thread(target=run, daemon=True).start()
    sys.stdin = os.fdopen(reading, "r")


if __name__ == "__main__":
    if sys.argv[1] == "old":
        refuse_the_newest()
    server.run("stdio")

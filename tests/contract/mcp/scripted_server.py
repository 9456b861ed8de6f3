"""An MCP server that says what a test tells it to say. Standard library only.

python scripted_server.py SCRIPT

SCRIPT is JSON: for each method what is answered. A list answers one request after the other, and
its last answer again. An answer has `result`, `error`, `line` (written as it is, `@ID` is the
request's id), `silent`, `exit`, or `ask` (a request of the server's own, whose answer becomes the
text of the result).
"""

from __future__ import annotations

import json
import sys
from typing import Any

Json = dict[str, Any]
HELLO: Json = {
    "result": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "scripted", "version": "1"},
    }
}
UNKNOWN: Json = {"error": {"code": -32601, "message": "Method not found"}}


def main() -> None:
    script: Json = {"initialize": HELLO, "ping": {"result": {}}, **json.loads(sys.argv[1])}
    turns: dict[str, int] = {}
    asked: Any = None
    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message and asked is not None:
            told = message.get("error") or message.get("result")
            text = {"type": "text", "text": json.dumps(told)}
            say({"jsonrpc": "2.0", "id": asked, "result": {"content": [text]}})
            continue
        if "id" not in message:
            continue
        method = message["method"]
        found: Any = script.get(method, UNKNOWN)
        if isinstance(found, list):
            turn = turns.get(method, 0)
            turns[method] = turn + 1
            found = found[min(turn, len(found) - 1)]
        if "exit" in found:
            sys.exit(int(found["exit"]))
        elif "ask" in found:
            asked = message["id"]
            say({"jsonrpc": "2.0", "id": 1, "method": found["ask"], "params": found["params"]})
        elif "line" in found:
            write(found["line"].replace("@ID", json.dumps(message["id"])) + "\n")
        elif "silent" not in found:
            say({"jsonrpc": "2.0", "id": message["id"], **found})


def say(message: Json) -> None:
    write(json.dumps(message) + "\n")


def write(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

"""Give an agent a tool of an MCP server: two JSON files, then a question.

Needs a running AOS (`make run`) with a model that calls tools: AOS_MODEL_ENDPOINT and AOS_MODEL
name one, since the laptop's own is too small for that. AOS_URL and AOS_KEY point elsewhere.

    python examples/use_a_tool.py "What is 17 plus 25?"
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from aos.client import AosClient

HERE = Path(__file__).parent
WAIT_SECONDS = 60


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "What is 17 plus 25?"
    client = AosClient()
    client.put_mcp_server("everything", (HERE / "everything.json").read_bytes())
    client.put_agent("calculator", (HERE / "calculator.json").read_bytes())
    print("tools:", ", ".join(tools_of("everything", client)))
    run = client.ask("calculator", question)
    print(f"{run['status']}: {run['output']}")
    for message in client.messages(run["conversation_id"]):
        print(f"{message['role']}: {message['content']}")


def tools_of(server_id: str, client: AosClient) -> list[str]:
    """The server's tools, once it has listed them."""
    for _ in range(WAIT_SECONDS):
        for server in client.tools():
            if server["server_id"] == server_id and server["state"] == "ready":
                return [tool["name"] for tool in server["tools"]]
        time.sleep(1)
    raise SystemExit(f"no tools within {WAIT_SECONDS} s: GET /api/tools says why")


if __name__ == "__main__":
    main()

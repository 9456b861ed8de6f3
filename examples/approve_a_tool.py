"""Give an agent the tools of a real MCP server; a person approves each call.

Needs a running AOS (`make run`) whose model calls tools (AOS_MODEL_ENDPOINT; the small one of the
laptop does not), and Node; AOS_URL and AOS_KEY (an admin's) point elsewhere.

    python examples/approve_a_tool.py
"""

from __future__ import annotations

import json
import time

from aos.client import AosClient

SERVER = {
    "server_id": "everything",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-everything"],
}
AGENT = {
    "agent_id": "clerk",
    "purpose": "Add up numbers with your tool, and say what came out.",
    "mcp_tools": [{"server": "everything", "tools": ["get-sum"], "approval": "always"}],
}
WAIT_SECONDS = 120


def main() -> None:
    client = AosClient()
    client.put_mcp_server("everything", SERVER)
    until_ready(client)
    client.put_agent("clerk", AGENT)
    run = client.start("clerk", "What is 2 + 3?")
    while run["status"] not in ("completed", "failed", "cancelled", "timed_out"):
        for call in client.approvals():
            if call["run_id"] == run["run_id"]:
                print(f"approving {call['tool']} {json.dumps(call['arguments'])}")
                client.decide(call["run_id"], call["tool_call_id"], "approve", "looks right")
        time.sleep(0.5)
        run = client.get_run(run["run_id"])
    for message in client.messages(run["conversation_id"]):
        print(f"{message['role']}: {message['content']}")


def until_ready(client: AosClient) -> None:
    for _ in range(WAIT_SECONDS):
        servers = {server["server_id"]: server for server in client.tools()}
        seen = servers.get("everything", {"state": "not seen yet"})
        if seen["state"] == "ready":
            print(f"tools: {', '.join(tool['name'] for tool in seen['tools'])}")
            return
        if seen["state"] == "failed":
            raise SystemExit(seen["error"])
        time.sleep(1)
    raise SystemExit(f"the tools are not listed within {WAIT_SECONDS} s: is mcp running?")


if __name__ == "__main__":
    main()

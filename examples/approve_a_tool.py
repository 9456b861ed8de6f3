"""Give an agent a tool of a real MCP server; a person approves each call.

Needs a running AOS (`make run`) whose model calls tools (AOS_MODEL_ENDPOINT; the small one of the
laptop does not), and Node; AOS_URL and AOS_KEY (an admin's) point elsewhere.
"""

import time
from pathlib import Path

from aos.client import AosClient

CARD = {
    "agent_id": "clerk",
    "purpose": "Add up numbers with your tool, and say what came out.",
    "mcp_tools": [{"server": "everything", "tools": ["get-sum"], "approval": "always"}],
}
client = AosClient()
client.put_mcp_server("everything", Path(__file__).with_name("everything.json").read_bytes())
client.wait_for_tools("everything")
client.put_agent("clerk", CARD)
run = client.ask("clerk", "What is 2 + 3?", stop_for_people=True)
while run["status"] == "waiting_approval":
    for call in [one for one in client.approvals() if one["run_id"] == run["run_id"]]:
        print(f"approving {call['tool']} {call['arguments']}")
        client.approve(call["run_id"], call["tool_call_id"])
    time.sleep(0.5)
    run = client.wait(run["run_id"], stop_for_people=True)
for message in client.messages(run["conversation_id"]):
    print(f"{message['role']}: {message['content']}")

"""Give an agent a tool of an MCP server: two JSON files, then a question.

Needs a running AOS (`make run`) with a model that calls tools: AOS_MODEL_ENDPOINT and AOS_MODEL
name one, since the laptop's own is too small for that. AOS_URL and AOS_KEY point elsewhere.

    python examples/use_a_tool.py
"""

import sys
from pathlib import Path

from aos.client import AosClient

HERE = Path(__file__).parent
client = AosClient()
client.put_mcp_server("everything", (HERE / "everything.json").read_bytes())
client.put_agent("calculator", (HERE / "calculator.json").read_bytes())
server = client.wait_for_tools("everything")
if server["state"] != "ready":
    sys.exit(f"no tools: {server}")
print("tools:", ", ".join(tool["name"] for tool in server["tools"]))
run = client.ask("calculator", "What is 17 plus 25?")
print(f"{run['status']}: {run['output']}")
for message in client.messages(run["conversation_id"]):
    print(f"{message['role']}: {message['content']}")

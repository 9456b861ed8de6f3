"""Ask an agent as a tool of MCP.

Needs a running AOS (`make run`) and `pip install mcp`; AOS_URL and AOS_KEY point elsewhere.

    python examples/mcp_client.py
"""

import asyncio
import os

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

URL = f"{os.environ.get('AOS_URL', 'http://127.0.0.1:7071')}/api/mcp"
HEADERS = {"x-functions-key": os.environ.get("AOS_KEY", "")}


async def main() -> None:
    http = httpx2.AsyncClient(headers=HEADERS, timeout=300)
    async with http, Client(streamable_http_client(URL, http_client=http)) as client:
        print([tool.name for tool in (await client.list_tools()).tools])
        asked = {"message": "What should we do first?", "conversation_id": "example"}
        answer = (await client.call_tool("ask_ceo", asked)).content[0]
        print(answer.text if isinstance(answer, TextContent) else answer)


if __name__ == "__main__":
    asyncio.run(main())

"""Ask an agent with the SDK of A2A (`pip install a2a-sdk`), and print the text as it comes.

Needs a running AOS (`make run`); AOS_URL and AOS_KEY point elsewhere.

    python examples/a2a_client.py [AGENT]
"""

import asyncio
import os
import sys

import httpx
from a2a.client import ClientConfig, create_client
from a2a.helpers import get_stream_response_text, new_text_message
from a2a.types import Role, SendMessageRequest


async def main(agent_id: str) -> None:
    url = os.environ.get("AOS_URL", "http://127.0.0.1:7071")
    headers = {"x-functions-key": os.environ.get("AOS_KEY", "")}
    async with httpx.AsyncClient(headers=headers, timeout=None) as http:
        client = await create_client(f"{url}/api/a2a/{agent_id}", ClientConfig(httpx_client=http))
        message = new_text_message("What should we do first?", role=Role.ROLE_USER)
        async for update in client.send_message(SendMessageRequest(message=message)):
            print(get_stream_response_text(update), end="", flush=True)


asyncio.run(main((sys.argv[1:] or ["ceo"])[0]))

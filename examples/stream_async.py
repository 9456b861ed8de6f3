"""Ask agents at once in asyncio, and print what they write. python stream_async.py [AGENT ...]

Needs a running AOS (`make run`) and `pip install 'aos[async]'`; AOS_URL, AOS_KEY point elsewhere.
"""

import asyncio
import sys

from aos.client import AsyncAosClient


async def tell(client: AsyncAosClient, agent_id: str) -> str:
    """The answer of one agent. A stream that is cut goes on by itself."""
    text = ""
    async for event in client.stream(agent_id, "What should we do first?"):
        if event["type"] == "attempt.started":
            text = ""  # the model is asked again: what it wrote before does not count
        elif event["type"] == "message.delta":
            text += event["data"]["text"]
            print(f"{agent_id}: …{text[-60:]}", flush=True)
    return text


async def main() -> None:
    async with AsyncAosClient() as client:
        telling = (tell(client, agent_id) for agent_id in sys.argv[1:] or ["ceo"])
        print(*await asyncio.gather(*telling), sep="\n")


asyncio.run(main())

"""Talks to an agent through Microsoft Agent Framework: a session is a conversation of AOS.

pip install agent-framework-openai
python examples/agent_framework_client.py http://127.0.0.1:7071 any-key
"""

import asyncio
import sys

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient


async def main(host: str, key: str) -> None:
    """Ask twice; the second answer is streamed."""
    client = OpenAIChatClient(model="ceo", base_url=f"{host}/api/openai/v1", api_key=key)
    agent = Agent(client=client, instructions="Answer in one sentence.")
    session = agent.create_session()

    first = await agent.run("What matters most?", session=session)
    print(first.text)
    stream = agent.run("And what next?", session=session, stream=True)
    final = await stream.get_final_response()
    print(final.text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

"""Talks to an agent through Microsoft Agent Framework: a session is a conversation of AOS.

Needs a running AOS (`make run`) and `pip install agent-framework-openai`; AOS_URL and AOS_KEY
point elsewhere. python examples/agent_framework_client.py
"""

import asyncio
import os

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient

URL = f"{os.environ.get('AOS_URL', 'http://127.0.0.1:7071')}/api/openai/v1"
KEY = os.environ.get("AOS_KEY", "any")


async def main() -> None:
    client = OpenAIChatClient(model="ceo", base_url=URL, api_key=KEY)
    agent = Agent(client=client, instructions="Answer in one sentence.")
    session = agent.create_session()

    first = await agent.run("What matters most?", session=session)
    print(first.text)
    stream = agent.run("And what next?", session=session, stream=True)
    final = await stream.get_final_response()
    print(final.text)


asyncio.run(main())

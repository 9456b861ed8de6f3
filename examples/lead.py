"""Make an agent from Python, ask it, stop it. It lives in AOS, not in this process.

Needs a running AOS (`make run`); AOS_URL and AOS_KEY (an admin's) point elsewhere.

    python examples/lead.py
"""

from __future__ import annotations

import asyncio

from aos import LeadershipAgent


async def main() -> None:
    agent = LeadershipAgent(agent_id="lead", purpose="Choose what a small team builds next")
    await agent.initialize()
    print((await agent.get_status())["state"])
    print(await agent.ask("A faster start or a second language?"))
    await agent.stop()


if __name__ == "__main__":
    asyncio.run(main())

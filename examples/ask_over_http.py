"""Ask an agent over HTTP, twice in one conversation.

Needs a running AOS (`make run`); AOS_URL and AOS_KEY point elsewhere.

    python examples/ask_over_http.py
"""

from __future__ import annotations

import uuid

from aos.client import AosClient


def main() -> None:
    client = AosClient()
    conversation_id = f"example-{uuid.uuid4().hex[:8]}"
    for question in ("What should we do first?", "Why?"):
        run = client.ask("ceo", question, conversation_id=conversation_id)
        print(f"{question}\n  {run['status']}: {run['output']}")
    for message in client.messages(conversation_id):
        print(f"{message['role']}: {message['content']}")


if __name__ == "__main__":
    main()

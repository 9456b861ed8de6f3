"""Talks to an agent through OpenAI's client: streams an answer, and goes on with the conversation.

Needs a running AOS (`make run`) and `pip install openai`; AOS_URL and AOS_KEY point elsewhere.

    python examples/openai_client.py
"""

import os

from openai import OpenAI

URL = f"{os.environ.get('AOS_URL', 'http://127.0.0.1:7071')}/api/openai/v1"


def main() -> None:
    client = OpenAI(base_url=URL, api_key=os.environ.get("AOS_KEY", "any"))
    print("agents:", ", ".join(model.id for model in client.models.list()))

    conversation = client.conversations.create()
    with client.responses.stream(
        model="ceo", input="What matters most?", conversation=conversation.id
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
    second = client.responses.create(model="ceo", input="And next?", conversation=conversation.id)
    print(f"\n{second.output_text}")


main()

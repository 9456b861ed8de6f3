"""Talks to an agent through OpenAI's client: streams an answer, and goes on with the conversation.

pip install openai; python examples/openai_client.py http://127.0.0.1:7071 any-key
"""

import sys

from openai import OpenAI


def main(host: str, key: str) -> None:
    """Ask twice."""
    client = OpenAI(base_url=f"{host}/api/openai/v1", api_key=key)
    print("agents:", ", ".join(model.id for model in client.models.list()))

    conversation = client.conversations.create()
    with client.responses.stream(
        model="ceo", input="What matters most?", conversation=conversation.id
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
    second = client.responses.create(
        model="ceo", input="And what next?", conversation=conversation.id
    )
    print(f"\n{second.output_text}")


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""Talk to an agent over AG-UI, as a front end does.

Needs a running AOS (`make run`) and `pip install httpx httpx-sse`; AOS_URL and AOS_KEY point
elsewhere.

    python examples/ag_ui_client.py
"""

from __future__ import annotations

import os
import uuid

import httpx
from httpx_sse import connect_sse

URL = f"{os.environ.get('AOS_URL', 'http://127.0.0.1:7071')}/api/ag-ui/ceo"
HEADERS = {"x-functions-key": os.environ.get("AOS_KEY", "")}


def main() -> None:
    messages = [{"id": "1", "role": "user", "content": "What should we do first?"}]
    body = {"threadId": uuid.uuid4().hex, "runId": uuid.uuid4().hex, "messages": messages}
    with connect_sse(httpx.Client(timeout=60), "POST", URL, json=body, headers=HEADERS) as stream:
        for event in (sent.json() for sent in stream.iter_sse()):
            print(event.get("delta") or f"\n{event['type']}", end="", flush=True)


if __name__ == "__main__":
    main()

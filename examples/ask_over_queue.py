"""Ask an agent over Service Bus and await the reply that correlates.

Needs a running AOS (`make run`) and `pip install azure-servicebus`; the variable
AZURE_SERVICEBUS_CONNECTION_STRING points elsewhere than to this machine.

    python examples/ask_over_queue.py
"""

from __future__ import annotations

import os

from aos.client import QueueClient

LAPTOP = (
    "Endpoint=sb://127.0.0.1;SharedAccessKeyName=RootManageSharedAccessKey;"
    "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
)


def main() -> None:
    connection = os.environ.get("AZURE_SERVICEBUS_CONNECTION_STRING") or LAPTOP
    with QueueClient(connection_string=connection) as queue:
        reply = queue.ask("ceo", "What should we do first?", metadata={"order": 7})
    print(f"{reply['type']}: {reply['output']}")


if __name__ == "__main__":
    main()

"""How do programs and people outside talk to AOS?

`AosClient` (HTTP), `QueueClient` (Service Bus) and the `aos` command. Needs nothing but the
standard library; `azure-servicebus` only where a queue is used.
"""

from __future__ import annotations

from aos.client.errors import AosClientError, AosUnreachable
from aos.client.http import AosClient
from aos.client.queue import QueueClient

__all__ = ["AosClient", "AosClientError", "AosUnreachable", "QueueClient"]

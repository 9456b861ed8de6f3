"""Connects programs and people to AOS. Entry points: `http.AosClient`, `queue.QueueClient`,
`cli.main`.

The clients need only the standard library, and `azure-servicebus` if a queue is used.
"""

from __future__ import annotations

from aos.client.errors import AosClientError, AosUnreachable
from aos.client.http import AosClient
from aos.client.queue import QueueClient

__all__ = ["AosClient", "AosClientError", "AosUnreachable", "QueueClient"]

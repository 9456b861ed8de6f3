"""Which queues does somebody read?"""

from __future__ import annotations

from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    WAKE_SUBSCRIPTION,
)

QUEUES = (REALM_QUEUE, MAIN_QUEUE, REQUESTS_QUEUE, MCP_QUEUE, WAKE_SUBSCRIPTION)

"""Says how long a caller may wait for an answer over HTTP. Entry point: `LONGEST_WAIT_SECONDS`."""

from __future__ import annotations

MOST_ASKED_SECONDS = 230
"""The longest wait that a request may ask for: Azure's load balancer ends a request then."""
LONGEST_WAIT_SECONDS = 220
"""The longest wait that is granted, so that AOS answers before the load balancer does."""

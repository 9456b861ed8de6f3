"""Says how long the client waits unless it is told otherwise. Entry points: `CALL_SECONDS`,
`RUN_SECONDS`."""

from __future__ import annotations

CALL_SECONDS = 30.0
"""For one call of an app or of Service Bus."""
RUN_SECONDS = 30 * 60.0
"""For a run's end."""
SILENCE_SECONDS = 45.0
"""For the next byte of an event stream. AOS sends a comment every 15 s: the connection is dead."""

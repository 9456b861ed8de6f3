"""Says how long work waits for its next try, and when it gives up. Entry points: `retry_pause`,
`GIVE_UP_AT_DELIVERY`,
`MAX_DELIVERY_COUNT`."""

from __future__ import annotations

from datetime import timedelta

RETRY_MINUTES = (1, 2, 4, 8, 15)
"""The pauses between tries while something is away; the last one repeats."""
GIVE_UP_AT_DELIVERY = 6
"""The delivery at which a handler ends what it cannot do. The broker's MaxDeliveryCount is larger,
so that the message is not dead-lettered before."""
MAX_DELIVERY_COUNT = 10
"""The broker's MaxDeliveryCount in infra/servicebus.json: this delivery is a message's last."""


def retry_pause(failures: int) -> timedelta:
    """Return the pause before the next try; `failures` is the number of earlier failures."""
    return timedelta(minutes=RETRY_MINUTES[min(failures, len(RETRY_MINUTES) - 1)])

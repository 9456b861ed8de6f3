"""Collects the sockets that the Service Bus SDK leaves open. Entry point: `collect_sdk_sockets`."""

from __future__ import annotations

import gc
import warnings


def collect_sdk_sockets() -> None:
    """Collect them now, and not in the middle of another test.

    The SDK leaves the socket of a refused or broken connection to the garbage collector.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()

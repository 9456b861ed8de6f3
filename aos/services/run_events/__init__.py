"""Reads the events of runs, and follows them as they happen. Entry point: `RunEvents`."""

from aos.services.run_events.reader import RunEvents as RunEvents

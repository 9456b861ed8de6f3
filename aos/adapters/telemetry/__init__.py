"""Writes log lines, custom events and spans. Entry point: `reporting.make_telemetry`."""

"""Adapters: each implements ports with one SDK, or in memory. Entry points: `tables.azure`,
`blobs`, `bus`, `model`, `mcp`, `telemetry`, `memory`."""

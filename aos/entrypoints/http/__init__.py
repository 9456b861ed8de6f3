"""Turns HTTP requests into answers: calls a service, writes the response. Entry points:
`calls.Door`, `runs`, `cards`, `tools`."""

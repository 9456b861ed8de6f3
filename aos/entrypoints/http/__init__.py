"""Turns HTTP requests into answers: calls a service, writes the response. Entry points:
`responder.HttpResponder`, `runs`, `cards`, `tools`."""

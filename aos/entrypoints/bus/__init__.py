"""Handles and settles Service Bus messages: calls a service, settles the message. Entry points:
`settling`, `commands`, `requests`, `tools`."""

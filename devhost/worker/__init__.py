"""Runs the apps under Microsoft's own Python worker on this machine. Entry point:
`invoker.load_in_worker`.

The local Functions host sends each call to a process that runs `azure-functions-runtime`, with the
messages that Azure's host sends.
"""

"""How do the apps run under Microsoft's own Python worker on this machine?

The local Functions host sends each call to a process that runs `azure-functions-runtime`, in the
messages that Azure's host sends.
"""

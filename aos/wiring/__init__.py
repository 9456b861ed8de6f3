"""Makes each app from a `World` of ports, services and entry points included. Begin with `main`.

Importing an app's module costs little: the app imports its services when it first uses them, so
that `GET /api/status` answers before.
"""

"""Makes each app from a `World` of ports, services and entry points included. Entry points:
`main.Main`, `realm.Realm`, `mcp.Mcp`, `world.World`.

Importing an app's module costs little: the app imports its services when it first uses them, so
that `GET /api/status` answers before.
"""

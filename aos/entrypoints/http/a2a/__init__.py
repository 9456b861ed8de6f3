"""Serves agents to clients of A2A 1.0. Entry point: `routes.A2aRoutes`."""

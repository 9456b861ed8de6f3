"""Serves agents to clients of AG-UI 1.0. Entry point: `routes.AgUiRoutes`."""

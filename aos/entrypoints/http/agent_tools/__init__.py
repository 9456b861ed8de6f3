"""Serves agents as tools to clients of MCP. Entry point: `routes.AgentToolRoutes`."""

"""Runs MCP servers and calls their tools. Entry point: `servers.McpServers`.

The official `mcp` SDK speaks the protocol. AOS starts the processes, limits them and ends them.
"""

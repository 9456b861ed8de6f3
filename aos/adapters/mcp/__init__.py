"""How does AOS run MCP servers and call their tools?

The official `mcp` SDK speaks the protocol; the processes, their bounds and their ends are ours.
"""

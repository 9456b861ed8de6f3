"""A server of tools for MCP's own conformance tests. `python plain_server.py`."""

from __future__ import annotations

import mcp_types as types
from mcp.server.mcpserver import MCPServer

server = MCPServer("plain")
PICTURE = types.ImageContent(
    type="image",
    data="iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    mime_type="image/png",
)


def text(said: str) -> types.TextContent:
    return types.TextContent(type="text", text=said)


def resource(uri: str, kind: str, said: str) -> types.EmbeddedResource:
    held = types.TextResourceContents(uri=uri, mime_type=kind, text=said)
    return types.EmbeddedResource(type="resource", resource=held)


@server.tool(description="Says a text.")
def test_simple_text() -> types.CallToolResult:
    said = "This is a simple text response for testing."
    return types.CallToolResult(content=[text(said)])


@server.tool(description="Shows a picture.")
def test_image_content() -> types.CallToolResult:
    return types.CallToolResult(content=[PICTURE])


@server.tool(description="Makes a sound.")
def test_audio_content() -> types.CallToolResult:
    sound = types.AudioContent(type="audio", data="UklGRg==", mime_type="audio/wav")
    return types.CallToolResult(content=[sound])


@server.tool(description="Gives a resource.")
def test_embedded_resource() -> types.CallToolResult:
    said = "This is an embedded resource content."
    held = resource("test://embedded-resource", "text/plain", said)
    return types.CallToolResult(content=[held])


@server.tool(description="Gives three kinds of content.")
def test_multiple_content_types() -> types.CallToolResult:
    held = resource("test://mixed-content-resource", "application/json", '{"test":"data"}')
    return types.CallToolResult(content=[text("Multiple content types test:"), PICTURE, held])


@server.tool(description="Fails.")
def test_error_handling() -> types.CallToolResult:
    said = "This tool intentionally returns an error for testing"
    return types.CallToolResult(is_error=True, content=[text(said)])


if __name__ == "__main__":
    server.run("stdio")

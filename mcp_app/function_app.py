"""mcp owns the MCP server processes; for now it says how it is. Every trigger, no logic."""

import azure.functions as func

from aos.bootstrap import mcp_app

mcp = mcp_app()
app = func.FunctionApp(http_auth_level=mcp.caller_level)


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return await mcp.about.health(req)


@app.route("status", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def status(req: func.HttpRequest) -> func.HttpResponse:
    return await mcp.about.status(req)

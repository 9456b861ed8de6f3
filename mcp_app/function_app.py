"""The triggers of mcp, which owns the MCP servers and calls their tools. Entry point: `app`."""

import azure.functions as func

from aos.bootstrap import mcp_app

mcp = mcp_app()
app = func.FunctionApp(http_auth_level=mcp.caller_level)


@app.route("health", auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return await mcp.about.health(req)


@app.route("status", auth_level=func.AuthLevel.ANONYMOUS)
async def status(req: func.HttpRequest) -> func.HttpResponse:
    return await mcp.about.status(req)


@app.route("mcp/{server_id}")
async def mcp_door(req: func.HttpRequest) -> func.HttpResponse:
    return await mcp.exposed.serve(req)


@app.service_bus_queue_trigger(
    arg_name="msg",
    queue_name="aos-mcp",
    connection="AZURE_SERVICEBUS_CONNECTION_STRING",
    data_type=func.DataType.BINARY,
)
async def call_tool(msg: func.ServiceBusMessage) -> None:
    await mcp.commands.handle(msg)


@app.service_bus_topic_trigger(
    arg_name="msg",
    topic_name="system-events",
    subscription_name="mcp",
    connection="AZURE_SERVICEBUS_CONNECTION_STRING",
    data_type=func.DataType.BINARY,
)
async def system_event(msg: func.ServiceBusMessage) -> None:
    await mcp.events.handle(msg)


@app.timer_trigger(arg_name="timer", schedule=mcp.listing_schedule)
async def list_tools(timer: func.TimerRequest) -> None:
    await mcp.listing_timer.tick(timer)

"""The triggers of realm, which advances runs, one command at a time for each conversation. Entry
point: `app`."""

import azure.functions as func

from aos.bootstrap import realm_app

realm = realm_app()
app = func.FunctionApp(http_auth_level=realm.caller_level)


@app.route("health", auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return await realm.about.health(req)


@app.route("status", auth_level=func.AuthLevel.ANONYMOUS)
async def status(req: func.HttpRequest) -> func.HttpResponse:
    return await realm.about.status(req)


@app.service_bus_queue_trigger(
    arg_name="msg",
    queue_name="aos-realm",
    connection="AZURE_SERVICEBUS_CONNECTION_STRING",
    is_sessions_enabled=True,
    data_type=func.DataType.BINARY,
)
async def advance(msg: func.ServiceBusMessage) -> None:
    await realm.commands.handle(msg)

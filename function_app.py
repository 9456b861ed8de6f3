"""The triggers of main, which admits requests, answers callers and publishes the catalog. Entry
point: `app`."""

import azure.functions as func

from aos.bootstrap import main_app

main = main_app()
app = func.FunctionApp(http_auth_level=main.caller_level)


# Runs


@app.route("agents/{agent_id}/run", methods=["POST"])
async def run_agent(req: func.HttpRequest) -> func.HttpResponse:
    return await main.runs.start(req)


@app.route("runs", methods=["GET"])
async def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    return await main.runs.list(req)


@app.route("runs/{run_id}", methods=["GET"])
async def get_run(req: func.HttpRequest) -> func.HttpResponse:
    return await main.runs.get(req)


@app.route("runs/{run_id}/events", methods=["GET"])
async def list_run_events(req: func.HttpRequest) -> func.HttpResponse:
    return await main.run_events.get(req)


@app.route("runs/{run_id}/cancel", methods=["POST"])
async def cancel_run(req: func.HttpRequest) -> func.HttpResponse:
    return await main.runs.cancel(req)


@app.route("runs/{run_id}/replay", methods=["POST"])
async def replay_run(req: func.HttpRequest) -> func.HttpResponse:
    return await main.replays.one(req)


@app.route("runs/replay", methods=["POST"])
async def replay_runs(req: func.HttpRequest) -> func.HttpResponse:
    return await main.replays.many(req)


# Doors for clients of other protocols


@app.route("ag-ui/{agent_id}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def ag_ui_run(req: func.HttpRequest) -> func.HttpResponse:
    return await main.ag_ui.run(req)


@app.route("mcp", auth_level=func.AuthLevel.ANONYMOUS)
async def agent_tools(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agent_tools.serve(req)


# Conversations


@app.route("conversations", methods=["GET"])
async def list_conversations(req: func.HttpRequest) -> func.HttpResponse:
    return await main.conversations.list(req)


@app.route("conversations/{conversation_id}", methods=["GET"])
async def get_conversation(req: func.HttpRequest) -> func.HttpResponse:
    return await main.conversations.get(req)


@app.route("conversations/{conversation_id}", methods=["DELETE"])
async def delete_conversation(req: func.HttpRequest) -> func.HttpResponse:
    return await main.conversations.delete(req)


@app.route("conversations/{conversation_id}/messages", methods=["GET"])
async def list_messages(req: func.HttpRequest) -> func.HttpResponse:
    return await main.conversations.messages(req)


# Tools


@app.route("tools", methods=["GET"])
async def list_tools(req: func.HttpRequest) -> func.HttpResponse:
    return await main.tools.list(req)


@app.route("approvals", methods=["GET"])
async def list_approvals(req: func.HttpRequest) -> func.HttpResponse:
    return await main.tools.approvals(req)


@app.route("runs/{run_id}/approvals/{tool_call_id}", methods=["POST"])
async def decide_approval(req: func.HttpRequest) -> func.HttpResponse:
    return await main.tools.decide(req)


@app.route("questions", methods=["GET"])
async def list_questions(req: func.HttpRequest) -> func.HttpResponse:
    return await main.questions.list(req)


@app.route("runs/{run_id}/questions/{question_id}", methods=["POST"])
async def answer_question(req: func.HttpRequest) -> func.HttpResponse:
    return await main.questions.answer(req)


# Cards


@app.route("agents", methods=["GET"])
async def list_agents(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agents.list(req)


@app.route("agents/{agent_id}", methods=["GET"])
async def get_agent(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agents.get(req)


@app.route("agents/{agent_id}", methods=["PUT"])
async def put_agent(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agents.put(req)


@app.route("agents/{agent_id}", methods=["DELETE"])
async def delete_agent(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agents.delete(req)


@app.route("agents/{agent_id}/versions", methods=["GET"])
async def list_agent_versions(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agents.versions(req)


@app.route("agents/{agent_id}/rollback", methods=["POST"])
async def rollback_agent(req: func.HttpRequest) -> func.HttpResponse:
    return await main.agents.rollback(req)


@app.route("mcp-servers", methods=["GET"])
async def list_mcp_servers(req: func.HttpRequest) -> func.HttpResponse:
    return await main.mcp_servers.list(req)


@app.route("mcp-servers/{server_id}", methods=["GET"])
async def get_mcp_server(req: func.HttpRequest) -> func.HttpResponse:
    return await main.mcp_servers.get(req)


@app.route("mcp-servers/{server_id}", methods=["PUT"])
async def put_mcp_server(req: func.HttpRequest) -> func.HttpResponse:
    return await main.mcp_servers.put(req)


@app.route("mcp-servers/{server_id}", methods=["DELETE"])
async def delete_mcp_server(req: func.HttpRequest) -> func.HttpResponse:
    return await main.mcp_servers.delete(req)


@app.route("mcp-servers/{server_id}/versions", methods=["GET"])
async def list_mcp_server_versions(req: func.HttpRequest) -> func.HttpResponse:
    return await main.mcp_servers.versions(req)


@app.route("mcp-servers/{server_id}/rollback", methods=["POST"])
async def rollback_mcp_server(req: func.HttpRequest) -> func.HttpResponse:
    return await main.mcp_servers.rollback(req)


# Dead letters


@app.route("dead-letters", methods=["GET"])
async def list_dead_letters(req: func.HttpRequest) -> func.HttpResponse:
    return await main.dead_letters.list(req)


@app.route("dead-letters/replay", methods=["POST"])
async def replay_dead_letter(req: func.HttpRequest) -> func.HttpResponse:
    return await main.dead_letters.replay(req)


@app.route("dead-letters", methods=["DELETE"])
async def purge_dead_letter(req: func.HttpRequest) -> func.HttpResponse:
    return await main.dead_letters.purge(req)


# A2A


@app.route("a2a/{agent_id}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def a2a(req: func.HttpRequest) -> func.HttpResponse:
    return await main.a2a.rpc(req)


@app.route(
    "a2a/{agent_id}/.well-known/agent-card.json",
    methods=["GET"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def a2a_card(req: func.HttpRequest) -> func.HttpResponse:
    return await main.a2a.card(req)


@app.route("a2a/{agent_id}/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
async def a2a_rest(req: func.HttpRequest) -> func.HttpResponse:
    return await main.a2a.rest(req)


# Operations and the contract


@app.route("usage", methods=["GET"])
async def get_usage(req: func.HttpRequest) -> func.HttpResponse:
    return await main.usage.get(req)


@app.route("ops/pause", methods=["POST"])
async def pause(req: func.HttpRequest) -> func.HttpResponse:
    return await main.operations.pause(req)


@app.route("ops/resume", methods=["POST"])
async def resume(req: func.HttpRequest) -> func.HttpResponse:
    return await main.operations.resume(req)


@app.route("health", auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return await main.about.health(req)


@app.route("status", auth_level=func.AuthLevel.ANONYMOUS)
async def status(req: func.HttpRequest) -> func.HttpResponse:
    return await main.about.status(req)


@app.route("openapi.json", methods=["GET"])
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    return await main.contract.openapi(req)


@app.route("schemas/{name}.json", methods=["GET"])
async def get_schema(req: func.HttpRequest) -> func.HttpResponse:
    return await main.contract.schema(req)


@app.route("console", auth_level=func.AuthLevel.ANONYMOUS)
async def console(req: func.HttpRequest) -> func.HttpResponse:
    return await main.console.page(req)


@app.route("console/{file}", auth_level=func.AuthLevel.ANONYMOUS)
async def console_file(req: func.HttpRequest) -> func.HttpResponse:
    return await main.console.file(req)


# The host tries routes in the order of the function names (case ignored, `_` after letters), so a
# route that matches everything must have the last name.
# Doors: they check keys themselves, where clients of their protocols send them


@app.route("openai/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
async def openai_door(req: func.HttpRequest) -> func.HttpResponse:
    return await main.openai.answer(req)


@app.route(
    "agents/{agent_id}/endpoint/protocols/openai/{*path}", auth_level=func.AuthLevel.ANONYMOUS
)
async def openai_agent_door(req: func.HttpRequest) -> func.HttpResponse:
    return await main.openai.answer_for_agent(req)


# Everything else


@app.route("{*path}")
async def z_not_found(req: func.HttpRequest) -> func.HttpResponse:
    return await main.contract.not_found(req)


# Service Bus


@app.service_bus_queue_trigger(
    arg_name="msg",
    queue_name="aos-requests",
    connection="AZURE_SERVICEBUS_CONNECTION_STRING",
    data_type=func.DataType.BINARY,
)
async def request(msg: func.ServiceBusMessage) -> None:
    await main.requests.handle(msg)


@app.service_bus_queue_trigger(
    arg_name="msg",
    queue_name="aos-main",
    connection="AZURE_SERVICEBUS_CONNECTION_STRING",
    data_type=func.DataType.BINARY,
)
async def command(msg: func.ServiceBusMessage) -> None:
    await main.commands.handle(msg)


@app.service_bus_topic_trigger(
    arg_name="msg",
    topic_name="agent-events",
    subscription_name="wake",
    connection="AZURE_SERVICEBUS_CONNECTION_STRING",
    data_type=func.DataType.BINARY,
)
async def agent_event(msg: func.ServiceBusMessage) -> None:
    await main.agent_events.handle(msg)


# Storage queue


@app.queue_trigger(
    arg_name="msg", queue_name="aos-jobs", connection="AZURE_STORAGE_CONNECTION_STRING"
)
async def archive(msg: func.QueueMessage) -> None:
    await main.jobs.handle(msg)


# Timers


@app.timer_trigger(arg_name="timer", schedule=main.catalog_schedule)
async def publish_catalog(timer: func.TimerRequest) -> None:
    await main.catalog_timer.tick(timer)


@app.timer_trigger(arg_name="timer", schedule=main.mender_schedule)
async def mend(timer: func.TimerRequest) -> None:
    await main.housekeeping.tick(timer)

"""The three packages under Microsoft's worker: index, runs by both doors, a call that fails."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest

from devhost.worker.client import Worker, WorkerFailure
from devhost.worker.messages import messages
from tests.e2e.road import eventually
from tests.infra.packages.packing import APPS
from tests.trigger_table import Trigger, documented_triggers, rows_of
from tests.worker.packaged import Packaged

LAPTOP = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
IN_AZURE = {
    "AZURE_SERVICEBUS_CONNECTION_STRING": (
        "Endpoint=sb://x.example/;SharedAccessKeyName=k;SharedAccessKey=s"
    ),
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=x;AccountKey=s",
}
NO_OBJECT = b"[1, 2]"


def indexed(python: Path, folder: Path, settings: dict[str, str]) -> dict[str, Trigger]:
    """The trigger of each function, as the worker tells the host."""
    worker = Worker.start(python, folder, {"PATH": os.environ["PATH"], **settings})
    worker.stop()
    found = {}
    for function in worker.functions:
        bindings = [json.loads(text) for text in function.raw_bindings]
        (found[function.name],) = (one for one in bindings if one["type"].endswith("Trigger"))
    return found


def test_the_worker_indexes_what_the_trigger_table_says(worker_python: Path, build: Path) -> None:
    found: set[tuple[str, ...]] = set()
    for app in APPS:
        here = indexed(worker_python, build / app, LAPTOP)
        found |= rows_of(app, here, indexed(worker_python, build / app, IN_AZURE))
    assert found == documented_triggers()


def test_a_package_on_another_apps_site_is_not_indexed_and_says_why(
    worker_python: Path, build: Path
) -> None:
    with pytest.raises(WorkerFailure, match="this package is main, this site is realm"):
        indexed(worker_python, build / "main", {**LAPTOP, "AOS_APP": "realm"})


def test_a_run_over_http_ends_with_the_models_answer(packaged: Packaged) -> None:
    packaged.road.live("ceo")
    answer = packaged.road.ask("ceo", "Who are you?")
    assert (answer.status, answer.body["status"]) == (200, "completed")
    assert answer.body["output"].endswith("last: Who are you?")
    assert packaged.road.call("GET", "/api/nothing-here").status == 404


def test_a_run_over_the_queue_ends_with_one_reply(packaged: Packaged) -> None:
    packaged.road.live("cfo")
    sent = packaged.road.request("cfo", "What is left?")
    reply = packaged.road.reply_to(sent, seconds=40)
    assert reply["status"] == "completed"
    assert reply["output"].endswith("last: What is left?")


def test_a_call_that_raises_fails_and_its_message_is_abandoned_until_it_is_dead(
    packaged: Packaged,
) -> None:
    packaged.road.send(NO_OBJECT)
    (dead,) = eventually(packaged.road.dead_letters, seconds=40, what="the dead letter")
    assert b"".join(dead.body) == NO_OBJECT
    assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"
    # What the host was told: the worker's own words for a failed invocation.
    assert "WorkerFailure: Unreadable: the body is not a JSON object" in packaged.logs[
        "main"
    ].read_text("utf-8")


async def test_a_function_that_raises_gives_a_failed_result(
    worker_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "function_app.py").write_text(RAISING)
    worker = Worker.start(worker_python, tmp_path, {"PATH": os.environ["PATH"]})
    body = messages.TypedData(bytes=b"any")
    request = messages.InvocationRequest(
        invocation_id=str(uuid.uuid4()),
        function_id=worker.functions[0].function_id,
        input_data=[messages.ParameterBinding(name="msg", data=body)],
        trigger_metadata={
            "MessageId": messages.TypedData(string="m-1"),
            "UserProperties": messages.TypedData(json="{}"),
        },
    )
    try:
        with pytest.raises(WorkerFailure, match="ValueError: cannot take m-1"):
            await worker.invoke(request)
    finally:
        worker.stop()


RAISING = """
import azure.functions as func

app = func.FunctionApp()


@app.service_bus_queue_trigger(
    arg_name="msg", queue_name="q", connection="BUS", data_type=func.DataType.BINARY
)
async def take(msg: func.ServiceBusMessage) -> None:
    raise ValueError(f"cannot take {msg.message_id}")
"""

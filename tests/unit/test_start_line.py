"""The first line of an app's log says what started; every line of a run's work has its id."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos import __version__
from aos.bootstrap import main_app, mcp_app, realm_app
from aos.errors import TransientError
from aos.testing import MemoryWorld, ScriptedModel

ENVIRONMENT = {
    "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
    "AZURE_SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://127.0.0.1;SharedAccessKeyName=n;"
    "SharedAccessKey=planted;UseDevelopmentEmulator=true;",
    "AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true",
    "AOS_MODEL_ENDPOINT": "http://127.0.0.1:9/v1",
    "AOS_MODEL_API_KEY": "planted-too",
}


@pytest.mark.parametrize(
    ("make", "name"), [(main_app, "main"), (realm_app, "realm"), (mcp_app, "mcp")]
)
def test_an_app_that_starts_says_its_version_and_which_settings_are_set(
    make: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        make(ENVIRONMENT)
    (line,) = [text for text in caplog.messages if "app_started" in text]
    assert "planted" not in line
    assert json.loads(line) | {"timestamp": ""} == {
        "event": "app_started",
        "level": "info",
        "timestamp": "",
        "app": name,
        "environment": "dev",
        "version": __version__,
        "auth": "off",
        "settings": ["AOS_MODEL_API_KEY", "AOS_MODEL_ENDPOINT"],
    }


async def test_each_line_about_a_run_has_its_id() -> None:
    world = MemoryWorld(model=ScriptedModel(TransientError("the model is away")))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    world.telemetry.lines.clear()
    run = await world.ask("ceo", "Hi", key="k")
    assert [line["event"] for line in world.telemetry.lines] != []
    assert {line.get("run_id") for line in world.telemetry.lines} == {run.run_id}

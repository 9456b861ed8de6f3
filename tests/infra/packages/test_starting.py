"""Each app starts from its package on the local host, with only its requirements.txt installed.

The Python that runs it has no site-packages: it sees links to the distributions that the lock of
this app names, the local host, and the package. What is imported beyond that fails. Azurite and the
local Service Bus are real.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devhost.laptop import Laptop
from devhost.ports import HOST, Ports
from tests.infra.packages.packing import (
    APPS,
    host_alone,
    requirements_of,
    site_packages_of,
    staged_packages,
    start,
)
from tests.scripted_model import echo, running_model

START_SECONDS = 40.0
STOP_SECONDS = 20.0
CARD = {"agent_id": "ceo", "purpose": "Answer."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The packages, what a Python that runs one may see, and where logs go."""

    build: Path
    sees: dict[str, tuple[Path, ...]]
    logs: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("starting")
    host = host_alone(folder / "host")
    sees = {app: (site_packages_of(app, folder / "sees" / app), host) for app in APPS}
    return Places(build=staged_packages(tmp_path_factory), sees=sees, logs=folder)


@contextmanager
def running(app: str, places: Places, *, port: int, settings: dict[str, str]) -> Iterator[str]:
    """The app from its package: the base URL, once its status answers."""
    log = places.logs / f"{app}.log"
    process = start(
        places.build / app, sees=places.sees[app], port=port, settings=settings, log=log
    )
    try:
        url = f"http://{HOST}:{port}"
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text("utf-8")
            try:
                ask(f"{url}/api/status")
                break
            except OSError:
                assert time.monotonic() < deadline, log.read_text("utf-8")
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(url: str, body: object | None = None, method: str | None = None) -> dict[str, Any]:
    """The JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def test_the_three_packages_answer_together_with_only_their_own_requirements(
    places: Places,
) -> None:
    ports = Ports.free()
    with running_model() as model, ExitStack() as stack:
        model.always(echo)
        laptop = stack.enter_context(
            Laptop(root=places.logs / "data", model_endpoint=model.endpoint, apps=())
        )
        settings = {
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            "AzureWebJobsStorage": laptop.storage_connection_string,
            "AZURE_STORAGE_CONNECTION_STRING": laptop.storage_connection_string,
            "AZURE_SERVICEBUS_CONNECTION_STRING": laptop.servicebus_connection_string,
            "AOS_MODEL_ENDPOINT": model.endpoint,
            "AOS_MODEL_API_KEY": "local",
        }
        urls = {
            app: stack.enter_context(
                running(
                    app,
                    places,
                    port=getattr(ports, app),
                    settings={**settings, "AOS_APP": app},
                )
            )
            for app in APPS
        }
        for url in urls.values():
            assert ask(f"{url}/api/health")["status"] == "healthy"
        ask(f"{urls['main']}/api/agents/ceo", CARD, "PUT")
        run = ask(f"{urls['main']}/api/agents/ceo/run", {"message": "Who are you?"})
        assert (run["status"], run["error"]) == ("completed", None)
        assert run["output"]


@pytest.mark.parametrize(
    ("package_of", "site"), [("main", "mcp"), ("mcp", "realm"), ("realm", "main")]
)
def test_a_package_on_another_apps_site_refuses_to_start_and_says_what_to_publish(
    places: Places, package_of: str, site: str
) -> None:
    log = places.logs / f"{package_of}-on-{site}.log"
    settings = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "AOS_APP": site}
    process = start(
        places.build / package_of, sees=places.sees[package_of], port=0, settings=settings, log=log
    )
    try:
        assert process.wait(START_SECONDS) == 1
    finally:
        process.kill()
        process.wait()
    said = log.read_text("utf-8")
    expected = f"this package is {package_of}, this site is {site} (AOS_APP): publish build/{site}"
    assert expected in said


def test_only_mcp_brings_the_mcp_sdk_and_no_app_that_of_openai() -> None:
    assert [app for app in APPS if "mcp" in requirements_of(app)] == ["mcp"]
    assert [app for app in APPS if "openai" in requirements_of(app)] == []

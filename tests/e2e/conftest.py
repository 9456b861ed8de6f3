"""One laptop for all end-to-end tests: real storage, real bus, three apps, a scripted model."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devhost.apps import BUS_CONFIG
from devhost.laptop import REPOSITORY, Laptop
from tests.contract.mcp.kit import ASKING, NASTY
from tests.e2e.road import Road
from tests.scripted_model import Request, Say, ScriptedModel, echo, running_model

LOCK_DURATION = "PT5S"
"""Azure's minute would make every test that kills a process wait for one."""
SERVED = ("scripted", "lora-ceo")
MCP_ALLOWED = f"npx -y @modelcontextprotocol/;{sys.executable} {NASTY};{sys.executable} {ASKING}"

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(slots=True)
class Hold:
    """Requests that the model has taken and does not answer."""

    model: ScriptedModel
    before: int

    def wait_for(self, count: int, *, seconds: float) -> None:
        """Wait until so many requests are held."""
        self.model.wait_for(self.before + count, seconds=seconds)


class Model:
    """The scripted model as these tests speak of it."""

    def __init__(self, server: ScriptedModel) -> None:
        self.server = server

    def says(self, text: str) -> None:
        """Answer this from now on."""
        self.server.always(Say(text))

    def answers_with(
        self, rule: Callable[[list[dict[str, Any]]], str], *, delay: float = 0.0
    ) -> None:
        """Answer what the rule makes of the messages, after `delay` seconds."""
        self.server.always(lambda request: Say(rule(request.messages), delay=delay))

    def fails(self, status: int, *, times: int) -> None:
        """Answer the next requests with an error."""
        self.server.script(*(Say(status=status, body={"error": {"message": "no"}}),) * times)

    @property
    def last_messages(self) -> list[dict[str, Any]]:
        """The messages of the last request."""
        return self.server.requests[-1].messages

    def asked(self, text: str) -> int:
        """How often it was asked with this text in the last message."""
        return sum(_is_about(request, text) for request in self.server.requests)

    @contextlib.contextmanager
    def held(self) -> Iterator[Hold]:
        """Take requests and answer none until the block ends."""
        hold = Hold(self.server, len(self.server.requests))
        self.server.hold()
        try:
            yield hold
        finally:
            self.server.release()


def _is_about(request: Request, text: str) -> bool:
    return bool(request.messages) and text in request.messages[-1]["content"]


@pytest.fixture(scope="session")
def model_server() -> Iterator[ScriptedModel]:
    with running_model(models=SERVED) as server:
        yield server


@pytest.fixture
def model(model_server: ScriptedModel) -> Iterator[Model]:
    yield Model(model_server)
    model_server.always(echo)


@pytest.fixture(scope="session")
def laptop(
    model_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Laptop]:
    root = tmp_path_factory.mktemp("laptop")
    running = Laptop(
        root=root,
        model_endpoint=model_server.endpoint,
        servicebus_config=short_locks(root),
        settings={
            "AOS_MODEL": "scripted",
            "AOS_MCP_ALLOWED": MCP_ALLOWED,
            "AOS_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "AOS_WEBHOOK_HOSTS": "127.0.0.1",
            "AOS_QUEUE_MAY_ACT_FOR": "local",
        },
    )
    with running:
        yield running


@pytest.fixture(scope="session")
def road(laptop: Laptop) -> Iterator[Road]:
    found = Road(laptop)
    yield found
    found.close()


def short_locks(folder: Path) -> Path:
    """The product's own bus entities with locks of five seconds: the file."""
    config = json.loads((REPOSITORY / BUS_CONFIG).read_text("utf-8"))
    (namespace,) = config["UserConfig"]["Namespaces"]
    entities = [*namespace["Queues"]]
    for topic in namespace["Topics"]:
        entities += topic["Subscriptions"]
    for entity in entities:
        entity["Properties"]["LockDuration"] = LOCK_DURATION
    path = folder / "servicebus.json"
    path.write_text(json.dumps(config), "utf-8")
    return path

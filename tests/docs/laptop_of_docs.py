"""What do the commands in the pages run against? A laptop whose model is a script, in a clone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from devhost.doors import LiveDoors
from devhost.laptop import Laptop
from devhost.story import card_for
from tests.scripted_model import Request, Say, ScriptedModel, echo, running_model

LIVE_TIMEOUT_SECONDS = 20.0
SLOW_WORDS = "ten years"
SLOW_ANSWER_SECONDS = 3.0
"""The README kills realm half a second after this question: the turn must still go on then."""


@contextmanager
def running_laptop(data: Path) -> Iterator[tuple[Laptop, ScriptedModel]]:
    """The laptop as after the first `make run`, the agent `ceo` live, and its model."""
    with running_model() as model:
        model.always(_answer)
        with Laptop(root=data, model_endpoint=model.endpoint) as laptop:
            _upload_the_card(laptop)
            yield laptop, model


def _answer(request: Request) -> Say:
    slow = bool(request.messages) and SLOW_WORDS in str(request.messages[-1]["content"])
    return replace(echo(request), delay=SLOW_ANSWER_SECONDS if slow else 0.0)


def _upload_the_card(laptop: Laptop) -> None:
    doors = LiveDoors(
        main_url=laptop.urls["main"],
        storage=laptop.storage_connection_string,
        bus=laptop.servicebus_connection_string,
        key=None,
    )
    doors.write_card("ceo", card_for("ceo"), over=None)
    deadline = time.monotonic() + LIVE_TIMEOUT_SECONDS
    while (doors.status("ceo") or {}).get("state") != "active":
        assert time.monotonic() < deadline, "the agent ceo is not live"
        time.sleep(0.1)


def clone_like(repository: Path, folder: Path, *, data: Path) -> Path:
    """A folder that looks like a clone in which `make run` runs."""
    folder.mkdir()
    for name in (".venv", "examples"):
        (folder / name).symlink_to(repository / name)
    (folder / ".aos").symlink_to(data)
    return folder


def usual_ports(laptop: Laptop) -> dict[str, str]:
    """The addresses that the pages name, and where these are on this laptop."""
    usual = {"main": "127.0.0.1:7071", "mcp": "127.0.0.1:7072", "realm": "127.0.0.1:7073"}
    return {usual[name]: url.removeprefix("http://") for name, url in laptop.urls.items()}

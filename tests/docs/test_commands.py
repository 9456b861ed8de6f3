"""The commands in the pages, run in order against a running laptop with a scripted model.

A fenced block of shell stands below `<!-- run: laptop -->`, or `<!-- run: laptop; expect: … -->`
with a pattern that its output must hold, or `<!-- not run: why -->`, or `<!-- checked: options -->`
(tests/infra/operations reads those), or `<!-- run: bad day -->` (tests/e2e/test_bad_day.py). The
blocks run in a folder that looks like a clone; the laptop's free ports stand in for the usual ones.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from devhost.laptop import Laptop
from tests.docs.laptop_of_docs import clone_like, running_laptop, usual_ports
from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.scripted_model import ScriptedModel

SHELL = [
    block for page in PAGES for block in blocks(page) if block.language in ("bash", "sh", "shell")
]
TO_RUN = [block for block in SHELL if block.mark.startswith("run: laptop")]
NOT_RUN = {
    "README.md": ["make run"],
    "docs/MODELS.md": ["export AOS_MODEL_ENDPOINT=", "vllm serve"],
    "docs/OPERATIONS.md": ["grep -h", ".venv/bin/python -m devhost.servicebus"],
    "docs/TESTING.md": ["pip install"],
    "docs/UPGRADING.md": ["git fetch"],
    "docs/runbooks/troubleshooting.md": ["curl -sS -X POST", "aos pause", "curl -X PUT"],
}
"""What cannot run here, by its first words: each says why in its comment."""
MARKS = ("run: laptop", "run: bad day", "not run: ", "checked: options")
BLOCK_TIMEOUT_SECONDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A folder in which the commands run, what they see, and the laptop behind it."""

    laptop: Laptop
    model: ScriptedModel
    folder: Path
    environment: Mapping[str, str]
    ports: Mapping[str, str]

    def run(self, text: str) -> str:
        """Run a block as a newcomer's shell would, stopping at the first failure; its output."""
        for usual, free in self.ports.items():
            text = text.replace(usual, free)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=BLOCK_TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("docs")
    with running_laptop(folder / "data") as (laptop, model):
        yield Clone(
            laptop=laptop,
            model=model,
            folder=clone_like(ROOT, folder / "clone", data=folder / "data"),
            environment=_environment(laptop),
            ports=usual_ports(laptop),
        )


def _environment(laptop: Laptop) -> dict[str, str]:
    """What a newcomer's shell has, and where the laptop is, since it is not at the usual place."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "AOS_URL": laptop.urls["main"],
        "AZURE_STORAGE_CONNECTION_STRING": laptop.storage_connection_string,
        "AZURE_SERVICEBUS_CONNECTION_STRING": laptop.servicebus_connection_string,
    }


def test_every_block_of_shell_says_whether_it_is_run() -> None:
    unmarked = [block.place for block in SHELL if not block.mark.startswith(MARKS)]
    assert unmarked == []


def test_what_is_not_run_is_little_and_listed_here() -> None:
    found: dict[str, list[str]] = {}
    for block in SHELL:
        if block.mark.startswith("not run: "):
            found.setdefault(str(block.page.relative_to(ROOT)), []).append(block.text)
    assert found.keys() == NOT_RUN.keys()
    for page, texts in found.items():
        assert len(texts) == len(NOT_RUN[page]), page
        for text, begins in zip(texts, NOT_RUN[page], strict=True):
            assert text.startswith(begins)


@pytest.mark.parametrize("block", TO_RUN, ids=lambda block: block.place)
def test_a_block_of_shell_does_what_the_page_says(clone: Clone, block: Block) -> None:
    restarts, asked = clone.laptop.child("realm").restarts, len(clone.model.requests)
    said = clone.run(block.text)
    if "kill -9" in block.text:
        assert clone.laptop.child("realm").restarts == restarts + 1
        # Once more than it was answered; on a machine that is too busy the kill came first.
        assert len(clone.model.requests) - asked in (1, 2)
    _, _, expected = block.mark.partition("; expect: ")
    if expected:
        assert re.search(expected, said), said

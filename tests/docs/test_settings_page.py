"""docs/SETTINGS.md names every setting that the code reads, with its default, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from aos.bounds import Bounds
from aos.settings import Settings
from devhost.ports import SETTING_OF_PORT, Ports
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "SETTINGS.md").read_text("utf-8")


class Recording(Mapping[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.asked: set[str] = set()
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def table(source: str) -> list[list[str]]:
    """The rows of the table that stands for a source file, without its head."""
    part = PAGE.split(f"<!-- settings: {source} -->")[1].split("<!-- /settings -->")[0]
    rows = [row.strip("|").split(" | ") for row in part.strip().splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_page_names_every_setting_of_the_apps_and_no_other() -> None:
    environment = Recording({"AZURE_FUNCTIONS_ENVIRONMENT": "Development"})
    Settings.read(environment)
    assert {row[0].strip("`") for row in table("aos/settings.py")} == environment.asked


def test_the_page_says_the_defaults_of_the_bounds() -> None:
    said = {row[0]: row[2] for row in table("aos/settings.py") if row[2].isdigit()}
    bounds = asdict(Bounds())
    defaults = {**bounds.pop("cards"), **bounds}
    assert sorted(said.values(), key=int) == sorted(map(str, defaults.values()), key=int)


def test_the_page_names_every_port_with_its_default() -> None:
    ports = asdict(Ports())
    assert [(row[0].strip("`"), int(row[2])) for row in table("devhost/ports.py")] == [
        (setting, ports[name]) for name, setting in SETTING_OF_PORT.items()
    ]


def test_every_setting_of_the_sample_file_is_explained() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text("utf-8"))
    explained = set(re.findall(r"`([A-Za-z_]+)`", PAGE)) | {"FUNCTIONS_WORKER_RUNTIME"}
    assert sorted(set(sample["Values"]) - explained) == []

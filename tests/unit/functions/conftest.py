"""What the unit tests of the Functions host share: apps written into temporary folders."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devhost.functions.indexing import LoadedFunction, load_app
from devhost.functions.settings import read_host_json

BUNDLE = {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.0.0, 5.0.0)"}
Load = Callable[..., tuple[LoadedFunction, ...]]


def write_app(folder: Path, source: str, host: dict[str, Any] | None = None) -> Path:
    """An app with this function_app.py; `app` and `func` are there already."""
    head = (
        "import typing\nimport azure.functions as func\n"
        "app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(head + textwrap.dedent(source), "utf-8")
    document = {"version": "2.0", "extensionBundle": BUNDLE, **(host or {})}
    (folder / "host.json").write_text(json.dumps(document), "utf-8")
    return folder


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads an app from its source; the interpreter is as before afterwards."""
    before = list(sys.path)

    def load_source(source: str, host: dict[str, Any] | None = None) -> tuple[LoadedFunction, ...]:
        folder = write_app(tmp_path / "app", source, host)
        return load_app(folder, read_host_json(folder))

    yield load_source
    sys.path[:] = before
    sys.modules.pop("function_app", None)

"""When the apps import what they are made of."""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVED = """
import asyncio, sys
import azure.functions as func
import aos.bootstrap
from aos.settings import Settings
from aos.wiring.{app} import {kind}


def fail():
    raise AssertionError("status needs no world")


request = func.HttpRequest(method="GET", url="http://127.0.0.1/api/status", body=b"")
settings = Settings.read({{"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}})
app = {kind}(settings, open_world=fail, telemetry=None, ids=None, ready=fail)
assert asyncio.run(app.about.status(request)).status_code == 200
print(sorted(m for m in sys.modules if m.startswith(("aos.services", "aos.adapters.tables"))))
"""
USED = """
import sys
from functools import cached_property
from aos.bootstrap import MODULES, {app}_app
from importlib import import_module

app = {app}_app({{"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}})
for module in MODULES["{app}"]:
    import_module(module)
before = set(sys.modules)
for kind in type(app).__mro__:
    for name, made in vars(kind).items():
        if isinstance(made, (cached_property, property)):
            getattr(app, name)
print(sorted(m for m in set(sys.modules) - before if m.startswith("aos.")))
"""

WARM = """
import sys
from aos.bootstrap import MODULES
from importlib import import_module

for module in MODULES["{app}"]:
    import_module(module)
print(sorted(set(sys.modules) & {others}))
"""


def run(code: str) -> str:
    """The last line that the code prints: an app says that it has started."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    ).stdout.splitlines()[-1]


@pytest.mark.parametrize("app", ["main", "realm", "mcp"])
def test_status_answers_before_services_and_adapters_are_imported(app: str) -> None:
    assert run(SERVED.format(app=app, kind=app.capitalize())) == "[]"


@pytest.mark.parametrize("app", ["main", "realm", "mcp"])
def test_what_an_app_imports_on_first_use_its_warm_up_has_imported(app: str) -> None:
    """Else the event loop would stand still for it."""
    assert run(USED.format(app=app)) == "[]"


@pytest.mark.parametrize(
    ("app", "others"),
    [
        ("main", {"httpx2", "mcp", "mcp_types", "openai"}),
        ("realm", {"httpx2", "mcp", "mcp_types", "openai"}),
        ("mcp", {"openai"}),
    ],
)
def test_an_app_does_not_import_the_sdks_of_others(app: str, others: set[str]) -> None:
    """Each holds 20 to 30 MB."""
    assert run(WARM.format(app=app, others=others)) == "[]"

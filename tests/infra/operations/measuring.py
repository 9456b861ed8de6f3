"""Runs a program that measures and reads its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.infra.operations.commands import ROOT


def measured(*command: str) -> dict[str, Any]:
    """The figures that a program of ours prints on its last line."""
    done = subprocess.run(
        [sys.executable, *command, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures

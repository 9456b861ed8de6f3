"""Children to supervise: tiny Python programs instead of the laptop's real parts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devhost.child import ChildSpec, Probe

WAIT_SECONDS = 20.0

MakeSpec = Callable[..., ChildSpec]


def wait_until(condition: Callable[[], bool], *, what: str) -> None:
    """Poll every 20 ms until the condition holds; fail the test after `WAIT_SECONDS`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {WAIT_SECONDS:g} s in vain: {what}")
        os.sched_yield()
        time.sleep(0.02)


def file_exists(path: Path) -> Probe:
    """A probe for programs that write a file when they are ready."""
    return path.exists


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    """Build the spec of a child that runs a Python text in `tmp_path`."""

    def build(name: str, program: str, *, ready: Probe | None = None, **more: float) -> ChildSpec:
        return ChildSpec(
            name=name,
            command=(sys.executable, "-c", program),
            environment=dict(os.environ),
            folder=tmp_path,
            ready=ready or (lambda: True),
            log_path=tmp_path / "logs" / f"{name}.log",
            pid_path=tmp_path / "pids" / f"{name}.pid",
            **more,
        )

    return build

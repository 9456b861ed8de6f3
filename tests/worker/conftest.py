"""Fixtures: Microsoft's worker, the three packages, and both on a laptop's storage and bus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devhost.worker.pythons import NoWorkerPython
from devhost.worker.setup import prepare_worker
from tests.infra.packages.packing import REPOSITORY, staged_packages
from tests.worker.packaged import Packaged, running_packages

REQUIRED = "AOS_WORKER_REQUIRED"
"""`make worker` sets it: where there is no Python for the worker, that is a failure."""
_NOT_CHECKED = "NOT CHECKED under Microsoft's worker"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, at the end, that nothing was checked; the reports come from other processes."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if any(_NOT_CHECKED in reason for reason in skipped):
        terminalreporter.section(_NOT_CHECKED, red=True, bold=True)
        terminalreporter.line("tests/worker needs a Python 3.13 or 3.14: see CONTRIBUTING.md")


@pytest.fixture(scope="session")
def worker_python() -> Path:
    """The Python that holds Microsoft's worker, installed on first use."""
    try:
        return prepare_worker(REPOSITORY, os.environ, lambda line: None)
    except NoWorkerPython as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"{_NOT_CHECKED}: {error}")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the packages main, mcp and realm."""
    return staged_packages(tmp_path_factory)


@pytest.fixture(scope="module")
def packaged(
    worker_python: Path, build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Packaged]:
    """The three packages as they run, with a scripted model."""
    root = tmp_path_factory.mktemp("packaged")
    with running_packages(worker_python, build, root=root) as running:
        yield running

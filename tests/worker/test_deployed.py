"""The benchmark of cold starts as deployed measures what a site does, and reaches nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cold import write_hello_world
from benchmarks.deployed import NOT_ELSEWHERE, site
from benchmarks.ingestion import run_ingestion
from benchmarks.telemetry import CONNECTION_STRING, make_deployed_settings
from tests.infra.packages.packing import tree


def test_a_start_is_the_sum_of_its_parts_and_leaves_the_package_as_it_is(
    worker_python: Path, tmp_path: Path
) -> None:
    package = write_hello_world(tmp_path / "hello")
    before = tree(package)
    start = site(package, worker_python, {}).start(profile=True)
    assert list(start.phases) == ["Python and the worker", "index", "load", "first answer"]
    assert start.total == pytest.approx(sum(start.phases.values()), abs=1)
    assert start.imports["azure.functions"] > 0
    assert tree(package) == before


def test_with_the_telemetry_of_prod_the_worker_configures_it_before_it_indexes(
    worker_python: Path, build: Path
) -> None:
    with run_ingestion() as ingestion:
        telemetry = {CONNECTION_STRING: ingestion.connection_string, **NOT_ELSEWHERE}
        settings = {**make_deployed_settings(), **telemetry}
        phases = site(build / "main", worker_python, settings).start().phases
    assert list(phases)[:3] == ["Python and the worker", "telemetry", "index"]
    assert phases["telemetry"] > 0

"""Work of the version before ends under this one, and work of this one under the version before.

`tests/fixtures/rows-2.0.0-41d6c24` holds what commit 41d6c24 wrote: its golden rows and messages,
and unfinished work. The package of that commit runs from git, where the history is there.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from aos.domain.codec import decode, encode
from aos.domain.runs.conversation import Conversation
from tests.golden.every import KINDS
from tests.golden.kinds import Kind
from tests.versions import version_story as story

ROOT = Path(__file__).parents[2]
COMMIT = "41d6c24"
BEFORE = ROOT / "tests" / "fixtures" / f"rows-2.0.0-{COMMIT}"
UNFINISHED = BEFORE / "unfinished.json"
ENDED = {"approval": ["completed"], "open-call": ["completed"], "waits": ["completed"] * 2}
SECONDS = 60


def _has_recorded(kind: Kind) -> bool:
    return kind.read is not None and (BEFORE / f"{kind.name}.json").exists()


@pytest.mark.parametrize("kind", list(filter(_has_recorded, KINDS)), ids=lambda kind: kind.name)
async def test_what_the_version_before_wrote_is_read(kind: Kind) -> None:
    assert kind.read is not None
    recorded = json.loads((BEFORE / f"{kind.name}.json").read_text("utf-8"))
    for name, written in recorded.items():
        assert await kind.read(written) is not None, name


async def test_this_version_ends_the_work_of_the_version_before() -> None:
    """A run that waits for its model with another behind it, an open tool call, an approval."""
    end = await story.finish(json.loads(UNFINISHED.read_text("utf-8")))
    assert (end["statuses"], end["pending"]) == (ENDED, 0)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the version before."""
    archive = subprocess.run(
        ["git", "archive", COMMIT, "aos"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        pytest.skip(f"the commit {COMMIT} is not in this clone: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _run(package: Path, command: str, path: Path) -> dict[str, Any]:
    """Run the story under the package in a folder."""
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r}); import aos; "
        f"assert aos.__file__.startswith({str(package)!r}), aos.__file__; "
        f"sys.argv = ['story', {command!r}, {str(path)!r}]; "
        f"import runpy; runpy.run_path({story.__file__!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)) if command == "finish" else {}


def test_the_version_before_ends_the_work_of_this_one(before: Path, tmp_path: Path) -> None:
    path = tmp_path / "unfinished.json"
    path.write_text(json.dumps(asyncio.run(story.make())), "utf-8")
    end = _run(before, "finish", path)
    assert (end["statuses"], end["pending"]) == (ENDED, 0)


def test_the_recorded_work_is_what_the_version_before_makes(before: Path, tmp_path: Path) -> None:
    _run(before, "make", tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text("utf-8") == UNFINISHED.read_text("utf-8")


def test_fields_of_a_newer_version_survive_a_head_that_is_written_back() -> None:
    """Two versions side by side: the older one rewrites heads of the newer one."""
    head = json.loads(UNFINISHED.read_text("utf-8"))["heads"]
    for raw in head:
        raw["newer"] = {"a": [1]}
        for part in (raw["active"], raw["active"]["request"], *raw["active"]["calls"]):
            part["newer"] = "kept"
        for request in raw["queued"]:
            request["newer"] = "kept"
        written = encode(decode(Conversation, raw))
        assert _lost(raw, written) == [], raw["conversation_id"]


async def test_fields_of_a_newer_version_survive_the_work_of_an_older_one() -> None:
    kept = json.loads(UNFINISHED.read_text("utf-8"))
    for raw in kept["heads"]:
        raw["newer"] = "kept"
    end = await story.finish(kept)
    assert end["statuses"] == ENDED
    assert [head["newer"] for head in end["heads"]] == ["kept"] * len(kept["heads"])


def _lost(before: Any, after: Any, path: str = "$") -> list[str]:
    """The places whose value is gone or changed."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            place
            for name, item in before.items()
            for place in (
                _lost(item, after[name], f"{path}.{name}") if name in after else [f"{path}.{name}"]
            )
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [place for n, (b, a) in pairs for place in _lost(b, a, f"{path}[{n}]")]
    return [] if before == after else [path]

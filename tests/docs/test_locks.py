"""The requirements files: current with pyproject.toml, one version each, hashes, no addresses.

`make lock-check` resolves again, which needs the network; this reads what is there.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from devhost.lock import LOCKS, RESOLUTION, Lock

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; (.+?))? \\$")
EXTRA_LOCKS = [lock for lock in LOCKS if lock.extra]
Pins = dict[str, dict[str, str]]


def pins(path: str) -> Pins:
    """Package -> version -> marker (`""` if it has none)."""
    found: Pins = {}
    for line in (ROOT / path).read_text("utf-8").splitlines():
        if match := _PIN.match(line):
            name, version, marker = match.groups()
            found.setdefault(canonicalize_name(name), {})[version] = marker or ""
    return found


def wanted(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for under an extra, with the extras that it names in turn."""
    texts = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    requirements = []
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            requirements += [one for other in requirement.extras for one in wanted(other)]
        else:
            requirements.append(requirement)
    return requirements


@pytest.mark.parametrize("lock", EXTRA_LOCKS, ids=lambda lock: lock.path)
def test_every_direct_dependency_is_locked_within_its_range(lock: Lock) -> None:
    locked = pins(lock.path)
    wrong = [
        f"{requirement} is locked at {list(locked.get(canonicalize_name(requirement.name), {}))}"
        for requirement in wanted(lock.extra or "")
        if not any(
            requirement.specifier.contains(version, prereleases=True)
            for version in locked.get(canonicalize_name(requirement.name), {})
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("lock", EXTRA_LOCKS, ids=lambda lock: lock.path)
def test_a_lock_says_for_whom_each_direct_dependency_is_there(lock: Lock) -> None:
    """A package that pyproject.toml no longer asks for leaves the lock with `make lock`."""
    text = (ROOT / lock.path).read_text("utf-8")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    direct = {
        canonicalize_name(block.partition("==")[0]) for block in blocks if "aos (pyproject" in block
    }
    assert direct == {canonicalize_name(one.name) for one in wanted(lock.extra or "")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.path)
def test_versions_agree_with_the_one_resolution(lock: Lock) -> None:
    resolution = pins(RESOLUTION)
    different = {
        name: (versions, resolution[name])
        for name, versions in pins(lock.path).items()
        if name in resolution and not versions.keys() <= resolution[name].keys()
    }
    assert different == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.path)
def test_every_pin_has_hashes_and_nothing_has_an_address(lock: Lock) -> None:
    text = (ROOT / lock.path).read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for block in re.split(r"\n(?=[A-Za-z0-9])", "\n".join(lines)):
        first = block.strip().splitlines()[0]
        assert _PIN.match(first), first
        assert "--hash=sha256:" in block, first
    assert not re.search(
        r"://|--(extra-)?index-url|--find-links|--trusted-host|(^|\s)-[if]\s", text
    )
    assert not any("+" in version for versions in pins(lock.path).values() for version in versions)


@pytest.mark.parametrize("app", ["requirements.txt", "mcp_app/requirements.txt"])
def test_the_apps_get_the_azure_functions_of_their_python(app: str) -> None:
    versions = pins(app)["azure-functions"]
    assert {Version(version).major: marker for version, marker in versions.items()} == {
        1: "python_full_version < '3.13'",
        2: "python_full_version >= '3.13'",
    }


@pytest.mark.parametrize(
    "app", ["requirements.txt", "mcp_app/requirements.txt", "realm_app/requirements.txt"]
)
def test_no_app_carries_the_openai_sdk(app: str) -> None:
    assert "openai" not in pins(app)


def test_azurite_is_locked_with_integrity_and_without_an_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text("utf-8"))
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    wanted_version = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]
    assert packages["node_modules/azurite"]["version"] == wanted_version["azurite"]
    assert [path for path, entry in packages.items() if "integrity" not in entry] == []
    assert [path for path, entry in packages.items() if "resolved" in entry] == []

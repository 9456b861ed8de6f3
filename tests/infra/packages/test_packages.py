"""The packages of the three apps: their content, and that equal sources give equal packages."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.infra.packages.packing import (
    APPS,
    FOR_THIS_PYTHON,
    REPOSITORY,
    clone_of_sources,
    package,
    small_clone,
    tree,
    zipped_packages,
)

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three packages, staged and zipped."""
    return zipped_packages(tmp_path_factory)


def without_bytecode(files: dict[str, bytes]) -> dict[str, bytes]:
    """The sources of a package."""
    return {name: data for name, data in files.items() if not name.endswith(".pyc")}


@pytest.mark.parametrize("app", APPS)
def test_a_package_holds_the_apps_own_files_and_the_product_and_nothing_else(
    built: Path, app: str
) -> None:
    found = without_bytecode(tree(built / app))
    assert {name.split("/")[0] for name in found} == {
        *("function_app.py", "host.json", "requirements.txt", "aos")
    }
    for name in ("function_app.py", "host.json", "requirements.txt"):
        assert found[name] == (APPS[app] / name).read_bytes()
    inside = {name for name in found if name.startswith("aos/")}
    assert {"aos/__init__.py", "aos/bootstrap/__init__.py", "aos/py.typed"} <= inside
    assert [name for name in inside if "__pycache__" in name] == []


@pytest.mark.parametrize("app", APPS)
def test_the_zip_holds_what_the_folder_holds_with_host_json_at_its_root(
    built: Path, app: str
) -> None:
    with zipfile.ZipFile(built / f"{app}.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == tree(built / app)
        assert "host.json" in archive.namelist()


def test_packages_of_two_clones_are_the_same_to_the_byte(built: Path, tmp_path: Path) -> None:
    other = clone_of_sources(tmp_path / "elsewhere")
    out = ("--out", str(tmp_path / "build"), *FOR_THIS_PYTHON)
    said = package("--zip", "--repository", str(other), *out)
    assert said.code == 0, said.err
    for app in APPS:
        assert tree(tmp_path / "build" / app) == tree(built / app)
        again = (tmp_path / "build" / f"{app}.zip").read_bytes()
        assert again == (built / f"{app}.zip").read_bytes()


def test_line_ends_of_a_windows_clone_do_not_change_a_package(built: Path, tmp_path: Path) -> None:
    other = clone_of_sources(tmp_path / "elsewhere")
    for path in (other / "host.json", other / "aos" / "__init__.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    out = ("--out", str(tmp_path / "build"), *FOR_THIS_PYTHON)
    said = package("main", "--repository", str(other), *out)
    assert said.code == 0, said.err
    assert tree(tmp_path / "build" / "main") == tree(built / "main")


def test_what_lay_in_the_folder_before_is_gone(tmp_path: Path) -> None:
    clone = small_clone(tmp_path / "clone")
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "host.json").write_text("{}")
    (tmp_path / "mcp" / "local.settings.json").write_text("{}")
    assert package("mcp", "--repository", str(clone), "--out", str(tmp_path)).code == 0
    assert not (tmp_path / "mcp" / "local.settings.json").exists()


def test_a_folder_that_is_no_package_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "thesis.txt").write_text("the only copy")
    said = package("main", "--out", str(tmp_path))
    assert (said.code, said.out) == (1, "")
    assert f"{tmp_path / 'main'} has thesis.txt, which is not part of a package" in said.err
    assert (tmp_path / "main" / "thesis.txt").read_text() == "the only copy"


def test_each_package_prints_its_size_and_a_digest_of_its_contents(tmp_path: Path) -> None:
    said = package("--zip", "--out", str(tmp_path))
    lines = said.out.splitlines()
    pattern = r"(\S+)  (\d+\.\d\d) MB  (\w+\.zip) (\d+\.\d\d) MB  sha256 ([0-9a-f]{64})"
    found = [re.fullmatch(pattern, line) for line in lines]
    assert [one and Path(one[1]).name for one in found] == list(APPS)
    assert len({one[5] for one in found if one}) == len(APPS)
    for one in found:
        assert one is not None
        size = sum(len(data) for data in tree(Path(one[1])).values())
        assert float(one[2]) == pytest.approx(size / MEGABYTE, abs=0.01)


def test_a_clone_that_is_not_whole_makes_no_package_and_names_what_is_missing(
    tmp_path: Path,
) -> None:
    other = small_clone(tmp_path / "elsewhere")
    (other / "realm_app" / "host.json").unlink()
    said = package("realm", "--repository", str(other), "--out", str(tmp_path / "build"))
    assert said.code == 1
    assert "host.json is missing" in said.err


def test_an_app_that_does_not_exist_is_refused_with_the_names_that_do() -> None:
    said = package("mpc")
    assert said.code == 2
    assert "'mpc' is not one of main, mcp, realm" in said.err


def test_dependencies_of_a_package_come_from_wheels_of_the_lock_and_leave_no_trace_of_here(
    tmp_path: Path,
) -> None:
    wheels = tmp_path / "wheels"
    digest = a_wheel(wheels)
    other = small_clone(tmp_path / "clone")
    (other / "requirements.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    environment = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels), "UV_OFFLINE": "1"}
    made = []
    for name in ("one", "two"):
        said = package(
            *("main", "--zip", "--dependencies", *FOR_THIS_PYTHON, "--repository", str(other)),
            *("--out", str(tmp_path / name)),
            environment={**environment, "UV_CACHE_DIR": str(tmp_path / f"cache-{name}")},
        )
        assert said.code == 0, said.err
        made.append((tmp_path / name / "main.zip").read_bytes())
    assert made[0] == made[1]
    brought = ".python_packages/lib/site-packages"
    found = {name for name in tree(tmp_path / "one" / "main") if name.startswith(brought)}
    information = {"METADATA", "WHEEL", "entry_points.txt"}
    compiled = {name for name in found if name.endswith(".pyc")}
    assert [Path(name).name.partition(".")[0] for name in compiled] == ["tiny"]
    assert found - compiled == {
        *(f"{brought}/tiny.py", f"{brought}/tiny_program"),
        *(f"{brought}/tiny-1.0.dist-info/{name}" for name in information),
    }
    # A program, such as Node for MCP servers, can still be run.
    program = tmp_path / "one" / "main" / brought / "tiny_program"
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    with zipfile.ZipFile(tmp_path / "one" / "main.zip") as archive:
        modes = {item.filename: item.external_attr >> 16 for item in archive.infolist()}
    assert modes[f"{brought}/tiny_program"] == 0o100755
    assert modes[f"{brought}/tiny.py"] == modes["aos/__init__.py"] == 0o100644


def test_a_wheel_that_is_not_the_locked_one_makes_no_package(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    a_wheel(wheels)
    other = small_clone(tmp_path / "clone")
    (other / "requirements.txt").write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    said = package(
        *("main", "--dependencies", "--repository", str(other), "--out", str(tmp_path / "build")),
        environment={"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels), "UV_OFFLINE": "1"},
    )
    assert said.code == 1
    assert "cannot be installed" in said.err
    assert "Hash mismatch" in said.err


def a_wheel(folder: Path) -> str:
    """A wheel with a module and a script; its SHA-256."""
    files = {
        "tiny.py": "def main() -> None: ...\n",
        "tiny_program": "#!/bin/sh\necho it runs\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    }
    record = [f"{name},sha256={_hash(text)},{len(text)}" for name, text in files.items()]
    files["tiny-1.0.dist-info/RECORD"] = "\n".join([*record, "tiny-1.0.dist-info/RECORD,,", ""])
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name == "tiny_program" else 0o100600) << 16
            archive.writestr(entry, text)
    folder.mkdir()
    (folder / "tiny-1.0-py3-none-any.whl").write_bytes(data.getvalue())
    return hashlib.sha256(data.getvalue()).hexdigest()


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def test_azd_packs_before_it_publishes_and_publishes_these_folders() -> None:
    document = yaml.safe_load((REPOSITORY / "azure.yaml").read_text("utf-8"))
    assert {
        name: (service["project"], service["language"], service["host"])
        for name, service in document["services"].items()
    } == {app: (f"./build/{app}", "python", "function") for app in APPS}
    # `up` packs and then deploys; `deploy` alone runs its own hook, and not the one of `package`.
    for hook in ("prepackage", "predeploy"):
        for system in ("posix", "windows"):
            assert document["hooks"][hook][system]["run"].endswith("infra/package.py"), hook
    module = REPOSITORY / document["infra"]["path"] / f"{document['infra']['module']}.bicep"
    assert module.exists()


def test_azd_asks_for_parameters_that_the_template_has() -> None:
    file = REPOSITORY / "infra" / "main-modular.parameters.json"
    template = (REPOSITORY / "infra" / "main-modular.bicep").read_text("utf-8")
    asked = json.loads(file.read_text("utf-8"))["parameters"]
    assert set(asked) <= set(re.findall(r"^param (\w+) ", template, re.MULTILINE))


def test_publishing_from_the_root_publishes_what_the_package_of_main_holds(built: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, timeout=60, check=True
    ).stdout
    ignored = subprocess.run(
        [
            "git",
            "-c",
            "core.excludesFile=.funcignore",
            "check-ignore",
            "--no-index",
            "-z",
            "--stdin",
        ],
        cwd=REPOSITORY,
        input=listed,
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    names = set(listed.decode().split("\0")) - set(ignored.decode().split("\0"))
    published = {name for name in names if name and (REPOSITORY / name).exists()}
    product = {name for name in listed.decode().split("\0") if name.startswith("aos/")}
    sources = without_bytecode(tree(built / "main"))
    assert {name.split("/")[0] for name in published} == {name.split("/")[0] for name in sources}
    assert published <= set(tree(built / "main"))
    assert {name for name in product if (REPOSITORY / name).exists()} <= published

"""A server reads nothing of another process, whoever runs the app, and uses no more than it may."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.server_limits import ServerLimits
from aos.errors import ServerFailed
from tests.contract.mcp.kit import REPOSITORY, call, nasty, running, servers, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")
NAMESPACES = (
    shutil.which("unshare")
    and not subprocess.run(
        ["unshare", "--user", "true"], check=False, capture_output=True
    ).returncode
)
ROOT = os.geteuid() == 0
SOMEBODY = 54_321
APP = """
import asyncio, json, os, sys
from aos.adapters.mcp import walls
from aos.adapters.memory import MemorySecrets
from tests.contract.mcp.kit import call, nasty, servers
walls.hide()
isolation = sys.argv[1]
async def main():
    secrets = MemorySecrets({"mcp-other-token": "planted"})
    async with servers(secrets=secrets, isolation=isolation) as made:
        other = nasty(server_id="other", env={"TOKEN": "@Microsoft.KeyVault(...)"})
        theirs = (await call(made, other, "pid")).content
        found = json.loads((await call(made, nasty(), "spy")).content)
        sent = (await call(made, nasty(), "signal", pid=os.getpid())).content
        print(json.dumps({"app": str(os.getpid()), "other": theirs, "found": found, "sent": sent}))
asyncio.run(main())
"""


REACHABLE = """
uid=$1; folder=$2; shift 2
while [ "$1" != -- ]; do  # a place to keep, and the closed folder that it lies in, if any
    if [ -n "$2" ]; then
        mkdir -p "$folder/kept"
        mount --bind "$1" "$folder/kept"
        mount -t tmpfs -o mode=755 none "$2"
        mkdir -p "$1"
        mount --bind "$folder/kept" "$1"
    fi
    shift 2
done
shift
[ "$uid" = 0 ] && exec "$@"
exec setpriv --reuid=$uid --regid=$uid --clear-groups --bounding-set=-all -- "$@"
"""


def closed_above(place: Path) -> str:
    """The topmost folder on the way to a place that only its owner may enter."""
    above = reversed(place.parents)
    return str(next((folder for folder in above if not folder.stat().st_mode & 0o001), ""))


def with_python_for_all(uid: int, folder: Path) -> list[str]:
    """Run as this user in a mount namespace where every user reaches this Python."""
    base = Path(sys.base_prefix)
    kept = [str(base), closed_above(base), str(REPOSITORY), ""]
    return [
        *("unshare", "--mount", "sh", "-ec", REACHABLE, "sh"),
        *(str(uid), str(folder), *kept, "--", sys.executable),
    ]


NO_NAMESPACES = [
    *("unshare", "--user", "--map-root-user", "sh", "-ec"),
    'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"',
    *("sh", sys.executable),
]
"""No user namespace can be made below this one."""


async def seen(command: Sequence[str], isolation: str, home: Path) -> dict[str, object]:
    """What a server sees of an app that is started so, with a secret in its environment."""
    found = (str(REPOSITORY), sysconfig.get_path("purelib"))
    app = await asyncio.create_subprocess_exec(
        *(*command, "-c", APP, isolation),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(found),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(home),
            "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=planted",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(app.communicate(), 60)
    assert app.returncode == 0
    result: dict[str, object] = json.loads(said)
    return result


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may write to and reach."""
    folder = Path("/tmp", f"aos-walls-{os.getpid()}")
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("isolation", ["auto", "required"])
async def test_a_server_reads_nothing_of_any_other_process(
    isolation: str, open_folder: Path
) -> None:
    result = await seen([sys.executable], isolation, open_folder)
    assert result["found"] == []
    assert result["sent"] == "Operation not permitted"


@pytest.mark.skipif(not ROOT, reason="then the tests above are those of a user without rights")
@pytest.mark.parametrize("isolation", ["auto", "required"])
async def test_a_server_reads_nothing_when_the_app_runs_as_a_user_without_rights(
    isolation: str, open_folder: Path
) -> None:
    result = await seen(with_python_for_all(SOMEBODY, open_folder), isolation, open_folder)
    assert result["found"] == []
    assert result["sent"] == "Operation not permitted"


async def test_a_server_reads_nothing_where_no_user_namespace_can_be_made(
    open_folder: Path,
) -> None:
    result = await seen(NO_NAMESPACES, "auto", open_folder)
    assert result["found"] == []
    assert result["sent"] == "Operation not permitted"


@pytest.mark.skipif(not ROOT, reason="only root may become another user")
async def test_without_walls_root_reads_the_other_server_so_the_tests_above_can_fail(
    open_folder: Path,
) -> None:
    result = await seen([sys.executable], "off", open_folder)
    assert f"{result['other']} environ" in result["found"]  # type: ignore[operator]


@pytest.mark.skipif(not ROOT, reason="else walls stand or fall with the kernel")
async def test_without_walls_the_app_hides_itself_from_a_server_of_the_same_user(
    open_folder: Path,
) -> None:
    result = await seen(with_python_for_all(SOMEBODY, open_folder), "off", open_folder)
    found = result["found"]
    assert isinstance(found, list)
    assert f"{result['other']} environ" in found
    assert [line for line in found if line.startswith(f"{result['app']} ")] == []


@pytest.mark.skipif(not ROOT, reason="only root may run a server as another user")
async def test_root_may_run_each_server_as_a_user_of_its_own(open_folder: Path) -> None:
    result = await seen(with_python_for_all(0, open_folder), "user", open_folder)
    assert result["found"] == []
    homes = open_folder / "aos-mcp"
    owners = {home.name: home.stat().st_uid for home in homes.iterdir()}
    assert len(set(owners.values())) == 2
    assert all(40_000 <= uid < 60_000 for uid in owners.values())


def test_a_system_without_these_walls_loads_them_and_hides_nothing() -> None:
    script = (
        "import sys; sys.platform = 'win32'; sys.modules['resource'] = None;"
        " from aos.adapters.mcp import walls;"
        " print(walls.hide(), walls.separate(), walls.has_landlock())"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["False", "False", "False"]


@pytest.mark.skipif(not ROOT, reason="only root may run a server as another user")
@pytest.mark.skipif(not shutil.which("npx", path="/usr/local/bin:/usr/bin"), reason="no npx")
async def test_a_program_runs_as_a_user_that_may_not_read_our_python(open_folder: Path) -> None:
    card = McpServerCard(
        server_id="everything",
        command="npx",
        args=("-y", "@modelcontextprotocol/server-everything"),
    )
    async with servers(home=open_folder, isolation="user") as made:
        assert (await call(made, card, "echo", message="hi")).content == "Echo: hi"


async def test_a_server_has_a_home_and_temporary_files_that_are_its_own(tmp_path: Path) -> None:
    async with servers(home=tmp_path) as made:
        one = json.loads((await call(made, nasty(server_id="one"), "env")).content)
        two = json.loads((await call(made, nasty(server_id="two"), "env")).content)
        places = {Path(env[name]) for env in (one, two) for name in ("HOME", "TMPDIR")}
        assert len(places) == 4
        assert {stat.S_IMODE(place.stat().st_mode) for place in places} == {0o700}
        temporary = [Path(env["TMPDIR"]) for env in (one, two)]
    assert [place.exists() for place in temporary] == [False, False]


@pytest.mark.skipif(not NAMESPACES, reason="no user namespace can be made here")
async def test_a_server_sees_neither_the_homes_of_others_nor_the_files_that_hold_secrets(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secrets.json"
    secret.write_text("planted")
    async with servers(home=tmp_path, hidden=[str(secret)]) as made:
        await call(made, nasty(server_id="other"), "echo")
        home = json.loads((await call(made, nasty(), "env")).content)["HOME"]
        homes = (await call(made, nasty(), "read", path=str(Path(home).parent))).content
        assert homes == "nasty"
        assert (await call(made, nasty(), "read", path=str(secret))).content == ""
    assert secret.read_text() == "planted"
    assert {place.name for place in Path(home).parent.iterdir()} == {"nasty", "other"}


async def test_a_home_that_has_grown_over_its_bound_is_emptied(tmp_path: Path) -> None:
    big = tmp_path / "aos-mcp" / "nasty" / "cache"
    big.parent.mkdir(mode=0o700, parents=True)
    big.write_bytes(b"x" * 3 * 1024 * 1024)
    async with servers(home=tmp_path, limits=ServerLimits(home_mb=4)) as made:
        await call(made, nasty(), "echo")
    assert big.exists()
    async with servers(home=tmp_path, limits=ServerLimits(home_mb=2)) as made:
        await call(made, nasty(), "echo")
    assert not big.exists()


async def test_the_bounds_of_one_process_are_set_and_it_leaves_no_core() -> None:
    bounds = ServerLimits(memory_mb=300, processes=99, files=77, file_mb=2)
    async with servers(limits=bounds) as made:
        said = json.loads((await call(made, nasty(), "limits")).content)
    assert said.pop("NPROC") == 99
    mib = 1024 * 1024
    assert said == {"CORE": 0, "DATA": 600 * mib, "FSIZE": 2 * mib, "NOFILE": 77}


async def test_a_server_that_eats_memory_is_ended_and_the_limit_is_named() -> None:
    told: list[str] = []
    async with servers(limits=ServerLimits(memory_mb=100)) as made:
        made.watch(lambda server, change, said: told.append(f"{change} {said}"))
        result = await call(made, nasty(), "eat", mib=150, pause=20, seconds=25)
        assert result.outcome == "outcome_unknown"
        await until(lambda: any("over the 100 of AOS_MCP_MEMORY_MB" in line for line in told))
        assert (await call(made, nasty(), "echo", text="hi")).content == "hi"


async def test_a_server_that_starts_too_many_processes_is_ended_and_the_limit_is_named() -> None:
    told: list[str] = []
    mark = f"--marks={os.getpid()}-forks"
    async with servers(limits=ServerLimits(processes=20)) as made:
        made.watch(lambda server, change, said: told.append(f"{change} {said}"))
        await call(made, nasty(mark), "echo")
        pids = running(mark)
        await call(made, nasty(mark), "fork", times=40, pause=5)
        await until(lambda: len(told) > 1)
    assert "AOS_MCP_PROCESSES" in told[1] or not ROOT  # others are refused the fork itself
    await until(lambda: not any(map(psutil.pid_exists, pids)))


async def test_isolation_that_cannot_be_had_starts_no_server_and_says_so() -> None:
    if ROOT:
        pytest.skip("root can")
    async with servers(isolation="user") as made:
        with pytest.raises(ServerFailed, match="AOS_MCP_ISOLATION=user"):
            await call(made, nasty(), "echo")

"""The package of mcp contains its MCP servers, and they start from it without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.servers import McpServers
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard
from tests.infra.packages.packing import REPOSITORY

ADD = """
import sys
from pathlib import Path
from infra.packages.servers import add_servers
add_servers(Path(sys.argv[1]), source=Path(sys.argv[2]))
"""
GITHUB = McpServerCard(
    server_id="github",
    command="npx",
    args=("-y", "@modelcontextprotocol/server-github"),
    env={"npm_config_offline": "true"},
)


OFFLINE = CardPolicy(mcp_env_allowed=frozenset({"npm_config_offline"}))
"""As the operator would allow it by `AOS_MCP_ENV_ALLOWED`."""


def add(folder: Path, source: Path) -> None:
    """Run the step of infra/package.py that brings the servers along."""
    folder.mkdir()
    command = [sys.executable, "-c", ADD, str(folder), str(source)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120)


async def test_the_plans_server_starts_from_the_package_alone(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    add(folder, REPOSITORY / "mcp_app")
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    assert not any(path.is_symlink() for path in files)  # what a zip would lose
    place = LaunchPlace(path=os.environ["PATH"], home=str(tmp_path / "home"), folder=str(folder))
    made = McpServers(Launcher(place, policy=OFFLINE, secrets=MemorySecrets()))
    try:
        assert "create_issue" in {tool.name for tool in await made.list_tools(GITHUB, "d1")}
    finally:
        await made.close()


def test_an_app_that_lists_none_brings_none_along(tmp_path: Path) -> None:
    add(tmp_path / "package", REPOSITORY / "realm_app")
    assert list((tmp_path / "package").iterdir()) == []

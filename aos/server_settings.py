"""Reads the operator's settings for MCP servers. Entry point: `ServerSettings.read`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from aos.domain.cards.policy import DEFAULT_MCP_ALLOWED
from aos.domain.tools.server_limits import Isolation, ServerLimits
from aos.environment import Environment

LOCAL_SECRETS = ".aos/secrets.json"
SETTINGS_FILE = "local.settings.json"
LARGEST_LIMIT = 1_048_576
ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings for MCP servers.

    `allowed`, `env_allowed` and `hosts`: what cards may contain. `home`: the folder of the servers'
    homes (None: a temporary folder). `folder`: the folder that servers start in (None: the app's).
    `path` and `lang`: passed on from the app's environment. `secrets_file`: replaces the vault on a
    laptop. `isolation`: which walls a server must have. `limits`: what a server
    may use.
    """

    allowed: tuple[str, ...] = (DEFAULT_MCP_ALLOWED,)
    env_allowed: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    key_vault_uri: str | None = None
    secrets_file: str | None = None
    home: str | None = None
    folder: str | None = None
    path: str = "/usr/local/bin:/usr/bin:/bin"
    temp: str | None = None
    lang: str = "C.UTF-8"
    isolation: Isolation = "auto"
    limits: ServerLimits = field(default_factory=ServerLimits)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The laptop's files that contain secrets, as absolute paths."""
        if self.secrets_file is None:
            return ()
        beside = Path(self.secrets_file).absolute()
        return (
            str(beside),
            str(beside.with_name("keys.json")),
            str(Path(SETTINGS_FILE).absolute()),
        )

    @classmethod
    def read(cls, env: Environment, *, development: bool) -> ServerSettings:
        """Read the settings. Raises ConfigurationError."""
        default = cls()
        secrets_file = env.text("AOS_MCP_SECRETS_FILE", LOCAL_SECRETS)
        return cls(
            allowed=env.list("AOS_MCP_ALLOWED", DEFAULT_MCP_ALLOWED, separator=";"),
            env_allowed=frozenset(env.list("AOS_MCP_ENV_ALLOWED")),
            hosts=frozenset(host.lower() for host in env.list("AOS_MCP_HOSTS")),
            key_vault_uri=env.url("AOS_KEY_VAULT_URI"),
            secrets_file=secrets_file if development else None,
            home=env.optional("AOS_MCP_HOME"),
            folder=env.optional("AOS_MCP_FOLDER"),
            path=env.text("PATH", default.path),
            temp=env.optional("TMPDIR"),
            lang=env.text("LANG", default.lang),
            isolation=env.choice("AOS_MCP_ISOLATION", ISOLATIONS) or default.isolation,
            limits=_read_limits(env),
        )


def _read_limits(env: Environment) -> ServerLimits:
    default = ServerLimits()
    return ServerLimits(
        memory_mb=env.count("AOS_MCP_MEMORY_MB", default.memory_mb, most=LARGEST_LIMIT),
        processes=env.count("AOS_MCP_PROCESSES", default.processes, most=LARGEST_LIMIT),
        files=env.count("AOS_MCP_OPEN_FILES", default.files, most=LARGEST_LIMIT),
        file_mb=env.count("AOS_MCP_FILE_MB", default.file_mb, most=LARGEST_LIMIT),
        home_mb=env.count("AOS_MCP_HOME_MB", default.home_mb, most=LARGEST_LIMIT),
    )

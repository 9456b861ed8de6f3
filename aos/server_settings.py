"""Reads what the operator set for MCP servers. Entry point: `ServerSettings.read`."""

from __future__ import annotations

from dataclasses import dataclass

from aos.environment import Environment

DEFAULT_ALLOWED = "npx -y @modelcontextprotocol/"
LOCAL_SECRETS = ".aos/secrets.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`allowed`, `env_allowed` and `hosts`: what cards may say. `home` is the folder that servers
    may write to (None: one among the temporary files), `folder` the one that they start in (None:
    the app's); `path`, `temp` and `lang` are handed on from our own environment. `secrets_file`
    takes the vault's place on a laptop.
    """

    allowed: tuple[str, ...] = (DEFAULT_ALLOWED,)
    env_allowed: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    key_vault_uri: str | None = None
    secrets_file: str | None = None
    home: str | None = None
    folder: str | None = None
    path: str = "/usr/local/bin:/usr/bin:/bin"
    temp: str | None = None
    lang: str = "C.UTF-8"

    @classmethod
    def read(cls, env: Environment, *, development: bool) -> ServerSettings:
        """Read them; raises ConfigurationError."""
        default = cls()
        secrets_file = env.text("AOS_MCP_SECRETS_FILE", LOCAL_SECRETS)
        own_home = env.optional("HOME")
        return cls(
            allowed=env.list("AOS_MCP_ALLOWED", DEFAULT_ALLOWED, separator=";"),
            env_allowed=frozenset(env.list("AOS_MCP_ENV_ALLOWED")),
            hosts=frozenset(host.lower() for host in env.list("AOS_MCP_HOSTS")),
            key_vault_uri=env.url("AOS_KEY_VAULT_URI"),
            secrets_file=secrets_file if development else None,
            home=env.optional("AOS_MCP_HOME") or (own_home if development else None),
            folder=env.optional("AOS_MCP_FOLDER"),
            path=env.text("PATH", default.path),
            temp=env.optional("TMPDIR"),
            lang=env.text("LANG", default.lang),
        )

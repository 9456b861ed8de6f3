"""Makes the MCP servers of this instance from the settings. Entry point: `make_mcp_servers`."""

from __future__ import annotations

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.servers import McpServers
from aos.adapters.secrets import FileSecrets, ServerSecrets, VaultSecrets
from aos.settings import Settings


def make_mcp_servers(settings: Settings) -> McpServers:
    """Make the servers. None of them is running yet."""
    servers = settings.servers
    place = LaunchPlace(
        path=servers.path,
        home=servers.home,
        temp=servers.temp,
        lang=servers.lang,
        folder=servers.folder,
        hidden=servers.hidden,
        isolation=servers.isolation,
        limits=servers.limits,
    )
    policy, secrets = settings.card_policy, _make_secrets(settings)
    return McpServers(Launcher(place, policy=policy, secrets=secrets))


def _make_secrets(settings: Settings) -> ServerSecrets:
    uri, path = settings.servers.key_vault_uri, settings.servers.secrets_file
    return ServerSecrets(
        vault=None if uri is None else VaultSecrets(uri, client_id=settings.storage.client_id),
        file=None if path is None else FileSecrets(path),
    )

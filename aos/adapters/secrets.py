"""Reads the secrets of MCP servers. Entry point: `ServerSecrets.resolve`.

`VaultSecrets` reads the vault that `AOS_KEY_VAULT_URI` names. On a laptop, `FileSecrets` reads a
JSON file of names and values instead. `ServerSecrets` allows only that vault and only names that
begin with `mcp-`.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aos.domain.cards.server_card import SecretReference
from aos.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from azure.keyvault.secrets.aio import SecretClient

PREFIX = "mcp-"
VAULT_SECONDS = 15.0
LARGEST_FILE = 1024 * 1024


class ServerSecrets:
    """The secrets of MCP servers. Implements `Secrets`. A secret in the file is used before the
    vault's."""

    def __init__(
        self, *, vault: VaultSecrets | None = None, file: FileSecrets | None = None
    ) -> None:
        self._vault = vault
        self._file = file

    async def resolve(self, reference: SecretReference) -> str:
        """Return the current value. Raises ConfigurationError and TransientError as `Secrets`
        describes."""
        name = reference.name
        if not name.startswith(PREFIX):
            raise ConfigurationError(
                f"MCP servers may not read the secret {name!r}; name it {PREFIX}<server_id>-…"
            )
        host = None if self._vault is None else self._vault.host
        if self._vault is not None and reference.vault_host not in (None, host):
            raise ConfigurationError(
                f"the vault {reference.vault_host!r} is not the one of AOS_KEY_VAULT_URI; use"
                f" {host!r}"
            )
        if self._file is not None:
            value = self._file.find(name)
            if value is not None:
                return value
        if self._vault is not None:
            return await self._vault.read(name, reference.version)
        where = "" if self._file is None else f" and {self._file.name} has no {name!r}"
        raise ConfigurationError(
            f"AOS_KEY_VAULT_URI is not set{where}, so the secret {name!r} cannot be read"
        )

    async def close(self) -> None:
        """Close the vault's client."""
        if self._vault is not None:
            await self._vault.close()


class FileSecrets:
    """The secrets of a laptop. The file is small, so each request reads it again."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.name = path

    def find(self, name: str) -> str | None:
        """Return the value, or None if the name or the file does not exist.

        Raises ConfigurationError if the file cannot be read, or if other users can read it.
        """
        try:
            with self._path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise ConfigurationError(
                        f"other users can read {self.name}; run: chmod 600 {self.name}"
                    )
                values: Any = json.loads(file.read(LARGEST_FILE))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{self.name} cannot be read as a JSON object of names and values:"
                f" {type(error).__name__}"
            ) from None  # the error's text might contain a part of the file
        value = values.get(name) if isinstance(values, dict) else None
        return value if isinstance(value, str) else None


class VaultSecrets:
    """The vault of the MCP servers, read with the app's identity. The first read opens the
    client."""

    def __init__(self, uri: str, *, client_id: str | None = None) -> None:
        self._uri = uri
        self._client_id = client_id
        self._client: SecretClient | None = None
        self._credential: Any = None

    @property
    def host(self) -> str | None:
        """The host name of the vault."""
        return urlsplit(self._uri).hostname

    async def read(self, name: str, version: str | None) -> str:
        """Return the value of a secret, in its newest version unless `version` is given."""
        client = await self._get_client()
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            async with asyncio.timeout(VAULT_SECONDS):
                secret = await client.get_secret(name, version)
        except HttpResponseError as error:
            if error.status_code in (401, 403):
                raise ConfigurationError(
                    f"the app's identity may not read the secret {name!r} of {self.host}; give it"
                    " the role Key Vault Secrets User there"
                ) from error
            if error.status_code == 404:
                raise ConfigurationError(
                    f"the secret {name!r} does not exist in {self.host}; create it"
                ) from error
            raise TransientError(f"{self.host} does not answer: {error.reason}") from error
        except (AzureError, TimeoutError) as error:
            raise TransientError(f"{self.host} does not answer: {type(error).__name__}") from error
        if secret.value is None:
            raise ConfigurationError(f"the secret {name!r} of {self.host} has no value")
        return secret.value

    async def close(self) -> None:
        """Close the client. The next read opens another."""
        client, self._client = self._client, None
        credential, self._credential = self._credential, None
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()

    async def _get_client(self) -> SecretClient:
        if self._client is None:
            await asyncio.to_thread(_load)
        if self._client is None:
            from azure.identity.aio import DefaultAzureCredential
            from azure.keyvault.secrets.aio import SecretClient

            self._credential = DefaultAzureCredential(managed_identity_client_id=self._client_id)
            self._client = SecretClient(self._uri, self._credential, retry_total=2)
        return self._client


def _load() -> None:
    """Import the SDK, outside the event loop because it takes half a second."""
    import azure.identity.aio
    import azure.keyvault.secrets.aio  # noqa: F401

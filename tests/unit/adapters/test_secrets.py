"""A secret comes from the one vault, or a laptop's own file, under a name that servers may have."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aos.adapters.secrets import FileSecrets, ServerSecrets, VaultSecrets
from aos.domain.cards.server_card import SecretReference
from aos.errors import ConfigurationError, TransientError

NAME = "mcp-github-token"
URI = "https://kv-mcp.vault.azure.net"
REFERENCE = SecretReference(name=NAME)


def a_file(folder: Path, *, mode: int = 0o600, text: str | None = None) -> FileSecrets:
    path = folder / "secrets.json"
    path.write_text(json.dumps({NAME: "from the file"}) if text is None else text)
    path.chmod(mode)
    return FileSecrets(str(path))


class Vault(VaultSecrets):
    """A vault that answers without a network."""

    def __init__(self, answer: str | Exception) -> None:
        super().__init__(URI)
        self.asked: list[tuple[str, str | None]] = []
        self._answer = answer

    async def _get_client(self) -> object:  # type: ignore[override]
        async def get_secret(name: str, version: str | None) -> SimpleNamespace:
            self.asked.append((name, version))
            if isinstance(self._answer, Exception):
                raise self._answer
            return SimpleNamespace(value=self._answer)

        return SimpleNamespace(get_secret=get_secret)


async def test_a_laptops_file_comes_first(tmp_path: Path) -> None:
    vault = Vault("from the vault")
    secrets = ServerSecrets(vault=vault, file=a_file(tmp_path))
    assert await secrets.resolve(REFERENCE) == "from the file"
    other = SecretReference(name="mcp-other", version="7")
    assert await secrets.resolve(other) == "from the vault"
    assert vault.asked == [("mcp-other", "7")]


async def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    secrets = ServerSecrets(file=a_file(tmp_path))
    assert await secrets.resolve(REFERENCE) == "from the file"
    a_file(tmp_path, text=json.dumps({NAME: "rotated"}))
    assert await secrets.resolve(REFERENCE) == "rotated"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
async def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    secrets = ServerSecrets(file=a_file(tmp_path, mode=mode))
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await secrets.resolve(REFERENCE)


async def test_a_file_that_is_no_json_is_refused_without_showing_it(tmp_path: Path) -> None:
    secrets = ServerSecrets(file=a_file(tmp_path, text='{"mcp-x": hunter2}'))
    with pytest.raises(ConfigurationError, match="JSON object") as caught:
        await secrets.resolve(REFERENCE)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_without_a_vault_the_setting_and_the_file_are_named(tmp_path: Path) -> None:
    secrets = ServerSecrets(file=FileSecrets(str(tmp_path / "none.json")))
    with pytest.raises(ConfigurationError, match=r"AOS_KEY_VAULT_URI.*none\.json.*'mcp-github"):
        await secrets.resolve(REFERENCE)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (SecretReference(name="StorageConnectionString"), "name it mcp-<server_id>"),
        (SecretReference(name=NAME, vault_host="kv-other.vault.azure.net"), "'kv-mcp.vault"),
    ],
)
async def test_another_vault_or_name_is_refused_before_anything_is_read(
    tmp_path: Path, reference: SecretReference, says: str
) -> None:
    vault = Vault("no")
    with pytest.raises(ConfigurationError, match=says):
        await ServerSecrets(vault=vault, file=a_file(tmp_path)).resolve(reference)
    assert vault.asked == []


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (404, ConfigurationError, "the secret 'mcp-github-token' does not exist in kv-mcp"),
        (403, ConfigurationError, "Key Vault Secrets User"),
        (503, TransientError, "does not answer"),
    ],
)
async def test_what_the_vault_answers_is_said_by_who_must_act(
    status: int, error: type[Exception], says: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    answer = HttpResponseError("no", response=None)
    answer.status_code, answer.reason = status, "Busy"
    with pytest.raises(error, match=says):
        await ServerSecrets(vault=Vault(answer)).resolve(REFERENCE)


async def test_the_real_client_is_opened_by_the_first_read_and_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from azure.keyvault.secrets.aio import SecretClient

    async def get_secret(client: SecretClient, name: str, version: str | None) -> Any:
        return SimpleNamespace(value=f"{client.vault_url} {name} {version}")

    monkeypatch.setattr(SecretClient, "get_secret", get_secret)
    vault = VaultSecrets(URI)
    assert await vault.read("mcp-github-token", None) == f"{URI} mcp-github-token None"
    await vault.close()
    await vault.close()

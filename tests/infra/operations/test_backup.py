"""backup.py on a real Azurite, with a stand-in az for Key Vault: save, lose, restore."""

from __future__ import annotations

import argparse
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from azure.data.tables import EdmType, EntityProperty, TableClient, TableEntity

from tests.contract.azurite import Azurite
from tests.infra.bicep_cli import INFRA
from tests.infra.operations.saving import PASSPHRASE, Storage, backup, backup_process
from tests.infra.operations.vaults import StandInVaults

SECRET = "p@ss 'word' with $signs, ünïcode\nand a second line"
WITHOUT_SECRETS = ("--without", "secrets")


@pytest.fixture
def here(azurite: Azurite) -> Iterator[Storage]:
    """The account that is saved, with something of everything in it."""
    storage = Storage(azurite.connection_string)
    storage.provision()
    storage.put("aos-config", "agents/ceo.json", b'{"agent_id":"ceo"}', metadata={"by": "me"})
    storage.put("aos-config", "agents/odd//name .json", b"odd")
    storage.put("aos-config", f"agents/{'long' * 100}.json", b"long")
    storage.put("aos-data", "payloads/c1/abc", bytes(range(256)) * 20_000)
    storage.put("aos-logs", "c1.jsonl", b"a transcript")
    storage.row("aosruns", PartitionKey="run-1", RowKey="run", schema=1, doc='{"run_id":"run-1"}')
    messages = {f"msg:{number:010}": "ä" * 2000 for number in range(120)}
    storage.rows("aosconversations", "c1", {"head": "{}", **messages})
    yield storage
    storage.close()


@pytest.fixture
def there(second_region: Azurite) -> Iterator[Storage]:
    """An empty account in another region."""
    storage = Storage(second_region.connection_string)
    yield storage
    storage.close()


@pytest.fixture
def saved(here: Storage, tmp_path: Path) -> Path:
    """A backup of blobs and tables."""
    folder = tmp_path / "backup"
    said = backup("create", folder, *WITHOUT_SECRETS, **here.environment)
    assert (said.code, said.err) == (0, "")
    return folder


def test_what_was_saved_comes_back_in_an_empty_account(
    here: Storage, there: Storage, saved: Path
) -> None:
    said = backup_process("restore", saved, **there.environment)
    assert (said.code, said.err) == (0, "")
    expected = {
        name: what for name, what in here.contents().items() if not name.startswith("aos-logs")
    }
    assert there.contents() == expected
    card = there.blobs.get_blob_client("aos-config", "agents/ceo.json").get_blob_properties()
    assert card.metadata == {"by": "me"}


def test_logs_are_saved_when_asked_for(here: Storage, there: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    assert backup("create", folder, "--with-logs", *WITHOUT_SECRETS, **here.environment).code == 0
    assert backup("restore", folder, **there.environment).code == 0
    assert there.contents() == here.contents()


def test_every_type_that_a_row_may_hold_comes_back_as_it_was(
    here: Storage, there: Storage, tmp_path: Path
) -> None:
    here.row(
        "aosusage",
        PartitionKey="ceo",
        RowKey="all-types",
        text="täxt",
        empty="",
        flag=False,
        small=-5,
        large=EntityProperty(2**62, EdmType.INT64),
        real=0.1,
        raw=b"\x00\xff",
        guid=UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        moment=datetime(2026, 2, 13, 10, 0, 0, 123456, tzinfo=UTC),
    )
    folder = tmp_path / "backup"
    assert backup("create", folder, *WITHOUT_SECRETS, **here.environment).code == 0
    assert backup("restore", folder, **there.environment).code == 0
    name = "aosusage/ceo/all-types"
    assert there.contents()[name] == here.contents()[name]


def test_a_conversation_that_goes_on_between_two_pages_is_saved_as_it_was_at_one_moment(
    here: Storage, there: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 1500  # more than a page of the service
    messages = {f"msg:{number:010}": "text" for number in range(written)}
    here.rows("aosconversations", "busy", {"head": str(written), **messages})
    read = TableClient.list_entities

    def read_while_a_turn_ends(client: TableClient, **options: object) -> Iterator[TableEntity]:
        for number, row in enumerate(read(client, **options)):
            if client.table_name == "aosconversations" and number == 1000:
                more = {"head": str(written + 1), f"msg:{written:010}": "more"}
                here.rows("aosconversations", "busy", more)
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(TableClient, "list_entities", read_while_a_turn_ends)
        said = backup("create", tmp_path / "b", *WITHOUT_SECRETS, **here.environment)
    assert said.code == 0, said.err
    assert backup("restore", tmp_path / "b", **there.environment).code == 0
    busy = {name: row for name, row in there.contents().items() if "/busy/" in name}
    head = busy.pop("aosconversations/busy/head")
    assert int(head["doc"]) == len(busy) == written + 1


def test_a_conversation_that_never_stands_still_ends_the_backup_and_is_named(
    here: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.rows("aosconversations", "busy", {"head": "0"})
    read = TableClient.get_entity

    def read_after_another_turn(client: TableClient, *keys: str, **options: object) -> TableEntity:
        here.rows("aosconversations", "busy", {"head": uuid4().hex})
        return read(client, *keys, **options)

    with monkeypatch.context() as patch:
        patch.setattr(TableClient, "get_entity", read_after_another_turn)
        said = backup("create", tmp_path / "b", *WITHOUT_SECRETS, **here.environment)
    assert said.code == 1
    assert "changed in each of 30 reads" in said.err
    assert backup("verify", tmp_path / "b").code == 1


def test_a_restore_over_the_same_state_writes_nothing(here: Storage, saved: Path) -> None:
    before = here.contents()
    said = backup("restore", saved, **here.environment)
    assert said.code == 0
    assert "0 new, 0 differ, 120" not in said.out
    assert "aosconversations: 0 new, 0 differ, 121 same" in said.out
    assert here.contents() == before


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(there: Storage, saved: Path) -> None:
    said = backup("restore", saved, "--dry-run", **there.environment)
    assert said.code == 0
    assert "aosconversations: 121 new, 0 differ, 0 same, 0 only at the target" in said.out
    assert "aos-config: 3 new, 0 differ" in said.out
    assert there.contents() == {}


def test_nothing_is_written_over_unasked(here: Storage, saved: Path) -> None:
    here.put("aos-config", "agents/ceo.json", b"newer")
    here.row("aosruns", PartitionKey="run-1", RowKey="run", schema=1, doc="newer")
    here.row("aosruns", PartitionKey="run-2", RowKey="run", schema=1, doc="only here")
    before = here.contents()
    said = backup("restore", saved, **here.environment)
    assert said.code == 3
    assert "2 differ at the target; --overwrite replaces them" in said.out
    assert "differ: agents/ceo.json" in said.out
    assert here.contents() == before


def test_overwriting_replaces_what_differs_and_deletes_nothing(here: Storage, saved: Path) -> None:
    then = here.contents()
    here.put("aos-config", "agents/ceo.json", b"newer")
    here.row("aosruns", PartitionKey="run-2", RowKey="run", schema=1, doc="only here")
    only_here = here.contents()["aosruns/run-2/run"]
    said = backup("restore", saved, "--overwrite", **here.environment)
    assert said.code == 0, said.err
    assert here.contents() == {**then, "aosruns/run-2/run": only_here}


def test_a_backup_is_for_its_owners_eyes_and_never_written_over(here: Storage, saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    said = backup("create", saved, *WITHOUT_SECRETS, **here.environment)
    assert said.code == 2
    assert "is not empty" in said.err


def test_a_card_lies_in_the_backup_under_its_own_name(saved: Path) -> None:
    card = saved / "blobs" / "aos-config" / "agents" / "ceo.json"
    assert card.read_bytes() == b'{"agent_id":"ceo"}'
    outside = [path for path in saved.rglob("*") if not path.resolve().is_relative_to(saved)]
    assert outside == []


@pytest.mark.parametrize("name", ["../../x", "a/../../../x", "/etc/passwd", "a//b", ".", "a/" * 9])
def test_no_name_of_a_blob_leads_out_of_the_backup(tmp_path: Path, name: str) -> None:
    from infra.backups.backup_folder import path_of_blob

    place = (tmp_path / path_of_blob(name)).resolve()
    assert place.is_relative_to(tmp_path)
    assert place != tmp_path


def test_a_file_that_was_changed_is_found_before_anything_is_written(
    there: Storage, saved: Path
) -> None:
    assert backup("verify", saved).code == 0
    (saved / "blobs" / "aos-config" / "agents" / "ceo.json").write_bytes(b"forged")
    for command in (("verify", saved), ("restore", saved)):
        said = backup(*command, **there.environment)
        assert said.code == 1
        assert "1 files are missing or changed: blobs/aos-config/agents/ceo.json" in said.err
    assert there.contents() == {}


def test_a_backup_that_did_not_end_is_not_taken_for_one(there: Storage, saved: Path) -> None:
    (saved / "manifest.json").unlink()
    said = backup("restore", saved, **there.environment)
    assert said.code == 1
    assert "or it is incomplete" in said.err


def test_storage_that_is_away_ends_the_backup_with_the_reason(tmp_path: Path) -> None:
    away = (
        "DefaultEndpointsProtocol=http;AccountName=x;AccountKey=a2V5;"
        "BlobEndpoint=http://127.0.0.1:1/x;TableEndpoint=http://127.0.0.1:1/x;"
    )
    said = backup(
        *("create", tmp_path / "backup", *WITHOUT_SECRETS),
        AZURE_STORAGE_CONNECTION_STRING=away,
    )
    assert said.code == 1
    assert "create: " in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "backup" / "manifest.json").exists()


# Secrets. The az on PATH is a stand-in that keeps them as files.


def test_secrets_come_back_from_an_encrypted_file_with_a_stand_in_for_key_vault(
    here: Storage, there: Storage, vaults: StandInVaults, tmp_path: Path
) -> None:
    for vault in ("kv-aos", "kv-aosmcp", "kv-dr", "kv-drmcp"):
        vaults.vault(vault)
    vaults.put("kv-aos", "B2CClientSecret", SECRET, contentType="text/plain", tags={"team": "a b"})
    vaults.put("kv-aos", "old", "x", attributes={"enabled": False})
    vaults.put(
        "kv-aosmcp", "mcp-github-token", "ghp", attributes={"expires": "2027-01-01T00:00:00+00:00"}
    )
    folder = tmp_path / "backup"
    environment = {**vaults.environment, "AOS_BACKUP_PASSPHRASE": PASSPHRASE}
    said = backup(
        *("create", folder, "--vault", "apps=kv-aos", "--vault", "mcp=kv-aosmcp"),
        **here.environment, **environment,
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "not saved, because it is disabled or belongs to a certificate: kv-aos/old" in said.out
    said = backup(
        *("restore", folder, "--vault", "apps=kv-dr", "--vault", "mcp=kv-drmcp"),
        **there.environment, **environment,
    )  # fmt: skip
    assert said.code == 0, said.err
    assert vaults.secrets("kv-dr") == {"B2CClientSecret": SECRET}
    assert vaults.secrets("kv-drmcp") == {"mcp-github-token": "ghp"}
    restored = vaults.secret("kv-dr", "B2CClientSecret")
    assert (restored["contentType"], restored["tags"]["team"]) == ("text/plain", "a b")
    expires = vaults.secret("kv-drmcp", "mcp-github-token")["attributes"]["expires"]
    assert expires == "2027-01-01T00:00:00Z"


def test_no_secret_is_in_clear_in_the_backup_nor_on_a_command_line_nor_in_the_output(
    here: Storage, vaults: StandInVaults, tmp_path: Path
) -> None:
    vaults.vault("kv-aos")
    vaults.put("kv-aos", "token", "sesame-open")
    environment = {**here.environment, **vaults.environment, "AOS_BACKUP_PASSPHRASE": PASSPHRASE}
    folder = tmp_path / "backup"
    saved = backup("create", folder, "--vault", "apps=kv-aos", **environment)
    (vaults.folder / "kv-aos" / "token.json").unlink()
    restored = backup("restore", folder, "--vault", "apps=kv-aos", **environment)
    assert (saved.code, restored.code) == (0, 0)
    assert vaults.secrets("kv-aos") == {"token": "sesame-open"}
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    texts += [json.dumps(vaults.calls()).encode()]
    texts += [text.encode() for said in (saved, restored) for text in (said.out, said.err)]
    assert [text for text in texts if b"sesame" in text or PASSPHRASE.encode() in text] == []


@pytest.mark.parametrize("passphrase", ["", "short"])
def test_without_a_passphrase_nothing_is_saved(
    here: Storage, vaults: StandInVaults, tmp_path: Path, passphrase: str
) -> None:
    vaults.vault("kv-aos")
    said = backup(
        *("create", tmp_path / "backup", "--vault", "apps=kv-aos"),
        **here.environment, **vaults.environment, AOS_BACKUP_PASSPHRASE=passphrase,
    )  # fmt: skip
    assert said.code == 2
    assert "set AOS_BACKUP_PASSPHRASE" in said.err
    assert not (tmp_path / "backup").exists()


def test_another_passphrase_opens_nothing_and_nothing_is_written(
    here: Storage, there: Storage, vaults: StandInVaults, tmp_path: Path
) -> None:
    vaults.vault("kv-aos")
    folder = tmp_path / "backup"
    arguments = ("--vault", "apps=kv-aos")
    said = backup(
        *("create", folder, *arguments),
        **here.environment, **vaults.environment, AOS_BACKUP_PASSPHRASE=PASSPHRASE,
    )  # fmt: skip
    assert said.code == 0, said.err
    said = backup(
        *("restore", folder, *arguments),
        **there.environment, **vaults.environment, AOS_BACKUP_PASSPHRASE="another passphrase",
    )  # fmt: skip
    assert said.code == 2
    assert "cannot be decrypted with this AOS_BACKUP_PASSPHRASE" in said.err
    assert there.contents() == {}


def test_keys_of_the_first_regions_resources_are_not_put_into_the_vault_of_the_second(
    here: Storage, there: Storage, vaults: StandInVaults, tmp_path: Path
) -> None:
    for vault in ("kv-aos", "kv-dr"):
        vaults.vault(vault)
    for name in ("StorageConnectionString", "ContentShareConnectionString-main", "mine"):
        vaults.put("kv-aos", name, "first region")
    vaults.put("kv-dr", "StorageConnectionString", "second region")
    folder = tmp_path / "backup"
    environment = {**vaults.environment, "AOS_BACKUP_PASSPHRASE": PASSPHRASE}
    saved = backup("create", folder, "--vault", "apps=kv-aos", **here.environment, **environment)
    assert saved.code == 0, saved.err
    said = backup("restore", folder, "--vault", "apps=kv-dr", **there.environment, **environment)
    assert said.code == 0, said.err
    assert "left out: ContentShareConnectionString-main, StorageConnectionString" in said.out
    expected = {"StorageConnectionString": "second region", "mine": "first region"}
    assert vaults.secrets("kv-dr") == expected


def test_a_vault_that_may_not_be_read_is_named_with_what_az_says(
    here: Storage, vaults: StandInVaults, tmp_path: Path
) -> None:
    said = backup(
        *("create", tmp_path / "backup", "--vault", "apps=kv-none"),
        **here.environment, **vaults.environment, AOS_BACKUP_PASSPHRASE=PASSPHRASE,
    )  # fmt: skip
    assert said.code == 1
    assert "the vault kv-none cannot be listed" in said.err
    assert "not authorized" in said.err


def test_a_resource_group_names_its_tables_where_they_are_in_cosmos(
    vaults: StandInVaults, tmp_path: Path
) -> None:
    nobody = "https://127.0.0.1:9/"
    vaults.deployed(
        {
            "functionAppUrls": {},
            "storageAccountName": "staosdatadevabc123",
            "keyVaultName": "kv-aos-dev-abc123",
            "mcpKeyVaultName": "kv-aosmcp-dev-abc123",
            "tableEndpoint": nobody,
        }
    )
    arguments = argparse.Namespace(
        resource_group="rg-aos-dev", storage_account=None, tables_url=None, vault=[]
    )
    from infra.backups.locations import find_location

    with pytest.MonkeyPatch.context() as patch:
        for name, value in vaults.environment.items():
            patch.setenv(name, value)
        assert find_location(arguments, secrets=False).tables_url == nobody
        arguments.tables_url = "https://elsewhere.test/"
        assert find_location(arguments, secrets=False).tables_url == "https://elsewhere.test/"


def test_a_resource_group_names_its_account_and_vaults_by_its_outputs(
    vaults: StandInVaults, tmp_path: Path
) -> None:
    vaults.deployed(
        {
            "functionAppUrls": {},
            "storageAccountName": "staosdatadevabc123",
            "keyVaultName": "kv-aos-dev-abc123",
            "mcpKeyVaultName": "kv-aosmcp-dev-abc123",
        }
    )
    said = backup(
        *("create", tmp_path / "backup", "--resource-group", "rg-aos-dev"),
        *("--without", "config", "--without", "tables"),
        **vaults.environment, AOS_BACKUP_PASSPHRASE=PASSPHRASE,
    )  # fmt: skip
    assert said.code == 1
    assert "the vault kv-aos-dev-abc123 cannot be listed" in said.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "no storage is named"),
        (("--storage-account", "x"), "no vault is named"),
        (("--vault", "web=kv"), "write apps=NAME or mcp=NAME"),
        (
            ("--without", "config", "--without", "tables", "--without", "secrets"),
            "nothing to do",
        ),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    said = backup("create", tmp_path / "b", *arguments, AOS_BACKUP_PASSPHRASE=PASSPHRASE)
    assert said.code == 2
    assert reason in said.err


def test_a_python_without_the_sdks_is_told_what_to_install(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-S", str(INFRA / "backup.py"), "create", str(tmp_path / "b"), "-g", "x"],
        env={**os.environ, "AOS_BACKUP_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 2
    assert (
        said.stderr
        == "create: the module azure is not installed; pip install -r requirements.txt\n"
    )

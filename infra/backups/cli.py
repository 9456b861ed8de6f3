"""Reads the command line of backup.py and runs the command. Entry point: `main`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from infra.backups import backup_folder, blobs, locations, secrets, tables
from infra.backups.comparison import Change
from infra.backups.encryption import PASSPHRASE, read_passphrase
from infra.backups.errors import DONE, FAILED, USAGE, WOULD_OVERWRITE, BackupError
from infra.backups.locations import Location

PARTS = ("config", "tables", "secrets")
_CODES = f"""\
parts: config (cards, status files, the catalog and large texts: aos-config, aos-data),
tables (conversations, runs …), secrets (of both vaults, encrypted with {PASSPHRASE})

exit codes:
    0  done
    1  Azure, the network or the backup failed: see the message
    2  arguments, login, names or passphrase are wrong
    3  restore: the target differs from the backup, and --overwrite is missing; nothing was written
"""


def main(argv: Sequence[str]) -> int:
    """Run a command and return the exit code. argparse itself exits with 2."""
    options = make_parser().parse_args(argv)
    try:
        return int(options.run(options))
    except ModuleNotFoundError as error:
        install = "pip install -r requirements.txt"
        sys.stderr.write(
            f"{options.command}: the module {error.name} is not installed; {install}\n"
        )
        return USAGE
    except BackupError as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return FAILED


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backup.py",
        description="Save the state of an environment and restore it.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = _add_command(commands, "create", _create, "save the state into a new folder")
    restore = _add_command(commands, "restore", _restore, "restore the state from a folder")
    _add_command(commands, "verify", _verify, "check that a backup is complete")
    for command in (create, restore):
        locations.add_options(command)
        command.add_argument(
            "--without", action="append", default=[], choices=PARTS, help="leave out a part"
        )
    create.add_argument(
        "--with-logs", action="store_true", help="also save the container aos-logs (transcripts)"
    )
    restore.add_argument("--dry-run", action="store_true", help="print what would be written")
    restore.add_argument("--overwrite", action="store_true", help="replace what differs")
    return parser


def _add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, epilog=_CODES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("folder", type=Path, help="the folder of the backup")
    command.set_defaults(run=run)
    return command


def _create(options: argparse.Namespace) -> int:
    from azure.core.exceptions import AzureError

    wanted = _choose_parts(options)
    secret = read_passphrase() if "secrets" in wanted else ""
    source = locations.find_location(options, secrets="secrets" in wanted)
    target = backup_folder.make_folder(options.folder)
    facts: dict[str, Any] = {"of": source.name, "began_at": _format_now()}
    try:
        _save(source, target, facts, wanted=wanted, secret=secret, logs=options.with_logs)
    except AzureError as error:
        raise BackupError(_first_line(error)) from error
    facts["ended_at"] = _format_now()
    backup_folder.write_manifest(target, facts)
    _print(f"{source.name} as of {facts['began_at']} is saved in {target}")
    return DONE


def _save(
    source: Location,
    target: Path,
    facts: dict[str, Any],
    *,
    wanted: list[str],
    secret: str,
    logs: bool,
) -> None:
    """Save rows before blobs: the apps write a blob before the row that refers to it."""
    if "tables" in wanted:
        with source.open_tables() as service:
            facts["rows"] = tables.save(service, target, began=datetime.now(UTC))
        _print(_format_counts("rows", facts["rows"]))
    if "config" in wanted:
        containers = blobs.CONTAINERS + ((blobs.LOGS,) if logs else ())
        with source.open_blobs() as service:
            facts["blobs"] = blobs.save(service, target, containers)
        _print(_format_counts("blobs", facts["blobs"]))
    if "secrets" in wanted:
        facts["secrets"], unread = secrets.save(locations.find_az(), target, source.vaults, secret)
        _print(_format_counts("secrets", facts["secrets"]))
        for name in unread:
            _print(f"  not saved, because it is disabled or belongs to a certificate: {name}")


def _restore(options: argparse.Namespace) -> int:
    from azure.core.exceptions import AzureError

    manifest = backup_folder.check_folder(options.folder)
    parts = {"config": "blobs", "tables": "rows", "secrets": "secrets"}
    wanted = [part for part in _choose_parts(options) if parts[part] in manifest]
    target = locations.find_location(options, secrets="secrets" in wanted)
    _print(f"from {manifest['of']} as of {manifest['began_at']} to {target.name}")
    try:
        steps = _plan_steps(options.folder, target, wanted)
        for change, _ in steps:
            _print(str(change))
        differ = sum(len(change.differ) for change, _ in steps)
        if options.dry_run:
            _print("nothing was written: --dry-run")
            return DONE
        if differ and not options.overwrite:
            _print(f"nothing was written: {differ} differ at the target; --overwrite replaces them")
            return WOULD_OVERWRITE
        for change, write in steps:
            _print(f"{change.what}: {write()} written")
    except AzureError as error:
        raise BackupError(_first_line(error)) from error
    return DONE


Step = tuple[Change, Callable[[], int]]


def _plan_steps(source: Path, target: Location, wanted: list[str]) -> list[Step]:
    """Plan the steps in the order of writing: secrets, the blobs of rows, rows, and cards last."""
    first = _plan_secrets(source, target) if "secrets" in wanted else []
    files = _plan_blobs(source, target) if "config" in wanted else []
    rows = _plan_tables(source, target) if "tables" in wanted else []
    cards = [step for step in files if step[0].what == "aos-config"]
    return [*first, *(step for step in files if step not in cards), *rows, *cards]


def _plan_secrets(source: Path, target: Location) -> list[Step]:
    az = locations.find_az()
    of, saved = secrets.read_saved(source, read_passphrase())
    steps: list[Step] = []
    for label, vault in target.vaults.items():
        found = saved.get(label, {})
        change = secrets.plan(az, label, vault, found, same_vault=of.get(label) == vault)
        steps.append((change, partial(secrets.restore, az, vault, found, change)))
    return steps


def _plan_blobs(source: Path, target: Location) -> list[Step]:
    service = target.open_blobs()
    containers = {str(row["container"]) for row in backup_folder.read_lines(source / blobs.LIST)}
    plans = [blobs.plan(service, source, container) for container in sorted(containers)]
    return [(change, partial(blobs.restore, service, source, change)) for change in plans]


def _plan_tables(source: Path, target: Location) -> list[Step]:
    service = target.open_tables()
    plans = [tables.plan(service, source, table) for table in tables.list_saved_tables(source)]
    return [(change, partial(tables.restore, service, source, change)) for change in plans]


def _verify(options: argparse.Namespace) -> int:
    manifest = backup_folder.check_folder(options.folder)
    for kind in ("rows", "blobs", "secrets"):
        if kind in manifest:
            _print(_format_counts(kind, manifest[kind]))
    _print(
        f"the backup is complete: {len(manifest['files'])} files, {manifest['of']} as of"
        f" {manifest['began_at']}"
    )
    return DONE


def _choose_parts(options: argparse.Namespace) -> list[str]:
    wanted = [part for part in PARTS if part not in options.without]
    if not wanted:
        raise BackupError("nothing to do: --without leaves out every part", code=USAGE)
    return wanted


def _format_counts(kind: str, counts: dict[str, int]) -> str:
    return f"{kind}: " + (", ".join(f"{name} {n}" for name, n in counts.items()) or "none")


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

"""What can be asked of backup.py on the command line?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from backups import blobs, folder, place, secrets, tables
from backups.change import Change
from backups.errors import DONE, FAILED, USAGE, WOULD_OVERWRITE, BackupError
from backups.place import Place
from backups.sealing import PASSPHRASE, passphrase

PARTS = ("config", "tables", "secrets")
_CODES = f"""\
parts: config (cards, status files, the catalog and large texts: aos-config, aos-data),
tables (conversations, runs …), secrets (of both vaults, encrypted with {PASSPHRASE})

exit codes:
    0  done
    1  Azure, the network or the backup itself: see the reason
    2  arguments, login, names or passphrase are not as they must be
    3  restore: something at the target differs and --overwrite was not given; nothing was written
"""


def main(argv: Sequence[str]) -> int:
    """Do what is asked and return the exit code; argparse itself ends with 2."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except ModuleNotFoundError as error:
        install = "pip install -r requirements.txt"
        sys.stderr.write(f"{options.command}: {error.name} is missing here; {install}\n")
        return USAGE
    except BackupError as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backup.py",
        description="Save the state of an environment, and bring it back.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = _command(commands, "create", _create, "save into a new folder")
    restore = _command(commands, "restore", _restore, "bring back what is in a folder")
    _command(commands, "verify", _verify, "check that a backup is whole")
    for command in (create, restore):
        place.add_options(command)
        command.add_argument(
            "--without", action="append", default=[], choices=PARTS, help="leave a part out"
        )
    create.add_argument("--with-logs", action="store_true", help="also aos-logs (transcripts)")
    restore.add_argument("--dry-run", action="store_true", help="say what would be written")
    restore.add_argument("--overwrite", action="store_true", help="write over what differs")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, epilog=_CODES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("folder", type=Path, help="the backup")
    command.set_defaults(run=run)
    return command


def _create(options: argparse.Namespace) -> int:
    from azure.core.exceptions import AzureError

    wanted = _wanted(options)
    secret = passphrase() if "secrets" in wanted else ""
    source = place.of(options, secrets="secrets" in wanted)
    target = folder.make(options.folder)
    facts: dict[str, Any] = {"of": source.name, "began_at": _now()}
    try:
        _save(source, target, facts, wanted=wanted, secret=secret, logs=options.with_logs)
    except AzureError as error:
        raise BackupError(_first_line(error)) from error
    facts["ended_at"] = _now()
    folder.finish(target, facts)
    _say(f"{target} holds {source.name} as of {facts['began_at']}")
    return DONE


def _save(
    source: Place,
    target: Path,
    facts: dict[str, Any],
    *,
    wanted: list[str],
    secret: str,
    logs: bool,
) -> None:
    """Rows before the blobs that they refer to, for those are written first."""
    if "tables" in wanted:
        with source.tables() as service:
            facts["rows"] = tables.save(service, target, began=datetime.now(UTC))
        _say(_counted("rows", facts["rows"]))
    if "config" in wanted:
        containers = blobs.CONTAINERS + ((blobs.LOGS,) if logs else ())
        with source.blobs() as service:
            facts["blobs"] = blobs.save(service, target, containers)
        _say(_counted("blobs", facts["blobs"]))
    if "secrets" in wanted:
        facts["secrets"], unread = secrets.save(place.az(), target, source.vaults, secret)
        _say(_counted("secrets", facts["secrets"]))
        for name in unread:
            _say(f"  not saved, since it is disabled or belongs to a certificate: {name}")


def _restore(options: argparse.Namespace) -> int:
    from azure.core.exceptions import AzureError

    manifest = folder.check(options.folder)
    parts = {"config": "blobs", "tables": "rows", "secrets": "secrets"}
    wanted = [part for part in _wanted(options) if parts[part] in manifest]
    target = place.of(options, secrets="secrets" in wanted)
    _say(f"from {manifest['of']} as of {manifest['began_at']} to {target.name}")
    try:
        steps = _steps(options.folder, target, wanted)
        for change, _ in steps:
            _say(str(change))
        differ = sum(len(change.differ) for change, _ in steps)
        if options.dry_run:
            _say("nothing was written: --dry-run")
            return DONE
        if differ and not options.overwrite:
            _say(f"nothing was written: {differ} differ at the target; --overwrite replaces them")
            return WOULD_OVERWRITE
        for change, write in steps:
            _say(f"{change.what}: {write()} written")
    except AzureError as error:
        raise BackupError(_first_line(error)) from error
    return DONE


Step = tuple[Change, Callable[[], int]]


def _steps(source: Path, target: Place, wanted: list[str]) -> list[Step]:
    """In the order of writing: secrets, what rows refer to, rows, and last the cards."""
    first = _secret_steps(source, target) if "secrets" in wanted else []
    files = _blob_steps(source, target) if "config" in wanted else []
    rows = _table_steps(source, target) if "tables" in wanted else []
    cards = [step for step in files if step[0].what == "aos-config"]
    return [*first, *(step for step in files if step not in cards), *rows, *cards]


def _secret_steps(source: Path, target: Place) -> list[Step]:
    az = place.az()
    of, saved = secrets.opened(source, passphrase())
    steps: list[Step] = []
    for label, vault in target.vaults.items():
        found = saved.get(label, {})
        change = secrets.plan(az, label, vault, found, same_vault=of.get(label) == vault)
        steps.append((change, partial(secrets.restore, az, vault, found, change)))
    return steps


def _blob_steps(source: Path, target: Place) -> list[Step]:
    service = target.blobs()
    containers = {str(row["container"]) for row in folder.read_lines(source / blobs.LIST)}
    plans = [blobs.plan(service, source, container) for container in sorted(containers)]
    return [(change, partial(blobs.restore, service, source, change)) for change in plans]


def _table_steps(source: Path, target: Place) -> list[Step]:
    service = target.tables()
    plans = [tables.plan(service, source, table) for table in tables.saved_tables(source)]
    return [(change, partial(tables.restore, service, source, change)) for change in plans]


def _verify(options: argparse.Namespace) -> int:
    manifest = folder.check(options.folder)
    for kind in ("rows", "blobs", "secrets"):
        if kind in manifest:
            _say(_counted(kind, manifest[kind]))
    _say(f"whole: {len(manifest['files'])} files, {manifest['of']} as of {manifest['began_at']}")
    return DONE


def _wanted(options: argparse.Namespace) -> list[str]:
    wanted = [part for part in PARTS if part not in options.without]
    if not wanted:
        raise BackupError("nothing is left: every part is left out", code=USAGE)
    return wanted


def _counted(kind: str, counts: dict[str, int]) -> str:
    return f"{kind}: " + (", ".join(f"{name} {n}" for name, n in counts.items()) or "none")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

"""Reads the command line of deploy.py and runs the command. Entry point: `main`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from infra.orchestrator import history, pipeline
from infra.orchestrator.console import Console
from infra.orchestrator.exit_codes import Halt, Interrupted, format_exit_codes
from infra.orchestrator.run_context import Request

INFRA = Path(__file__).resolve().parents[1]
_COMMANDS = ("deploy", "history", "rollback")
_ABOUT = """\
Deploy AOS: PREFLIGHT, LINT, WHAT-IF, CONFIRM, DEPLOY, VERIFY, AUDIT, in this order.

  deploy.py -g GROUP -l REGION -p FILE [...]     deploy (the command `deploy` may be written out)
  deploy.py history [...]                        list earlier runs
  deploy.py rollback --to ID|SHA|last [...]      deploy an earlier commit with its parameters
"""


def main(argv: Sequence[str], **replacements: Any) -> int:
    """Run a command and return the exit code. argparse itself exits with 2.

    `replacements` replace the console, clock, terminal or waits of a run.
    """
    command, rest = _split_command(argv)
    console = replacements.get("console") or Console()
    try:
        if command == "history":
            return _list_history(rest, console)
        if command == "rollback":
            return _roll_back(rest, replacements)
        return pipeline.run(_make_request(make_deploy_parser().parse_args(rest)), **replacements)
    except Halt as halt:
        console.write(halt.reason)
        if halt.advice:
            console.write(f"next: {halt.advice}")
        return halt.code
    except Interrupted as interrupted:
        return interrupted.code


def _split_command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    if argv and argv[0] in _COMMANDS:
        return argv[0], argv[1:]
    return "deploy", argv


def _make_parser(name: str, about: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=name,
        description=about,
        epilog=f"exit codes:\n{format_exit_codes()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def make_deploy_parser() -> argparse.ArgumentParser:
    parser = _make_parser("deploy.py", _ABOUT)
    parser.add_argument("-g", "--resource-group", required=True, help="resource group")
    parser.add_argument("-l", "--location", required=True, help="region, such as eastus2")
    parser.add_argument(
        "-p", "--parameters", required=True, type=Path, metavar="FILE",
        help=".bicepparam, ARM parameter file, or properties.parameters of an earlier deployment",
    )  # fmt: skip
    _add_shared_options(parser)
    parser.add_argument(
        "--create-resource-group", action="store_true", help="create a missing resource group"
    )
    return parser


def _add_shared_options(parser: argparse.ArgumentParser) -> None:
    add, add_flag = parser.add_argument, partial(parser.add_argument, action="store_true")
    add(
        "-t", "--template", type=Path, metavar="FILE", default=INFRA / "main-modular.bicep",
        help="template; default: main-modular.bicep beside deploy.py",
    )  # fmt: skip
    add("--git-sha", metavar="SHA", help="commit for the audit record; default: HEAD")
    _add_audit_dir(parser)
    add_flag("--allow-warnings", help="continue when lint warns; not allowed for prod")
    add_flag("-y", "--yes", help="confirm destructive changes without a question")
    add_flag("--dry-run", "--what-if", help="stop after WHAT-IF")
    add_flag("--stack", help="use a deployment stack: delete what the template no longer has")
    add_flag("--require-apps", help="fail when an app has no code or another version")
    add_flag("--skip-rights", help="do not check your roles, such as Contributor")
    add_flag("--audit-upload", help="copy the audit folder to aos-logs/audit/<id>")
    add_seconds = partial(add, type=float, metavar="SECONDS")
    add_seconds(
        "--health-timeout", dest="health_seconds", default=600.0, help="for VERIFY; default 600"
    )
    add_seconds(
        "--deploy-timeout", dest="deploy_seconds", default=5400.0, help="for DEPLOY; default 5400"
    )


def _add_audit_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audit-dir", type=Path, metavar="FOLDER", default=INFRA / "audit",
        help="where audit.db and the records are; default: audit/ beside deploy.py",
    )  # fmt: skip


def _make_request(args: argparse.Namespace) -> Request:
    """Make the request of the options. Relative paths start at the current folder."""
    options: dict[str, Any] = {
        name: value.absolute() if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name in Request.__slots__
    }
    return Request(**options)


def _list_history(argv: Sequence[str], console: Console) -> int:
    parser = _make_parser("deploy.py history", "List the runs, newest first.")
    _add_audit_dir(parser)
    parser.add_argument("-g", "--resource-group", help="only runs of this resource group")
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="at most N runs; default 20"
    )
    parser.add_argument("--json", action="store_true", help="print the whole records as JSON")
    parser.add_argument("--verify", action="store_true", help="check the audit database")
    parser.add_argument(
        "--azure", action="store_true", help="list deployments in Azure; needs --resource-group"
    )
    args = parser.parse_args(argv)
    if args.azure:
        if not args.resource_group:
            parser.error("--azure needs --resource-group")
        return history.list_azure_deployments(console, args.resource_group, limit=args.limit)
    return history.list_runs(
        console,
        args.audit_dir.absolute(),
        group=args.resource_group,
        limit=args.limit,
        as_json=args.json,
        verify=args.verify,
    )


def _roll_back(argv: Sequence[str], replacements: dict[str, Any]) -> int:
    parser = _make_parser(
        "deploy.py rollback",
        "Deploy the templates of an earlier run's commit with its parameters, in all phases.",
    )
    parser.add_argument("--to", required=True, metavar="ID|SHA|last", help="see deploy.py history")
    parser.add_argument("-g", "--resource-group", help="default: that of the run")
    parser.add_argument("-l", "--location", help="default: that of the run")
    parser.add_argument(
        "-p", "--parameters", type=Path, metavar="FILE", help="default: the recorded values"
    )
    _add_shared_options(parser)
    args = parser.parse_args(argv)
    record = history.find_rollback_target(args.audit_dir.absolute(), args.to, args.resource_group)
    sha = args.git_sha or str(record["git_sha"])
    with tempfile.TemporaryDirectory(prefix="aos-rollback-") as folder:
        into = Path(folder).resolve()
        args.parameters = args.parameters or history.write_recorded_parameters(record, into)
        args.resource_group = args.resource_group or record["resource_group"]
        args.location = args.location or record["location"]
        if (record.get("git") or {}).get("dirty"):
            (replacements.get("console") or Console()).warn(
                "the files of that run differed from its commit"
            )
        template = history.extract_template(
            args.template.absolute().parent, args.template, sha, into
        )
        request = replace(
            _make_request(args), template=template, git_sha=sha, rollback_of=record["deployment_id"]
        )
        return pipeline.run(request, **replacements)

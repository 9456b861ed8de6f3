"""What can be asked of deploy.py on the command line?"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import history, pipeline
from orchestrator.exits import Halt, Interrupted, table
from orchestrator.request import Request
from orchestrator.voice import Voice

INFRA = Path(__file__).resolve().parents[1]
_COMMANDS = ("deploy", "history", "rollback")
_ABOUT = """\
Deploy AOS: PREFLIGHT, LINT, WHAT-IF, CONFIRM, DEPLOY, VERIFY, AUDIT, in this order.

  deploy.py -g GROUP -l REGION -p FILE [...]     deploy (the word `deploy` may stand first)
  deploy.py history [...]                        what was deployed before
  deploy.py rollback --to ID|SHA|last [...]      deploy an earlier commit with its parameters
"""


def main(argv: Sequence[str], **kit: Any) -> int:
    """Do what is asked and return the exit code; argparse itself ends with 2.

    `kit` replaces the voice, clock, terminal or patience of a run.
    """
    command, rest = _command(argv)
    voice = kit.get("voice") or Voice()
    try:
        if command == "history":
            return _history(rest, voice)
        if command == "rollback":
            return _rollback(rest, kit)
        return pipeline.run(_request(_deploy_parser().parse_args(rest)), **kit)
    except Halt as halt:
        voice.say(halt.reason)
        if halt.advice:
            voice.say(f"next: {halt.advice}")
        return halt.code
    except Interrupted as interrupted:
        return interrupted.code


def _command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    if argv and argv[0] in _COMMANDS:
        return argv[0], argv[1:]
    return "deploy", argv


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=name,
        description=about,
        epilog=f"exit codes:\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _deploy_parser() -> argparse.ArgumentParser:
    parser = _parser("deploy.py", _ABOUT)
    parser.add_argument("-g", "--resource-group", required=True, help="resource group")
    parser.add_argument("-l", "--location", required=True, help="region, such as eastus2")
    parser.add_argument(
        "-p", "--parameters", required=True, type=Path, metavar="FILE",
        help=".bicepparam, ARM parameter file, or properties.parameters of an earlier deployment",
    )  # fmt: skip
    _shared(parser)
    parser.add_argument(
        "--create-resource-group", action="store_true", help="create the group when it is missing"
    )
    return parser


def _shared(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-t", "--template", type=Path, metavar="FILE", default=INFRA / "main-modular.bicep",
        help="template; by default the one beside deploy.py",
    )  # fmt: skip
    add("--git-sha", metavar="SHA", help="commit for the audit record; by default HEAD")
    _audit_dir(parser)
    add("--allow-warnings", action="store_true", help="go on when lint warns; refused for prod")
    add("-y", "--yes", action="store_true", help="confirm destructive changes beforehand")
    add("--dry-run", "--what-if", action="store_true", help="end after WHAT-IF")
    add(
        "--stack", action="store_true",
        help="deploy as a deployment stack: what the template no longer holds is deleted",
    )  # fmt: skip
    add(
        "--require-apps",
        action="store_true",
        help="an app without code, or of another version, is unhealthy",
    )
    add("--skip-rights", action="store_true", help="do not look for Contributor and the like")
    add(
        "--audit-upload", action="store_true",
        help="copy the audit folder to aos-logs/audit/<id> of the deployment at the end",
    )  # fmt: skip
    add("--health-timeout", type=float, default=600.0, metavar="SECONDS", help="default 600")
    add("--deploy-timeout", type=float, default=5400.0, metavar="SECONDS", help="default 5400")


def _audit_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audit-dir", type=Path, metavar="FOLDER", default=INFRA / "audit",
        help="where audit.db and the records are; by default audit/ beside deploy.py",
    )  # fmt: skip


def _request(args: argparse.Namespace) -> Request:
    """Paths are seen from the current folder, as the shell sees them."""
    return Request(
        resource_group=args.resource_group,
        location=args.location,
        template=args.template.absolute(),
        parameters=args.parameters.absolute(),
        audit_dir=args.audit_dir.absolute(),
        git_sha=args.git_sha,
        allow_warnings=args.allow_warnings,
        yes=args.yes,
        dry_run=args.dry_run,
        stack=args.stack,
        require_apps=args.require_apps,
        create_resource_group=getattr(args, "create_resource_group", False),
        skip_rights=args.skip_rights,
        audit_upload=args.audit_upload,
        health_seconds=args.health_timeout,
        deploy_seconds=args.deploy_timeout,
    )


def _history(argv: Sequence[str], voice: Voice) -> int:
    parser = _parser("deploy.py history", "List what was deployed, newest first.")
    _audit_dir(parser)
    parser.add_argument("-g", "--resource-group", help="only this group")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="default 20")
    parser.add_argument("--json", action="store_true", help="the whole records")
    parser.add_argument("--verify", action="store_true", help="check the chain of hashes")
    parser.add_argument(
        "--azure", action="store_true", help="what Azure remembers instead; needs --resource-group"
    )
    args = parser.parse_args(argv)
    if args.azure:
        if not args.resource_group:
            parser.error("--azure needs --resource-group")
        return history.azure_history(voice, args.resource_group, limit=args.limit)
    return history.history(
        voice,
        args.audit_dir.absolute(),
        group=args.resource_group,
        limit=args.limit,
        as_json=args.json,
        verify=args.verify,
    )


def _rollback(argv: Sequence[str], kit: dict[str, Any]) -> int:
    parser = _parser(
        "deploy.py rollback",
        "Deploy the templates of an earlier run's commit with its parameters, through all gates.",
    )
    parser.add_argument("--to", required=True, metavar="ID|SHA|last", help="from deploy.py history")
    parser.add_argument("-g", "--resource-group", help="by default that of the run")
    parser.add_argument("-l", "--location", help="by default that of the run")
    parser.add_argument(
        "-p", "--parameters", type=Path, metavar="FILE", help="by default the recorded values"
    )
    _shared(parser)
    args = parser.parse_args(argv)
    record = history.to_go_back_to(args.audit_dir.absolute(), args.to, args.resource_group)
    sha = args.git_sha or str(record["git_sha"])
    with tempfile.TemporaryDirectory(prefix="aos-rollback-") as folder:
        into = Path(folder).resolve()
        args.parameters = args.parameters or history.parameters_of(record, into)
        args.resource_group = args.resource_group or record["resource_group"]
        args.location = args.location or record["location"]
        if (record.get("git") or {}).get("dirty"):
            (kit.get("voice") or Voice()).warn("that run's files differed from its commit")
        template = history.template_at(args.template.absolute().parent, args.template, sha, into)
        request = replace(
            _request(args), template=template, git_sha=sha, rollback_of=record["deployment_id"]
        )
        return pipeline.run(request, **kit)

"""Reads the command line of health_check.py and runs the command. Entry point: `main`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from infra.orchestrator.app_checks import AppChecks, read_repository_version
from infra.orchestrator.azure_cli import Az
from infra.orchestrator.clock import Clock
from infra.orchestrator.console import Console
from infra.orchestrator.exit_codes import DONE, REFUSED, USAGE, Halt
from infra.orchestrator.history import read_outputs
from infra.orchestrator.resource_checks import Check, check_platform_health
from infra.orchestrator.role_checks import check_roles
from infra.orchestrator.service_checks import check_service_bus, check_storage
from infra.orchestrator.verification import check_until_settled, describe_warnings, find_unhealthy

_CODES = """\
exit codes:
    0  healthy
    1  something is not healthy
    2  arguments, login or resource group are wrong, or nothing is deployed
    5  Azure or the network did not answer; a repeat may work
"""
_POLL_SECONDS = 10.0
_INFRA = Path(__file__).parents[1]


def main(argv: Sequence[str], *, console: Console | None = None, clock: Clock | None = None) -> int:
    """Run all checks and return the exit code. Apps are checked again until --timeout."""
    args = make_parser().parse_args(argv)
    console = console or Console()
    group = args.resource_group or f"rg-aos-{args.environment}"
    try:
        seen, warnings = _check_all(args, group, clock or Clock())
    except Halt as halt:
        return _report_halt(console, halt, as_json=args.json)
    bad = find_unhealthy(seen, require_apps=args.require_apps)
    if args.json:
        console.write(_format_document(args.environment, group, seen, warnings, healthy=not bad))
    else:
        for line in [*map(str, seen), *(f"warning: {it}" for it in warnings)]:
            console.write(line)
        console.write(f"{group}: {'NOT healthy' if bad else 'healthy'}, {len(seen)} checks")
    return REFUSED if bad else DONE


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="health_check.py",
        description="Check the health of a deployed environment.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--environment", required=True, choices=["dev", "staging", "prod"])
    parser.add_argument(
        "-g", "--resource-group", help="default: rg-aos-ENVIRONMENT; needed for the second region"
    )
    parser.add_argument(
        "--rbac", action="store_true", help="also compare the roles of each app with those it needs"
    )
    parser.add_argument(
        "--require-apps",
        action="store_true",
        help="fail when an app has no code or another version",
    )
    parser.add_argument(
        "--app-version",
        metavar="VERSION",
        help="version that --require-apps expects; default: the version of this repository",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="seconds to wait for the apps; default 120",
    )
    return parser


def _check_all(args: argparse.Namespace, group: str, clock: Clock) -> tuple[list[Check], list[str]]:
    az = Az.find()
    outputs = read_outputs(az, group)
    version = args.app_version or read_repository_version(_INFRA)
    seen = check_until_settled(
        *(AppChecks(az=az, group=group, version=version), outputs, clock),
        seconds=args.timeout,
        poll_seconds=_POLL_SECONDS,
        require_apps=args.require_apps,
    )
    seen += check_service_bus(az, group, str(outputs.get("serviceBusName")))
    seen += check_storage(az, group, str(outputs.get("storageAccountName")))
    seen += check_platform_health(az, group)
    if args.rbac:
        seen += check_roles(az, group, outputs)
    return seen, describe_warnings(outputs)


def _format_document(
    environment: str, group: str, seen: list[Check], warnings: list[str], *, healthy: bool
) -> str:
    document = {
        "environment": environment,
        "resource_group": group,
        "healthy": healthy,
        "checks": [asdict(it) for it in seen],
        "warnings": warnings,
    }
    return json.dumps(document, indent=2)


def _report_halt(console: Console, halt: Halt, *, as_json: bool) -> int:
    # REFUSED means here that az refused a command, not that something is unhealthy.
    code = USAGE if halt.code == REFUSED else halt.code
    if as_json:
        console.write(json.dumps({"healthy": None, "error": halt.reason, "next": halt.advice}))
    else:
        console.write(halt.reason)
        console.write(f"next: {halt.advice}")
    return code

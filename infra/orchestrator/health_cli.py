"""Is health_check.py on the command line. Entry point: `main`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator import checks, rbac, standing
from orchestrator.apps import AppChecks, version_beside
from orchestrator.az import Az
from orchestrator.checks import Check
from orchestrator.clock import Clock
from orchestrator.exits import DONE, REFUSED, USAGE, Halt
from orchestrator.verify import app_names, unhealthy, unsettled, warnings_in
from orchestrator.voice import Voice

_CODES = """\
exit codes:
    0  healthy
    1  something is not healthy
    2  arguments, login or group are not as they must be, or nothing is deployed
    5  Azure or the network did not answer: the same again may work
"""
_POLL_SECONDS = 10.0
_INFRA = Path(__file__).parents[1]


def main(argv: Sequence[str], *, voice: Voice | None = None, clock: Clock | None = None) -> int:
    """Look once at everything and return the exit code; apps get until --timeout."""
    args = _parser().parse_args(argv)
    voice = voice or Voice()
    group = args.resource_group or f"rg-aos-{args.environment}"
    try:
        seen, warnings = _look(args, group, clock or Clock())
    except Halt as halt:
        return _halted(voice, halt, as_json=args.json)
    bad = unhealthy(seen, require_apps=args.require_apps)
    if args.json:
        voice.say(_document(args.environment, group, seen, warnings, healthy=not bad))
    else:
        for line in [*map(str, seen), *(f"warning: {it}" for it in warnings)]:
            voice.say(line)
        voice.say(f"{group}: {'NOT healthy' if bad else 'healthy'}, {len(seen)} checks")
    return REFUSED if bad else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="health_check.py",
        description="Is a deployed environment healthy?",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--environment", required=True, choices=["dev", "staging", "prod"])
    parser.add_argument(
        "-g", "--resource-group", help="by default rg-aos-ENVIRONMENT; the second region needs it"
    )
    parser.add_argument("--rbac", action="store_true", help="also compare the roles of each app")
    parser.add_argument(
        "--require-apps",
        action="store_true",
        help="an app without code, or of another version, fails",
    )
    parser.add_argument(
        "--app-version",
        metavar="VERSION",
        help="the version that must run, with --require-apps; default: this repository's",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="for the apps; default 120"
    )
    return parser


def _look(args: argparse.Namespace, group: str, clock: Clock) -> tuple[list[Check], list[str]]:
    az = Az.found()
    outputs = standing.outputs_of(az, group)
    apps = app_names(outputs)
    app_checks = AppChecks(az=az, group=group, version=args.app_version or version_beside(_INFRA))

    def look() -> list[Check]:
        found = checks.resources(az, group)
        return found + [app_checks.check(*it) for it in apps]

    seen = checks.until_settled(
        *(clock, args.timeout, _POLL_SECONDS, look),
        unsettled=unsettled(require_apps=args.require_apps),
    )
    seen += standing.bus(az, group, str(outputs.get("serviceBusName")))
    seen += standing.storage(az, group, str(outputs.get("storageAccountName")))
    seen += checks.platform(az, group)
    if args.rbac:
        seen += rbac.check(az, group, outputs)
    return seen, warnings_in(outputs)


def _document(
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


def _halted(voice: Voice, halt: Halt, *, as_json: bool) -> int:
    # What az said of a command is about how we asked: nothing is known of the health.
    code = USAGE if halt.code == REFUSED else halt.code
    if as_json:
        voice.say(json.dumps({"healthy": None, "error": halt.reason, "next": halt.advice}))
    else:
        voice.say(halt.reason)
        voice.say(f"next: {halt.advice}")
    return code

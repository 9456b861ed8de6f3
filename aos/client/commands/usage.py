"""Shows what agents used and what it cost on the command line. Entry point: `add_usage`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aos.client.options import add_address, open_client
from aos.client.terminal import Exit, say, say_error, say_json

_ROW = "{:<28}  {:>8}  {:>14}  {:>14}  {:>12}  {:>14}  {:>16}"
_HEAD = ("", "RUNS", "INPUT", "CACHED", "OUTPUT", "REASONING", "COST")
_TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


def add_usage(commands: Any) -> None:
    """Add the command `usage`."""
    usage = commands.add_parser(
        "usage",
        help="show what agents used and what it cost",
        description=(
            "Show runs, tokens and costs of ended runs: yours; admins, everybody's. Cached tokens"
            " are part of the input, reasoning tokens of the output."
        ),
        epilog="example: aos usage --from 2026-01-01 --to 2026-01-31 --by model",
    )
    usage.add_argument(
        "--by",
        choices=("agent", "owner", "day", "model"),
        default="agent",
        help="what the usage is summed by (default: agent)",
    )
    usage.add_argument(
        "--from",
        dest="first",
        metavar="DAY",
        help="the first day in UTC, such as 2026-01-31 (default: 30 days in all)",
    )
    usage.add_argument("--to", dest="last", metavar="DAY", help="the last day (default: today)")
    usage.add_argument("--agent", metavar="AGENT", help="only of this agent")
    usage.add_argument("--owner", metavar="OWNER", help="only of this owner (admins)")
    add_address(usage)
    usage.set_defaults(command=_show_usage)


def _show_usage(options: argparse.Namespace) -> int:
    report = open_client(options).usage(
        by=options.by,
        first_day=options.first,
        last_day=options.last,
        agent_id=options.agent,
        owner=options.owner,
    )
    if options.json:
        say_json(report)
        return Exit.DONE
    say(f"{report.get('first_day')} to {report.get('last_day')}")
    say(_ROW.format(options.by.upper(), *_HEAD[1:]))
    currency = report.get("currency") or ""
    for item in report.get("items", []):
        say(_describe(item, str(item.get("key") or "-"), currency))
    say(_describe(report.get("total", {}), "total", currency))
    if currency and report.get("unpriced_models"):
        names = ", ".join(report["unpriced_models"])
        say_error(f"no price in AOS_MODEL_PRICES: {names}")
    return Exit.DONE


def _describe(item: Mapping[str, Any], name: str, currency: str) -> str:
    cost = item.get("cost")
    price = "-" if cost is None else f"{cost} {currency}"
    return _ROW.format(name, item.get("runs"), *(item.get(field) for field in _TOKENS), price)

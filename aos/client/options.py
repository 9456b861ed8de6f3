"""Reads the options that several commands of `aos` have. Entry points: `add_address`,
`open_client`."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

from aos.client.address import DEFAULT_URL
from aos.client.http import AosClient
from aos.domain.wire_time import to_wire_time

DEFAULT_LIMIT = 50
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_address(command: argparse.ArgumentParser) -> None:
    """Add `--url`, `--key` and `--json`."""
    command.add_argument(
        "--url", help=f"where AOS is (default: the variable AOS_URL, else {DEFAULT_URL})"
    )
    command.add_argument("--key", help="a function key, if keys are on (default: AOS_KEY)")
    add_json(command)


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print JSON: one object a line")


def add_limit(command: argparse.ArgumentParser) -> None:
    """Add `--limit`."""
    command.add_argument(
        "--limit",
        metavar="N",
        type=parse_count,
        default=DEFAULT_LIMIT,
        help=f"the most to list (default {DEFAULT_LIMIT})",
    )


def open_client(options: argparse.Namespace) -> AosClient:
    """Make the client for the address in the options. Raises ConfigurationError."""
    return AosClient(url=options.url, key=options.key)


def parse_since(text: str) -> str:
    """Convert a span before now, or a time, to the API's form."""
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            moment = datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        else:
            moment = datetime.fromisoformat(text)
        return str(to_wire_time(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a span (30m, 2h, 7d) nor a time (2026-01-31T12:00:00Z)"
        raise argparse.ArgumentTypeError(message) from None


def parse_key(text: str) -> str:
    """Check an idempotency key."""
    if text.isascii() and text.isprintable():
        return text
    raise argparse.ArgumentTypeError(
        f"the key {text!r} is not valid; write printable ASCII characters"
    )


def parse_seconds(text: str) -> float:
    """Read a number of seconds."""
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text):
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")


def parse_count(text: str) -> int:
    """Read a whole number of at least 1."""
    if re.fullmatch(r"[0-9]{1,6}", text) and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")

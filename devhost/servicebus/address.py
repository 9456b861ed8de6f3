"""Reads the address of a link or a token's audience. Entry point: `parse_address`."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

CLAIMS, MANAGEMENT = "$cbs", "$management"


class Address(NamedTuple):
    """A path in lower case, and the node there: "" (the entity itself), CLAIMS or MANAGEMENT."""

    path: str
    node: str = ""


def parse_address(address: object) -> Address:
    """`amqps://host:port/path`, `sb://…` or a plain path; anything else is the empty path."""
    if not isinstance(address, str):
        return Address("")
    _, scheme, rest = address.partition("://")
    path = rest.partition("/")[2] if scheme else address
    path = unquote(path).strip("/").casefold()
    if path == CLAIMS:
        return Address("", CLAIMS)
    if path == MANAGEMENT:
        return Address("", MANAGEMENT)
    if path.endswith("/" + MANAGEMENT):
        return Address(path.removesuffix("/" + MANAGEMENT), MANAGEMENT)
    return Address(path)


def covers(scope: str, path: str) -> bool:
    """Whether a path lies at or below a scope; the scope "" is the whole namespace."""
    return not scope or path == scope or path.startswith(scope + "/")

"""Decides which hosts and addresses a URL may have that AOS opens: of an MCP server, or of a
receiver of webhooks. Entry points: `find_url_problem`, `is_listed_host`, `is_public_host`,
`require_public`.

The same rule checks the card and, at each connection, the addresses that the host name resolves to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from aos.domain.cards.assessment import CardProblem

LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PRIVATE_NAMES = ("localhost", "local", "internal", "localdomain")
_NOT_PUBLIC_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a carrier
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's own virtual address
            "169.254.0.0/16",  # link-local: identity and metadata endpoints
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""Global unicast. It excludes loopback, link-local, site-local, unique local, multicast, and the
forms that embed an IPv4 address: compatible, mapped, translated, NAT64."""
_NOT_PUBLIC_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: embeds an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)


class AddressRefused(OSError):
    """The host name resolves to an address that AOS may not connect to."""


def find_url_problem(url: str, listed_hosts: frozenset[str]) -> CardProblem | None:
    """Return a problem unless AOS may open this URL. `listed_hosts` are those that the operator
    allows although they are private or use http."""
    message: str | None = None
    hint = "write https://<public host name>/…"
    # urlsplit drops these characters; other URL parsers keep them
    if not url.isprintable() or " " in url:
        return CardProblem(path="url", message=f"{url!r} contains white space", hint=hint)
    try:
        parts = urlsplit(url)
        listed = is_listed_host(parts, listed_hosts)
    except ValueError as error:
        return CardProblem(path="url", message=f"{url!r} is not a URL: {error}", hint=hint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"{url!r} is not an https URL"
    elif parts.username is not None or parts.password is not None:
        message, hint = "the URL contains a user name or password", "leave them out"
    elif parts.fragment:
        message, hint = "the URL contains a fragment (#…)", "remove it"
    elif parts.scheme != "https" and not listed:
        message = f"{url!r} is not https"
    elif not listed and not is_public_host(parts.hostname):
        message = f"the host {parts.hostname!r} is loopback, link-local, private or not valid"
        hint = "write a public host, or ask the operator to list this one"
    return None if message is None else CardProblem(path="url", message=message, hint=hint)


def is_listed_host(url: SplitResult, listed: frozenset[str]) -> bool:
    """Whether the operator listed this host or `host:port`. Raises ValueError for an invalid
    port."""
    host = (url.hostname or "").rstrip(".")
    port = url.port or (443 if url.scheme == "https" else 80)
    return host in listed or f"{host}:{port}" in listed


def is_public_host(host: str) -> bool:
    """Whether this is a public address, or a host name that may resolve to one."""
    host = host.removesuffix(".").lower()
    if len(host) > LONGEST_NAME:
        return False
    labels = host.split(".")
    if ":" in host or _NUMBER.fullmatch(labels[-1]):
        return is_public_address(host)
    if not all(_is_label(label) for label in labels):
        return False
    return len(labels) > 1 and labels[-1] not in _PRIVATE_NAMES


def is_public_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address of the public internet.

    IPv6 forms that embed an IPv4 address never count as public, because the network decides where
    they lead.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None or address not in _PUBLIC_V6:
        return False
    return not any(address in network for network in _NOT_PUBLIC_V6)


def require_public(host: str, addresses: Iterable[str]) -> None:
    """Raise AddressRefused unless all addresses that the host name resolves to are public."""
    if not all(map(is_public_address, addresses)):
        raise AddressRefused(f"the host {host!r} resolves to an address that is not public")


def _is_label(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None and text[0] != "-" != text[-1]

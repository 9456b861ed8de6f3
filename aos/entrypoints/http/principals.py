"""Reads who App Service Authentication let in. Entry point: `read_principal`.

The platform sets two headers and removes them from client requests: the token's claims as base64 of
JSON, `{"claims": [{"typ": …, "val": …}]}`, and the caller's id. Without the platform in front,
anybody can write these headers, so call this only behind it.

Source: learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from aos.domain.caller import Caller
from aos.domain.json_reader import JsonTextError, parse_json
from aos.errors import Refused

CLAIMS_HEADER = "x-ms-client-principal"
ID_HEADER = "x-ms-client-principal-id"
ADMIN_ROLE = "AOS.Admin"
APPROVER_ROLE = "AOS.Approver"
MAX_HEADER_CHARACTERS = 64 * 1024
_OBJECT_ID = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")
_SUBJECT = ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "sub")
_ROLES = ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "roles")
# No colon, because `key:`, `agent:` and `queue:` begin owners of other kinds. No comma, because it
# joins headers.
_ID = re.compile(r"[A-Za-z0-9._@|-]{1,128}", re.ASCII)


def read_principal(headers: Mapping[str, str]) -> Caller | None:
    """Return who signed in, with the roles of the app registration, or None.

    Raises Refused `unauthorized` if the headers do not identify anybody.
    """
    encoded, given_id = headers.get(CLAIMS_HEADER), headers.get(ID_HEADER)
    if not encoded and not given_id:
        return None
    claims = _read_claims(encoded) if encoded else []
    roles = _list_values(claims, _ROLES)
    return Caller(
        owner=_read_owner(claims, given_id),
        is_admin=ADMIN_ROLE in roles,
        is_approver=APPROVER_ROLE in roles,
    )


def _read_owner(claims: list[tuple[str, str]], given_id: str | None) -> str:
    """Return the object id. B2C's user flows put it into `sub`, where Entra has an id for one app
    only."""
    ids = _list_values(claims, _OBJECT_ID) or (
        {given_id} if given_id else _list_values(claims, _SUBJECT)
    )
    if not ids:
        raise _make_refusal("it has neither an object id nor a subject")
    if len(ids) > 1:
        raise _make_refusal(f"it has {len(ids)} different object ids")
    (owner,) = ids
    if not _ID.fullmatch(owner):
        raise _make_refusal(
            f"its id {owner[:40]!r} is not 1 to 128 characters of A-Z, a-z, 0-9, ., _, @, | and -"
        )
    return owner


def _list_values(claims: list[tuple[str, str]], types: tuple[str, ...]) -> set[str]:
    return {value for name, value in claims if name in types}


def _read_claims(encoded: str) -> list[tuple[str, str]]:
    """Return types and values of the claims that are texts; the others are not needed."""
    if len(encoded) > MAX_HEADER_CHARACTERS:
        raise _make_refusal(
            f"it has {len(encoded):,} characters, the limit is {MAX_HEADER_CHARACTERS:,};"
            " leave claims out of the token, such as groups"
        )
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        principal = parse_json(raw, max_bytes=len(raw), allow_control_characters=True)
    except (binascii.Error, ValueError) as error:
        why = error.message if isinstance(error, JsonTextError) else "it is not base64"
        raise _make_refusal(why) from error
    claims = principal.get("claims") if isinstance(principal, dict) else None
    if not isinstance(claims, list):
        raise _make_refusal("it has no list of claims")
    return [
        (claim["typ"], claim["val"])
        for claim in claims
        if isinstance(claim, dict)
        and isinstance(claim.get("typ"), str)
        and isinstance(claim.get("val"), str)
    ]


def _make_refusal(why: str) -> Refused:
    return Refused(
        "unauthorized",
        f"the sign-in cannot be used: in {CLAIMS_HEADER}, {why}; sign in again, or ask the operator"
        " what App Service Authentication is set to",
    )

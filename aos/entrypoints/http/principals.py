"""Whom did App Service Authentication let in?

It tells the app in two headers, and takes them away from what clients send: the token's claims as
base64 of JSON, `{"claims": [{"typ": …, "val": …}]}`, and the caller's id. Where it does not stand
in front of the app anybody can write them, so this may be asked only where it does.

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
# No colon: `key:`, `agent:` and `queue:` begin owners of other kinds. No comma: it joins headers.
_ID = re.compile(r"[A-Za-z0-9._@|-]{1,128}", re.ASCII)


def signed_in(headers: Mapping[str, str]) -> Caller | None:
    """Who signed in, with the roles of the app registration; None: nobody.

    Raises Refused `unauthorized` for headers that name nobody.
    """
    encoded, given_id = headers.get(CLAIMS_HEADER), headers.get(ID_HEADER)
    if not encoded and not given_id:
        return None
    claims = _claims(encoded) if encoded else []
    roles = _values(claims, _ROLES)
    return Caller(
        owner=_owner(claims, given_id),
        is_admin=ADMIN_ROLE in roles,
        is_approver=APPROVER_ROLE in roles,
    )


def _owner(claims: list[tuple[str, str]], given_id: str | None) -> str:
    """The object id; B2C's user flows put it into `sub`, where Entra has an id for one app only."""
    ids = _values(claims, _OBJECT_ID) or ({given_id} if given_id else _values(claims, _SUBJECT))
    if not ids:
        raise _unusable("it names neither an object id nor a subject")
    if len(ids) > 1:
        raise _unusable(f"it names {len(ids)} object ids")
    (owner,) = ids
    if not _ID.fullmatch(owner):
        raise _unusable(
            f"its id {owner[:40]!r} is none of 1 to 128 characters A-Z, a-z, 0-9, ., _, @, | and -"
        )
    return owner


def _values(claims: list[tuple[str, str]], types: tuple[str, ...]) -> set[str]:
    return {value for name, value in claims if name in types}


def _claims(encoded: str) -> list[tuple[str, str]]:
    """Types and values of the claims that are texts; no other says anything to us."""
    if len(encoded) > MAX_HEADER_CHARACTERS:
        raise _unusable(
            f"it has {len(encoded):,} characters, the limit is {MAX_HEADER_CHARACTERS:,};"
            " leave claims out of the token, such as groups"
        )
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        principal = parse_json(raw, max_bytes=len(raw), allow_control_characters=True)
    except (binascii.Error, ValueError) as error:
        why = error.message if isinstance(error, JsonTextError) else "it is not base64"
        raise _unusable(why) from error
    claims = principal.get("claims") if isinstance(principal, dict) else None
    if not isinstance(claims, list):
        raise _unusable("it holds no list of claims")
    return [
        (claim["typ"], claim["val"])
        for claim in claims
        if isinstance(claim, dict)
        and isinstance(claim.get("typ"), str)
        and isinstance(claim.get("val"), str)
    ]


def _unusable(why: str) -> Refused:
    return Refused(
        "unauthorized",
        f"the sign-in cannot be used: in {CLAIMS_HEADER}, {why}; sign in again, or ask the operator"
        " what App Service Authentication is set to",
    )

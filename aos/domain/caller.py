"""Who asks?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the owner of what is made, and whether the operator's rights come with it.

    `is_approver`: may decide what waits for a person in anybody's runs; an admin may without it.
    """

    owner: str
    is_admin: bool = False
    is_approver: bool = False

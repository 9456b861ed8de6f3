"""Finds what a production deployment leaves open without saying so. Entry point: `blanks_in`.

An absent budget, list of callers or address for alerts deploys well and protects nothing, so
production has to say the value, or that it wants none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

_FIRST_OF_A_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])-01")
_EVERYBODY = "0.0.0.0/0"
_TOLD = ("criticalAlertEmails", "criticalAlertPhones", "criticalAlertWebhook", "actionGroupId")


def blanks_in(values: Mapping[str, Any]) -> list[str]:
    """What is to be filled in: parameter, environment variable, what to write."""
    return [*_budget(values), *_callers(values), *_told(values)]


def _budget(values: Mapping[str, Any]) -> list[str]:
    if "monthlyBudget" not in values:
        return ["monthlyBudget: write an amount a month, or 0 for no budget"]
    start = str(values.get("budgetStartDate") or "")
    if not values["monthlyBudget"] or _FIRST_OF_A_MONTH.fullmatch(start):
        return []
    said = f"is {start!r}" if start else "is missing"
    return [
        f"budgetStartDate (AOS_BUDGET_START) {said}: write the first day of the month of the"
        " first deployment, such as 2026-12-01, and keep it; or monthlyBudget = 0"
    ]


def _callers(values: Mapping[str, Any]) -> list[str]:
    ranges = values.get("allowedIpRanges") or []
    wrong = [str(it) for it in ranges if not _is_range(str(it))]
    if ranges and not wrong:
        return []
    said = f"has {', '.join(map(repr, wrong))}" if wrong else "is missing, so everybody may call"
    return [
        f"allowedIpRanges (AOS_ALLOWED_IP_RANGES) {said}: write ranges such as 203.0.113.0/24"
        f" with commas between, or {_EVERYBODY} if everybody is to call"
    ]


def _told(values: Mapping[str, Any]) -> list[str]:
    if any(values.get(name) for name in _TOLD):
        return []
    return [
        "criticalAlertEmails (AOS_ALERT_EMAILS) is missing, so nobody is told that an app is down:"
        " write addresses with commas between, or set actionGroupId"
    ]


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text

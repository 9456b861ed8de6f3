"""Finds values that production must set explicitly. Entry point: `find_missing_values`.

Without a budget, a list of callers or an address for alerts the deployment succeeds, but nothing is
protected. So production must set the value, or a value that turns the protection off.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

_FIRST_OF_A_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])-01")
_EVERYBODY = "0.0.0.0/0"
_ALERT_RECEIVERS = (
    "criticalAlertEmails",
    "criticalAlertPhones",
    "criticalAlertWebhook",
    "actionGroupId",
)


def find_missing_values(values: Mapping[str, Any]) -> list[str]:
    """Describe each missing value: the parameter, its environment variable, and what to write."""
    return [*_check_budget(values), *_check_callers(values), *_check_alerts(values)]


def _check_budget(values: Mapping[str, Any]) -> list[str]:
    if "monthlyBudget" not in values:
        return ["monthlyBudget: write an amount for each month, or 0 for no budget"]
    start = str(values.get("budgetStartDate") or "")
    if not values["monthlyBudget"] or _FIRST_OF_A_MONTH.fullmatch(start):
        return []
    problem = f"is {start!r}" if start else "is missing"
    return [
        f"budgetStartDate (AOS_BUDGET_START) {problem}: write the first day of the month of the"
        " first deployment, such as 2026-12-01, and do not change it later; or set"
        " monthlyBudget = 0"
    ]


def _check_callers(values: Mapping[str, Any]) -> list[str]:
    ranges = values.get("allowedIpRanges") or []
    wrong = [str(it) for it in ranges if not _is_range(str(it))]
    if ranges and not wrong:
        return []
    problem = f"has {', '.join(map(repr, wrong))}" if wrong else "is missing, so everybody may call"
    return [
        f"allowedIpRanges (AOS_ALLOWED_IP_RANGES) {problem}: write ranges such as 203.0.113.0/24,"
        f" separated by commas, or {_EVERYBODY} to let everybody call"
    ]


def _check_alerts(values: Mapping[str, Any]) -> list[str]:
    if any(values.get(name) for name in _ALERT_RECEIVERS):
        return []
    return [
        "criticalAlertEmails (AOS_ALERT_EMAILS) is missing, so nobody is told when an app is down:"
        " write addresses, separated by commas, or set actionGroupId"
    ]


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text

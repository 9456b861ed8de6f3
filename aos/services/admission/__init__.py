"""Admits runs in main. Entry points: `Admissions` for callers, `Delegations` for agents, `Replays`
for runs that are asked again."""

from aos.domain.caller import Caller
from aos.services.admission.admissions import Admission, Admissions, RunRequest
from aos.services.admission.budget import AdmissionBudgets
from aos.services.admission.busy import Turnstile
from aos.services.admission.delegations import Delegations
from aos.services.admission.replays import Replayed, ReplayFilter, Replays

__all__ = [
    "Admission",
    "AdmissionBudgets",
    "Admissions",
    "Caller",
    "Delegations",
    "ReplayFilter",
    "Replayed",
    "Replays",
    "RunRequest",
    "Turnstile",
]

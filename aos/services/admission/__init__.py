"""Admits runs in main. Entry points: `Admissions` for callers, `Delegations` for agents, `Replays`
for runs that are asked again, `ScheduledRuns` and `EventRuns` for what wakes agents."""

from aos.domain.caller import Caller
from aos.services.admission.admissions import Admission, Admissions
from aos.services.admission.budget import AdmissionBudgets
from aos.services.admission.busy import Turnstile
from aos.services.admission.delegations import Delegations
from aos.services.admission.events import EventRuns
from aos.services.admission.replays import Replayed, ReplayFilter, Replays
from aos.services.admission.run_requests import NO_VISION, RunRequest
from aos.services.admission.schedules import ScheduledRuns

__all__ = [
    "NO_VISION",
    "Admission",
    "AdmissionBudgets",
    "Admissions",
    "Caller",
    "Delegations",
    "EventRuns",
    "ReplayFilter",
    "Replayed",
    "Replays",
    "RunRequest",
    "ScheduledRuns",
    "Turnstile",
]

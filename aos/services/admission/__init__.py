"""Admits runs in main. Entry points: `Admissions` for callers, `Delegations` for agents."""

from aos.domain.caller import Caller
from aos.services.admission.admissions import Admission, Admissions, RunRequest
from aos.services.admission.delegations import Delegations

__all__ = ["Admission", "Admissions", "Caller", "Delegations", "RunRequest"]

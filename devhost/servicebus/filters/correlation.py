"""Matches messages with exactly these properties. Entry point: `CorrelationFilter.matches`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devhost.servicebus.filters.view import Seen, casefold_names


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationFilter:
    """Every named property must be equal; `system` holds names of fields of `Properties`."""

    system: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, seen: Seen) -> bool:
        """Whether all of them are equal."""
        for name, wanted in self.system.items():
            found = getattr(seen.properties, name)
            if found is None or str(found) != str(wanted):
                return False
        if not self.properties:
            return True
        own = casefold_names(seen.application_properties)
        return all(
            _is_same(own.get(name.casefold()), wanted) for name, wanted in self.properties.items()
        )


def _is_same(found: Any, wanted: Any) -> bool:
    """Whether two values are equal in value and type: True is not 1."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return bool(found == wanted)

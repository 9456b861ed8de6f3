"""Names the models that can see images and PDF files. Entry point: `Vision`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """The models that can see images and PDF files: names, or `*` for all of them.

    `default_model` is asked where a card names none.
    """

    models: frozenset[str] = frozenset()
    default_model: str | None = None

    def can_see(self, model: str | None) -> bool:
        """Whether this model can see; None is the default model."""
        return "*" in self.models or (model or self.default_model) in self.models

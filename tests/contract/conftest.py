"""Fixtures of the contract tests: the same suite on fakes and on real parts."""

from tests.contract.azurite import azurite

__all__ = ["azurite"]

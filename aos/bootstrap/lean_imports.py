"""Imports the SDKs without parts that AOS does not use. Entry point: `install`.

Azure's clients of blobs and queues import `cryptography`, for encryption by the client, and
`requests`, for clients that block: 12 MB in each app. In the modules of `_LATE` these names stand
for what is imported when it is first called. The packages of `_LAZY` import all of the MCP SDK,
servers too, 17 MB, to offer short names; they do so when such a name is first asked for. All other
modules import as always.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

_TRANSPORT = ("azure.core.pipeline.transport", "RequestsTransport")
_CIPHERS = "cryptography.hazmat.primitives.ciphers"
_ENCRYPTION = (
    ("cryptography.hazmat.backends", "default_backend"),
    (_CIPHERS, "Cipher"),
    (f"{_CIPHERS}.aead", "AESGCM"),
    (f"{_CIPHERS}.algorithms", "AES"),
    (f"{_CIPHERS}.modes", "CBC"),
    ("cryptography.hazmat.primitives.padding", "PKCS7"),
)
_LATE: Mapping[str, Sequence[tuple[str, str]]] = {
    "azure.storage.blob._encryption": _ENCRYPTION,
    "azure.storage.blob._shared.base_client": (_TRANSPORT,),
    "azure.storage.queue._encryption": _ENCRYPTION,
    "azure.storage.queue._shared.base_client": (_TRANSPORT,),
    "azure.servicebus.management._management_client": (_TRANSPORT,),
}
"""The modules, and the names in each that are imported late. They are only called there."""
_LAZY = frozenset({"mcp", "mcp.client"})
"""Packages whose own code runs when a name in them is first asked for."""


def install() -> None:
    """Let what is imported from now on import less. A second call does nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of `_LATE` and `_LAZY` as Python does, with another loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _LATE and fullname not in _LAZY:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            loader = _LazyLoader if fullname in _LAZY else _LateLoader
            spec.loader = loader(fullname, spec.loader.path)
        return spec


class _LazyLoader(importlib.machinery.SourceFileLoader):
    """Runs the code of a package when a name in it is first asked for."""

    def exec_module(self, module: ModuleType) -> None:
        lock = threading.RLock()
        is_run = False

        def find(name: str) -> Any:
            nonlocal is_run
            if name.startswith("__"):
                raise AttributeError(name)
            with lock:  # another thread waits until the code has run
                if not is_run:
                    is_run = True
                    super(_LazyLoader, self).exec_module(module)
            try:
                return vars(module)[name]
            except KeyError:
                message = f"module {module.__name__!r} has no attribute {name!r}"
                raise AttributeError(message) from None

        vars(module)["__getattr__"] = find


class _LateLoader(importlib.machinery.SourceFileLoader):
    """Runs a module with an `__import__` of its own."""

    def exec_module(self, module: ModuleType) -> None:
        importing = _make_import(dict.fromkeys(_LATE[module.__name__]))
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": importing}
        super().exec_module(module)


def _make_import(late: Mapping[tuple[str, str], None]) -> Any:
    """Make an `__import__` that answers `from module import names` with late names."""

    def importing(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        names = [each for each in fromlist or () if (name, each) in late]
        if level or not names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        others = [each for each in fromlist or () if each not in names]
        found = builtins.__import__(name, globals, locals, others, 0) if others else None
        values = {each: getattr(found, each) for each in others}
        return SimpleNamespace(**values, **{each: _Late(name, each) for each in names})

    return importing


class _Late:
    """A function or class that is imported when it is called."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Call what it stands for."""
        return getattr(importlib.import_module(self._module), self._name)(*values, **named)

"""Reads the Python modules of a checkout and who imports whom. Entry point: `SourceTree.read`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

SCRIPT_FOLDERS = ("infra",)
"""Folders whose scripts are started by path, so that their modules have two names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import statement's target: a module, and the name taken from it if there is one."""

    module: str
    name: str | None
    at_start: bool
    """The import runs when the module is imported: it is not inside a function."""
    for_types: bool
    """The import is below `if TYPE_CHECKING`."""


@dataclass(frozen=True)
class Module:
    """One parsed module."""

    name: str
    path: Path
    text: str

    @property
    def lines(self) -> int:
        """What `wc -l` counts."""
        return self.text.count("\n")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> list[Import]:
        """Every import of the module, also those inside functions."""
        return list(_find_imports(self.tree, at_start=True, for_types=False))


@dataclass(slots=True)
class SourceTree:
    """The modules of a checkout by name."""

    root: Path
    modules: dict[str, Module] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, folders: tuple[str, ...]) -> SourceTree:
        """Parse the modules in these folders and in the root itself."""
        tree = cls(root)
        paths = [
            *root.glob("*.py"),
            *(it for name in folders for it in root.glob(f"{name}/**/*.py")),
        ]
        for path in sorted(paths):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            tree.modules[name] = Module(name, path, path.read_text("utf-8"))
        return tree

    def below(self, *packages: str) -> list[Module]:
        """The modules of these packages and of their packages."""
        return [it for it in self.modules.values() if is_below(it.name, *packages)]

    def edges(self, *, for_types: bool) -> dict[str, set[str]]:
        """Which module imports which at its start; `for_types`: below TYPE_CHECKING too."""
        return {
            module.name: {
                target
                for it in module.imports
                if it.at_start and (for_types or not it.for_types)
                if (target := self.target_of(it)) is not None and target != module.name
            }
            for module in self.modules.values()
        }

    def importers(self) -> dict[str, set[str]]:
        """Who imports each module, anywhere in its text.

        A name that a package takes over from its module counts as an import of that module, and
        the taking over itself does not.
        """
        found: dict[str, set[str]] = {name: set() for name in self.modules}
        for module in self.modules.values():
            for it in module.imports:
                target = self.origin_of(it)
                if target is not None and not self._takes_over(module, target):
                    found[target].add(module.name)
        return found

    def target_of(self, it: Import) -> str | None:
        """Return the module of this checkout that an import names, or None."""
        for prefix in ("", *(f"{folder}." for folder in SCRIPT_FOLDERS)):
            if it.name is not None and f"{prefix}{it.module}.{it.name}" in self.modules:
                return f"{prefix}{it.module}.{it.name}"
            if prefix + it.module in self.modules:
                return prefix + it.module
        return None

    def origin_of(self, it: Import) -> str | None:
        """The module in which the imported name is defined, through the packages between."""
        target = self.target_of(it)
        while target is not None and it.name is not None:
            taken = [deeper for deeper in self._list_taken_over(target) if deeper.name == it.name]
            if not taken:
                return target
            target = self.target_of(taken[0])
        return target

    def _list_taken_over(self, package: str) -> list[Import]:
        module = self.modules[package]
        return module.imports if module.path.name == "__init__.py" else []

    def _takes_over(self, module: Module, target: str) -> bool:
        return module.path.name == "__init__.py" and is_below(target, module.name)


def is_below(name: str, *packages: str) -> bool:
    """Whether a module is one of these packages or inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def find_circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other in a circle: Tarjan's components over one."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(edges.get(name, ())):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            start = stack.index(name)
            if len(stack) - start > 1:
                circles.append(sorted(stack[start:]))
            del stack[start:]

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return circles


def _find_imports(node: ast.AST, *, at_start: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module=alias.name, name=None, at_start=at_start, for_types=for_types)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                yield Import(
                    module=child.module or "",
                    name=alias.name,
                    at_start=at_start,
                    for_types=for_types,
                )
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for part in child.body:
                yield from _find_imports(ast.Module([part], []), at_start=at_start, for_types=True)
            for part in child.orelse:
                yield from _find_imports(
                    ast.Module([part], []), at_start=at_start, for_types=for_types
                )
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _find_imports(child, at_start=at_start and not inside, for_types=for_types)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}

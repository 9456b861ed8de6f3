"""What belongs into the package of an app?

Its own function_app.py, host.json and requirements.txt at the root, where Functions looks for
them, and `aos`. Nothing else: no tests, no laptop, no settings.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from packages.errors import PackageError

APP_FOLDERS = {"main": ".", "mcp": "mcp_app", "realm": "realm_app"}
"""The apps and where their own files are; main's are at the root, as the plan's commands want."""
OWN_FILES = ("function_app.py", "host.json", "requirements.txt")
PRODUCT = "aos"
DEPENDENCIES = Path(".python_packages", "lib", "site-packages")
"""Where the Functions worker looks for what a package brings along."""
FILE_MODE, RUNNABLE_MODE, FOLDER_MODE = 0o644, 0o755, 0o755


def stage(app: str, *, repository: Path, folder: Path) -> None:
    """Make `folder` hold the package of `app`, and nothing else. Raises PackageError."""
    own = repository / APP_FOLDERS[app]
    wanted = {Path(name): own / name for name in OWN_FILES}
    wanted |= {path.relative_to(repository): path for path in _product_files(repository)}
    missing = [str(path) for path in wanted.values() if not path.is_file()]
    if missing:
        raise PackageError(f"{', '.join(missing)} is not there; is {repository} a whole clone?")
    _clear(folder)
    for name, source in sorted(wanted.items()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Like Git's own files: on Windows a clone may have other line ends than elsewhere.
        target.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))
    settle_modes(folder)


def _clear(folder: Path) -> None:
    """Remove what a package was made of before. Raises PackageError where it is something else."""
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if found and not {*OWN_FILES, PRODUCT} & {*found}:
        raise PackageError(
            f"{folder} holds {found[0]}, which is of no package; empty it or choose another --out"
        )
    if found:
        shutil.rmtree(folder)


def contents(folder: Path) -> list[Path]:
    """The files of a package, relative to its root, in an order that is the same everywhere."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.as_posix())


def settle_modes(folder: Path) -> None:
    """Give every file the same rights, whatever the umask says; what can be run stays so."""
    for path in (folder, *folder.rglob("*")):
        os.chmod(path, FOLDER_MODE if path.is_dir() else mode_of(path))


def mode_of(file: Path) -> int:
    """The rights of a file in a package: programs that it brings along (Node) can be run."""
    return RUNNABLE_MODE if file.stat().st_mode & stat.S_IXUSR else FILE_MODE


def _product_files(repository: Path) -> Iterator[Path]:
    for path in (repository / PRODUCT).rglob("*"):
        inside = path.relative_to(repository).parts
        if path.is_file() and path.suffix != ".pyc" and not any(map(_left_out, inside)):
            yield path


def _left_out(part: str) -> bool:
    return part == "__pycache__" or part.startswith(".")

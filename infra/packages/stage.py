"""Collects the files of a package and zips them. Entry points: `stage`, `make_zip`.

A package has function_app.py, host.json and requirements.txt of its app at the root, where the
Functions host looks for them, and `aos`. It has no tests, no laptop and no settings.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

APP_FOLDERS = {"main": ".", "mcp": "mcp_app", "realm": "realm_app"}
"""The folder of each app's own files. The plan's commands expect those of main at the root."""
OWN_FILES = ("function_app.py", "host.json", "requirements.txt")
PRODUCT = "aos"
DEPENDENCIES = Path(".python_packages", "lib", "site-packages")
"""Where the Functions worker looks for dependencies of a package."""
FILE_MODE, RUNNABLE_MODE, FOLDER_MODE = 0o644, 0o755, 0o755
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
_UNIX = 3


class PackageError(Exception):
    """A package cannot be built. The message says what to do."""


def stage(app: str, *, repository: Path, folder: Path) -> None:
    """Write the package of `app` into `folder` and remove what was there. Raises PackageError."""
    own = repository / APP_FOLDERS[app]
    wanted = {Path(name): own / name for name in OWN_FILES}
    wanted |= {path.relative_to(repository): path for path in _list_product_files(repository)}
    missing = [str(path) for path in wanted.values() if not path.is_file()]
    if missing:
        raise PackageError(
            f"{', '.join(missing)} is missing; check that {repository} is a complete clone"
        )
    _clear_folder(folder)
    for name, source in sorted(wanted.items()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # On Windows a clone may have other line ends; packages must be equal everywhere.
        target.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))
    set_modes(folder)


def _clear_folder(folder: Path) -> None:
    """Remove an earlier package. Raises PackageError when the folder has other files."""
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if found and not {*OWN_FILES, PRODUCT} & {*found}:
        raise PackageError(
            f"{folder} has {found[0]}, which is not part of a package; empty it or change --out"
        )
    if found:
        shutil.rmtree(folder)


def list_files(folder: Path) -> list[Path]:
    """List the files of a package relative to its root, in the same order on every machine."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.as_posix())


def set_modes(folder: Path) -> None:
    """Set the modes of all files and folders whatever the umask is. Programs stay executable."""
    for path in (folder, *folder.rglob("*")):
        os.chmod(path, FOLDER_MODE if path.is_dir() else choose_mode(path))


def choose_mode(file: Path) -> int:
    """Choose the mode of a file. Programs, such as Node, are executable."""
    return RUNNABLE_MODE if file.stat().st_mode & stat.S_IXUSR else FILE_MODE


def hash_files(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files. Equal packages have equal hashes."""
    whole = hashlib.sha256()
    for name in list_files(folder):
        data = (folder / name).read_bytes()
        whole.update(f"{name.as_posix()}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()


def measure_size(folder: Path) -> int:
    """The size of all files in bytes."""
    return sum((folder / name).stat().st_size for name in list_files(folder))


def make_zip(folder: Path, target: Path) -> None:
    """Zip the package: sorted, without times and owners, with host.json at the root."""
    target.unlink(missing_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in list_files(folder):
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = (0o100000 | choose_mode(folder / name)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())


def _list_product_files(repository: Path) -> Iterator[Path]:
    for path in (repository / PRODUCT).rglob("*"):
        inside = path.relative_to(repository).parts
        if path.is_file() and path.suffix != ".pyc" and not any(map(_is_left_out, inside)):
            yield path


def _is_left_out(part: str) -> bool:
    return part == "__pycache__" or part.startswith(".")

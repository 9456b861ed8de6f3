"""Lists the programs that run other programs or code, with the options a card may use. Entry point:
`find_runner`.

Options that are not listed as harmless are refused: a package manager has hundreds that change what
is downloaded or run, and each release adds some.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aos.domain.cards.package_names import Source, parse_program_name


def _split_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STARTERS = _split_words(
    "bwrap catchsegv chroot chrt corepack cross-env dbus-run-session doas dumb-init entr env"
    " fakeroot find firejail flock gosu i386 ionice linux32 linux64 ltrace nice nohup nsenter"
    " numactl parallel pkexec prlimit proot rlwrap run-parts runuser screen script setarch setpriv"
    " setsid ssh start-stop-daemon stdbuf strace su su-exec sudo systemd-run taskset time timeout"
    " tini tmux unbuffer unshare valgrind watch xargs"
)
_CODE_IS_AN_ARGUMENT = _split_words(
    "awk ed emacs erl ex gawk gdb lldb make mawk nawk nvim original-awk sed socat vi vim"
)
SHELLS: Final = (
    _STARTERS
    | _CODE_IS_AN_ARGUMENT
    | _split_words(
        "ash bash busybox cmd csh dash elvish fish ksh mksh nu posh powershell pwsh rbash rzsh sh"
        " tcsh toybox xonsh yash zsh"
    )
)
"""Shells, programs that only start another program, and programs that take code as an argument."""


CODE_MODULES: Final = sys.stdlib_module_names | _split_words(
    "bpython build conda coverage easy_install hatch ipython jupyter pdm pex pip pipenv pipx poetry"
    " ptpython setuptools shiv uv virtualenv wheel"
)
"""Python modules that take code as an argument or download code. The whole standard library is
here: none of its modules is an MCP server, and many run code, such as `timeit`, `asyncio` and
`pickle`."""


def is_code_module(name: str) -> bool:
    """Whether `python -m name` runs or downloads code beyond that of an installed server."""
    first = name.split(".")[0]
    return first in CODE_MODULES or parse_program_name(first) in CODE_MODULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A program that runs the code of others.

    `forms`: the subcommands before the name of a package or script, and who names it. `switches`
    and `values`: harmless options without and with a value. `environment`: options whose value is
    `NAME` or `NAME=value`. `other_switches`: options without a value that only the operator may
    write. `enders`: options whose value is the script; no option follows. `choosers`: options that
    name a package beside the program, so the operator must have written the program too.
    `reads_on`: options after the package are still read. `interprets`: an argument may be code.
    `commands`: a plain word may be a subcommand (`bun exec`, `dotnet tool`), so a script's name
    must contain `.` or `/`.
    """

    forms: Mapping[tuple[str, ...], Source]
    switches: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    environment: frozenset[str] = frozenset()
    other_switches: frozenset[str] = frozenset()
    enders: frozenset[str] = frozenset()
    choosers: frozenset[str] = frozenset()
    reads_on: bool = False
    interprets: bool = False
    commands: bool = False

    @property
    def source(self) -> Source:
        """Who names the packages that complete a prefix ending with `/`."""
        return next(iter(self.forms.values()))


def find_runner(command: str) -> Runner | None:
    """Return the rules for the program of a command; None if it runs no code but its own."""
    return _RUNNERS.get(parse_program_name(command))


_NPM_SWITCHES = _split_words(
    "-y --yes -q --quiet -s --silent --offline --prefer-offline --ignore-scripts"
)
_NPM_OTHERS = _split_words(
    "--prefer-online --no-audit --no-fund --legacy-peer-deps --foreground-scripts"
)
_NPM_CHOOSERS = _split_words("-p --package -c --call")
_PYPI_CHOOSERS = _split_words("--from --spec --with")
_UV_SWITCHES = _split_words(
    "-q --quiet -v --verbose --offline --no-progress --no-config --no-env-file"
)
_UV_OTHERS = _split_words("--isolated --no-cache -n --refresh -U --upgrade --native-tls --no-index")


def _make_container_runner() -> Runner:
    return Runner(
        forms={("run",): "image", ("container", "run"): "image"},
        switches=_split_words("-i --interactive --rm --init --read-only -q --quiet"),
        values=_split_words("--name -m --memory --cpus --pids-limit --stop-timeout"),
        environment=_split_words("-e --env"),
        other_switches=_split_words("-t --tty -it -ti -d --detach -P --publish-all --privileged"),
    )


_SCRIPT: Final[Mapping[tuple[str, ...], Source]] = {(): "script"}
_PLAIN_INTERPRETERS = _split_words(
    "elixir escript expect groovy guile ipython jshell julia lua luajit osascript perl php pypy"
    " racket rscript ruby tclsh wish"
)
_PYTHON = Runner(
    forms=_SCRIPT,
    switches=_split_words("-u -I -B -s -E -P -q"),
    enders=_split_words("-m"),
    interprets=True,
)
_NODE = Runner(
    forms=_SCRIPT,
    switches=_split_words("--no-warnings --no-deprecation --enable-source-maps"),
    interprets=True,
    commands=True,
)
_INTERPRETERS: Final[Mapping[str, Runner]] = {
    **dict.fromkeys(_PLAIN_INTERPRETERS, Runner(forms=_SCRIPT, interprets=True)),
    **dict.fromkeys(
        _split_words("scala ts-node tsx"), Runner(forms=_SCRIPT, interprets=True, commands=True)
    ),
    "python": _PYTHON,
    "pythonw": _PYTHON,
    "py": _PYTHON,
    "node": _NODE,
    "nodejs": _NODE,
    "java": Runner(forms=_SCRIPT, enders=_split_words("-jar -m --module"), interprets=True),
    "dotnet": Runner(forms={(): "script", ("exec",): "script"}, interprets=True, commands=True),
    "deno": Runner(
        forms={("run",): "script"},
        switches=_split_words("-q --quiet --no-prompt"),
        other_switches=_split_words(
            "-A --allow-all --allow-net --allow-env --allow-read --allow-run"
        ),
        interprets=True,
    ),
    "bun": Runner(
        forms={("x",): "npm", ("run",): "script", (): "script"}, interprets=True, commands=True
    ),
}
_NPX = Runner(
    forms={(): "npm"},
    switches=_NPM_SWITCHES,
    other_switches=_NPM_OTHERS,
    choosers=_NPM_CHOOSERS,
)
_UVX = Runner(
    forms={(): "pypi"},
    switches=_UV_SWITCHES,
    other_switches=_UV_OTHERS,
    choosers=_PYPI_CHOOSERS,
)
_RUNNERS: Final[Mapping[str, Runner]] = {
    **_INTERPRETERS,
    "npx": _NPX,
    "npm": Runner(
        forms={("exec",): "npm", ("x",): "npm"},
        switches=_NPM_SWITCHES,
        other_switches=_NPM_OTHERS,
        choosers=_NPM_CHOOSERS,
        reads_on=True,
    ),
    "pnpx": Runner(forms={(): "npm"}, switches=_split_words("-s --silent"), choosers=_NPM_CHOOSERS),
    "pnpm": Runner(
        forms={("dlx",): "npm"}, switches=_split_words("-s --silent"), choosers=_NPM_CHOOSERS
    ),
    "yarn": Runner(
        forms={("dlx",): "npm"}, switches=_split_words("-q --quiet"), choosers=_NPM_CHOOSERS
    ),
    "bunx": Runner(forms={(): "npm"}, switches=_split_words("--silent"), choosers=_NPM_CHOOSERS),
    "uvx": _UVX,
    "uv": Runner(
        forms={("tool", "run"): "pypi"},
        switches=_UV_SWITCHES,
        other_switches=_UV_OTHERS,
        choosers=_PYPI_CHOOSERS,
    ),
    "pipx": Runner(
        forms={("run",): "pypi"}, switches=_split_words("-q --quiet"), choosers=_PYPI_CHOOSERS
    ),
    "docker": _make_container_runner(),
    "podman": _make_container_runner(),
    "nerdctl": _make_container_runner(),
}

"""Knows the programs that run other code than their own: which words may stand before that code.

Options that are not listed as harmless are refused: a package manager has hundreds that change what
is fetched or run, and each release adds some. Entry point: `find_runner`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aos.domain.cards.package_names import Source, program_name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STARTERS = _words(
    "bwrap catchsegv chroot chrt corepack cross-env dbus-run-session doas dumb-init entr env"
    " fakeroot find firejail flock gosu i386 ionice linux32 linux64 ltrace nice nohup nsenter"
    " numactl parallel pkexec prlimit proot rlwrap run-parts runuser screen script setarch setpriv"
    " setsid ssh start-stop-daemon stdbuf strace su su-exec sudo systemd-run taskset time timeout"
    " tini tmux unbuffer unshare valgrind watch xargs"
)
_CODE_IS_AN_ARGUMENT = _words(
    "awk ed emacs erl ex gawk gdb lldb make mawk nawk nvim original-awk sed socat vi vim"
)
SHELLS: Final = (
    _STARTERS
    | _CODE_IS_AN_ARGUMENT
    | _words(
        "ash bash busybox cmd csh dash elvish fish ksh mksh nu posh powershell pwsh rbash rzsh sh"
        " tcsh toybox xonsh yash zsh"
    )
)
"""Shells, programs that only start another, and those that take code as plain arguments."""


CODE_MODULES: Final = sys.stdlib_module_names | _words(
    "bpython build conda coverage easy_install hatch ipython jupyter pdm pex pip pipenv pipx poetry"
    " ptpython setuptools shiv uv virtualenv wheel"
)
"""Modules of Python that take code as an argument, or fetch some. None of Python's own is an MCP
server, and many run what they are told: `timeit`, `asyncio`, `pickle`."""


def is_code_module(name: str) -> bool:
    """Would `python -m name` run or fetch other code than an installed server's?"""
    first = name.split(".")[0]
    return first in CODE_MODULES or program_name(first) in CODE_MODULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A program that runs code of others.

    `forms`: the subcommands after which a package or a script is named, and whose name that is.
    `switches` and `values` are harmless options without and with a value, `environment` those whose
    value is `NAME` or `NAME=value`; `other_switches` take no value and are the operator's to write.
    `enders` are options whose value is the script; no option follows. `choosers` name a package
    beside the program, so the program must be the operator's word too. `reads_on`: options are read
    behind the package. `interprets`: code may be an argument. `commands`: a bare word may be a
    subcommand (`bun exec`, `dotnet tool`), so a script is told by a `.` or a `/` in its name.
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
        """Whose names complete a prefix that ends with `/`."""
        return next(iter(self.forms.values()))


def find_runner(command: str) -> Runner | None:
    """What is known of the program that a command starts; None: it runs its own code."""
    return _RUNNERS.get(program_name(command))


_NPM_SWITCHES = _words(
    "-y --yes -q --quiet -s --silent --offline --prefer-offline --ignore-scripts"
)
_NPM_OTHERS = _words("--prefer-online --no-audit --no-fund --legacy-peer-deps --foreground-scripts")
_NPM_CHOOSERS = _words("-p --package -c --call")
_PYPI_CHOOSERS = _words("--from --spec --with")
_UV_SWITCHES = _words("-q --quiet -v --verbose --offline --no-progress --no-config --no-env-file")
_UV_OTHERS = _words("--isolated --no-cache -n --refresh -U --upgrade --native-tls --no-index")


def _container() -> Runner:
    return Runner(
        forms={("run",): "image", ("container", "run"): "image"},
        switches=_words("-i --interactive --rm --init --read-only -q --quiet"),
        values=_words("--name -m --memory --cpus --pids-limit --stop-timeout"),
        environment=_words("-e --env"),
        other_switches=_words("-t --tty -it -ti -d --detach -P --publish-all --privileged"),
    )


_SCRIPT: Final[Mapping[tuple[str, ...], Source]] = {(): "script"}
_PLAIN_INTERPRETERS = _words(
    "elixir escript expect groovy guile ipython jshell julia lua luajit osascript perl php pypy"
    " racket rscript ruby tclsh wish"
)
_PYTHON = Runner(
    forms=_SCRIPT,
    switches=_words("-u -I -B -s -E -P -q"),
    enders=_words("-m"),
    interprets=True,
)
_NODE = Runner(
    forms=_SCRIPT,
    switches=_words("--no-warnings --no-deprecation --enable-source-maps"),
    interprets=True,
    commands=True,
)
_INTERPRETERS: Final[Mapping[str, Runner]] = {
    **dict.fromkeys(_PLAIN_INTERPRETERS, Runner(forms=_SCRIPT, interprets=True)),
    **dict.fromkeys(
        _words("scala ts-node tsx"), Runner(forms=_SCRIPT, interprets=True, commands=True)
    ),
    "python": _PYTHON,
    "pythonw": _PYTHON,
    "py": _PYTHON,
    "node": _NODE,
    "nodejs": _NODE,
    "java": Runner(forms=_SCRIPT, enders=_words("-jar -m --module"), interprets=True),
    "dotnet": Runner(forms={(): "script", ("exec",): "script"}, interprets=True, commands=True),
    "deno": Runner(
        forms={("run",): "script"},
        switches=_words("-q --quiet --no-prompt"),
        other_switches=_words("-A --allow-all --allow-net --allow-env --allow-read --allow-run"),
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
    "pnpx": Runner(forms={(): "npm"}, switches=_words("-s --silent"), choosers=_NPM_CHOOSERS),
    "pnpm": Runner(forms={("dlx",): "npm"}, switches=_words("-s --silent"), choosers=_NPM_CHOOSERS),
    "yarn": Runner(forms={("dlx",): "npm"}, switches=_words("-q --quiet"), choosers=_NPM_CHOOSERS),
    "bunx": Runner(forms={(): "npm"}, switches=_words("--silent"), choosers=_NPM_CHOOSERS),
    "uvx": _UVX,
    "uv": Runner(
        forms={("tool", "run"): "pypi"},
        switches=_UV_SWITCHES,
        other_switches=_UV_OTHERS,
        choosers=_PYPI_CHOOSERS,
    ),
    "pipx": Runner(
        forms={("run",): "pypi"}, switches=_words("-q --quiet"), choosers=_PYPI_CHOOSERS
    ),
    "docker": _container(),
    "podman": _container(),
    "nerdctl": _container(),
}

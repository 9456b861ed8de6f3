"""Decides which environment variables a card may not set. Entry point: `explain_refusal`.

A refused variable would change the code that runs or the hosts it talks to. The rules are families
of names (case is ignored), each with a reason for the card's author. All other names are free.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

HARMLESS: Final = frozenset(
    {"NODE_ENV", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE"}
    | {"DOTNET_ENVIRONMENT", "ASPNETCORE_ENVIRONMENT", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"}
    | {"GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"}
)
"""Members of the families below that are allowed because they change neither the code nor the
hosts."""

FAMILIES: Final[tuple[tuple[str, str], ...]] = (
    (
        "it would change what code the server runs",
        r"NODE_.* DENO_.* BUN_.* TS_NODE_.* TSX_.* ELECTRON_.* V8_.* ESBUILD_BINARY_PATH"
        r" PYTHON.* _PYTHON.* __PYVENV_LAUNCHER__ VIRTUAL_ENV.* PYENV_.* CONDA_.* RUBY.* GEM_.*"
        r" BUNDLE_.* PERL.* PHPRC PHP_.* LUA_(?:PATH|CPATH|INIT).* TCLLIBPATH JULIA_.* ERL_.*"
        r" R_(?:HOME|LIBS|PROFILE|ENVIRON).* GUILE_.* CLASSPATH JAVA_.* _JAVA_.* JDK_JAVA_.* JVM_.*"
        r" IBM_JAVA_.* OPENJ9_.* MAVEN_OPTS GRADLE_.* DOTNET_.* ASPNETCORE_.* COMPLUS_.* CORECLR_.*"
        r" COR_.* NUGET_.* MSBUILD.* GODEBUG RUST.* CARGO_.* PEX_.* SHIV_.* COVERAGE_PROCESS_.*"
        r" COV_CORE_.* PYDEVD.* DEBUGPY.* IPYTHONDIR ELIXIR_.* AWKPATH AWKLIBPATH OCAMLRUNPARAM"
        r" CAML_LD_LIBRARY_PATH MONO_.* (?:ANT|SBT|MVN|SCALA|LEIN_JVM)_OPTS MAVEN_ARGS GUILE.*",
    ),
    (
        "it would change what builds a package, or with which options",
        r"CC CXX CPP LD AR AS RANLIB STRIP MAKE MAKEFLAGS MAKEFILES (?:C|CXX|CPP|LD|AR|F)FLAGS"
        r" LDSHARED LDCXXSHARED CMAKE_.* NINJA.* MESON.* GYP_.* PKG_CONFIG.* SKBUILD_.* MATURIN_.*"
        r" PYO3_.* CCACHE_.* SCCACHE_.* DISTCC_.* CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH"
        r" LIBRARY_PATH COMPILER_PATH GCC_EXEC_PREFIX",
    ),
    (
        "it would change which package is fetched, or from where",
        r"NPM_.* NPX_.* PNPM_.* YARN_.* COREPACK_.* NVM_.* FNM_.* VOLTA_.* PIP_.* PIPX_.* UV_.*"
        r" POETRY_.* PDM_.* HATCH_.* PIPENV_.* SETUPTOOLS_.* DISTUTILS_.* HOMEBREW_.* ASDF_.*"
        r" MISE_.* PIXI_.* RYE_.* MAMBA_.* COMPOSER_.* JBANG_.* NIX_.* NODEJS_ORG_MIRROR"
        r" GO(?:FLAGS|PROXY|PATH|ROOT|BIN|ENV|SUMDB|NOSUMDB|NOPROXY|PRIVATE|TOOLCHAIN)"
        r" GO(?:INSECURE|VCS|WORK|MODCACHE) BUILDKIT_.* COMPOSE_.* CONTAINER_(?:HOST|SSHKEY)"
        r" CONTAINERS_.* REGISTRY_AUTH_FILE PODMAN_.* DOCKER_(?:HOST|CONFIG|CONTEXT|CERT_PATH)"
        r" DOCKER_(?:TLS|CONTENT_TRUST|DEFAULT_PLATFORM|API_VERSION|CLI_|AUTH_CONFIG).*",
    ),
    (
        "it would change what code the server runs",
        r"LD_.* DYLD_.* _RLD.* LIBPATH SHLIB_PATH GLIBC_TUNABLES MALLOC_.* GCONV_PATH GETCONF_DIR"
        r" LOCPATH NLSPATH TZDIR HOSTALIASES LOCALDOMAIN RES_OPTIONS RESOLV_.* NIS_PATH"
        r" [AHLMTU]+SAN_OPTIONS LTDL_.* GST_PLUGIN.* GI_TYPELIB_PATH"
        r" GDK_PIXBUF_MODULE.* MAGICK_.* ODBC(?:INI|SYSINI|INSTINI) QT_PLUGIN_PATH"
        r" GTK_(?:MODULES|PATH).* GIO_.* LIBGL_.* VK_.*",
    ),
    (
        "it would change which certificates the server trusts, or write its keys to a file",
        r"SSL_CERT_.* SSLKEYLOGFILE OPENSSL_.* GNUTLS_.* NSS_.* NIX_SSL_.* .*_CA_BUNDLE CURL_.*"
        r" HTTPLIB2_CA_CERTS GRPC_DEFAULT_SSL_.* .*TLS_REJECT_UNAUTHORIZED REQUESTS_CA_.*"
        r" SYSTEM_CERTIFICATE_PATH",
    ),
    ("it would send the server's traffic through another host", r"PROXY .*_PROXY SOCKS5?_SERVER"),
    (
        "it would change what git and ssh run, or which hosts they talk to",
        r"GIT_.* GCM_.* SSH_ASKPASS.* SSH_AUTH_SOCK SSH_SK_.* RSYNC_.* CVS_RSH .*_ASKPASS",
    ),
    (
        "it would change what a shell runs",
        r"PATH PATHEXT BASH_.* BASHOPTS SHELLOPTS ENV IFS PS[0-4] PROMPT_COMMAND SHELL COMSPEC"
        r" CDPATH FPATH GLOBIGNORE ZDOTDIR ZSH.* FISH_.* HISTFILE TERMINFO.* TERMCAP"
        r" POSIXLY_CORRECT INPUTRC",
    ),
    (
        "it would move the folders that programs read their settings from",
        r"HOME HOMEDRIVE HOMEPATH USERPROFILE APPDATA LOCALAPPDATA PROGRAMDATA PWD OLDPWD INIT_CWD"
        r" TMP TEMP TMPDIR TEMPDIR XDG_.* DBUS_.* SYSTEMROOT WINDIR",
    ),
    (
        "it names a program to start",
        r"EDITOR VISUAL PAGER BROWSER LESS.* MORE .*_EDITOR .*_PAGER MANPAGER FCEDIT HGEDITOR"
        r" TAR_OPTIONS RSH .*_RSH SVN_SSH HGRCPATH VIMINIT EXINIT RIPGREP_CONFIG_PATH WGETRC"
        r" GNUPGHOME CLOUDSDK_PYTHON.*",
    ),
    (
        "it would use or give away the app's identity",
        r"IDENTITY_.* MSI_.* IMDS_.* AZURE_POD_.* AZURE_AUTHORITY_HOST AZURE_FEDERATED_TOKEN_FILE"
        r" AZURE_CONFIG_DIR AZURE_EXTENSION_.* AZURE_FUNCTIONS_.* GCE_METADATA_.*"
        r" ARM_(?:MSI|METADATA)_.* AZURE_KUBERNETES_.* OCI_RESOURCE_PRINCIPAL_.*"
        r" ACTIONS_ID_TOKEN_REQUEST_.* ALIBABA_CLOUD_CREDENTIALS_URI"
        r" GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES AWS_CONTAINER_.* AWS_EC2_METADATA_.*"
        r" AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_WEB_IDENTITY_TOKEN_FILE ECS_.*",
    ),
    (
        "the platform or AOS itself uses it",
        r"WEBSITE_.* WEBSITES_.* FUNCTIONS_.* AZUREWEBJOBS.* APPSETTING_.* SCM_.* .*CONNSTR_.*"
        r" APPLICATIONINSIGHTS_.* APPINSIGHTS_.* AOS_.* OTEL_.* KUDU_.* FUNCTION_.*",
    ),
)
_PATTERNS: Final = tuple(
    (reason, re.compile("|".join(names.split()), re.IGNORECASE)) for reason, names in FAMILIES
)


def explain_refusal(name: str, *, opened: Collection[str] = ()) -> str | None:
    """Return why a card may not set this variable, or None if it may.

    `opened` holds names that the operator allows.
    """
    if name in opened or name.upper() in HARMLESS:
        return None
    return next((reason for reason, names in _PATTERNS if names.fullmatch(name)), None)


def is_env_name(name: str) -> bool:
    """Whether this is a valid name of an environment variable."""
    return _NAME.fullmatch(name) is not None

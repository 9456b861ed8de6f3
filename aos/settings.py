"""Reads and checks the settings of an app. Entry point: `Settings.read`.

This module reads every environment variable that `aos` uses. Settings are read once, at the start.
A missing or wrong setting stops the app with one line that names it and says what to write. Secrets
are masked in every repr. An empty setting counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from aos.bounds import Bounds
from aos.domain.caller import is_door_owner
from aos.domain.cards.policy import DEFAULT_REPLY_TO, CardPolicy
from aos.domain.model_api import MODEL_APIS, ModelApi
from aos.domain.vision import Vision
from aos.environment import Environment
from aos.errors import ConfigurationError
from aos.server_settings import ServerSettings
from aos.spending_settings import SpendingSettings
from aos.timer_settings import TimerSettings
from aos.transcript_settings import TranscriptSettings
from aos.webhook_settings import WebhookSettings

AuthMode: TypeAlias = Literal["off", "keys", "easyauth"]
AUTH_MODES: tuple[AuthMode, ...] = ("off", "keys", "easyauth")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
BUS = "AZURE_SERVICEBUS_CONNECTION_STRING"
HOST_STORAGE = "AzureWebJobsStorage"

LOCAL_BUS = (
    "Endpoint=sb://127.0.0.1;SharedAccessKeyName=RootManageSharedAccessKey;"
    "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
)
LOCAL_URL = "http://127.0.0.1:7071"
_EMULATOR_KEY = (  # Microsoft publishes this key; every storage emulator uses it
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
LOCAL_STORAGE = (
    f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_EMULATOR_KEY};"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """The storage account: a connection string, or names for access by identity."""

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    blob_service_url: str | None = None
    table_service_url: str | None = None
    queue_service_url: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """The Service Bus namespace: a connection string, or its host name for access by identity.

    `local_admin_port` is the port of a local Service Bus's administration interface.
    """

    connection_string: str | None = field(default=None, repr=False)
    namespace: str | None = None
    client_id: str | None = None
    local_admin_port: int = 5300


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The model endpoint. `endpoint=None`: none is set. `allowed=None`: any model name.

    `seeing` names the models that can see images and PDF files; `*` means all.
    """

    endpoint: str | None = None
    model: str | None = None
    allowed: frozenset[str] | None = None
    api_key: str | None = field(default=None, repr=False)
    client_id: str | None = None
    api: ModelApi = "chat"
    seeing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the operator.

    `development` is true on a laptop (Core Tools and the local host set it). `key_owners` maps the
    SHA-256 of a function key to the owner it identifies; `admin_keys` holds the SHA-256 of admins'
    keys. `behind_sign_in`: the platform authenticates callers before they reach the app.
    `telemetry_in_worker`: the Functions worker configures Azure Monitor itself. `paused`: nothing
    is admitted, whatever the switch in storage says. `queue_may_act_for` are the owners that
    senders on the queue may act for; `*` means all.
    """

    development: bool
    auth: AuthMode
    storage: StorageSettings
    bus: BusSettings
    model: ModelSettings
    public_url: str
    app: str | None = None
    environment: str = "dev"
    log_level: str = "INFO"
    key_owners: Mapping[str, str] = field(default_factory=dict)
    admin_keys: frozenset[str] = frozenset()
    behind_sign_in: bool = False
    reply_to: tuple[str, ...] = (DEFAULT_REPLY_TO,)
    queue_may_act_for: frozenset[str] = frozenset()
    telemetry_connection_string: str | None = field(default=None, repr=False)
    telemetry_in_worker: bool = False
    paused: bool = False
    servers: ServerSettings = field(default_factory=ServerSettings)
    timers: TimerSettings = field(default_factory=TimerSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    transcripts: TranscriptSettings = field(default_factory=TranscriptSettings)
    bounds: Bounds = field(default_factory=Bounds)
    spending: SpendingSettings = field(default_factory=SpendingSettings)

    @property
    def vision(self) -> Vision:
        """The models that can see images and PDF files."""
        return Vision(models=self.model.seeing, default_model=self.model.model)

    @property
    def reply_queues(self) -> tuple[str, ...]:
        """The queues and topics that a request or a card may name, ordered; the default queue is
        always one."""
        return tuple(sorted({*self.reply_to, DEFAULT_REPLY_TO}))

    @property
    def card_policy(self) -> CardPolicy:
        """What the operator allows cards to contain."""
        return CardPolicy(
            allowed_models=self.model.allowed,
            bounds=self.bounds.cards,
            mcp_allowed=self.servers.allowed,
            mcp_env_allowed=self.servers.env_allowed,
            expects_versions=not self.development,
            listed_hosts=self.servers.hosts,
            key_vault_uri=self.servers.key_vault_uri,
            max_tools=self.bounds.model_tools,
            reply_queues=self.reply_queues,
            webhook_hosts=self.webhooks.hosts,
            signs_webhooks=bool(self.webhooks.secrets),
        )

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting. Raises ConfigurationError for the first that is not valid."""
        env = Environment(environ)
        development = env.text("AZURE_FUNCTIONS_ENVIRONMENT", "").lower() == "development"
        return cls(
            development=development,
            auth=_read_auth(env, development=development),
            storage=_read_storage(env, development=development),
            bus=_read_bus(env, development=development),
            model=_read_model(env),
            public_url=_read_public_url(env, development=development),
            app=env.choice("AOS_APP", ("main", "mcp", "realm")),
            environment=env.text("AOS_ENVIRONMENT", "dev"),
            log_level=env.choice("AOS_LOG_LEVEL", LOG_LEVELS) or "INFO",
            key_owners=_read_key_owners(env),
            admin_keys=frozenset(
                _check_digest("AOS_ADMIN_KEYS", d) for d in env.list("AOS_ADMIN_KEYS")
            ),
            behind_sign_in=_is_behind_sign_in(env, development=development),
            reply_to=_read_reply_to(env),
            queue_may_act_for=_read_queue_may_act_for(env),
            telemetry_connection_string=env.optional("APPLICATIONINSIGHTS_CONNECTION_STRING"),
            telemetry_in_worker=env.flag("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"),
            paused=env.choice("AOS_PAUSED", ("true", "false")) == "true",
            servers=ServerSettings.read(env, development=development),
            timers=TimerSettings.read(env, development=development),
            webhooks=WebhookSettings.read(env),
            transcripts=TranscriptSettings.read(env),
            bounds=Bounds.read(env),
            spending=SpendingSettings.read(env),
        )


def _read_auth(env: Environment, *, development: bool) -> AuthMode:
    mode: AuthMode = env.choice("AOS_AUTH", AUTH_MODES) or ("off" if development else "keys")
    if mode == "off" and not development:
        raise ConfigurationError(
            "AOS_AUTH=off would let everybody in; it is allowed only on a laptop"
            " (AZURE_FUNCTIONS_ENVIRONMENT=Development). Write AOS_AUTH=keys"
        )
    return mode


def _is_behind_sign_in(env: Environment, *, development: bool) -> bool:
    """Whether App Service Authentication sets the headers of principals; the platform sets
    `True`."""
    said = env.text("WEBSITE_AUTH_ENABLED", "").lower()
    return said == "true" and not development


def _read_storage(env: Environment, *, development: bool) -> StorageSettings:
    text = env.optional(STORAGE)
    found = StorageSettings(
        connection_string=_expand(text),
        account_name=env.optional(f"{STORAGE}__accountName"),
        blob_service_url=env.url(f"{STORAGE}__blobServiceUri"),
        table_service_url=env.url(f"{STORAGE}__tableServiceUri"),
        queue_service_url=env.url(f"{STORAGE}__queueServiceUri"),
        client_id=env.optional(f"{STORAGE}__clientId"),
    )
    if text or found.account_name or (found.blob_service_url and found.table_service_url):
        return found
    if development:
        host = env.text(HOST_STORAGE, "UseDevelopmentStorage=true")
        return StorageSettings(connection_string=_expand(host))
    raise ConfigurationError(
        f"{STORAGE} is not set; write the storage account's connection string, or its name in"
        f" {STORAGE}__accountName to reach it by identity"
    )


def _expand(text: str | None) -> str | None:
    """Expand the short form of the storage emulator, which the SDKs do not know."""
    if text is not None and text.rstrip(";").lower() == "usedevelopmentstorage=true":
        return LOCAL_STORAGE
    return text


def _read_bus(env: Environment, *, development: bool) -> BusSettings:
    text, namespace = env.optional(BUS), env.optional(f"{BUS}__fullyQualifiedNamespace")
    if text is None and namespace is None:
        if not development:
            raise ConfigurationError(
                f"{BUS} is not set; write the namespace's connection string, or its host name in"
                f" {BUS}__fullyQualifiedNamespace to reach it by identity"
            )
        text = LOCAL_BUS
    if text is not None and "endpoint=sb://" not in text.lower():
        raise ConfigurationError(
            f"{BUS} is not a connection string; a connection string begins with Endpoint=sb://<namespace>"
        )
    return BusSettings(
        connection_string=text,
        namespace=namespace,
        client_id=env.optional(f"{BUS}__clientId"),
        local_admin_port=env.count("AOS_SERVICEBUS_HTTP_PORT", 5300, most=65_535),
    )


def _read_model(env: Environment) -> ModelSettings:
    model, listed = env.optional("AOS_MODEL"), env.list("AOS_MODELS")
    named = {*listed, *([model] if model else [])}
    return ModelSettings(
        endpoint=env.url("AOS_MODEL_ENDPOINT"),
        model=model,
        allowed=frozenset(named) if named else None,
        api_key=env.optional("AOS_MODEL_API_KEY"),
        client_id=env.optional("AOS_MODEL_CLIENT_ID"),
        api=env.choice("AOS_MODEL_API", MODEL_APIS) or "chat",
        seeing=frozenset(env.list("AOS_VISION_MODELS")),
    )


def _read_public_url(env: Environment, *, development: bool) -> str:
    """Return the base of absolute links to main."""
    given = env.url("AOS_PUBLIC_URL")
    if given:
        return given
    host = env.optional("WEBSITE_HOSTNAME")
    if host is None:
        return LOCAL_URL if development else ""
    return f"http://{host}" if development else f"https://{host}"


def _read_key_owners(env: Environment) -> dict[str, str]:
    owners: dict[str, str] = {}
    for item in env.list("AOS_KEY_OWNERS"):
        name, equals, digest = item.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9._@-]{1,128}", name.strip()):
            raise ConfigurationError(
                f"AOS_KEY_OWNERS has {item[:20]!r}; write name=<SHA-256 of the key in hex>, with"
                " commas between, names of A-Z, a-z, 0-9, ., _, @ and -"
            )
        owners[_check_digest("AOS_KEY_OWNERS", digest.strip())] = name.strip()
    return owners


def _check_digest(setting: str, text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigurationError(
            f"{setting} must hold SHA-256 digests of keys, 64 hex digits each, never the keys;"
            " make one with: printf %s KEY | sha256sum"
        )
    return text.lower()


def _read_reply_to(env: Environment) -> tuple[str, ...]:
    names = env.list("AOS_REPLY_TO", DEFAULT_REPLY_TO)
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,259}", name):
            raise ConfigurationError(
                f"AOS_REPLY_TO has {name!r}; write names of queues or topics, with commas between"
            )
    return names


def _read_queue_may_act_for(env: Environment) -> frozenset[str]:
    owners = env.list("AOS_QUEUE_MAY_ACT_FOR")
    for owner in owners:
        if owner != "*" and not is_door_owner(owner):
            raise ConfigurationError(
                f"AOS_QUEUE_MAY_ACT_FOR has {owner[:80]!r}; write owners with commas between:"
                " object ids of persons, names of AOS_KEY_OWNERS, or key: and a key's SHA-256;"
                " * for all of them"
            )
    return frozenset(owners)

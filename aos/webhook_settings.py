"""Reads the operator's settings for webhooks. Entry point: `WebhookSettings.read`."""

from __future__ import annotations

from dataclasses import dataclass

from aos.domain.webhooks import WebhookSecret
from aos.environment import Environment
from aos.errors import ConfigurationError

SECRET = "AOS_WEBHOOK_SECRET"  # the setting's name
MOST_SECRETS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """The secrets that webhooks are signed with, the new one first, and the hosts that may be
    private or use http."""

    secrets: tuple[WebhookSecret, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def read(cls, env: Environment) -> WebhookSettings:
        """Read the settings. Raises ConfigurationError."""
        texts = env.list(SECRET)
        if len(texts) > MOST_SECRETS:
            raise ConfigurationError(
                f"{SECRET} holds {len(texts)} secrets; write one, or while you change it the new"
                " and the old one, with a comma between"
            )
        return cls(
            secrets=tuple(map(_parse, texts)),
            hosts=frozenset(host.lower() for host in env.list("AOS_WEBHOOK_HOSTS")),
        )


def _parse(text: str) -> WebhookSecret:
    try:
        return WebhookSecret.parse(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{SECRET} is not valid: {error}; make one with:"
            ' echo "whsec_$(openssl rand -base64 32)"'
        ) from error

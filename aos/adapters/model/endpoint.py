"""Says where a model is and how to reach it. Entry point: `ModelEndpoint`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aos.domain.model_api import ModelApi
from aos.domain.vision import Vision

_IDENTITY_SCOPES = {
    "openai.azure.com": "https://cognitiveservices.azure.com/.default",
    "cognitiveservices.azure.com": "https://cognitiveservices.azure.com/.default",
    "services.ai.azure.com": "https://cognitiveservices.azure.com/.default",
    "azure-api.net": "https://cognitiveservices.azure.com/.default",
    "openai.azure.us": "https://cognitiveservices.azure.us/.default",
    "cognitiveservices.azure.us": "https://cognitiveservices.azure.us/.default",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndpoint:
    """The model endpoint: `base_url` ends with `/v1` (None: no endpoint is set).

    `api` is what it speaks: Chat Completions or Responses.
    `model` is the base model (None: the first that the endpoint lists). Without `api_key`, an Azure
    endpoint gets a token of the app's identity (`client_id` names a user-assigned one). Other hosts
    never get such a token; they are called without credentials. Only the models of `vision` are
    shown images and PDF files.
    """

    base_url: str | None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    client_id: str | None = None
    api: ModelApi = "chat"
    vision: Vision = field(default_factory=Vision)

    @property
    def identity_scope(self) -> str | None:
        """The scope of the token, or None if no identity is used."""
        address = urlsplit(self.base_url or "")
        host = address.hostname or ""
        if self.api_key or address.scheme != "https":
            return None
        for domain, scope in _IDENTITY_SCOPES.items():
            if host.endswith(f".{domain}"):
                return scope
        return None

    def key_of(self, model: str) -> str:
        """Return the key of a model at this address; only it gets its extra fields back."""
        text = f"{self.base_url}\n{model}"
        if self.api != "chat":
            text += f"\n{self.api}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

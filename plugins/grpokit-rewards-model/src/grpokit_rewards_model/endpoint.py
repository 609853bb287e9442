"""What is said of an OpenAI-compatible endpoint: where it is, whose key it gets, how it is asked."""

from __future__ import annotations

import os
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from grpokit.api import ComponentError, Config

__all__ = ["OWN_KEYS", "EndpointConfig", "key_of"]

OWN_KEYS = frozenset({"messages", "model", "n", "stream", "tools", "response_format"})
"""What ``extra`` may not set."""

HOSTS = {
    "OPENAI_API_KEY": "openai.com",
    "ANTHROPIC_API_KEY": "anthropic.com",
    "MISTRAL_API_KEY": "mistral.ai",
    "DEEPSEEK_API_KEY": "deepseek.com",
    "OPENROUTER_API_KEY": "openrouter.ai",
    "TOGETHER_API_KEY": "together.xyz",
    "GROQ_API_KEY": "groq.com",
}
"""Well-known variables and whose key they hold: a recipe of others cannot send it elsewhere."""


class EndpointConfig(Config):
    """What a judge and a model that answers have in common."""

    base_url: str
    """The endpoint up to `/v1`, such as `http://localhost:8000/v1`."""
    tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the endpoint calls that limit."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further keys of the request's body, such as `{chat_template_kwargs: {enable_thinking: false}}`."""
    key_variable: str = Field(default="", pattern=r"^([A-Z][A-Z0-9_]*_API_KEY)?$")
    """Environment variable that holds the API key; its name ends in `_API_KEY`. Empty: no key is sent."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    """Requests at the same time, of each process that asks."""
    request_timeout: float = Field(default=60.0, gt=0)
    """Seconds of one request. What `scoring.timeout` leaves to a judge ends it earlier."""
    retries: int = Field(default=4, ge=0)
    """Further requests after a broken connection or the status 408, 409, 425, 429 or 5xx."""

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write an address such as http://localhost:8000/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(
                "an address without user, password, ? and #; a key goes into a variable"
            )
        if parts.path.rstrip("/").endswith("/chat/completions"):
            raise ValueError("leave /chat/completions out; it is added")
        return value.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _others(cls, value: dict[str, Any]) -> dict[str, Any]:
        own = sorted(OWN_KEYS & value.keys())
        if own:
            raise ValueError(f"{', '.join(own)} cannot be set here")
        return value

    @model_validator(mode="after")
    def _keeps_keys(self) -> Self:
        owner = HOSTS.get(self.key_variable)
        host = urlsplit(self.base_url).hostname or ""
        if owner and host != owner and not host.endswith(f".{owner}"):
            raise ValueError(
                f"the key in {self.key_variable} is for {owner}, and base_url is at {host}; "
                "put the key for that address into another variable, such as JUDGE_API_KEY"
            )
        return self


def key_of(variable: str) -> str:
    """The key that a variable holds; empty where none is named.

    Raises:
        ComponentError: the variable is not set, or what it holds is no key.
    """
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ComponentError(
            f"the environment variable {variable}, which is to hold the endpoint's key, is not set",
            remedy=f"export {variable}, or leave key_variable out for an endpoint without keys",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ComponentError(
            f"what the environment variable {variable} holds cannot be sent in a header",
            remedy="put the key alone into it, on one line",
        )
    return key

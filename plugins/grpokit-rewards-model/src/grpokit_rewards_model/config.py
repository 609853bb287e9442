"""The settings of the reward ``judge``."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from grpokit.api import Config
from grpokit_rewards_model.question import check_template

__all__ = ["OWN_KEYS", "JudgeConfig"]

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


class JudgeConfig(Config):
    """Settings of the reward `judge`."""

    base_url: str
    """The endpoint up to `/v1`, such as `http://localhost:8000/v1`."""
    model: str = Field(min_length=1)
    """Name of the model, as the endpoint calls it."""
    rubric: str = Field(min_length=1)
    """What the judge is to look at, and what earns how much."""
    template: str = "Question:\n{prompt}\n\nResponse to grade:\n{completion}"
    """What is shown. `{completion}`, `{prompt}` (the last user message) and `{column}` are put in as delimited data; `{{` and `}}` are braces."""
    lowest: float = 0.0
    """The worst grade that the judge can give; it scores 0."""
    highest: float = 10.0
    """The best one; it scores 1."""
    output: Literal["line", "json"] = "line"
    """How the verdict is to be given: on the last line, with reasons before it if the judge wants, or as one JSON object and nothing else."""
    temperature: float | None = Field(default=0.0, ge=0)
    """Temperature of the judge; null sends none, for models that refuse it."""
    seed: int | None = None
    """Seed for the endpoint; null sends none."""
    max_tokens: int = Field(default=1024, ge=1)
    """Tokens of the judge's answer. A verdict that they cut off is a failure."""
    tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the endpoint calls that limit."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further keys of the request's body, such as `{chat_template_kwargs: {enable_thinking: false}}`."""
    key_variable: str = Field(default="", pattern=r"^([A-Z][A-Z0-9_]*_API_KEY)?$")
    """Environment variable that holds the API key; its name ends in `_API_KEY`. Empty: no key is sent."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    """Requests at the same time, of each process that scores."""
    request_timeout: float = Field(default=60.0, gt=0)
    """Seconds of one request. What `scoring.timeout` leaves to the completion ends it earlier."""
    retries: int = Field(default=4, ge=0)
    """Further requests after a broken connection or the status 408, 409, 425, 429 or 5xx."""
    reask: int = Field(default=1, ge=0)
    """Further requests after an answer without a readable verdict."""
    max_characters: int = Field(default=32_000, ge=1)
    """A longer completion is cut there; the judge is told, and the component `cut` is 1."""
    cache: str = ""
    """File of verdicts and spending. Empty: `judge.sqlite` in grpokit's cache folder."""
    reuse: bool = True
    """Take verdicts from the file where the same was asked before."""
    account: str = Field(default="default", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Under which name spending is summed up in the file, over runs and processes."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million tokens of the question."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million tokens of the answer."""
    max_cost: float | None = Field(default=None, gt=0)
    """What the account may spend in all. Before it would be more, the run ends with a checkpoint."""

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

    @field_validator("template")
    @classmethod
    def _readable(cls, value: str) -> str:
        check_template(value)
        return value

    @field_validator("extra")
    @classmethod
    def _others(cls, value: dict[str, Any]) -> dict[str, Any]:
        own = sorted(OWN_KEYS & value.keys())
        if own:
            raise ValueError(f"{', '.join(own)} cannot be set here")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.highest <= self.lowest:
            raise ValueError("highest must be above lowest")
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("max_cost needs price_in and price_out, else nothing costs anything")
        owner = HOSTS.get(self.key_variable)
        host = urlsplit(self.base_url).hostname or ""
        if owner and host != owner and not host.endswith(f".{owner}"):
            raise ValueError(
                f"the key in {self.key_variable} is for {owner}, and base_url is at {host}; "
                "put the key for that address into another variable, such as JUDGE_API_KEY"
            )
        return self

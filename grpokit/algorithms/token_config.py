"""Settings of parts that treat single tokens apart. No torch here."""

from __future__ import annotations

from pydantic import Field, model_validator

from grpokit.algorithms.part_config import ClipConfig
from grpokit.spec.config import Config

__all__ = ["ClipCovConfig", "SelectiveConfig", "TopEntropyConfig"]


class ClipCovConfig(Config):
    """Settings of ``clip-cov``."""

    share: float = Field(default=0.0002, gt=0, le=1)
    """Share of the micro-batch's tokens that lose their gradient; at least one does, if there is a candidate."""
    low: float = 1.0
    """Covariance that a candidate must exceed."""
    high: float = 5.0
    """Covariance that a candidate must stay below."""
    epsilon: float = Field(default=0.2, gt=0, le=1)
    """Lower clip range, and the upper one unless epsilon_high is set."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clip range."""

    @model_validator(mode="after")
    def _check(self) -> ClipCovConfig:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and must be below high = {self.high:g}")
        return self


class TopEntropyConfig(ClipConfig):
    """Settings of ``top-entropy``."""

    share: float = Field(default=0.2, ge=0, le=1)
    """Share of the micro-batch's tokens that train, those of highest entropy; 0 trains the highest alone."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return frozenset({"entropy"})


class SelectiveConfig(Config):
    """Settings of ``selective``."""

    marker: list[int] = Field(min_length=1)
    """Token ids that stand together before the masked token: those of <think> in your tokenizer."""
    offset: int = Field(default=1, ge=1)
    """Which token after the marker is masked; 1 is the next."""
    prefilled: bool = False
    """The chat template ends the prompt with the marker, so the completion begins right after it."""

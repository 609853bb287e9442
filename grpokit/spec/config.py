"""The base of every configuration model: strict, frozen, unknown keys refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Config"]


class Config(BaseModel):
    """Base class of recipe sections and of plugin configuration (what stands under ``with:``).

    Values are not coerced: ``"4"`` is no integer and ``1`` is no boolean (an integer is accepted
    where a float is asked for). Unknown keys are errors. NaN and infinity are refused.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

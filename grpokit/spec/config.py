"""The base of every configuration model: strict, frozen, unknown keys refused."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

__all__ = ["Config", "documented"]


class Config(BaseModel):
    """Base class of recipe sections and of plugin configuration (what stands under ``with:``).

    Values are not coerced: ``"4"`` is no integer and ``1`` is no boolean (an integer is accepted
    where a float is asked for). Unknown keys are errors. NaN and infinity are refused.

    The docstring under a field is its description (see :func:`documented`). Where values decide, a
    component's settings may have methods that ``recipes check`` and ``plan`` ask: ``needs()``, the
    capabilities that they want of the backend; ``misfit(prompts=, group=, max_tokens=)``, None or the setting
    that does not fit a step of this shape, the fact and the remedy; and of an algorithm or its parts
    ``asks(prompts=, max_tokens=)``, the questions of a step's first round and its longest completion,
    ``columns()``, those that the data set must have, and ``reward_names()``, a setting to the rewards of
    the recipe that it names.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        populate_by_name=True,
    )

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON Schema, with descriptions."""
        return super(Config, documented(cls)).model_json_schema(*args, **kwargs)


C = TypeVar("C", bound=BaseModel)


def documented(model: type[C]) -> type[C]:
    """Turns the docstrings under the fields into descriptions, once; returns the model.

    pydantic can do so when the class is made (``use_attribute_docstrings``), but reading the source
    of twenty classes takes a fifth of a command's start-up, and most commands never ask.
    """
    if "_documented" in model.__dict__:
        return model
    model._documented = True  # type: ignore[attr-defined]  # noqa: SLF001
    for field in model.model_fields.values():
        for inner in _models(field.annotation):
            documented(inner)
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        docs |= _attribute_docs(base) if issubclass(base, BaseModel) else {}
    for name, field in model.model_fields.items():
        field.description = field.description or docs.get(name)
    model.model_rebuild(force=True)
    return model


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _attribute_docs(model: type) -> dict[str, str]:
    if model is BaseModel or model is Config:
        return {}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError, SyntaxError):  # made without a file
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, doc in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(doc, ast.Expr)
            and isinstance(doc.value, ast.Constant)
            and isinstance(doc.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(doc.value.value)
    return found

"""Data against a configuration model: each problem at its place, in our own words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from grpokit.compose.diagnostics import Report, clip, did_you_mean
from grpokit.compose.fields import Slot, allowed, known_keys, nullable, slot
from grpokit.compose.merge import drop
from grpokit.compose.nodes import Node, Path, at, dotted, leaves, mappings, mark_of, to_data
from grpokit.compose.values import mismatch
from grpokit.spec.config import documented
from grpokit.spec.recipe import Recipe

__all__ = ["Problems", "apply_resets", "validate"]

M = TypeVar("M", bound=BaseModel)

_SYNONYMS = {
    "num_generations": "rollout.group",
    "group_size": "rollout.group",
    "max_completion_length": "rollout.max_tokens",
    "max_new_tokens": "rollout.max_tokens",
    "max_prompt_length": "rollout.max_prompt_tokens",
    "learning_rate": "optim.lr",
    "lr_scheduler_type": "optim.schedule",
    "warmup_ratio": "optim.warmup",
    "warmup_steps": "optim.warmup",
    "num_iterations": "optim.iterations",
    "per_device_train_batch_size": "optim.micro_batch",
    "gradient_accumulation_steps": "optim.micro_batch",
    "max_steps": "train.steps",
    "save_steps": "train.save_every",
    "save_total_limit": "train.keep",
    "output_dir": "train.out",
    "logging_steps": "train.show_every",
    "beta": "algorithm.with.beta",
    "epsilon": "algorithm.with.epsilon",
    "model_name_or_path": "model.id",
    "reward_funcs": "rewards",
    "reward": "rewards",
    "torch_dtype": "model.dtype",
    "lora_r": "model.lora.rank",
    "r": "model.lora.rank",
    "lora_alpha": "model.lora.alpha",
    "target_modules": "model.lora.targets",
}
"""Names that other trainers use, and where the same thing stands in a recipe."""


def apply_resets(tree: Node, model: type[BaseModel]) -> Node:
    """Removes each null that forgets an inherited value, unless the field itself may be null."""
    for path, node in list(leaves(tree)):
        if node.reset:
            here = slot(model, path)
            if here is not None and not nullable(here) and not isinstance(path[-1], int):
                tree = drop(tree, path)
    return tree


def validate(
    model: type[M], tree: Node, report: Report, *, root: Node | None = None, prefix: Path = ()
) -> M | None:
    """The model's instance, or None after its problems were reported.

    Args:
        model: what the data must fit.
        tree: the data.
        report: takes the problems.
        root: the whole recipe, when ``tree`` is a part of it.
        prefix: where ``tree`` stands in ``root``.
    """
    problems = Problems(model, tree, report, root=root or tree, prefix=prefix)
    clean = problems.add_python_names()
    try:
        # Through JSON, as pydantic's strict mode takes a JSON list for a tuple, but no Python list.
        instance = model.model_validate_json(json.dumps(to_data(tree)))
    except ValidationError as error:
        problems.add_all(error.errors(include_url=False, include_input=False))
        return None
    return instance if clean else None


class Problems:
    """Turns pydantic's errors into diagnostics."""

    def __init__(
        self, model: type[BaseModel], tree: Node, report: Report, *, root: Node, prefix: Path
    ) -> None:
        self._model = model
        self._tree = tree
        self._report = report
        self._root = root
        self._prefix = prefix

    def add_python_names(self) -> bool:
        """Models also take a field by its Python name (``with_``); recipes do not."""
        paths = [
            (*above, key)
            for above, node in mappings(self._tree)
            for key in node.value
            if key.endswith("_")
            and (known := known_keys(self._model, above)) is not None
            and key not in known
        ]
        for path in paths:
            self._unknown(path)
        return not paths

    def add_all(self, errors: Iterable[Any]) -> None:
        listed = list(errors)
        self._report.more += max(0, len(listed) - Report.MOST)
        located = [(error, *self._locate(error)) for error in listed[: Report.MOST]]
        for error, path, in_union in located:
            deeper = any(len(p) > len(path) and p[: len(path)] == path for _, p, _ in located)
            if in_union and deeper:
                continue  # another branch of the union got further, and tells more
            self._add(error, path)

    def _locate(self, error: Any) -> tuple[Path, bool]:
        """The path without the names of union branches, and whether there were any."""
        path: Path = ()
        last = len(error["loc"]) - 1
        in_union = False
        for index, step in enumerate(error["loc"]):
            unknown = error["type"] == "extra_forbidden" and index == last
            if slot(self._model, (*path, step)) is not None or unknown:
                path = (*path, step)
            else:
                in_union = True
        return path, in_union

    def _add(self, error: Any, path: Path) -> None:
        if error["type"] == "missing":
            self._missing(path)
        elif error["type"] == "extra_forbidden":
            self._unknown(path)
        elif (*self._prefix, *path) == ("grpokit",):
            self._version(path)
        else:
            self._value(error, path)

    def _missing(self, path: Path) -> None:
        here = slot(documented(self._model), path) or Slot(None)
        full = (*self._prefix, *path)
        above = full[:-1]
        key = str(path[-1])
        mark = mark_of(self._root, above, key=True)
        if full == ("grpokit",):
            self._report.add(
                "K412",
                mark,
                "the recipe does not say its format",
                allowed="this grpokit reads format 1",
                remedy="add the line `grpokit: 1` at the top",
            )
            return
        where = f"`{dotted(above)}`" if above else "the recipe"
        self._report.add(
            "K402",
            mark,
            f"{where} lacks the key `{key}`",
            allowed=f"it must be {words}" if (words := allowed(here)) else "",
            remedy=f"add `{key}:`" + (f" ({here.description})" if here.description else ""),
        )

    def _unknown(self, path: Path) -> None:
        full = (*self._prefix, *path)
        key = str(path[-1])
        known = known_keys(self._model, path[:-1]) or ()
        where = f"`{dotted(full[:-1])}`" if full[:-1] else "a recipe"
        self._report.add(
            "K401",
            mark_of(self._root, full, key=True),
            f"{where} has no key `{clip(key)}`",
            allowed=f"known keys: {', '.join(known)}" if known else "it takes no keys",
            remedy=_remedy_for_key(key, full, known),
        )

    def _version(self, path: Path) -> None:
        node = at(self._tree, path)
        value = node.value if node is not None else None
        newer = isinstance(value, int) and not isinstance(value, bool) and value > 1
        self._report.add(
            "K412",
            mark_of(self._root, (*self._prefix, *path)),
            f"the recipe is written in format {value}" if newer else "this is no format version",
            allowed="this grpokit reads format 1",
            remedy="upgrade: pip install -U grpokit" if newer else "write `grpokit: 1`",
        )

    def _value(self, error: Any, path: Path) -> None:
        full = (*self._prefix, *path)
        node = at(self._tree, path) or self._tree
        if node.told:
            return
        here = slot(self._model, path) or Slot(None)
        code, fact, remedy = mismatch(error, node, here)
        words = allowed(here)
        tells_type = words and code != "K411"
        self._report.add(
            code,
            mark_of(self._root, full) if full else self._root.mark,
            f"`{dotted(full)}`: {fact}" if full else fact,
            allowed=f"it must be {words}" if tells_type else "",
            remedy=remedy,
        )


def _remedy_for_key(key: str, full: Path, known: tuple[str, ...]) -> str:
    if key in _SYNONYMS:
        target = _SYNONYMS[key]
        section, _, last = target.rpartition(".")
        if dotted(full[:-1]) == section and last in known:
            return f"it is called `{last}` here"
        return f"write it as `{target}`"
    near = did_you_mean(key, known)
    if near:
        return near
    if key.isdigit():
        return "a comma ends a value in braces: write numbers without thousands separators"
    homes = [
        name
        for name in Recipe.model_fields
        if key in (known_keys(Recipe, (name,)) or ()) and name != str(full[0])
    ]
    if homes:
        return "it belongs into " + " or ".join(f"`{home}`" for home in homes)
    return "remove it"

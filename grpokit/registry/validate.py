"""What a hook may return. A plugin with one bad spec is broken as a whole, and says why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.resources.abc import Traversable

from grpokit.spec.components import (
    AlgorithmSpec,
    BackendSpec,
    CallbackSpec,
    CommandSpec,
    ComponentSpec,
    DatasetSpec,
    ModelSpec,
    PromptSpec,
    RewardSpec,
    StepBenchSpec,
)

__all__ = ["NAME", "TARGET", "duplicates", "recipe_problems", "spec_problems"]

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

SPEC_OF_HOOK: dict[str, type[ComponentSpec]] = {
    "grpokit_datasets": DatasetSpec,
    "grpokit_prompts": PromptSpec,
    "grpokit_rewards": RewardSpec,
    "grpokit_algorithms": AlgorithmSpec,
    "grpokit_backends": BackendSpec,
    "grpokit_models": ModelSpec,
    "grpokit_callbacks": CallbackSpec,
    "grpokit_commands": CommandSpec,
    "grpokit_step_benches": StepBenchSpec,
}


def spec_problems(hook: str, item: object) -> Iterator[str]:
    """What is wrong with one item that ``hook`` returned."""
    wanted = SPEC_OF_HOOK[hook]
    if not isinstance(item, wanted):
        yield f"{hook} returned {_what(item)}; it must return {wanted.__name__} objects"
        return
    where = f"{hook}: {wanted.__name__} {item.name!r}"
    for problem in (*_text_problems(item), *_group_problems(item)):
        yield f"{where}: {problem}"


def _text_problems(item: ComponentSpec) -> Iterator[str]:
    name: object = item.name  # annotations promise text; plugins are not bound by them
    summary: object = item.summary
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield "a name has 1 to 64 lower-case letters, digits and hyphens"
    if not isinstance(summary, str):
        yield "summary must be text"
    if isinstance(item, PromptSpec):
        yield from _prompt_problems(item)
    elif not _is_target(item.target):
        yield f"target {item.target!r} must look like 'package.module:attribute'"
    for key in (
        "config",
        "preflight",
        "export",
        "continuations",
        "answer",
        "confidence",
        "prepare",
    ):
        value = getattr(item, key, "")
        if value != "" and not _is_target(value):
            yield f"{key} {value!r} must look like 'package.module:attribute', or be empty"


def _prompt_problems(item: PromptSpec) -> Iterator[str]:
    user: object = item.user
    system: object = item.system
    pairs: object = item.examples
    if item.target != "" or item.config != "":
        yield "a prompt is text: target and config must be empty"
    if not isinstance(user, str) or not user:
        yield "user must be text that is not empty"
    if not isinstance(system, str):
        yield "system must be text"
    if not isinstance(pairs, tuple) or not all(
        _is_group(pair, tuple) and len(pair) == 2 for pair in pairs
    ):
        yield "examples must be a tuple of (question, answer)"


def _group_problems(item: ComponentSpec) -> Iterator[str]:
    for key in ("needs", "provides"):
        if not _is_group(getattr(item, key), frozenset):
            yield f"{key} must be a frozenset of text"
    for key in ("columns", "requires", "versions", "sources"):
        if not _is_group(getattr(item, key, ()), tuple):
            yield f"{key} must be a tuple of text"
    if isinstance(item, RewardSpec) and not _is_range(item.range):
        yield f"range must be (lowest, highest) or None, not {item.range!r}"
    if isinstance(item, RewardSpec) and not _is_pairs(item.lenient):
        yield f"lenient must be a tuple of (setting, value), not {item.lenient!r}"


def recipe_problems(item: object) -> Iterator[str]:
    """What is wrong with one folder that ``grpokit_recipes`` returned."""
    if not isinstance(item, Traversable):
        yield f"grpokit_recipes returned {_what(item)}; it must return folders (importlib.resources)"
    elif not item.is_dir():
        yield f"grpokit_recipes: {item} is no folder"


def duplicates(specs: Iterable[ComponentSpec]) -> Iterator[str]:
    """Two components of one kind and one name within a plugin."""
    counts = Counter((spec.kind, spec.name) for spec in specs)
    for (kind, name), count in counts.items():
        if count > 1:
            yield f"it registers {count} components of kind {kind} with the name {name!r}"


def _what(item: object) -> str:
    return "None" if item is None else f"an object of type {type(item).__name__}"


def _is_target(value: object) -> bool:
    return isinstance(value, str) and TARGET.fullmatch(value) is not None


def _is_pairs(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    )


def _is_group(value: object, kind: type[frozenset[str] | tuple[str, ...]]) -> bool:
    return isinstance(value, kind) and all(isinstance(item, str) for item in value)


def _is_range(value: object) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(bound, int | float) for bound in value)
        and value[0] <= value[1]
    )

"""``--set a.b=c``: one value replaced from the command line.

The value is a YAML scalar, or a list or mapping in brackets or braces, or a quoted text. Each
``--set`` is a layer of its own, merged like a recipe that extends the one before: ``null`` resets,
and another ``use`` forgets its settings. A number in the key is an index: ``rewards.0.weight=2``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from grpokit.compose.diagnostics import Diagnostic, Report, clip, did_you_mean
from grpokit.compose.fields import known_keys
from grpokit.compose.merge import merge
from grpokit.compose.nodes import Mark, Node, Path, at, dotted, to_data
from grpokit.compose.yaml import parse_yaml, plain_scalar
from grpokit.errors import RecipeError
from grpokit.spec.recipe import Recipe

__all__ = ["apply_overrides", "read_settings"]

_STEP = re.compile(r"[^\s.=\[\]]+")


def apply_overrides(tree: Node, overrides: tuple[str, ...], report: Report) -> Node:
    """The tree with every override laid on it, left to right."""
    for text in overrides:
        parsed = _parse(text, report)
        if parsed is not None:
            path, value = parsed
            if _exists(tree, path, value.mark, report):
                tree = _put(tree, path, value)
    return tree


def read_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """The settings that ``--with KEY=VALUE`` gives, each value read as ``--set`` and recipes read it.

    Raises:
        RecipeError: one is no such pair, or its value cannot be read.
    """
    report, found = Report(), {}
    for text in pairs:
        key, equals, raw = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(
                f"{text!r} is not KEY=VALUE", place="--with", remedy="write --with boxed=true"
            )
        value = _value(raw.strip(), Mark(f"--with {clip(key)}"), report)
        if value is not None:
            found[key] = to_data(value)
    if report.items:
        problems = tuple(str(item) for item in report.items)
        raise RecipeError("a setting cannot be read", place="--with", problems=problems)
    return found


def _parse(text: str, report: Report) -> tuple[Path, Node] | None:
    key, equals, raw = text.partition("=")
    key = key.strip()
    mark = Mark(f"--set {clip(key)}")
    steps = key.split(".")
    if not equals or not all(_STEP.fullmatch(step) for step in steps):
        report.add(
            "X305",
            mark,
            "this is not key=value" if not equals else f"`{clip(key)}` is no dotted key",
            allowed="a key is written as in rollout.group=8 or rewards.0.weight=2",
            remedy="write --set KEY=VALUE without blanks around the =",
        )
        return None
    if steps == ["extends"]:
        report.add(
            "X306",
            mark,
            "`extends` cannot be set from the command line",
            remedy="write a recipe with `extends`, or name the other recipe",
        )
        return None
    value = _value(raw.strip(), mark, report)
    return None if value is None else (tuple(map(_step, steps)), value)


def _step(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text


def _value(raw: str, mark: Mark, report: Report) -> Node | None:
    # Only these begin something other than a plain scalar; `a: b` and `#1` are text here.
    if raw[:1] not in {"[", "{", '"', "'"}:
        return plain_scalar(raw, mark, report)
    inner = Report()
    top = parse_yaml(f"value: {raw}", mark.file, inner)
    report.extend(_moved(inner, mark))
    return None if top is None else _unplaced(top.value["value"], mark)


def _moved(inner: Report, mark: Mark) -> list[Diagnostic]:
    return [dataclasses.replace(item, file=mark.file, line=0, col=0) for item in inner.items]


def _unplaced(node: Node, mark: Mark) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _unplaced(child, mark) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_unplaced(child, mark) for child in value]
    return dataclasses.replace(node, value=value, mark=mark, keys=dict.fromkeys(node.keys, mark))


def _exists(tree: Node, path: Path, mark: Mark, report: Report) -> bool:
    """Whether the key can exist. What stands below ``with`` is checked with the component."""
    for depth, step in enumerate(path):
        above = path[:depth]
        node = at(tree, above)
        if node is not None and isinstance(node.value, list):
            if not isinstance(step, int) or step >= len(node.value):
                count = len(node.value)
                report.add(
                    "X306",
                    mark,
                    f"`{dotted(above)}` has {count} items, and no `{step}`",
                    allowed=f"an index from 0 to {count - 1}" if count else "",
                    remedy=f"replace the whole list: --set '{dotted(above)}=[...]'",
                )
                return False
            continue
        known = known_keys(Recipe, above)
        if known is None:
            return True
        if step not in known:
            where = f"`{dotted(above)}`" if above else "a recipe"
            report.add(
                "X306",
                mark,
                f"{where} has no key `{clip(str(step))}`",
                allowed=", ".join(known) or "it takes no keys",
                remedy=did_you_mean(str(step), known) or "correct the key",
            )
            return False
    return True


def _put(tree: Node, path: Path, value: Node) -> Node:
    """Lays one value on the tree, as a recipe that holds nothing else would."""
    step, *rest = path
    if isinstance(tree.value, list) and isinstance(step, int):
        items = list(tree.value)
        items[step] = _put(items[step], tuple(rest), value) if rest else merge(items[step], value)
        return dataclasses.replace(tree, value=items)
    key = str(step)
    child = tree.value.get(key) if isinstance(tree.value, dict) else None
    if not rest:
        layer = Node({key: value}, tree.mark, keys={key: value.mark})
        if not isinstance(tree.value, dict):
            return layer
        merged = merge(tree, layer)
        if value.value is None and not value.quoted:  # null from here always resets
            merged.value[key] = dataclasses.replace(value, reset=True)
        return merged
    start = child if child is not None else Node({}, value.mark)
    if not isinstance(start.value, dict | list):
        start = Node({}, value.mark)
    below = _put(start, tuple(rest), value)
    values = dict(tree.value) if isinstance(tree.value, dict) else {}
    keys = dict(tree.keys)
    keys.setdefault(key, value.mark)
    values[key] = below
    return dataclasses.replace(tree, value=values, keys=keys)

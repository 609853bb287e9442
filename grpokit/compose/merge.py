"""Left-to-right merging of recipes, with the place of every value kept.

* Mappings are merged key by key, to any depth.
* Lists are replaced as a whole: ``rewards:`` in a recipe are all its rewards. To change one item,
  use ``--set rewards.0.weight=2``.
* ``null`` over an inherited value forgets it. Where the field may be null it is null
  (``lora: null``), elsewhere its default applies.
* Another ``use:`` makes the inherited settings meaningless, so they are forgotten: ``with`` in
  every section, ``columns`` of a data set, the texts of a prompt (``system``, ``template``,
  ``examples``), also of one that names no template: it is ``plain``.
"""

from __future__ import annotations

from dataclasses import replace

from grpokit.compose.nodes import Node, Path

__all__ = ["BELONGS_TO_USE", "drop", "merge"]

PLAIN = "plain"
"""The template of a prompt that names none."""
TEXTS = ("system", "template", "examples")
BELONGS_TO_USE = ("with", "columns", *TEXTS)
"""Keys that are forgotten when an override names another component."""


def merge(base: Node, over: Node) -> Node:
    """``over`` laid on ``base``; neither is changed."""
    if over.value is None and not over.quoted:
        return replace(over, reset=base.value is not None or base.reset)
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    values: dict[str, Node] = dict(base.value)
    keys = dict(base.keys)
    for name in _forgotten(base, over):
        values.pop(name, None)
        keys.pop(name, None)
    for key, child in over.value.items():
        values[key] = merge(values[key], child) if key in values else child
        keys[key] = over.keys.get(key, child.mark)
    return Node(values, over.mark, keys=keys)


def _forgotten(base: Node, over: Node) -> tuple[str, ...]:
    old, new = base.value.get("use"), over.value.get("use")
    if new is None:
        return ()
    if old is None:  # only a prompt has these keys
        return () if new.value == PLAIN else TEXTS
    return () if new.value == old.value else BELONGS_TO_USE


def drop(node: Node, path: Path) -> Node:
    """The tree without what stands at ``path``; the nodes on the way are copied."""
    head, *rest = path
    if isinstance(node.value, dict):
        values = dict(node.value)
        if rest:
            values[str(head)] = drop(values[str(head)], tuple(rest))
        else:
            values.pop(str(head))
        return replace(node, value=values)
    items = list(node.value)
    assert isinstance(head, int)
    if rest:
        items[head] = drop(items[head], tuple(rest))
    else:
        items.pop(head)
    return replace(node, value=items)

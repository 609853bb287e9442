"""The components that a recipe names: they exist, are of the right kind, and take their settings.

Works on the tree and not on the checked recipe, so that these problems are told together with
wrong values elsewhere. A recipe names registered components only; it never names code by path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpokit.compose.check import apply_resets, validate
from grpokit.compose.diagnostics import Report, clip, did_you_mean
from grpokit.compose.nodes import Mark, Node, Path, at, dotted, mark_of
from grpokit.errors import ComponentError
from grpokit.registry.builtin import OUR_PLUGINS
from grpokit.registry.foreign.reference import FLAG, is_foreign
from grpokit.registry.resolve import config_model
from grpokit.spec.components import AlgorithmSpec
from grpokit.spec.config import Config
from grpokit.spec.recipe import AlgorithmSection, BackendSection

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.registry.record import PluginRecord

__all__ = ["Named", "check_components"]

_CODE_PATH = re.compile(r".*(\.py\b|:|\.[A-Za-z_]\w*\.|^[\w]+\.\w+$)")
_FIRST_PARTY = {
    ("backend", "hf"): "grpokit-hf",
    ("dataset", "hub"): "grpokit-hf",
    ("backend", "trl"): "grpokit-trl",
    ("backend", "unsloth"): "grpokit-unsloth",
}
"""Components of our own distributions, which a core installation lacks."""
_MEANT = {
    ("backend", "vllm"): "vLLM samples and another backend trains: write "
    "`backend: {use: hf, with: {rollouts: vllm}}`",
    ("backend", "verl"): "`grpokit export recipe RECIPE --to verl` writes what runs there",
}
"""Names of other software that people take for components, and what they want."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A component that the recipe names, found, with its checked settings (None without any)."""

    path: Path
    entry: Entry
    config: Config | None
    mark: Mark


def check_components(tree: Node, catalog: Catalog, report: Report) -> tuple[Node, dict[str, Named]]:
    """The tree with settings reset where ``null`` asks for it, and the components by dotted path.

    A component with a problem is reported and left out.
    """
    found: dict[str, Named] = {}
    for kind, path in _uses(tree):
        use = at(tree, (*path, "use"))
        if use is None and path and isinstance(path[-1], int):
            continue  # a list item without `use`: the model says so
        name = _default_name(path) if use is None else use.value
        if not isinstance(name, str) or not name:
            continue
        mark = mark_of(tree, (*path, "use")) if use is not None else mark_of(tree, path, key=True)
        entry = _find(catalog, kind, name, mark, report)
        if entry is None or not _axis_fits(catalog, entry, path, mark, report):
            continue
        tree, config, right = settings_of(tree, entry, path, mark, report)
        if right:
            found[dotted(path)] = Named(path=path, entry=entry, config=config, mark=mark)
    _check_template(tree, catalog, report)
    return tree, found


_LISTS: tuple[tuple[Path, str], ...] = (
    (("rewards",), "reward"),
    (("eval", "rewards"), "reward"),
    (("callbacks",), "callback"),
)


def _uses(tree: Node) -> Iterator[tuple[str, Path]]:
    """(kind, path) of every place that names a component."""
    for kind in ("dataset", "algorithm", "backend"):
        node = at(tree, (kind,))
        if node is None or isinstance(node.value, dict):
            yield kind, (kind,)
    if at(tree, ("eval", "dataset", "use")) is not None:
        yield "dataset", ("eval", "dataset")
    if at(tree, ("eval", "lenient", "use")) is not None:
        yield "reward", ("eval", "lenient")
    for path, kind in _LISTS:
        for index, item in enumerate(_items(tree, path)):
            if isinstance(item.value, dict):
                yield kind, (*path, index)
    parts = at(tree, ("algorithm", "parts"))
    for axis in parts.value if parts is not None and isinstance(parts.value, dict) else ():
        if at(tree, ("algorithm", "parts", axis, "use")) is not None:
            yield "algorithm", ("algorithm", "parts", axis)


def _items(tree: Node, path: Path) -> list[Node]:
    node = at(tree, path)
    return node.value if node is not None and isinstance(node.value, list) else []


def _default_name(path: Path) -> str | None:
    """`algorithm` and `backend` have defaults; everything else must be named."""
    if path == ("algorithm",):
        return str(AlgorithmSection.model_fields["use"].default)
    return str(BackendSection.model_fields["use"].default) if path == ("backend",) else None


def _find(catalog: Catalog, kind: str, name: str, mark: Mark, report: Report) -> Entry | None:
    if kind == "reward" and is_foreign(name):
        return _foreign(catalog, name, mark, report)
    matches = catalog.matches(kind, name)
    if len(matches) == 1:
        return matches[0]
    shown = clip(name)
    if matches:
        ids = ", ".join(entry.id for entry in matches)
        report.add(
            "C503",
            mark,
            f"several plugins have a {kind} `{shown}`",
            allowed=ids,
            remedy="write one of these ids",
        )
    elif _CODE_PATH.match(name):
        report.add(
            "C507",
            mark,
            f"`{shown}` names code by path",
            allowed="a recipe is data, and names registered components only",
            remedy=f"register it in a plugin; `grpokit plugins list --kind {kind}` shows names"
            + ("; a reward of TRL or verl is written trl:pkg.mod.fn" if kind == "reward" else ""),
        )
    else:
        _report_unknown(catalog, kind, name, mark, report)
    return None


def _foreign(catalog: Catalog, name: str, mark: Mark, report: Report) -> Entry | None:
    """Another trainer's reward: how it will be called, or why it will not be."""
    try:
        entry = catalog.find("reward", name)
    except ComponentError as error:
        allowed = "a recipe is data; code that it names is imported only if you say so"
        refused = FLAG in error.remedy
        report.add(
            "C512" if refused else "C511",
            mark,
            clip(error.fact, 600),
            allowed=allowed if refused else "",
            remedy=clip(error.remedy, 300),
        )
        return None
    report.add("C513", mark, f"`{clip(name)}` is {clip(entry.spec.summary, 400)}", note=True)
    return entry


def _report_unknown(catalog: Catalog, kind: str, name: str, mark: Mark, report: Report) -> None:
    if _report_unavailable(catalog, kind, name, mark, report):
        return
    shown = clip(name)
    near = catalog.near(kind, name)
    others = _others(catalog, name)
    if others and not near:
        kinds = " and ".join(dict.fromkeys(entry.kind for entry in others))
        report.add(
            "C502",
            mark,
            f"`{shown}` is a {kinds}, not a {kind}",
            allowed=_names(catalog, kind),
            remedy=f"name a {kind} here",
        )
        return
    report.add(
        "C501",
        mark,
        f"there is no {kind} `{shown}`",
        allowed=_names(catalog, kind),
        remedy=_MEANT.get((kind, name.lower()))
        or " or ".join(f"did you mean `{n}`?" for n in near[:1])
        or f"`grpokit plugins list --kind {kind}` describes them",
    )


def _report_unavailable(catalog: Catalog, kind: str, name: str, mark: Mark, report: Report) -> bool:
    """Whether the name belongs to a plugin that is broken or not installed; says so."""
    shown = clip(name)
    near, others = catalog.near(kind, name), _others(catalog, name)
    plugin = name.partition("/")[0] if "/" in name else ""
    owner = _FIRST_PARTY.get((kind, name))
    if plugin in OUR_PLUGINS:
        owner = owner or f"grpokit-{plugin}"
    unusable = [r for r in catalog.plugins if not r.loaded and _may_hold(r, name, plugin, owner)]
    if unusable and not near and not others:
        told = "; ".join(f"{r.distribution} {r.version} is {r.state}" for r in unusable[:3])
        told += f"; {len(unusable) - 3} more are not loaded" if len(unusable) > 3 else ""
        report.add(
            "C504",
            mark,
            f"the {kind} `{shown}` is not available: {told}",
            allowed="; ".join(clip(r.reason, 300) for r in unusable[:3]),
            remedy="`grpokit plugins list` says more",
        )
        return True
    installed = {record.distribution for record in catalog.plugins}
    if owner and owner not in installed and not others:
        report.add(
            "C504",
            mark,
            f"the {kind} `{shown}` belongs to {owner}, which is not installed",
            remedy=f"pip install {owner}" + _versions_hint(kind, owner),
        )
        return True
    return False


def _others(catalog: Catalog, name: str) -> list[Entry]:
    return [entry for entry in catalog.entries() if name in (entry.id, entry.spec.name)]


def _versions_hint(kind: str, owner: str) -> str:
    """A backend needs versions that fit together, and on some machines more than one command."""
    name = owner.removeprefix("grpokit-")
    if kind != "backend" or ("backend", name) not in _FIRST_PARTY:
        return ""
    return f"; `grpokit doctor --write-constraints {name}` has versions that fit"


def _may_hold(record: PluginRecord, name: str, plugin: str, owner: str | None) -> bool:
    """Whether a plugin that is not loaded could be the one that has this component."""
    if plugin:
        return record.name == plugin
    return record.distribution == owner if owner else record.state != "blocked" and bool(name)


def _names(catalog: Catalog, kind: str, limit: int = 12) -> str:
    entries = [
        entry
        for entry in catalog.entries(kind)
        if not (isinstance(entry.spec, AlgorithmSpec) and entry.spec.axis)
    ]
    names = [
        entry.spec.name if len(catalog.matches(kind, entry.spec.name)) == 1 else entry.id
        for entry in entries[:limit]
    ]
    more = f" and {len(entries) - limit} more" if len(entries) > limit else ""
    return f"installed are {', '.join(names)}{more}" if names else f"no {kind} is installed"


def _axis_fits(catalog: Catalog, entry: Entry, path: Path, mark: Mark, report: Report) -> bool:
    """A named algorithm stands under ``algorithm.use``, a part under its own axis."""
    spec = entry.spec
    if not isinstance(spec, AlgorithmSpec):
        return True
    wanted = str(path[2]) if len(path) == 3 else ""
    specs = [other.spec for other in catalog.entries("algorithm")]
    axes = sorted({other.axis for other in specs if isinstance(other, AlgorithmSpec)} - {""})
    if spec.axis == wanted:
        return True
    if wanted and wanted not in axes:
        fact = f"there is no axis `{clip(wanted)}`"
        remedy = did_you_mean(wanted, axes) or f"`{entry.id}` belongs under `{spec.axis}`"
    elif not spec.axis:
        fact, remedy = f"`{entry.id}` is a whole algorithm, not a part", "name it as algorithm.use"
    else:
        fact = f"`{entry.id}` is a part of the axis `{spec.axis}`"
        remedy = f"write it as algorithm.parts.{spec.axis}: {{use: {entry.id}}}"
    report.add("C508", mark, fact, allowed=f"axes: {', '.join(axes)}", remedy=remedy)
    return False


def settings_of(
    tree: Node, entry: Entry, path: Path, mark: Mark, report: Report
) -> tuple[Node, Config | None, bool]:
    """What stands under ``with`` of the component at ``path``: (tree without resets, its config, right)."""
    where = (*path, "with")
    node = at(tree, where) or Node({}, mark)
    if not isinstance(node.value, dict):
        return tree, None, False
    try:
        model = config_model(entry)
    except ComponentError as error:
        report.add(
            "C506",
            mark,
            f"the settings of {entry.origin} cannot be checked: {clip(error.fact, 200)}",
            remedy=clip(error.remedy, 300),
        )
        return tree, None, False
    if model is None:
        for key, child in node.value.items():
            if not child.reset:
                report.add(
                    "C505",
                    mark_of(tree, (*where, key), key=True),
                    f"{entry.kind} `{entry.id}` has no settings, so no `{clip(key)}`",
                    remedy="remove it",
                )
        return tree, None, not node.value
    cleaned = apply_resets(node, model)
    if cleaned is not node:
        tree = _replaced(tree, where, cleaned)
    # The border to a plugin's validators: one that fails is its author's mistake, not the user's.
    try:
        config = validate(model, cleaned, report, root=tree, prefix=where)
    except Exception as error:  # noqa: BLE001
        report.add(
            "C506",
            mark,
            f"checking the settings of {entry.origin} failed: "
            f"{clip(f'{type(error).__name__}: {error}', 200)}",
            remedy=f"upgrade {entry.plugin.distribution}, or report it to its author",
        )
        return tree, None, False
    return tree, config, config is not None


def _replaced(tree: Node, path: Path, node: Node) -> Node:
    """The tree with another node at ``path``."""
    if not path:
        return node
    head, rest = path[0], path[1:]
    if isinstance(tree.value, dict):
        values = dict(tree.value)
        values[str(head)] = _replaced(values[str(head)], rest, node)
        return Node(values, tree.mark, keys=tree.keys)
    items = list(tree.value)
    assert isinstance(head, int)
    items[head] = _replaced(items[head], rest, node)
    return Node(items, tree.mark)


def _check_template(tree: Node, catalog: Catalog, report: Report) -> None:
    use = at(tree, ("prompt", "use"))
    if use is None or not isinstance(use.value, str):
        return
    found = catalog.matches("prompt", use.value)
    if len(found) > 1:
        _find(catalog, "prompt", use.value, use.mark, report)
    elif not found and not _report_unavailable(catalog, "prompt", use.value, use.mark, report):
        report.add(
            "C509",
            use.mark,
            f"there is no prompt template `{clip(use.value)}`",
            allowed=_names(catalog, "prompt").replace("installed are", "templates:"),
            remedy=" or ".join(
                f"did you mean `{n}`?" for n in catalog.near("prompt", use.value)[:1]
            )
            or "choose one, and set prompt.template for words of your own",
        )

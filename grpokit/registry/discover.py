"""Installed plugins, found so that a broken one breaks nothing but itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions

from grpokit.registry.builtin import CORE, CORE_DISTRIBUTION, CORE_MODULE, CORE_VERSION, RESERVED
from grpokit.registry.load import fact, load
from grpokit.registry.record import GROUP, Installed, PluginRecord, plugin_name

__all__ = ["GROUP", "PluginRecord", "discover", "plugin_name"]


def discover(environ: Mapping[str, str] | None = None) -> tuple[PluginRecord, ...]:
    """Finds and loads all plugins: core first, then by name.

    ``GRPOKIT_PLUGINS=a,b`` loads only these (an empty value loads none), ``GRPOKIT_DISABLE=a,b``
    loads all but these. Names are plugin or distribution names.
    """
    environ = os.environ if environ is None else environ
    only = _names(environ["GRPOKIT_PLUGINS"]) if "GRPOKIT_PLUGINS" in environ else None
    disabled = _names(environ.get("GRPOKIT_DISABLE", ""))
    installed = sorted(
        _installed(), key=lambda item: (plugin_name(item.distribution), item.version)
    )
    by_name: dict[str, list[Installed]] = {}
    for item in installed:
        by_name.setdefault(plugin_name(item.distribution), []).append(item)
    core = Installed(
        distribution=CORE_DISTRIBUTION,
        version=CORE_VERSION,
        points=(EntryPoint(name=CORE, value=CORE_MODULE, group=GROUP),),
    )
    records = [load(core)]
    for name, items in by_name.items():
        if name in disabled:
            records += [item.record("blocked", reason="GRPOKIT_DISABLE names it") for item in items]
        elif only is not None and name not in only:
            reason = "GRPOKIT_PLUGINS does not name it"
            records += [item.record("blocked", reason=reason) for item in items]
        elif len(items) > 1 or name in RESERVED:
            records += _conflict(name, items)
        else:
            records += [load(item) for item in items]
    for name in sorted((only or set()) - set(by_name) - RESERVED):
        reason = "GRPOKIT_PLUGINS names it, and no installed distribution has this plugin name"
        records.append(
            PluginRecord(
                name=name, distribution="", version="", module="", state="broken", reason=reason
            )
        )
    return tuple(records)


def _names(value: str) -> set[str]:
    return {plugin_name(part.strip()) for part in value.split(",") if part.strip()}


def _conflict(name: str, items: list[Installed]) -> Iterator[PluginRecord]:
    if name in RESERVED:
        reason = (
            f"the plugin name {name!r} is grpokit's own; its author must rename the distribution"
        )
    else:
        both = " and ".join(f"{item.distribution} {item.version}" for item in items)
        reason = (
            f"{both} are both the plugin {name!r}; "
            f"uninstall one: pip uninstall {items[-1].distribution}"
        )
    for item in items:
        yield item.record("conflict", reason=reason)


def _installed() -> Iterator[Installed]:
    """Distributions with entry points in our group.

    ``importlib.metadata.entry_points`` would fail as a whole on one malformed file of an
    unrelated package, so each distribution is read on its own. The first of a name on the path
    is the one that an import finds.
    """
    seen: set[str] = set()
    for dist in distributions():
        try:
            text = dist.read_text("entry_points.txt") or ""
        except (OSError, UnicodeDecodeError):
            continue
        if not re.search(rf"^\s*\[\s*{GROUP}\s*\]", text, re.MULTILINE):
            continue
        item = _read(dist)
        key = re.sub(r"[-_.]+", "-", item.distribution).lower()
        if key not in seen:
            seen.add(key)
            yield item


def _read(dist: Distribution) -> Installed:
    name, version = "unknown", "unknown"
    # Metadata is foreign text: whatever is wrong with it spoils this distribution only.
    try:
        name = dist.metadata["Name"] or _folder_name(dist)
        version = dist.metadata["Version"] or "unknown"
        points = tuple(point for point in dist.entry_points if point.group == GROUP)
    except Exception as error:  # noqa: BLE001  (plugin load border)
        name = name if name != "unknown" else _folder_name(dist)
        return Installed(
            distribution=name, version=version, error=f"its metadata is malformed: {fact(error)}"
        )
    return Installed(distribution=name, version=version, points=points)


def _folder_name(dist: Distribution) -> str:
    folder = getattr(dist, "_path", None)
    return str(getattr(folder, "name", "unknown")).removesuffix(".dist-info").split("-")[0]

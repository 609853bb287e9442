"""Everything about this installation in one go, and the same as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from grpokit.doctor.backends import BackendState, try_backends
from grpokit.doctor.machine import Machine, look_at_machine
from grpokit.doctor.packages import Package, list_packages
from grpokit.spec.recipe import BackendSection
from grpokit.versions.conflicts import known_conflicts
from grpokit.versions.installed import look
from grpokit.versions.table import load_table

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["Checkup", "checkup_json", "examine"]

DEFAULT = BackendSection().use


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What `grpokit doctor` knows.

    Attributes:
        kind: ``cpu`` or ``cuda``: which row of the version table counts.
        conflicts: sentence and remedy of every known conflict, whichever backend it concerns.
        plugins: (distribution, version, state, reason) of those that are not loaded.
    """

    machine: Machine
    kind: str
    packages: tuple[Package, ...]
    backends: tuple[BackendState, ...]
    conflicts: tuple[Mapping[str, str], ...]
    plugins: tuple[Mapping[str, str], ...]

    @property
    def healthy(self) -> bool:
        """Whether the default backend can run."""
        return any(state.name == DEFAULT and state.runs for state in self.backends)


def examine(catalog: Catalog, *, imports: bool = False) -> Checkup:
    """Looks at the machine, the packages, the plugins and every backend. Changes nothing.

    With ``imports`` the packages of each backend that could run are imported, aside.
    """
    table = load_table()
    machine = look_at_machine()
    kind = "cuda" if machine.gpus and machine.torch != "cpu" else "cpu"
    installed = look(table.packages, kind)
    conflicts = [
        {
            "id": each.id,
            "level": each.level,
            "packages": ", ".join(f"{name} {installed.versions[name]}" for name in each.packages),
            "fact": each.fact,
            "remedy": each.remedy,
            "source": each.origin,
        }
        for each in known_conflicts(table, installed)
    ]
    broken = [
        {
            "distribution": record.distribution or record.name,
            "version": record.version,
            "state": record.state,
            "reason": record.reason,
        }
        for record in catalog.plugins
        if not record.loaded
    ]
    return Checkup(
        machine=machine,
        kind=kind,
        packages=list_packages(table, installed),
        backends=try_backends(catalog, table, installed, imports=imports),
        conflicts=tuple(conflicts),
        plugins=tuple(broken),
    )


def checkup_json(checkup: Checkup) -> dict[str, Any]:
    """The same for ``--json``."""
    return {"format": 1, "healthy": checkup.healthy, **asdict(checkup)}

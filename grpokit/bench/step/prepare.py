"""The model that all contestants load, brought or made in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from grpokit.bench.step.grid import Settings
from grpokit.errors import GrpokitError, PreflightError, error_as_data

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.components import StepBenchSpec

__all__ = ["prepare_model"]


def prepare_model(settings: Settings, folder: Path, catalog: Catalog) -> dict[str, Any]:
    """What is known of the model: ``folder``, ``vocabulary``, ``tokens`` of a text, ``parameters``.

    Raises:
        PreflightError: no plugin can, or the model cannot be had.
    """
    targets = [cast("StepBenchSpec", entry.spec).prepare for entry in catalog.entries("step-bench")]
    able = [target for target in targets if target]
    if not able:
        raise PreflightError(
            "no installed plugin prepares a model",
            place="grpokit bench step",
            remedy="pip install grpokit-hf",
        )
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "prepared.json"
    answer.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "grpokit.bench.step.prepare",
        able[0],
        settings.model,
        settings.shape,
    ]
    done = subprocess.run(  # noqa: S603  (our own module)
        [*command, str(folder), str(answer)], stdout=subprocess.PIPE, text=True, check=False
    )
    if not answer.is_file():
        raise PreflightError(
            f"preparing the model ended with code {done.returncode}",
            place=settings.shape or settings.model,
            remedy="read what it wrote above",
        )
    found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        told = found["error"]
        raise PreflightError(told["fact"], place=told.get("place", ""), remedy=told["remedy"])
    return dict(found)


def main(argv: list[str]) -> None:
    """The process: asks the plugin and writes what it says, or its error."""
    target, model, shape, folder, answer = argv
    module, _, name = target.partition(":")
    try:
        found = dict(getattr(import_module(module), name)(model, shape, Path(folder)))
    except GrpokitError as error:
        found = {"error": error_as_data(error)}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

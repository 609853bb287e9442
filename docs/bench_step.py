"""Measures steps and writes their tables and pictures into the documentation.

    python docs/bench_step.py [GRID ...]

A grid is a name of :data:`GRIDS`; without one, all are measured but ``amx-float32`` and ``amx-bfloat16``,
which are ``main`` on a processor that multiplies bfloat16 in tiles. Measurements stand below ``bench/step``:
interrupted, it goes on; what was measured with other code or versions is measured anew. Needs matplotlib.
``make bench-step`` is the same.
Nothing else should run on the machine.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import commit
from grpokit.bench.step.tables import cell_title, facts_of, legend, markdown, memory, verdicts

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
IMAGES = ROOT / "docs/images"
OTHER_TRL = ROOT / ".venv/trl-1.16"
GROWTH = ["--dtype", "float32", "--prompt", "330", "--against", "grpokit", "--rounds", "2"]
MAIN = ["--rounds", "2", "--prompt", "40,330", "--against", "grpokit,plain,trl"]
AMX = ["--rounds", "2", "--prompt", "40,330", "--trl", str(OTHER_TRL)]
KEEP = ["--keep", "1,0.5,0.125", "--against", "grpokit,plain"]
GRIDS: dict[str, list[str]] = {
    "main": [*MAIN, "--trl", str(OTHER_TRL)],
    "amx-float32": [*AMX, "--dtype", "float32", "--against", "grpokit,bf16x3,plain,trl"],
    "amx-bfloat16": [*AMX, "--dtype", "bfloat16", "--against", "grpokit,plain,trl"],
    "selection": ["--rounds", "2", "--dtype", "float32", "--prompt", "330", *KEEP],
    "group": [*GROWTH, "--group", "8,32,128"],
    "completion": [*GROWTH, "--completion", "8,32,128"],
}
"""Block of the page -> options of ``grpokit bench step``."""


def block(grid: str) -> re.Pattern[str]:
    return re.compile(
        rf"(<!-- made by docs/bench_step.py {grid} -->\n).*?(<!-- end -->\n)", re.DOTALL
    )


def facts(data: dict[str, Any], grid: str, made_from: str) -> str:
    """Where the numbers come from."""
    machine = data["machine"]
    threads = {
        each["facts"].get("threads")
        for cell in data["cells"]
        for each in cell["contestants"]
        if not each["failure"]
    }
    versions = [
        f"{name} {' and '.join(found)}"
        for name, found in facts_of(data).items()
        if name != "python"
    ]
    when = " to ".join(
        dict.fromkeys(data[end][:16].replace("T", " ") for end in ("began", "finished"))
    )
    return (
        f"`python docs/bench_step.py {grid}` measured this ({when} UTC) at commit `{made_from}`: "
        f"{data['model']}, LoRA of rank {data['settings']['rank']} on every linear layer, "
        f"{machine['processor']} ({machine['cores']} cores, "
        f"threads: {' or '.join(sorted(map(str, threads)))}), Python "
        f"{' and '.join(facts_of(data)['python'])}, {', '.join(versions)}.\n"
    )


def measure(grid: str) -> Path:
    out = ROOT / "bench/step" / grid
    command = [sys.executable, "-m", "grpokit", "bench", "step", *GRIDS[grid], "--out", str(out)]
    subprocess.run(command, check=True)  # noqa: S603
    return out


def text(data: dict[str, Any], grid: str, made_from: str) -> str:
    """What stands in the block."""
    picture = f"![Stages of a step](images/bench-step-{grid}.svg)\n"
    planned = memory(data) if grid == "group" else ""
    said = [
        f"- {cell_title(cell, data)}: {line}\n"
        for cell in data["cells"]
        for line in verdicts(cell)
        if not line.startswith("grpokit ")
    ]
    words = " ".join(legend(data)) + "\n"
    return "\n".join(
        filter(
            None,
            [facts(data, grid, made_from), picture, markdown(data), "".join(said), words, planned],
        )
    )


def main(grids: list[str]) -> None:
    wrong = [grid for grid in grids if grid not in GRIDS]
    if wrong:
        sys.exit(f"no grid {wrong[0]}; there are {', '.join(GRIDS)}")
    for grid in grids or [each for each in GRIDS if not each.startswith("amx")]:
        made_from = commit()
        out = measure(grid)
        data = json.loads((out / "results.json").read_text(encoding="utf-8"))
        for suffix in ("svg", "png"):
            shutil.copyfile(out / f"step.{suffix}", IMAGES / f"bench-step-{grid}.{suffix}")
        filled = text(data, grid, made_from)
        page = PAGE.read_text(encoding="utf-8")
        made, count = block(grid).subn(lambda found: f"{found[1]}\n{filled}\n{found[2]}", page)  # noqa: B023
        if not count:
            sys.exit(f"{PAGE} has no place for {grid}")
        PAGE.write_text(made, encoding="utf-8")
        print(f"written: {PAGE}, {grid}")


if __name__ == "__main__":
    main(sys.argv[1:])

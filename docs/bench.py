"""Runs the comparison of algorithms and writes its table and picture into the documentation.

    python docs/bench.py [OPTIONS of `grpokit bench algorithms`]

Runs stand below ``bench/COMMIT``: interrupted, it goes on; after a commit it begins anew. Needs
matplotlib. ``make bench`` is the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from grpokit.bench.tables import legend, markdown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks-algorithms.md"
IMAGES = ROOT / "docs/images"


def commit() -> str:
    """The commit whose code runs, and whether it was changed."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "grpokit", "plugins", "recipes")
    return git("rev-parse", "--short=10", "HEAD") + ("-changed" if changed else "")


def facts(data: dict[str, Any], made_from: str, by: str = "make bench") -> str:
    """Where the numbers come from."""
    machine, versions = data["machine"], data["environment"]
    minutes = sum(run["seconds"]["total"] for run in runs(data)) / 60
    return (
        f"`{by}` wrote this from {len(list(runs(data)))} runs that ended on "
        f"{data['finished'][:10]}, at commit `{made_from}`, with Python {versions['python']} and torch "
        f"{versions['torch']} on {machine['processor']} ({machine['cores']} cores, one thread a run). "
        f"The steps of all runs took {minutes:.1f} minutes.\n"
    )


def runs(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [run for each in data["algorithms"] for run in each["runs"] if not run["failure"]]


def measured(command: str, out: Path) -> dict[str, Any]:
    """Runs ``grpokit bench COMMAND`` with the options of this script; what is there is not repeated."""
    argv = [sys.executable, "-m", "grpokit", "bench", command, "--out", str(out), *sys.argv[1:]]
    subprocess.run(argv, check=True)  # noqa: S603
    data: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return data


def write(page: Path, script: str, parts: list[str]) -> None:
    """Puts the parts in the place of the block that ``script`` made before."""
    block = re.compile(rf"(<!-- made by {re.escape(script)} -->\n).*(<!-- end -->\n)", re.DOTALL)
    body = "\n".join(parts)
    text, count = block.subn(
        lambda found: f"{found[1]}\n{body}\n{found[2]}", page.read_text(encoding="utf-8")
    )
    if not count:
        sys.exit(f"{page} has no place for the table")
    page.write_text(text, encoding="utf-8")
    print(f"written: {page}")


def main() -> None:
    made_from = commit()
    out = ROOT / "bench" / made_from
    data = measured("algorithms", out)
    for suffix in ("svg", "png"):
        shutil.copyfile(out / f"bench.{suffix}", IMAGES / f"bench-algorithms.{suffix}")
    picture = "![Accuracy and reward curves of each algorithm](images/bench-algorithms.svg)\n"
    parts = [facts(data, made_from), picture, markdown(data), " ".join(legend(data)) + "\n"]
    write(PAGE, "docs/bench.py", parts)


if __name__ == "__main__":
    main()

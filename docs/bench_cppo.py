"""Runs GRPO against CPPO and writes tables and picture into the documentation.

    python docs/bench_cppo.py [OPTIONS of `grpokit bench cppo`]

Runs stand below ``bench/cppo-COMMIT``: interrupted, it goes on; after a commit it begins anew. Needs
matplotlib, and a machine that does nothing else. ``make bench-cppo`` is the same.
"""

from __future__ import annotations

import shutil

from bench import IMAGES, ROOT, commit, facts, measured, write
from grpokit.bench.cppo.tables import legend, markdown

PAGE = ROOT / "docs/benchmarks-cppo.md"
PICTURE = (
    "![Accuracy against training time, and seconds by stage](images/bench-cppo.svg)\n\n"
    "Left: accuracy against the time of a run. Right: what the time went into, and how many times "
    "faster than GRPO the run was.\n"
)


def main() -> None:
    made_from = commit()
    out = ROOT / "bench" / f"cppo-{made_from}"
    data = measured("cppo", out)
    for suffix in ("svg", "png"):
        shutil.copyfile(out / f"cppo.{suffix}", IMAGES / f"bench-cppo.{suffix}")
    words = facts(data, made_from, by="make bench-cppo")
    parts = [words, PICTURE, markdown(data), " ".join(legend(data)) + "\n"]
    write(PAGE, "docs/bench_cppo.py", parts)


if __name__ == "__main__":
    main()

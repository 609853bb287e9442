"""Draws the README's pictures from real runs.

    python docs/pictures.py RUN [RUN ...]

``docs/images/train.svg`` is the live view at the last step of the first run; ``quickstart.svg``
shows the reward of all runs and, where a run has ``eval/summary.json``, base against trained.
``compare.svg`` is what ``grpokit runs plot RUN ... --band --evals --metric reward --metric entropy`` draws.
Needs the ``docs`` dependency group (matplotlib).
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "images"


def rows_of(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]


def live_view(run: Path) -> str:
    """The frame that a terminal of 88 columns and 40 lines showed at the end of the run."""
    from rich.console import Console

    from grpokit.cli.live import LiveTraining
    from grpokit.cli.samples import Sample

    class View:
        shown: Any = None

        def update(self, view: Any) -> None:
            self.shown = view

    view = View()
    metrics = rows_of(run, "metrics.jsonl")
    training = LiveTraining(view, title="grpokit train quickstart", show_every=0)  # type: ignore[arg-type]
    names = [name.split("/")[1] for name in metrics[0] if name.startswith("rewards/")]
    training.start(run, len(metrics) + 1, len(metrics), list(dict.fromkeys(names)))
    training.folder = f"runs/{run.name}"
    training.board.began -= sum(row["seconds"]["total"] for row in metrics)
    last = rows_of(run, "rollouts.jsonl")[-1]
    best = max(last["completions"], key=lambda item: item["total"] or 0.0)
    training.board.sample = Sample(
        step=last["step"],
        question=last["prompt"]["messages"][-1]["content"],
        answer=best["text"],
        scores=best["rewards"],
        total=best["total"],
        advantage=best["advantage"],
        tokens=best["tokens"],
        truncated=best["finish"] == "length",
        of=len(last["completions"]),
    )
    training.board.activity = "done"
    training.draw()
    console = Console(record=True, width=88, height=40, force_terminal=True, file=io.StringIO())
    console.print(view.shown)
    return console.export_svg(title="grpokit train quickstart")


def curves(runs: list[Path], target: Path) -> None:
    """Reward a step (thin) and its mean over five steps (thick); accuracies with intervals."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "grpokit"
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(3, 1))
    for number, run in enumerate(runs):
        rewards = [row["reward"] for row in rows_of(run, "metrics.jsonl")]
        means = [
            sum(rewards[max(0, i - 4) : i + 1]) / len(rewards[max(0, i - 4) : i + 1])
            for i in range(len(rewards))
        ]
        seed = json.loads((run / "plan.json").read_text())["recipe"]["train"]["seed"]
        left.plot(range(1, len(rewards) + 1), rewards, color=f"C{number}", alpha=0.25, linewidth=1)
        left.plot(range(1, len(means) + 1), means, color=f"C{number}", label=f"seed {seed}")
        bars(right, run, number)
    left.set(xlabel="step", ylabel="mean reward", ylim=(0, 1.02), title="Reward, 5-step mean")
    left.legend(frameon=False)
    right.set(
        xticks=[0, 1], xticklabels=["base", "trained"], ylim=(0, 1.02), title="Held-out accuracy"
    )
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def bars(axis: Any, run: Path, number: int) -> None:
    """The newest evaluation of the run that compares base and trained model."""
    summaries = sorted((run / "eval").glob("**/summary.json"), reverse=True)
    found = (json.loads(path.read_text(encoding="utf-8"))["models"] for path in summaries)
    models = next((each for each in found if len(each) == 2), [])
    for place, part in enumerate(models):
        low, high = part["interval"]
        error = [[part["accuracy"] - low], [high - part["accuracy"]]]
        axis.errorbar(
            place + (number - 1) * 0.12, part["accuracy"], yerr=error, fmt="o", color=f"C{number}"
        )


def compared(runs: list[Path], target: Path) -> None:
    """Reward and entropy of the recipes with the range of their seeds, and their accuracies."""
    from grpokit.cli.main import main as grpokit

    options = ["--band", "--evals", "--metric", "reward", "--metric", "entropy"]
    if grpokit(["runs", "plot", *map(str, runs), *options, "--out", str(target)]):
        sys.exit(f"not drawn: {target}")


def main() -> None:
    runs = [Path(name) for name in sys.argv[1:]]
    if not runs:
        sys.exit(__doc__)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "train.svg").write_text(live_view(runs[0]), encoding="utf-8")
    curves(runs, FOLDER / "quickstart.svg")
    compared(runs, FOLDER / "compare.svg")
    print(f"drawn: {FOLDER}")


if __name__ == "__main__":
    main()

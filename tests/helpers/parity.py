"""One training step of a backend on a fixed model, fixed completions and fixed rewards.

What two backends must agree on: log-probs, advantages, selected rows, loss, gradient norm and the
weights after two optimiser steps. Nothing is drawn: what differs is the backend.

    folder = prepare(tmp_path)                 # model, adapter and completions, in a process of its own
    ours = measure("hf", "grpo", folder)
    theirs = run("unsloth", ["grpo"], folder)    # the same in a process of its own

    python tests/helpers/parity.py BACKEND [ALGORITHM ...] [--folder FOLDER] [--changes JSON]

The last prints one JSON object, algorithm -> what ``measure`` gives. Some runtimes change transformers
as they are imported, so this module imports neither torch nor transformers before the backend is open.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ALGORITHMS", "compare", "gap", "measure", "prepare", "run"]

MAX_TOKENS = 16
QUESTIONS = ("2+2?", "What is 13 + 29?", "a long question " * 3, "7?")
ANSWERS = (
    ("4", "5 of them", "four", "22 is what I think it is"),
    ("42", "13 and 29 makes", "1329", "forty-two"),
    ("yes", "no, never at all", "maybe", "it is long"),
    ("7", "seven", "77", "6+1"),
)
CUT = ((0, 3), (1, 1), (2, 1))
"""Answers that ran into the limit."""
REWARDS: tuple[tuple[float, ...], ...] = (
    (1.0, 0.25, 0.5, 0.0),
    (1.0, 0.0, 0.1, 0.7),
    (0.0, 1.0, 0.0, 0.3),
    (0.5, 0.5, 0.5, 0.5),
)
"""The last group teaches nothing."""
ALGORITHMS: dict[str, dict[str, Any]] = {
    "grpo": {
        "use": "grpo",
        "with": {"beta": 0.04},
        "parts": {"correction": {"use": "truncate", "with": {"cap": 1.2}}},
    },
    "cppo": {"use": "cppo", "with": {"rate": 0.5, "beta": 0.04}},
    "dapo": {"use": "dapo", "with": {"max_rounds": 1, "on_bound": "train"}},
    "gspo": {"use": "gspo", "with": {"epsilon": 0.02, "epsilon_high": 0.03}},
}
"""Two with a reference policy, one that prunes, one that leaves a group out, one with whole-row ratios."""
SETTINGS: dict[str, dict[str, Any]] = {
    name: {"threads": 1, "device": "cpu"} for name in ("hf", "unsloth")
}
"""``backend.with``, where it must not be empty. Threads decide the order of sums."""


def recipe_data(backend: str, algorithm: str, folder: Path) -> dict[str, Any]:
    """Two optimiser steps on one rollout batch, so that old log-probs differ from the current ones."""
    return {
        "grpokit": 1,
        "model": {
            "id": str(folder / "model"),
            "dtype": "float32",
            "lora": {"rank": 4, "alpha": 8.0},
        },
        "dataset": {"use": "inline"},
        "rewards": [{"use": "exact"}],
        "algorithm": copy.deepcopy(ALGORITHMS[algorithm]),
        "rollout": {"prompts": len(QUESTIONS), "group": len(ANSWERS[0]), "max_tokens": MAX_TOKENS},
        "optim": {
            "lr": 5e-3,
            "schedule": "linear",
            "warmup": 0.0,
            "max_grad_norm": 0.5,
            "weight_decay": 0.01,
            "eps": 1e-4,  # AdamW's first step is the sign of the gradient, also of its rounding
            "iterations": 2,
            "micro_batch": 3,
        },
        "backend": {"use": backend, "with": dict(SETTINGS.get(backend, {}))},
        "train": {"steps": 3, "seed": 7},
    }


# ----------------------------------------------------------------- what is fixed


def prepare(folder: Path) -> Path:
    """Writes model, adapter and completions into ``folder``, which is returned."""
    call([sys.executable, __file__, "--prepare", str(folder)])
    return folder


def write_fixed(folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    from grpokit_hf.text.tokenizer import ChatTokenizer
    from tiny_model import write_tiny_model

    torch.set_num_threads(1)
    write_tiny_model(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    model = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8.0, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    lot = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.requires_grad:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=lot))
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file(
        {name: weight.contiguous() for name, weight in tensors.items()},
        folder / "adapter.safetensors",
    )
    tokenizer = ChatTokenizer(folder / "model")
    groups = []
    for p, answers in enumerate(ANSWERS):
        prompt = tokenizer.encode([{"role": "user", "content": QUESTIONS[p]}])
        group = []
        for g, text in enumerate(answers):
            ended = (p, g) not in CUT
            ids = list(tokenizer.encode_text(text))[: MAX_TOKENS - ended]
            ids += [tokenizer.ends.main] * ended
            with torch.no_grad():
                logits = model.eval()(torch.tensor([[*prompt, *ids]])).logits[0]
            found = logits[len(prompt) - 1 : -1].log_softmax(-1)
            found = found.gather(1, torch.tensor(ids)[:, None])[:, 0]
            stale = found + 0.2 * torch.randn(found.shape, generator=lot)
            finish = "stop" if ended else "length"
            group.append(
                {
                    "ids": ids,
                    "text": text,
                    "finish": finish,
                    "logprobs": stale.clamp(max=0).tolist(),
                }
            )
        groups.append(group)
    (folder / "rollout.json").write_text(json.dumps(groups), encoding="utf-8")


# ----------------------------------------------------------------- one measurement


@dataclass
class Watch:
    """A loss function that keeps what it saw: row -> log-probs, first and second optimiser step."""

    loss: Any
    rows: Mapping[tuple[int, ...], tuple[int, int]]
    seen: dict[str, list[dict[str, list[float]]]] = field(default_factory=dict)

    def __call__(self, inputs: Any) -> Any:
        outputs = self.loss(inputs)
        for n, count in enumerate(inputs.mask_NT.sum(dim=1).int().tolist()):
            if not inputs.weights_N[n] or not count:
                continue  # a row that a backend may leave out
            p, g = self.rows[tuple(inputs.tokens_NT[n, :count].tolist())]
            values = {
                "new": inputs.logprobs_NT,
                "old": inputs.old_logprobs_NT,
                "reference": inputs.ref_logprobs_NT,
                "sampler": inputs.sampler_logprobs_NT,
            }
            entry = {
                name: value[n, :count].detach().tolist()
                for name, value in values.items()
                if value is not None
            }
            self.seen.setdefault(f"{p}.{g}", []).append(entry)
        return outputs


@dataclass
class OneStep:
    """A feed of one step, for backends that own the loop."""

    task: Any
    update: Any = None
    begun: bool = False

    def begin(self) -> Any:
        if self.begun:
            return None
        self.begun = True
        return self.task

    def end(self, update: Any) -> None:
        self.update = update


def measure(backend: str, algorithm: str, folder: Path, /, **changes: Any) -> dict[str, Any]:
    """What the backend makes of the fixed step. ``changes`` are put into the recipe's sections."""
    from grpokit.engine.session import make_algorithm, make_backend
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

    catalog = Catalog.load()
    data = recipe_data(backend, algorithm, folder)
    for name, values in changes.items():
        data[name] = {**data[name], **values}
    recipe = Recipe.model_validate(data)
    parts = make_algorithm(catalog, recipe)
    runtime: Any = make_backend(catalog, recipe)
    runtime.open(recipe, needs_reference=parts.needs_reference, needs_entropy=parts.needs_entropy)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if recipe.model.lora is not None:
                put_adapter(runtime, folder, Path(scratch) / "before")
            return step(runtime, parts, recipe, folder, Path(scratch) / "after")
    finally:
        runtime.close()


def put_adapter(runtime: Any, folder: Path, scratch: Path) -> None:
    """The fixed adapter, through the door that a resumed run uses."""
    from safetensors import safe_open

    save(runtime, scratch)
    place = scratch / "policy" / "adapter_model.safetensors"
    new = folder / "adapter.safetensors"
    with safe_open(place, "pt") as own, safe_open(new, "pt") as fixed:
        if set(own.keys()) != set(fixed.keys()):
            message = f"the adapter has other weights: {set(own.keys()) ^ set(fixed.keys())}"
            raise AssertionError(message)
    place.write_bytes(new.read_bytes())
    runtime.load_state(scratch)


def save(runtime: Any, folder: Path) -> None:
    for name in ("policy", "state"):
        (folder / name).mkdir(parents=True)
    runtime.save_policy(folder / "policy")
    runtime.save_state(folder / "state")


def step(runtime: Any, parts: Any, recipe: Any, folder: Path, scratch: Path) -> dict[str, Any]:
    from safetensors import safe_open

    from grpokit.engine.merge import pick_rollout, pick_scores
    from grpokit.spec.contracts import Task
    from grpokit.spec.flow import Gathered, Resets, Scores

    rollout = fixed_rollout(runtime, recipe, folder)
    scores = Scores(rewards={"fixed": REWARDS}, components={}, total=REWARDS)
    advantages = parts.advantages(rollout, scores)
    gathered = Gathered(
        rollout=rollout, scores=scores, advantages=advantages, wanted=len(QUESTIONS), rounds=1
    )
    keep = parts.allocate(gathered).keep
    rollout, scores = pick_rollout(rollout, keep), pick_scores(scores, keep)
    advantages = parts.advantages(rollout, scores)
    selection = parts.select(rollout, scores, advantages)
    rows = {rollout.completions[p][g].token_ids: (keep[p], g) for p, g in rollout.rows()}
    watch = Watch(parts.loss, rows)
    if hasattr(runtime, "run"):
        feed = OneStep(
            Task(
                step=1,
                loss=watch,
                rollout=rollout,
                advantages=advantages,
                selection=selection,
                resets=Resets(),
            )
        )
        runtime.run(feed)
        update = feed.update
    else:
        update = runtime.update(watch, rollout, advantages, selection, 1)
    save(runtime, scratch)
    with safe_open(next((scratch / "policy").glob("*model.safetensors")), "pt") as file:
        weights = {name: file.get_tensor(name).flatten().tolist() for name in file.keys()}  # noqa: SIM118
    return {
        "prompt_ids": [list(ids) for ids in rollout.prompt_ids],
        "advantages": advantages.advantages_PG.tolist(),
        "selected": [
            [keep[p], g, w] for (p, g), w in zip(selection.rows, selection.weights, strict=True)
        ],
        "logprobs": dict(sorted(watch.seen.items())),
        "loss": update.metrics["loss"],
        "grad_norm": update.metrics["grad_norm"],
        "lr": update.metrics["lr"],
        "optimizer_steps": update.optimizer_steps,
        "metrics": dict(update.metrics),
        "weights": dict(sorted(weights.items())),
    }


def fixed_rollout(runtime: Any, recipe: Any, folder: Path) -> Any:
    from grpokit.spec.flow import Completion, Prompt, Rollout
    from grpokit.spec.sampling import sampling_of

    prompts = tuple(
        Prompt(id=f"parity-{p}", index=p, row={}, messages=({"role": "user", "content": question},))
        for p, question in enumerate(QUESTIONS)
    )
    groups = json.loads((folder / "rollout.json").read_text(encoding="utf-8"))
    return Rollout(
        prompts=prompts,
        prompt_ids=tuple(tuple(runtime.encode(prompt.messages)) for prompt in prompts),
        completions=tuple(
            tuple(
                Completion(
                    token_ids=tuple(one["ids"]),
                    text=one["text"],
                    finish=one["finish"],
                    logprobs=tuple(one["logprobs"]),
                )
                for one in group
            )
            for group in groups
        ),
        sampling=sampling_of(recipe),
    )


# ----------------------------------------------------------------- comparing


def gap(ours: Any, theirs: Any) -> float:
    """The largest absolute difference of two nested structures of numbers of one shape.

    What is not a number on either side is infinitely far: ``max`` would pass over it.
    """
    if isinstance(ours, Mapping):
        if set(ours) != set(theirs):
            message = f"different names: {sorted(set(ours) ^ set(theirs))}"
            raise AssertionError(message)
        return max((gap(ours[name], theirs[name]) for name in ours), default=0.0)
    if isinstance(ours, Sequence):
        if len(ours) != len(theirs):
            message = f"different lengths: {len(ours)}, {len(theirs)}"
            raise AssertionError(message)
        return max((gap(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
    found = abs(float(ours) - float(theirs))
    return math.inf if math.isnan(found) else found


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """What -> the largest absolute difference; that of the gradient's norm relative to ``ours``."""
    names = ("prompt_ids", "advantages", "selected", "logprobs", "weights", "lr", "loss")
    found = {name: gap(ours[name], theirs[name]) for name in (*names, "optimizer_steps")}
    norm = ours["grad_norm"]
    return found | {"grad_norm": gap(norm, theirs["grad_norm"]) / norm}


# ----------------------------------------------------------------- as a program


def run(
    backend: str,
    algorithms: Sequence[str],
    folder: Path,
    python: str = sys.executable,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``measure`` for each algorithm in a process of its own."""
    words = ["--folder", str(folder), "--changes", json.dumps(changes or {})]
    out = call([python, __file__, backend, *algorithms, *words])
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def call(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        message = f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        raise AssertionError(message)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend", nargs="?", default="hf")
    parser.add_argument("algorithms", nargs="*", default=[])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--changes", type=json.loads, default={})
    wanted = parser.parse_args()
    if wanted.prepare is not None:
        write_fixed(wanted.prepare)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = wanted.folder or prepare(Path(scratch))
        names = wanted.algorithms or list(ALGORITHMS)
        found = {name: measure(wanted.backend, name, folder, **wanted.changes) for name in names}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

"""What one process, or each of several, does for the tests of several processes.

``python team_jobs.py JOBS OUT`` is one of several: it meets the others, runs every job of the file, and
writes what came of each to ``OUT/NAME-RANK.safetensors`` and ``.json``. The tests run the same jobs
in one process by :func:`run`.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from grpokit.api import (
    Completion,
    ComponentError,
    GrpokitError,
    Interrupted,
    LossInputs,
    LossOutputs,
    Prompt,
    Recipe,
    Resets,
    Rollout,
    Sampling,
    Selection,
    Wanted,
)
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from updates import advantages_of, token_loss

BASE: dict[str, Any] = {
    "grpokit": 1,
    "model": {"id": "", "dtype": "float32"},
    "dataset": {"use": "inline"},
    "rewards": [{"use": "exact"}],
    "rollout": {"prompts": 3, "group": 4, "max_tokens": 10},
    "optim": {"lr": 1e-3, "warmup": 0.0, "schedule": "constant", "max_grad_norm": 0.5},
    "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
    "train": {"steps": 20, "seed": 7},
}
LORA = {"rank": 4, "alpha": 8.0}
QUESTIONS = ("2+2?", "What is 13 + 29?", "a long question " * 3)


def open_backend(job: dict[str, Any], *, reference: bool = True) -> HfBackend:
    data = copy.deepcopy(BASE)
    data["model"] |= {"id": job["model"], "lora": job.get("lora")}
    data["model"]["gradient_checkpointing"] = job.get("checkpointing", False)
    data["optim"] |= job.get("optim", {})
    data["backend"]["with"]["parallel"] = job.get("parallel", "auto")
    data["backend"]["with"]["device"] = job.get("device", "cpu")
    data["model"]["dtype"] = job.get("dtype", "float32")
    recipe = Recipe.model_validate(data)
    backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
    backend.open(recipe, needs_reference=reference, needs_entropy=False)
    return backend


def prompts() -> list[Prompt]:
    return [
        Prompt(id=f"id-{i}", index=i, row={}, messages=({"role": "user", "content": text},))
        for i, text in enumerate(QUESTIONS)
    ]


def rollout_of(backend: HfBackend, step: int) -> Rollout:
    """Canned completions of 1 to 9 tokens, with log-probs of a sampler that is not the policy."""
    generator = torch.Generator().manual_seed(step)
    groups = []
    for p in range(len(QUESTIONS)):
        group = []
        for g in range(4):
            length = 1 if step == 3 else 1 + (3 * p + 2 * g + step) % 9
            ids = torch.randint(5, 90, (length,), generator=generator).tolist()
            group.append(
                Completion(token_ids=tuple(ids), text="", finish="stop", logprobs=(-3.0,) * length)
            )
        groups.append(tuple(group))
    return Rollout(
        prompts=tuple(prompts()),
        prompt_ids=tuple(backend.encode(prompt.messages) for prompt in prompts()),
        completions=tuple(groups),
        sampling=Sampling(group=4, max_tokens=10, seed=7, step=step),
    )


def selected(rollout: Rollout, count: int) -> Selection:
    """The last ``count`` completions of all twelve, in their order; the first one teaches nothing."""
    rows = tuple(rollout.rows()[-count:])
    return Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))


def whole(backend: HfBackend, tensor: torch.Tensor) -> torch.Tensor:
    """A whole copy: weights go on changing."""
    return backend.policy.team.full(tensor).detach().clone()


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def wake(backend: HfBackend) -> None:
    """LoRA starts with B = 0, where A has no gradient: moves it."""
    from grpokit_hf.reset import put_whole

    generator = torch.Generator().manual_seed(1)
    found = {
        name: 0.2 * torch.randn(weight.shape, generator=generator)
        if "lora_B" in name
        else whole(backend, weight)
        for name, weight in backend.policy.weights.items()
    }
    put_whole(backend.policy.team, backend.policy.weights, found)


def weights_of(backend: HfBackend) -> dict[str, torch.Tensor]:
    return {name: whole(backend, weight) for name, weight in backend.policy.weights.items()}


def run(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """One job: tensors by name, and what JSON can hold."""
    return JOBS[job["kind"]](job)


def train(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Updates with so many rows each, saved after one of them: gradients of every optimiser step, weights, metrics."""
    backend = open_backend(job)
    if job.get("load"):
        backend.load_state(Path(job["load"]))
    elif job.get("lora"):
        wake(backend)
    found: dict[str, torch.Tensor] = {}
    metrics = []
    inner = 0

    def catch(*_: Any) -> None:
        nonlocal inner
        for name, weight in backend.policy.weights.items():
            if weight.grad is not None:
                found[f"grad/{step}.{inner}/{name}"] = whole(backend, weight.grad)
        inner += 1

    for step, rows in enumerate(job["rows"], start=job.get("from", 1)):
        resets = job.get("resets", {}).get(str(step))
        if resets:
            backend.reset(Resets(**resets))
        inner = 0
        handle = backend.trainer.optimizer.register_step_pre_hook(catch)
        rollout = rollout_of(backend, step)
        update = backend.update(
            token_loss, rollout, advantages_of(rollout), selected(rollout, rows), step
        )
        handle.remove()
        metrics.append(dict(update.metrics))
        if job.get("save") and step == job["save_after"]:
            save(backend, Path(job["save"]))
    found |= {f"weight/{name}": value for name, value in weights_of(backend).items()}
    backend.close()
    return found, {"metrics": metrics}


def save(backend: HfBackend, folder: Path) -> None:
    if rank() == 0:
        (folder / "policy").mkdir(parents=True)
        (folder / "state").mkdir()
    backend.save_policy(folder / "policy")
    backend.save_state(folder / "state")


def sample(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Rank 0 draws short completions for one prompt, rank 1 long ones for another; then it trains.

    What is drawn is measured. One process draws both. The last round finds rank 1 without a prompt.
    """
    backend = open_backend(job)
    if job.get("lora"):
        wake(backend)
    reference = backend.trainer.reference_model
    with backend.policy.sampling():
        kept = (
            [] if reference is None else [hasattr(w, "device_mesh") for w in reference.parameters()]
        )
    alone = "RANK" not in os.environ
    texts: dict[str, Any] = {}
    sure: dict[str, Any] = {}
    asked = Wanted(logprobs=True, self_certainty=True)
    for step in (1, 2):
        for place in (0, 1) if alone else (rank(),):
            sampling = Sampling(group=2, max_tokens=4 + 5 * place, seed=3, step=step)
            drawn = backend.generate(prompts()[place : place + 1], sampling)
            texts[f"{step} {place}"] = [list(one.token_ids) for one in drawn.completions[0]]
            said = backend.measure(drawn, asked)
            sure[f"{step} {place}"] = [said.logprobs, said.self_certainty]
        rollout = rollout_of(backend, step)
        backend.update(token_loss, rollout, advantages_of(rollout), selected(rollout, 5), step)
    last = backend.generate([] if rank() else prompts()[:1], Sampling(group=1, max_tokens=3))
    backend.measure(last, asked)
    found = weights_of(backend)
    backend.close()
    return found, {"texts": texts, "sure": sure, "reference_in_parts": kept}


def unreadable(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Rank 1 finds half a model where rank 0 finds a whole one; then both find a whole one."""
    start = time.monotonic()
    told = ""
    try:
        open_backend({**job, "model": job["broken"]} if rank() else job)
    except GrpokitError as error:
        told = f"{type(error).__name__}: {error}"
    facts = {"told": told, "seconds": time.monotonic() - start}
    backend = open_backend(job)
    found = weights_of(backend)
    backend.close()
    return found, facts


def fail(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A loss that fails on rank 1; afterwards an update that goes well, which is all without an error."""
    backend = open_backend(job)
    before = weights_of(backend)
    rollout = rollout_of(backend, 1)
    arguments = (rollout, advantages_of(rollout), selected(rollout, 12), 1)

    def broken(inputs: LossInputs) -> LossOutputs:
        outputs = token_loss(inputs)
        if rank() == 0:
            return outputs
        if job["error"] == "moments":
            return outputs
        if job["error"] == "nan":
            return replace(outputs, loss=outputs.loss * float("nan"))
        if job["error"] == "memory":
            if len(inputs.weights_N) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return outputs
        if job["error"] == "grpokit":
            raise ComponentError("no such thing", place="the loss", remedy="do better")
        raise ValueError("the loss is broken")

    def stop() -> None:
        if job["error"] == "stop" and rank() == 1:
            raise Interrupted(15)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    start = time.monotonic()
    told = ""
    metrics: dict[str, float] = {}
    optimizer = backend.trainer.optimizer
    handle = optimizer.register_step_pre_hook(
        full if job["error"] == "moments" and rank() else lambda *_: None
    )
    try:
        if job["error"]:
            metrics = dict(backend.update(broken, *arguments, stop).metrics)
    except Exception as error:  # noqa: BLE001  what the test asks for
        told = f"{type(error).__name__}: {error}"
    handle.remove()
    facts = {
        "told": told,
        "torn": backend.trainer.torn,
        "seconds": time.monotonic() - start,
        "same": all(torch.equal(v, before[n]) for n, v in weights_of(backend).items()),
        "limit": backend.trainer.limit_rows,
        "metrics": metrics,
    }
    backend.update(token_loss, *arguments)
    found = weights_of(backend)
    backend.close()
    return found, facts


def end(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Memory runs out inside a forward of rank 1, where rank 0 waits for its part of the weights."""
    backend = open_backend(job, reference=False)

    def hungry(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    if rank() == 1:
        backend.policy.base.get_decoder().layers[1].mlp.register_forward_pre_hook(hungry)
    rollout = rollout_of(backend, 1)
    told: list[str] = []
    alone = False
    start = time.monotonic()
    for work in (
        lambda: backend.update(
            token_loss, rollout, advantages_of(rollout), selected(rollout, 5), 1
        ),
        lambda: backend.save_policy(Path("nowhere")),
        lambda: backend.save_state(Path("nowhere")),
    ):
        try:
            work()
        except GrpokitError as error:
            alone = alone or error.alone
            told.append(f"{type(error).__name__}: {error}")
    return {}, {"told": told, "alone": alone, "seconds": time.monotonic() - start}


def measure(job: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Bytes of weights kept, peak memory of an update, and times, of a process."""
    backend = open_backend(job, reference=False)
    policy = backend.policy
    cuda = policy.device.type == "cuda"
    weights = [policy.team.part(weight) for weight in policy.model.parameters()]
    facts: dict[str, Any] = {"kept": sum(w.numel() * w.element_size() for w in weights)}
    backend.generate(prompts(), Sampling(group=4, max_tokens=4))
    start = time.monotonic()
    drawn = backend.generate(prompts(), Sampling(group=4, max_tokens=64))
    longest = max(len(one.token_ids) for group in drawn.completions for one in group)
    facts["ms_a_token"] = round((time.monotonic() - start) * 1000 / longest, 2)
    rollout = rollout_of(backend, 1)
    arguments = (token_loss, rollout, advantages_of(rollout), selected(rollout, 12))
    backend.update(*arguments, 1)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    backend.update(*arguments, 2)
    facts["update_seconds"] = round(time.monotonic() - start, 3)
    facts["peak"] = torch.cuda.max_memory_allocated() if cuda else 0
    backend.close()
    return {}, facts


JOBS = {
    "train": train,
    "sample": sample,
    "unreadable": unreadable,
    "fail": fail,
    "end": end,
    "measure": measure,
}


def main(jobs: Path, out: Path) -> None:
    from safetensors.torch import save_file
    from torch import distributed

    torch.set_num_threads(1)
    todo = json.loads(jobs.read_text())
    cuda = any(job.get("device") == "cuda" for job in todo.values())
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    for name, job in todo.items():
        start = time.monotonic()
        tensors, facts = run(job)
        save_file(
            {key: t.cpu().contiguous() for key, t in tensors.items()},
            out / f"{name}-{rank()}.safetensors",
        )
        (out / f"{name}-{rank()}.json").write_text(json.dumps(facts))
        sys.stderr.write(f"{rank()} {name} {time.monotonic() - start:.1f} s\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

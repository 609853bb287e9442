"""Two real processes over gloo do what one process does: DDP and FSDP2, adapters and whole models."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

import team_jobs
from grpokit.api import CheckpointError, GrpokitError
from grpokit_hf.nn.batch import Row
from grpokit_hf.parallel import Copies, shares
from tiny_model import write_tiny_model

LORA = {"rank": 4, "alpha": 8.0}
KINDS = [f"{how}-{what}" for how in ("ddp", "fsdp") for what in ("lora", "full")]
ERRORS = ("value", "grpokit", "stop", "memory", "nan", "moments")
RESETS = {"2": {"reference": True, "optimizer": True}, "3": {"policy": True}}
BIT = 1e-5
"""What is left of rounding: relative for gradients, absolute for weights and metrics."""
LATER = 20
"""So many times that in gradients of later optimiser steps: AdamW makes small differences large."""


def jobs_of(kind: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What both processes do with one kind of model. Whole models have a tied head and biases here."""
    how, what = kind.split("-")
    base: dict[str, Any] = {"parallel": how, "model": str(folder / "llama"), "lora": LORA}
    if what == "full":
        base |= {"model": str(folder / "qwen2"), "lora": None}
    train = {**base, "kind": "train"}
    twice = {"iterations": 2}
    parts = {"iterations": 2, "minibatches": 2, "micro_batch": 2}
    saved = {"rows": [7, 12, 5, 12], "save_after": 3, "optim": parts, "resets": RESETS}
    return {
        "five": {**train, "rows": [5], "optim": twice},
        "one": {**train, "rows": [1], "optim": twice},
        "recomputed": {**train, "rows": [7], "optim": twice, "checkpointing": True},
        "saved": {**train, **saved, "save": str(folder / f"two-{kind}")},
        "loaded": {**train, "rows": [12], "from": 4, "load": str(folder / f"one-{what}")},
        "resumed": {
            **train,
            "rows": [12],
            "from": 4,
            "optim": parts,
            "load": str(folder / f"two-{kind}"),
        },
        "sampled": {**base, "kind": "sample"},
        "unreadable": {**base, "kind": "unreadable", "broken": str(folder / "broken")},
        **{f"fail-{error}": {**base, "kind": "fail", "error": error} for error in ERRORS},
    }


@dataclass
class Pair:
    """What the two processes left behind, and where to ask one process for the same."""

    folder: Path
    jobs: dict[str, dict[str, Any]]
    log: str

    def facts(self, name: str) -> list[dict[str, Any]]:
        return [json.loads((self.folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]

    def tensors(self, name: str) -> list[dict[str, torch.Tensor]]:
        return [load_file(self.folder / f"{name}-{rank}.safetensors") for rank in (0, 1)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """All jobs of this file, in one meeting of two processes; the last one ends it."""
    folder = tmp_path_factory.mktemp("pair")
    for model, seed in (("llama", 0), ("qwen2", 3)):
        write_tiny_model(folder / model, kind=model, seed=seed)
    shutil.copytree(folder / "llama", folder / "broken")
    weights = folder / "broken/model.safetensors"  # as a copy that was broken off leaves it
    weights.write_bytes(weights.read_bytes()[:4000])
    for what in ("lora", "full"):  # what one process saved, for two to load
        job = jobs_of(f"ddp-{what}", folder)["saved"]
        team_jobs.run({**job, "save": str(folder / f"one-{what}")})
    jobs = {f"{kind}-{name}": job for kind in KINDS for name, job in jobs_of(kind, folder).items()}
    jobs["end"] = {"kind": "end", "model": str(folder / "qwen2"), "parallel": "fsdp"}
    (folder / "jobs.json").write_text(json.dumps(jobs))
    return Pair(folder, jobs, run_pair(folder))


def run_pair(folder: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    helpers = Path(team_jobs.__file__)
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(helpers), str(folder / "jobs.json"), str(folder)]
    logs = [folder / f"log-{rank}" for rank in (0, 1)]
    workers = []
    for rank, log in enumerate(logs):
        with log.open("wb") as out:
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            workers.append(
                subprocess.Popen(command, env={**common, **ranks}, stdout=out, stderr=out)
            )
    try:
        for worker in workers:
            worker.wait(timeout=240)
    finally:
        for worker in workers:
            worker.kill()
    return "\n".join(log.read_text(errors="replace") for log in logs)


@cache
def alone(job: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The same job in this process alone."""
    return team_jobs.run(json.loads(job))


def one_process(pair: Pair, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    job = {**pair.jobs[name], "parallel": "auto", "save": None, "error": ""}
    return alone(json.dumps(job))


def check_equal(pair: Pair, name: str) -> None:
    """Bit by bit between the two, and to rounding with one process."""
    assert (pair.folder / f"{name}-1.json").is_file(), pair.log
    first, second = pair.tensors(name)
    expected, facts = one_process(pair, name)
    assert set(first) == set(second) == set(expected)
    for key in expected:
        assert torch.equal(first[key], second[key]), key
    check_close(first, expected)
    metrics = [told["metrics"] for told in pair.facts(name)]
    assert metrics[0] == metrics[1]
    for ours, theirs in zip(metrics[0], facts["metrics"], strict=True):
        assert ours == pytest.approx(theirs, rel=BIT, abs=BIT)
        assert ours["grad_norm"] > 1e-3


def check_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    begin = min(key for key in theirs if key.startswith("grad")).rpartition("/")[0].split(".")[0]
    for key, value in theirs.items():
        bit = BIT
        if key.startswith("grad"):
            bit *= max(float(value.abs().max()), 1e-2)
            bit *= 1 if key.startswith(f"{begin}.0/") else LATER
        assert float((ours[key] - value).abs().max()) <= bit, key


@pytest.mark.parametrize("rows", ["five", "one", "recomputed"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_weights_and_metrics_are_those_of_one_process(pair, kind, rows):
    """With old log-probs and a reference. One row leaves a process without any."""
    check_equal(pair, f"{kind}-{rows}")


@pytest.mark.parametrize("kind", KINDS)
def test_minibatches_and_resets_are_those_of_one_process(pair, kind):
    """Reference, optimiser and policy begin anew; the third step has completions of one token."""
    check_equal(pair, f"{kind}-saved")


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_go_on_bit_by_bit_where_they_stopped(pair, kind):
    for ours, theirs in zip(
        pair.tensors(f"{kind}-resumed"), pair.tensors(f"{kind}-saved"), strict=True
    ):
        assert any(name.startswith("grad/4.3") for name in ours)
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_go_on_where_one_stopped(pair, kind):
    check_equal(pair, f"{kind}-loaded")


@pytest.mark.parametrize("kind", KINDS)
def test_one_process_goes_on_where_two_stopped(pair, kind, caplog):
    job = {**pair.jobs[f"{kind}-loaded"], "parallel": "auto"}
    ours, _ = alone(json.dumps({**job, "load": str(pair.folder / f"two-{kind}")}))
    theirs, _ = alone(json.dumps(job))
    assert "saved with processes 2, this is 1" in caplog.text
    check_close(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_has_the_form_that_one_process_gives_it(pair, kind):
    ours, theirs = pair.folder / f"two-{kind}", pair.folder / f"one-{kind.split('-')[1]}"
    names = sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*.*"))
    assert sorted(str(path.relative_to(ours)) for path in ours.rglob("*.*")) == names
    assert "state/reference.safetensors" in names
    for name in names:
        if name.endswith(".safetensors"):
            left, right = load_file(ours / name), load_file(theirs / name)
            assert {k: (v.shape, v.dtype) for k, v in left.items()} == {
                k: (v.shape, v.dtype) for k, v in right.items()
            }
            for key, value in right.items():
                assert torch.allclose(left[key], value, atol=BIT), key
        elif not name.endswith("trainer.json"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


@pytest.mark.parametrize("kind", KINDS)
def test_processes_sample_as_long_as_each_likes(pair, kind):
    """The completions of one process alone, as sure of them, and afterwards the same weights."""
    weights, facts = one_process(pair, f"{kind}-sampled")
    told = pair.facts(f"{kind}-sampled")
    assert told[0]["texts"] | told[1]["texts"] == facts["texts"]
    sure = told[0]["sure"] | told[1]["sure"]
    assert sure.keys() == facts["sure"].keys()
    for name, both in facts["sure"].items():
        for ours, theirs in zip(sure[name], both, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert one == pytest.approx(other, abs=LATER * BIT)
    lengths = [len(ids) for text in facts["texts"].values() for ids in text]
    assert max(lengths) > 4 >= min(lengths)
    for facts in told:  # whole weights are for the policy, which samples
        assert all(facts["reference_in_parts"]) == (kind != "ddp-full")
        assert bool(facts["reference_in_parts"]) == kind.endswith("full")
    for tensors in pair.tensors(f"{kind}-sampled"):
        for name, value in weights.items():
            assert float((tensors[name] - value).abs().max()) <= BIT


@pytest.mark.parametrize("error", ["value", "grpokit", "stop"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_of_one_process_stops_both_at_once(pair, kind, error):
    """Nothing has changed, and the next update goes well on both."""
    messages = {
        "value": ("GrpokitError: process 1: ValueError: the loss is broken", "ValueError: the"),
        "grpokit": (
            "ComponentError: process 1: the loss: no such thing; do better",
            "ComponentError: the loss: no such thing; do better",
        ),
        "stop": ("Interrupted: stopped by SIGTERM", "Interrupted: stopped by SIGTERM"),
    }
    for rank, told in enumerate(pair.facts(f"{kind}-fail-{error}")):
        assert told["told"].startswith(messages[error][rank])
        assert told["same"]
        assert told["seconds"] < 5
    check_after(pair, f"{kind}-fail-{error}")


def check_after(pair: Pair, name: str) -> None:
    first, second = pair.tensors(name)
    expected, _ = one_process(pair, name)
    for key, value in expected.items():
        assert torch.equal(first[key], second[key]), key
        assert float((first[key] - value).abs().max()) <= 10 * BIT, key  # AdamW: see LATER


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_one_process_cannot_load_stops_both_at_once(pair, kind):
    """Neither waits for the other in the exchange of weights; afterwards both load it."""
    first, second = pair.facts(f"{kind}-unreadable")
    assert second["told"].startswith("PreflightError")
    assert "transformers cannot load the model" in second["told"]
    assert first["told"].startswith("PreflightError: process 1: ")
    assert "transformers cannot load the model" in first["told"]
    assert max(first["seconds"], second["seconds"]) < 20
    left, right = pair.tensors(f"{kind}-unreadable")
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_that_do_not_fit_on_one_process_stop_both(pair, kind):
    """One of them has taken the step: neither may save."""
    for told in pair.facts(f"{kind}-fail-moments"):
        assert told["told"].startswith("OutOfMemoryError: step 1: the optimiser's moments")
        assert told["torn"]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_that_runs_out_on_one_process_halves_on_both(pair, kind):
    """The loss of rank 1 takes two rows at most; rank 0 would take all of its own."""
    for told in pair.facts(f"{kind}-fail-memory"):
        assert told["told"] == ""
        assert told["limit"] in (1, 2)
        assert not told["same"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_that_is_not_finite_on_one_process_is_skipped_on_both(pair, kind):
    for told in pair.facts(f"{kind}-fail-nan"):
        assert told["metrics"]["skipped_steps"] == 1
        assert told["same"]
    check_after(pair, f"{kind}-fail-nan")


def test_a_failure_inside_a_sharded_forward_ends_both(pair):
    """The others cannot be told; they notice that the process has ended. Nothing is saved."""
    first, second = pair.facts("end")
    assert second["told"][0].startswith("OutOfMemoryError: process 1: a micro-batch does not fit")
    assert "another process of the run has ended" in first["told"][0]
    for facts in (first, second):
        assert facts["alone"]
        assert all("nothing was saved" in told for told in facts["told"][1:3])
    assert second["seconds"] < 5
    assert first["seconds"] < 30


@pytest.fixture
def alone_in_a_group(tmp_path: Path) -> Iterator[None]:
    """torch.distributed with this process as its only one."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("alone_in_a_group")
def test_a_failure_inside_a_collective_of_ddp_is_its_own_alone():
    """Nobody may then wait for the others to hear of it: they are inside the same collective."""
    weight = torch.nn.Parameter(torch.ones(3))

    class Full(torch.nn.Module):
        def forward(self, work: Any) -> Any:
            del work
            raise torch.OutOfMemoryError("CUDA out of memory")

    for work in (
        lambda team: team.sync([weight]),
        lambda team: team.tables({0: weight[:2]}, [[row(0, 0, 3)]], torch.device("cpu")),
    ):
        team = Copies()
        team.replica = Full()
        with pytest.raises(Exception, match=r"does not fit in memory|size") as told:
            work(team)
        assert told.value.alone
        with pytest.raises(CheckpointError, match="nothing was saved"):
            team.check()
        with pytest.raises(GrpokitError, match="another process of the run has ended"):
            team.agree(None)


def row(index: int, prompt: int, length: int, prompt_length: int = 10) -> Row:
    return Row(
        index=index,
        prompt=prompt,
        prompt_ids=(1,) * prompt_length,
        tokens=(2,) * length,
        advantage=0.0,
        weight=1.0,
        truncated=False,
        sampler_logprobs=None,
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_shares_are_all_rows_once_with_nearly_equal_work(count, shared):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 60, (40,), generator=generator).tolist()
    rows = [row(i, i // 8, length) for i, length in enumerate(lengths)]
    parts = shares(rows, count, shared=shared)
    assert [r.index for part in parts for r in part] == list(range(40))
    prompt = 10 / 8 if shared else 10
    work = [sum(len(r.tokens) + prompt for r in part) for part in parts]
    assert max(work) - min(work) <= 2 * (60 + prompt)


def test_few_rows_leave_processes_without_any():
    assert [len(part) for part in shares([row(0, 0, 5)], 4, shared=True)] == [0, 0, 1, 0]
    assert shares([], 3, shared=False) == [[], [], []]

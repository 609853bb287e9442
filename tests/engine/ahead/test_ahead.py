"""Runs whose first rounds are drawn one step ahead, by a second model in a thread."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ahead_runs import STEPS, TRUNCATE, go_on, stale, started, until
from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import PromptMaker
from grpokit.engine.ahead import Ahead, make_ahead
from grpokit.engine.order import RowOrder
from grpokit.engine.ranks import Ranks
from grpokit.engine.session import make_algorithm
from grpokit.errors import CheckpointError, GrpokitError, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.flow import Outcome as Finished
from grpokit.spec.flow import Rollout
from grpokit.spec.recipe import Recipe
from grpokit.spec.sampling import sampling_of
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.reset import copy_of
from plain_updates import PlainUpdate, load_plain
from resume_runs import recipe, run
from two_models import Seen, TwoModels


def plainly(wanted: Recipe) -> tuple[list[Rollout], dict[str, torch.Tensor]]:
    """The same run, one thing after the other: what was drawn, and the weights in the end."""
    catalog = Catalog.load()
    algorithm = make_algorithm(catalog, wanted)
    dataset = open_dataset(catalog, wanted.dataset)
    order = RowOrder(dataset, seed=wanted.train.seed)
    scorer = Scorer(setups(catalog, wanted.rewards), **scoring_options(wanted.scoring))
    backend = HfBackend(HfConfig.model_validate(wanted.backend.with_))
    backend.open(wanted, needs_reference=False, needs_entropy=False)
    position = 0
    drawn: list[Rollout] = []

    def draw(step: int) -> None:
        nonlocal position
        found = algorithm.draw(order, position, algorithm.first(wanted.rollout.prompts), step)
        position = found.position
        sampling = algorithm.sampling(replace(sampling_of(wanted), step=step))
        prompts = PromptMaker(wanted.prompt, dataset)(found.rows)
        drawn.append(backend.generate(prompts, sampling))

    with scorer:
        draw(1)
        for step in range(1, STEPS + 1):
            rollout = drawn[step - 1]
            scores = scorer.score(rollout)
            advantages = algorithm.advantages(rollout, scores)
            selection = algorithm.select(rollout, scores, advantages)
            if step < STEPS:
                draw(step + 1)
            backend.update(algorithm.loss, rollout, advantages, selection, step)
            kept = tuple(range(len(rollout.prompts)))
            algorithm.observe(
                Finished(step=step, rollout=rollout, scores=scores, kept=kept, metrics={})
            )
    weights = copy_of(backend.policy.weights)
    backend.close()
    return drawn, weights


def test_it_is_the_loop_that_draws_before_it_updates(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """Though each round is drawn after the update that it was drawn before, as far as a clock says."""
    history = {"use": "history", "with": {"metric": "length", "threshold": 0.45}}
    parts = {**TRUNCATE["parts"], "sampler": history}
    wanted = stale(tiny_model_folder, tmp_path, algorithm={**TRUNCATE, "parts": parts})
    seen.hold = lambda step, stop: until(lambda: len(seen.trained) == step - 1, stop)
    told = run(wanted)
    drawn, weights = plainly(wanted)
    assert seen.trained == drawn
    final = next(tmp_path.glob("*/final/adapter_model.safetensors"))
    saved = load_file(final)
    assert {name.replace(".default", "") for name in weights} == saved.keys()
    assert all(
        torch.equal(value, saved[name.replace(".default", "")]) for name, value in weights.items()
    )
    names = [name for _, name in seen.drawn]
    assert names == ["MainThread", *["grpokit-ahead"] * (STEPS - 1)]
    assert [row["staleness"] for row in told.metrics] == [0.0, 1.0, 1.0, 1.0]
    assert [row["sampler_gap"] > 1e-3 for row in told.metrics] == [False, True, True, True]


def test_with_staleness_0_nothing_is_drawn_ahead(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    told = run(stale(tiny_model_folder, tmp_path, rollout={"staleness": 0}, train={"steps": 2}))
    assert {name for _, name in seen.drawn} == {"MainThread"}
    assert "staleness" not in told.metrics[0]


def test_seconds_say_what_was_hidden(tiny_model_folder: Path, tmp_path: Path, seen: Seen) -> None:
    run(stale(tiny_model_folder, tmp_path))
    assert len(seen.trained) == STEPS
    text = next(tmp_path.glob("*/metrics.jsonl")).read_text().splitlines()
    seconds = [json.loads(line)["seconds"] for line in text]
    assert [row.get("generate/ahead", 0) > 0 for row in seconds] == [False, True, True, True]
    assert [row.get("sync", 0) > 0 for row in seconds] == [True, True, True, False]
    assert all("generate" in row for row in seconds)


def test_the_weight_is_that_of_the_weights_that_drew(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """By hand: -1/N sum_i A_i / L_i sum_t min(pi_1 / pi_0, 2) d log pi_1, in float64."""
    optim = {
        "minibatches": 1,
        "lr": 0.03,
        "warmup": 0.0,
        "schedule": "constant",
        "max_grad_norm": 1e9,
    }
    wanted = stale(tiny_model_folder, tmp_path, optim=optim, train={"steps": 3})
    run(wanted)
    _, first, second = seen.before
    rollout = seen.trained[-1]
    catalog = Catalog.load()
    algorithm = make_algorithm(catalog, wanted)
    with Scorer(setups(catalog, wanted.rewards), **scoring_options(wanted.scoring)) as scorer:
        scores = scorer.score(rollout)
    advantages_PG = algorithm.advantages(rollout, scores).advantages_PG.double()
    plain = PlainUpdate(load_plain(tiny_model_folder), algorithm, {}, scale=2.0)
    leaves = {name: value.double().requires_grad_() for name, value in second.items()}
    loss, weights = torch.zeros(()), []
    count = len(rollout.rows())
    for row in rows_of(rollout):
        old_T = plain.values(first, [row], 1.0)[0][0]
        new_T = plain.values(leaves, [row], 1.0)[0][0]
        weight_T = (new_T.detach() - old_T).exp().clamp(max=2.0)
        loss = loss - advantages_PG.flatten()[row.index] * (weight_T * new_T).mean() / count
        weights += weight_T.tolist()
        assert row.sampler_logprobs == pytest.approx(old_T.tolist(), abs=1e-4)
    assert min(weights) < 0.9
    assert max(weights) == 2.0  # the cap is reached
    found = torch.autograd.grad(loss, list(leaves.values()))
    for (name, ours), theirs in zip(seen.gradients[-1].items(), found, strict=True):
        scale = float(theirs.abs().max()) + 1e-12
        assert float((ours - theirs).abs().max()) / scale < 1e-3, name


def rows_of(rollout: Rollout) -> list[Any]:
    from grpokit_hf.nn.batch import Row

    return [
        Row(
            index=index,
            prompt=p,
            prompt_ids=rollout.prompt_ids[p],
            tokens=rollout.completions[p][g].token_ids,
            advantage=0.0,
            weight=1.0,
            truncated=False,
            sampler_logprobs=rollout.completions[p][g].logprobs,
        )
        for index, (p, g) in enumerate(rollout.rows())
    ]


class Alone:
    """A backend whose sampler is the policy itself."""


class Owner:
    def run(self) -> None: ...

    def ahead(self) -> None: ...


@pytest.mark.parametrize(
    ("backend", "count", "fact"),
    [
        (Alone(), 1, "the backend hf cannot draw while it trains"),
        (Owner(), 1, "the backend hf cannot draw while it trains"),
        (TwoModels(HfConfig(), Seen()), 2, "several processes cannot draw ahead"),
    ],
)
def test_a_run_that_cannot_is_refused(tmp_path: Path, backend: Any, count: int, fact: str) -> None:
    wanted = stale(tmp_path, tmp_path)
    with pytest.raises(PreflightError, match=fact) as error:
        make_ahead(wanted, backend, Ranks(0, count))
    assert (error.value.place, error.value.remedy) == ("rollout.staleness", "set it to 0")
    assert make_ahead(recipe(tmp_path, tmp_path, algorithm=TRUNCATE), backend, Ranks()) == Ahead()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ahead.json").write_text('{"asked": {}}')
    with pytest.raises(CheckpointError, match="what was drawn ahead cannot be read"):
        Ahead(last=3, asked={}).read(tmp_path, lambda rows: [])


def test_rounds_without_logprobs_are_refused(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = HfBackend._completion
    monkeypatch.setattr(
        HfBackend, "_completion", lambda self, drawn: replace(made(self, drawn), logprobs=None)
    )
    wanted = stale(tiny_model_folder, tmp_path, algorithm={"use": "grpo"})
    with pytest.raises(GrpokitError, match=r"step 2: the sampler gives no log-prob.*staleness: 0"):
        go_on(started(wanted))
    assert len(seen.trained) == 1

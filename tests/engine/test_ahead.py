"""Runs whose first rounds are drawn one step ahead, by a second model in a thread."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import PromptMaker
from grpokit.engine.ahead import Ahead, Opening, make_ahead
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.engine.ranks import Ranks
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import make_algorithm, train
from grpokit.errors import CheckpointError, GrpokitError, Interrupted, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.flow import Outcome as Finished
from grpokit.spec.flow import Rollout, Sampling
from grpokit.spec.recipe import Recipe
from grpokit.spec.sampling import sampling_of
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.reset import copy_of
from plain_updates import PlainUpdate, load_plain
from resume_runs import Cut, recipe, run
from two_models import Seen, TwoModels, drawing, two_models

STEPS = 4
TRUNCATE = {"use": "grpo", "parts": {"correction": {"use": "truncate"}}}
DYNAMIC = {
    "use": "dapo",
    "with": {"metric": "contains", "on_bound": "train", "max_rounds": 3, "overlong_cache": 4},
    "parts": {
        "correction": {"use": "truncate"},
        "reset": {"use": "prolong", "with": {"every": 2, "kl_above": 1e-6, "window": 2}},
    },
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_draws_on():
    yield
    assert drawing() == []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return two_models(monkeypatch)


def stale(
    model: Path, out: Path, *, algorithm: dict[str, Any] = TRUNCATE, **sections: dict[str, Any]
) -> Recipe:
    """Four steps, drawn ahead; ``sections`` change single keys."""
    written = recipe(model, out, algorithm=algorithm)
    written = changed(written, "rollout", staleness=1)
    written = changed(written, "train", steps=STEPS)
    for name, values in sections.items():
        written = changed(written, name, **values)
    return written


def changed(wanted: Recipe, section: str, **values: Any) -> Recipe:
    data = wanted.model_dump(mode="json", by_alias=True)
    data[section] |= values
    return Recipe.model_validate_json(json.dumps(data))


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


def until(true: Any, stop: Any) -> None:
    while not true():
        stop()
        time.sleep(0.001)


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


# ----------------------------------------------------------------- the gradient


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


# ----------------------------------------------------------------- the end, and after it


def test_stopped_at_every_step_and_resumed(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    whole = run(stale(tiny_model_folder, tmp_path / "whole"))
    moments = ((1, "update"), (2, "score"), (3, "update"), (3, "generate"), (4, "score"))
    cuts = [Cut(step, stage, Interrupted) for step, stage in moments]
    assert run(stale(tiny_model_folder, tmp_path / "cut"), *cuts) == whole


def test_killed_in_steps_that_draw_on(tiny_model_folder: Path, tmp_path: Path, seen: Seen) -> None:
    """Dynamic sampling draws its later rounds with the weights of the step; its resets move none."""
    settings = {
        "algorithm": DYNAMIC,
        "train": {"save_every": 2},
        "rollout": {"group": 12, "prompts": 3},
    }
    whole = run(stale(tiny_model_folder, tmp_path / "whole", **settings))
    assert any(0 < row["staleness"] < 1 for row in whole.metrics)
    cuts = (Cut(2, "update"), Cut(3, "score"), Cut(4, "update"))
    assert run(stale(tiny_model_folder, tmp_path / "cut", **settings), *cuts) == whole


def started(wanted: Recipe) -> RunDir:
    return RunDir.create(Path(wanted.train.out), "run", wanted, {})


def go_on(path: RunDir, observer: Observer | None = None) -> None:
    run_dir = RunDir.existing(path.path)
    train(run_dir.recipe(), run_dir, Catalog.load(), observer or Observer())


class Quiet(Observer):
    """Nothing is drawn for a step that was given up while the one before is saved."""

    def stage(self, step: int, name: str) -> None:
        del step
        assert name != "save" or drawing() == []


def weights_of(path: RunDir) -> bytes:
    return (path.final / "adapter_model.safetensors").read_bytes()


def test_an_interrupt_while_the_thread_draws(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """The update of step 2 hears of it; the round of step 3 is given up, that of step 2 is kept."""
    whole = started(stale(tiny_model_folder, tmp_path / "whole"))
    go_on(whole)
    begun = threading.Event()

    def hold(step: int, stop: Any) -> None:
        if step == 3:
            begun.set()
            until(lambda: False, stop)  # would draw for ever

    def strike(step: int) -> None:
        if step == 2:
            assert begun.wait(10)
            raise Interrupted(2)

    seen.hold, seen.strike = hold, strike
    cut = started(stale(tiny_model_folder, tmp_path / "cut"))
    with pytest.raises(Interrupted):
        go_on(cut, Quiet())
    assert drawing() == []
    (checkpoint,) = cut.checkpoints.iterdir()
    held = json.loads((checkpoint / "ahead.json").read_text())
    assert (checkpoint.name, held["step"], len(held["rows"])) == ("step-000001", 2, 2)
    seen.hold, seen.strike = Seen().hold, Seen().strike
    go_on(cut)
    assert weights_of(cut) == weights_of(whole)
    assert not any(path.name == "ahead.json" for path in newest(cut).iterdir())


def newest(path: RunDir) -> Path:
    return max(path.checkpoints.iterdir())


def test_an_error_in_the_thread_is_that_of_the_step_that_needs_it(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    def hold(step: int, stop: Any) -> None:
        del stop
        if step == 3:
            raise GrpokitError("the sampler fell over", place="its log", remedy="pick it up")

    seen.hold = hold
    cut = started(stale(tiny_model_folder, tmp_path))
    with pytest.raises(GrpokitError, match="the sampler fell over") as error:
        go_on(cut)
    assert error.value.remedy.startswith("pick it up; resume with")
    assert len(seen.trained) == 2
    assert newest(cut).name == "step-000002"  # what was trained is kept
    assert not (newest(cut) / "ahead.json").exists()
    seen.hold = Seen().hold
    go_on(cut)
    rows = [json.loads(line) for line in (cut.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["staleness"] for row in rows] == [0.0, 1.0, 0.0, 1.0]


def test_checkpoints_and_evaluations_wait_for_the_round_that_is_being_drawn(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    stages: list[tuple[int, str]] = []
    release = [threading.Event() for _ in range(STEPS + 1)]

    class Watching(Observer):
        def stage(self, step: int, name: str) -> None:
            stages.append((step, name))
            if name == "wait":
                release[step].set()

    def hold(step: int, stop: Any) -> None:
        until(release[step - 1].is_set, stop)

    def evaluate(model: Any, should_stop: Any, share: Any) -> dict[str, float]:
        del model, should_stop, share
        assert drawing() == []  # the sampler is free
        return {"accuracy": 0.5}

    seen.hold = hold
    exam = {"every": 2, "dataset": {"use": "arithmetic"}}
    wanted = stale(tiny_model_folder, tmp_path, train={"save_every": 1}, eval=exam)
    path = started(wanted)
    train(wanted, path, Catalog.load(), Watching(), evaluate)
    kinds = ("wait", "evaluate", "save")
    assert [told for told in stages if told[1] in kinds] == [
        *[(1, "wait"), (1, "save"), (2, "wait"), (2, "evaluate"), (2, "save")],
        *[(3, "wait"), (3, "save"), (4, "evaluate"), (4, "save")],
    ]
    assert json.loads((path.checkpoints / "step-000003" / "ahead.json").read_text())["step"] == 4


def test_an_error_is_told_once() -> None:
    """So that a step that is taken again in the same process draws for itself."""

    class Falls:
        def ahead(self, *_: Any) -> Any:
            def draw(stop: Any) -> Rollout:
                raise GrpokitError("it fell over")

            return draw

    ahead = Ahead(last=3)
    sampling = Sampling(group=1, max_tokens=1, step=2)
    opening = Opening(step=2, rows=(0,), prompts=(), position=1, sampling=sampling)
    ahead.begin(opening, Falls(), lambda: None)
    ahead.advance()
    assert ahead.opening(2) is opening
    with pytest.raises(GrpokitError, match="fell over"):
        ahead.rollout(lambda: None)
    assert ahead.opening(2) is None


def test_rows_that_run_out_end_the_step_that_has_none(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """The step before it, whose draw finds that out, is trained and saved."""
    history = {"use": "history", "with": {"metric": "length", "threshold": 0.0}}
    algorithm = {**TRUNCATE, "parts": {**TRUNCATE["parts"], "sampler": history}}
    wanted = stale(tiny_model_folder, tmp_path, algorithm=algorithm, train={"steps": 9})
    path = started(wanted)
    with pytest.raises(PreflightError, match="every row is solved"):
        go_on(path)
    assert newest(path).name == f"step-{len(seen.trained):06d}"
    assert len(seen.trained) == 4  # three have all six rows; those of the third are drawn once more
    assert not (newest(path) / "ahead.json").exists()


def test_the_policy_begins_anew_before_it_draws_again(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """A round of the policy that is thrown away would teach the new one."""
    algorithm = {
        "use": "rest-em",
        "with": {"threshold": 0.3, "every": 2},
        "parts": {"correction": {"use": "truncate"}},
    }
    catalog = Catalog.load()
    wanted = stale(tiny_model_folder, tmp_path, algorithm=algorithm)
    resets = [make_algorithm(catalog, wanted).resets(n) for n in range(1, STEPS + 1)]
    told = run(wanted)
    ages = [row["staleness"] for row in told.metrics]
    assert any(reset.policy for reset in resets)
    assert 0.0 in ages[1:]
    assert 1.0 in ages
    for number, reset in enumerate(resets[:-1], start=1):
        trained = told.metrics[number - 1]["trained_rows"] > 0
        assert ages[number] == (0.0 if reset.policy and trained else 1.0)


def test_more_steps_than_were_planned(tiny_model_folder: Path, tmp_path: Path, seen: Seen) -> None:
    """The last step of the plan drew nothing ahead, so the one after it draws for itself."""
    wanted = stale(tiny_model_folder, tmp_path, train={"steps": 2})
    path = started(wanted)
    go_on(path)
    wanted = changed(wanted, "train", steps=4)
    train(wanted, RunDir.existing(path.path), Catalog.load(), Observer())
    rows = [json.loads(line) for line in (path.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["staleness"] for row in rows] == [0.0, 1.0, 0.0, 1.0]


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "fewer prompts": ("rollout", {"prompts": 1}),
    "other questions": ("dataset", {"with": {"rows": [{"question": "9?", "answer": "a"}] * 6}}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_round_of_another_recipe_is_not_used(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen, name: str
) -> None:
    said: list[str] = []

    class Saying(Observer):
        def say(self, text: str, *, warning: bool = False) -> None:
            said.append(text)

    wanted = stale(tiny_model_folder, tmp_path, train={"save_every": 1})
    path = started(wanted)
    with pytest.raises(Interrupted):
        train(wanted, path, Catalog.load(), Cut(3, "update", Interrupted))
    section, values = OTHERS[name]
    wanted = changed(wanted, section, **values)
    train(wanted, RunDir.existing(path.path), Catalog.load(), Saying())
    assert said == ["the completions of step 3 do not fit the changed recipe; they are drawn anew"]


# ----------------------------------------------------------------- refused


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

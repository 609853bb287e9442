"""Real vLLM under the backend, with an adapter: what it draws, and that it follows the weights.

The tests of this file share one engine and run in their order; each leaves it working.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import GrpokitError, Interrupted, Prompt, Rollout, Sampling, Wanted
from grpokit.scoring.early import Early
from grpokit_hf.backend import HfBackend
from resume_runs import recipe, run
from vllm_runs import engine_of, lent, runs, sampled_logprobs, trainer_logprobs, vllm_recipe

GREEDY = Sampling(group=1, max_tokens=24, temperature=0.0, seed=7, step=1)
WARM = Sampling(group=8, max_tokens=24, seed=7, step=1)
HOT = replace(WARM, group=2, max_tokens=100, temperature=2.0)
EXACT = 1e-4
"""Nats a token that float32 may differ by; 4e-6 was measured."""


def with_transformers(backend: HfBackend, prompts: list[Prompt], sampling: Sampling) -> Rollout:
    """The same policy, sampled by the trained model itself."""
    rollouts, backend._rollouts = backend._rollouts, None
    try:
        return backend.generate(prompts, sampling)
    finally:
        backend._rollouts = rollouts


def tokens(rollout: Rollout) -> list[tuple[int, ...]]:
    return [completion.token_ids for group in rollout.completions for completion in group]


def move(backend: HfBackend, size: float, seed: int = 0) -> None:
    """Changes the adapter as an update would, or by 0 back to what it was at first."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in backend.policy.weights.items():
            if "lora_B" in name:
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(noise, alpha=size) if size else weight.zero_()
    backend._changed()


def test_greedy_is_the_greedy_of_transformers(adapter_backend, questions) -> None:
    ours = with_transformers(adapter_backend, questions, GREEDY)
    theirs = adapter_backend.generate(questions, GREEDY)
    assert tokens(theirs) == tokens(ours)
    assert [c.text for g in theirs.completions for c in g] == [
        c.text for g in ours.completions for c in g
    ]
    assert adapter_backend.identity["rollouts"]["engine"] == "vllm"


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_logprobs_are_those_of_the_trainer_at_the_temperature(
    adapter_backend, questions, temperature
) -> None:
    rollout = adapter_backend.generate(questions, replace(WARM, temperature=temperature))
    wanted = trainer_logprobs(adapter_backend, rollout, temperature or 1.0)
    assert sampled_logprobs(rollout) == pytest.approx(wanted, abs=EXACT)


def test_completions_end_with_our_ends(adapter_backend, questions) -> None:
    """The stop id is kept as a token, not shown as text, and nothing else ends a completion."""
    hot = replace(WARM, group=24, max_tokens=40, temperature=2.0)
    drawn = [c for g in adapter_backend.generate(questions, hot).completions for c in g]
    ends = adapter_backend.policy.tokenizer.ends.ids
    stopped = [c for c in drawn if c.finish == "stop"]
    assert stopped
    assert len(stopped) < len(drawn)
    for completion in drawn:
        last = completion.token_ids[-1]
        assert (completion.finish == "stop") == (last in ends)
        assert not ends & set(completion.token_ids[:-1])
        assert completion.finish == "stop" or len(completion.token_ids) == hot.max_tokens
        assert "<|im_end|>" not in completion.text


def test_cut_sampling_keeps_to_the_cut_and_has_no_logprobs(adapter_backend, questions) -> None:
    """An engine for uncut sampling cannot give the log-probs before a cut, so there are none."""
    top1 = adapter_backend.generate(questions, replace(GREEDY, temperature=1.0, top_k=1))
    assert tokens(top1) == tokens(adapter_backend.generate(questions, GREEDY))
    assert top1.completions[0][0].logprobs is None
    thin = adapter_backend.generate(questions, replace(WARM, min_p=1 - 1e-6))
    assert len(set(tokens(thin))) == len(questions)


def test_seeds_repeat_and_know_nothing_of_the_batch(adapter_backend, questions) -> None:
    whole = adapter_backend.generate(questions, WARM)
    assert tokens(adapter_backend.generate(questions, WARM)) == tokens(whole)
    alone = [tokens(adapter_backend.generate([prompt], WARM)) for prompt in reversed(questions)]
    assert [row for part in reversed(alone) for row in part] == tokens(whole)
    assert tokens(adapter_backend.generate(questions, replace(WARM, step=2))) != tokens(whole)
    assert tokens(adapter_backend.generate(questions, replace(WARM, seed=8))) != tokens(whole)
    assert len(set(tokens(whole))) > len(questions)


def test_a_changed_adapter_is_seen(adapter_backend, questions) -> None:
    before = adapter_backend.generate(questions, GREEDY)
    move(adapter_backend, 0.3)
    after = adapter_backend.generate(questions, GREEDY)
    assert tokens(after) != tokens(before)
    assert tokens(after) == tokens(with_transformers(adapter_backend, questions, GREEDY))
    rollout = adapter_backend.generate(questions, WARM)
    wanted = trainer_logprobs(adapter_backend, rollout, 1.0)
    assert sampled_logprobs(rollout) == pytest.approx(wanted, abs=EXACT)


def test_a_second_version_replaces_the_first(adapter_backend, questions) -> None:
    """Also what was cached under the first: prompts are equal, their keys are not."""
    move(adapter_backend, 0.2, seed=1)
    after = adapter_backend.generate(questions, GREEDY)
    assert tokens(after) == tokens(with_transformers(adapter_backend, questions, GREEDY))
    folder = adapter_backend._rollouts.sync.scratch.path
    assert [path.name for path in folder.iterdir()] == [
        f"version-{adapter_backend._rollouts.weights.version:06d}"
    ]


def test_a_tiny_change_is_no_alarm(adapter_backend, questions) -> None:
    for step in range(3):
        move(adapter_backend, 1e-7, seed=step)
        adapter_backend.generate(questions, GREEDY)


def test_rewards_hear_what_the_trained_model_says(adapter_backend, questions):
    move(adapter_backend, 0.3, seed=11)
    rollout = adapter_backend.generate(questions, WARM)
    measured = adapter_backend.measure(rollout, Wanted(logprobs=True, self_certainty=True))
    said = [value for row in measured.logprobs for value in row]
    assert said == pytest.approx(trainer_logprobs(adapter_backend, rollout, 1.0), abs=1e-5)
    assert said == pytest.approx(sampled_logprobs(rollout), abs=EXACT)
    assert all(value > 0 for row in measured.self_certainty for value in row)


def test_the_canary_fires_where_the_engine_keeps_old_weights(
    adapter_backend, questions, monkeypatch
) -> None:
    """Once with the adapter not loaded at all, as a bug in a sync would have it."""
    with monkeypatch.context() as patch:
        patch.setattr(engine_of(adapter_backend), "load", lambda weights: None)
        move(adapter_backend, 0.2, seed=2)
        with pytest.raises(GrpokitError, match=r"did not reach vLLM: .* nats a token"):
            adapter_backend.generate(questions, GREEDY)
    after = adapter_backend.generate(questions, GREEDY)  # the weights are still on their way
    assert tokens(after) == tokens(with_transformers(adapter_backend, questions, GREEDY))


def test_weights_are_written_before_anything_that_fails_in_one_process_alone(
    adapter_backend, questions
) -> None:
    """Several processes write together; one that refuses a prompt first would leave the others waiting."""
    rollouts = adapter_backend._rollouts
    move(adapter_backend, 0.01, seed=5)
    version = rollouts.weights.version
    with pytest.raises(GrpokitError, match=r"max_len"):
        adapter_backend.generate(questions, replace(GREEDY, max_tokens=250))
    assert rollouts.weights.version == version + 1
    adapter_backend.generate(questions, GREEDY)
    assert rollouts.weights.version == version + 1


def test_an_answer_that_nobody_waits_for_does_not_block_the_next_call(
    adapter_backend, questions
) -> None:
    """Both are larger than a pipe: the engine would wait to write, and the run to be read."""
    engine = engine_of(adapter_backend)
    pid = engine.process.pid

    def stop() -> None:
        if engine._rest:  # a part of the answer
            raise Interrupted(signal.SIGTERM)

    many = replace(WARM, group=64, max_tokens=60, temperature=2.0)
    with pytest.raises(Interrupted):
        adapter_backend.generate(questions, many, stop)
    time.sleep(0.3)  # the pipe is full now
    more = [replace(prompt, id=f"{prompt.id}-{n}") for n in range(40) for prompt in questions]
    one = replace(WARM, group=4, max_tokens=1)
    with limit(30):
        assert len(adapter_backend.generate(more, one).completions) == len(more)
    assert engine.process.pid == pid


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """A wait for ever becomes a failure."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done in {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_should_stop_ends_a_generation_and_the_engine_goes_on(adapter_backend, questions) -> None:
    started = time.monotonic()

    def stop() -> None:
        if time.monotonic() > started + 0.2:
            raise Interrupted(signal.SIGTERM)

    long = replace(WARM, group=64, max_tokens=150, temperature=2.0)
    with pytest.raises(Interrupted):
        adapter_backend.generate(questions, long, stop)
    assert time.monotonic() - started < 5
    assert tokens(adapter_backend.generate(questions, GREEDY)) == tokens(
        with_transformers(adapter_backend, questions, GREEDY)
    )


def test_groups_are_told_of_as_they_end(adapter_backend, questions, monkeypatch) -> None:
    """The same to the bit, in the order in which their longest rows end."""
    move(adapter_backend, 0.0)  # the random model ends rows early and at different times
    prompts = [*questions, replace(questions[0], id="again")]
    adapter_backend.generate(prompts, HOT)  # what is cached decides which rows meet in a batch
    alone = adapter_backend.generate(prompts, HOT)
    told: list[tuple[int, Any]] = []
    moments, polls = [], count()

    def take(p: int, group: Any) -> None:
        told.append((p, group))
        moments.append(next(polls))

    with adapter_backend.announcing(take):
        listened = adapter_backend.generate(prompts, HOT, lambda: next(polls) and None)
        assert listened == alone
        assert len(told) == len(prompts)
        assert dict(told) == dict(enumerate(alone.completions))
        longest = [max(len(one.token_ids) for one in group) for _, group in told]
        assert longest == sorted(longest)
        assert longest[0] < longest[-1]
        assert moments[0] + 1 < moments[-1]  # in between, the run was asked whether it goes on
        told.clear()
        sample = adapter_backend._sample

        def parts(rows: list[tuple[int, int]], *arguments: Any) -> Any:
            return [*sample(rows[:3], *arguments), *sample(rows[3:], *arguments)]

        monkeypatch.setattr(adapter_backend, "_sample", parts)  # the second group in two calls
        cut = adapter_backend.generate(prompts, HOT)
    assert sorted(told, key=lambda each: each[0]) == list(enumerate(cut.completions))
    assert tokens(cut) == tokens(alone)


def test_what_vllm_refuses_is_said_and_it_goes_on(adapter_backend, questions) -> None:
    engine = engine_of(adapter_backend)
    pid = engine.process.pid
    with pytest.raises(GrpokitError, match=r"vLLM refused: .*temperature must be in"):
        adapter_backend.generate(questions, replace(HOT, temperature=3.0))
    adapter_backend.generate(questions, GREEDY)
    assert engine.process.pid == pid
    engine.keep_log = False


def test_an_interrupt_between_two_groups_is_taken(adapter_backend, questions) -> None:
    told: dict[int, Any] = {}

    def stop() -> None:
        if told:
            raise Interrupted(signal.SIGTERM)

    with adapter_backend.announcing(told.__setitem__), pytest.raises(Interrupted):
        adapter_backend.generate(questions, HOT, stop)
    assert len(told) < len(questions)
    after = adapter_backend.generate(questions, HOT).completions
    for p, group in told.items():
        assert [one.token_ids for one in group] == [one.token_ids for one in after[p]]


def test_a_run_whose_rewards_are_asked_meanwhile_is_the_same_run(
    adapter_backend, wide_model: Path, tmp_path: Path, monkeypatch
) -> None:
    told: list[int] = []
    seen: list[int] = []
    engine, finished = engine_of(adapter_backend), Early.finished
    sample = engine.sample

    def sampled(*arguments: Any) -> Any:
        rows = sample(*arguments)
        seen.append(len(told))  # before the rollout is complete
        return rows

    def counted(self: Early, p: int, group: Any) -> None:
        told.append(p)
        finished(self, p, group)

    monkeypatch.setattr(engine, "sample", sampled)
    monkeypatch.setattr(Early, "finished", counted)
    wanted = recipe(
        wide_model,
        tmp_path,
        algorithm={"use": "grpo"},
        backend=vllm_recipe(wide_model, vllm={"sync": "adapter"}).backend.model_dump(by_alias=True),
        rollout={"prompts": 3, "group": 3, "max_tokens": 24, "temperature": 1.5},
        train={"steps": 3, "save_every": 3, "seed": 7, "out": str(tmp_path)},
    )
    outcomes = []
    for version, overlap in ((1000, False), (2000, True)):
        scoring = wanted.scoring.model_copy(update={"isolate": True, "overlap": overlap})
        with lent(adapter_backend, version):
            outcomes.append(run(wanted.model_copy(update={"scoring": scoring})))
    assert outcomes[0] == outcomes[1]
    assert seen == [0, 0, 0, 3, 6, 9]


def test_a_prompt_that_does_not_fit_is_refused(adapter_backend, questions) -> None:
    with pytest.raises(GrpokitError, match=r"max_len: \d+ or more"):
        adapter_backend.generate(questions, replace(GREEDY, max_tokens=250))


def test_a_killed_engine_is_started_again_once(adapter_backend, questions, caplog) -> None:
    """With the weights that it had; what was being drawn is drawn again, equally."""
    before = adapter_backend.generate(questions, WARM)
    engine = engine_of(adapter_backend)
    first = engine.process.pid
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.append(first)
            os.kill(first, signal.SIGKILL)

    os.kill(first, signal.SIGSTOP)  # so that it cannot be done before it is killed
    told: dict[int, Any] = {}
    with adapter_backend.announcing(told.__setitem__):
        after = adapter_backend.generate(questions, WARM, kill)
    assert killed
    assert told == dict(enumerate(after.completions))
    assert tokens(after) == tokens(before)
    assert engine.process.pid != first
    assert "signal 9" in caplog.text
    assert str(engine.start.log) in caplog.text
    os.kill(engine.process.pid, signal.SIGKILL)
    with pytest.raises(Interrupted):  # SIGTERM while the engine loads
        engine.restart(interrupted)
    os.kill(engine.process.pid, signal.SIGKILL)
    with pytest.raises(GrpokitError, match=r"signal 9\); it was started again 1 time") as error:
        adapter_backend.generate(questions, WARM)
    assert "dmesg" in error.value.remedy
    assert Path(error.value.place).is_file()
    Path(error.value.place).unlink()


def interrupted() -> None:
    raise Interrupted(signal.SIGTERM)


def test_nothing_is_left_behind(wide_model: Path, tmp_path: Path) -> None:
    """Neither by a run that closes, nor by one that is killed while vLLM starts."""
    script = textwrap.dedent(
        f"""
        import sys, time
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from vllm_runs import opened, vllm_recipe
        recipe = vllm_recipe(Path({str(wide_model)!r}), vllm={{"folder": {str(tmp_path)!r}}})
        backend = opened(recipe)
        print(backend._sampler.process.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what a killed run leaves is its log file
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert runs(pid)
        run.kill()
    until = time.monotonic() + 10
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not runs(pid)

"""Two real processes that meet over gloo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asking_rewards import Oracle
from grpokit.engine import ranks as ranks_module
from grpokit.engine.ranks import Ranks, Spread
from grpokit.errors import (
    CheckpointError,
    GrpokitError,
    Interrupted,
    PreflightError,
    RewardError,
    error_as_data,
    error_from_data,
)
from grpokit.scoring.scorer import Scorer
from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling, ScoreFailure, Scores, Update
from naughty import naughty

HERE = Path(__file__)


class Model:
    """Answers with the prompt's index, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def generate(self, prompts: Any, sampling: Sampling, poll: Any = None) -> Rollout:
        self.asked = [prompt.index for prompt in prompts]
        return Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple((prompt.index, 7) for prompt in prompts),
            completions=tuple(
                tuple(
                    Completion(
                        token_ids=(prompt.index, g),
                        text=f"{prompt.index}\u2028\ud800{g}",
                        finish="stop",
                        logprobs=(-0.1 / (prompt.index + 1), float("-inf")),
                    )
                    for g in range(sampling.group)
                )
                for prompt in prompts
            ),
            sampling=sampling,
        )


def prompts_of(count: int) -> list[Prompt]:
    return [Prompt(id=str(i), index=i, row={"x": object()}, messages=()) for i in range(count)]


def score(rollout: Rollout) -> Scores:
    table = tuple(tuple(float(p.index) for _ in range(2)) for p in rollout.prompts)
    failures = tuple(
        ScoreFailure(
            reward="r", plugin="p", row=2 * i, prompt_index=i, sample=0, kind="type", message="m"
        )
        for i, prompt in enumerate(rollout.prompts)
        if prompt.index == 2
    )
    return Scores(
        rewards={"r": table},
        components={f"r/{rollout.prompts[0].index}": table},
        total=table,
        failures=failures,
        seconds={"r": 1.0 + len(rollout.prompts)},
        weights={"r": 2.0},
    )


def nobody() -> None:
    pass


class Full(CheckpointError):
    """A plugin's own kind of an error that the engine knows."""


def round_of(ranks: Ranks, count: int) -> dict[str, Any]:
    model = Model()
    sampling = Sampling(group=2, max_tokens=3)
    rollout = ranks.generate(model, prompts_of(count), sampling, nobody)  # type: ignore[arg-type]
    scores = ranks.score(score, rollout)
    return {
        "asked": model.asked,
        "ids": rollout.prompt_ids,
        "completions": repr(rollout.completions),
        "scores": repr(scores),
    }


def fail(ranks: Ranks, kind: str) -> dict[str, Any]:
    def work() -> object:
        if ranks.index == 1:
            if kind == "nothing JSON":
                return object()
            raise {
                "reward": RewardError("it is broken", place="row 3", remedy="mend it"),
                "signal": Interrupted(15),
                "bug": KeyError("x"),
                "own kind": Full("the disk of a plugin is full"),
            }[kind]
        return None

    try:
        ranks.every(work)
    except Exception as error:  # noqa: BLE001  any kind is what is tested
        return {"kind": type(error).__name__, "text": str(error)}
    return {}


def measure(ranks: Ranks) -> dict[str, Any]:
    own = Update(
        metrics={"kl": 0.1 * (ranks.index + 1), "loss": float("nan")},
        optimizer_steps=1 + ranks.index,
        seconds={"forward": 1.0 + ranks.index},
    )
    return {"update": repr(ranks.measured(own))}


def facts(ranks: Ranks, argument: str) -> dict[str, Any]:
    """Scores by what a model says; with one group the second rank has none, and asks all the same."""
    oracle = Oracle()
    sampling = Sampling(group=2, max_tokens=3)
    count = 3 if argument == "fail" else int(argument)
    rollout = ranks.generate(Model(), prompts_of(count), sampling, nobody)  # type: ignore[arg-type]
    setup = naughty("sure", module="asking_rewards", needs=frozenset({"token-statistics"}))

    def poll() -> None:
        if argument == "fail" and ranks.index == 1:
            raise Interrupted(15)

    with Scorer([setup], isolate=False) as scorer:
        try:
            found = Spread(oracle, ranks).facts(scorer, rollout, poll)  # type: ignore[arg-type]
            scores = ranks.score(lambda part: scorer.score(part, facts=found), rollout)
        except Interrupted as error:
            return {"kind": str(error), "asked": len(oracle.wanted)}
    return {"total": scores.total, "asked": len(oracle.wanted)}


def meet(ranks: Ranks) -> dict[str, Any]:
    """Both fail; then one of them does something else for as long as the other looks for it."""
    both = ranks.fail_together()
    if ranks.index == 1:
        time.sleep(2)
        return {"both": both}
    return {"both": both, "alone": ranks.fail_together()}


def die(ranks: Ranks) -> dict[str, Any]:
    if ranks.index == 1:
        os._exit(9)
    try:
        ranks.every(nobody)
    except Exception as error:  # noqa: BLE001  any kind is what is tested
        return {"kind": type(error).__name__, "text": str(error)}
    return {}


TASKS = [
    *(f"round {count}" for count in (1, 3, 4, 5)),
    "scores",
    *(f"fail {kind}" for kind in ("reward", "signal", "bug", "own kind", "nothing JSON")),
    "measure",
    *(f"facts {count}" for count in (3, 1)),
    "facts fail",
    "meet",
    "die",
]


@pytest.fixture(scope="module")
def pair() -> dict[str, list[dict[str, Any]]]:
    """Task -> what each of the two processes found; the second one dies in the last."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workers = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONPATH": str(HERE.parents[1] / "helpers"),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, str(HERE)]
        workers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
    start = time.monotonic()
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert time.monotonic() - start < 100, "nobody waits for a process that died"
    lines = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    return {
        task: [own[place] for own in lines if place < len(own)] for place, task in enumerate(TASKS)
    }


@pytest.mark.parametrize(
    ("count", "asked"),
    [(4, ([0, 1], [2, 3])), (3, ([0, 1], [2, 2])), (1, ([0], [0])), (5, ([0, 1, 2], [3, 4, 4]))],
)
def test_groups_are_shared_and_everybody_has_them_all(
    pair: dict[str, Any], count: int, asked: tuple[list[int], list[int]]
) -> None:
    alone = round_of(Ranks(), count)
    found = pair[f"round {count}"]
    assert [one["asked"] for one in found] == list(asked)
    for one in found:
        assert one["completions"] == alone["completions"]
        assert one["ids"] == json.loads(json.dumps(alone["ids"]))
    assert found[0]["scores"] == found[1]["scores"]


def test_scores_are_those_of_one_process(pair: dict[str, Any]) -> None:
    one, two = pair["scores"]
    whole = score(Model().generate(prompts_of(3), Sampling(group=2, max_tokens=3)))
    assert one == two
    assert one["total"] == [list(row) for row in whole.total]
    assert one["rewards"] == {"r": [list(row) for row in whole.rewards["r"]]}
    assert one["failures"] == [[2, 4]], "prompt and row count from the start of the step"
    assert one["seconds"] == {"r": 3.0}, "the slowest rank is what a step waits for"
    assert one["components"]["r/2"] == [[None, None], [None, None], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("reward", "process 1: row 3: it is broken; mend it", "row 3: it is broken; mend it"),
        ("signal", "stopped by SIGTERM", "stopped by SIGTERM"),
        ("bug", "process 1: KeyError: 'x'; this is a fault of grpokit or a plugin", "'x'"),
    ],
)
def test_an_error_of_one_is_an_error_of_all(
    pair: dict[str, Any], kind: str, first: str, second: str
) -> None:
    found = pair[f"fail {kind}"]
    assert [one["text"] for one in found] == [first, second]
    assert found[0]["kind"] == {"reward": "RewardError", "signal": "Interrupted"}.get(
        kind, "GrpokitError"
    )


def test_a_plugins_own_kind_of_error_is_the_kind_it_derives_from(pair: dict[str, Any]) -> None:
    found = pair["fail own kind"]
    assert [one["kind"] for one in found] == ["CheckpointError", "Full"]


def test_what_cannot_be_told_is_an_error_of_all(pair: dict[str, Any]) -> None:
    found = pair["fail nothing JSON"]
    assert [one["kind"] for one in found] == ["GrpokitError", "TypeError"]


def test_what_an_update_measured_is_the_same_on_all(pair: dict[str, Any]) -> None:
    one, two = pair["measure"]
    assert one == two
    assert "{'kl': 0.1, 'loss': nan}" in one["update"]


def test_who_fails_alone_does_not_wait_for_long(pair: dict[str, Any]) -> None:
    assert pair["meet"] == [{"both": True, "alone": False}, {"both": True}]


def test_an_error_told_to_another_process_keeps_its_kind_and_problems() -> None:
    error = PreflightError(
        "it cannot run", place="here", remedy="go", problems=("no GPU", "no disk")
    )
    told = error_from_data(json.loads(json.dumps(error_as_data(error))), 3)
    assert isinstance(told, PreflightError)
    assert told.problems == ("no GPU", "no disk")
    assert str(told) == "process 3: here: it cannot run; go"
    bug = error_from_data(error_as_data(ZeroDivisionError("by zero")), 1)
    assert type(bug) is GrpokitError
    assert bug.place == "process 1"


def test_a_port_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(PreflightError, match=rf"127.0.0.1:{port}: .* could not meet") as caught:
            Ranks.join()
    assert "start again" in caught.value.remedy


def test_a_process_that_dies_is_noticed(pair: dict[str, Any]) -> None:
    (found,) = pair["die"]
    assert found["kind"] == "GrpokitError"
    assert "another process of the run has ended" in found["text"]


def test_each_rank_asks_the_policy_about_its_own_groups(pair: dict[str, Any]) -> None:
    for count in ("3", "1"):
        alone = facts(Ranks(), count)
        assert [one["asked"] for one in pair[f"facts {count}"]] == [1, 1]
        for one in pair[f"facts {count}"]:
            assert one["total"] == [list(row) for row in alone["total"]]
    assert alone["total"] == [[99.0 + 0, 99.0 + 1]]


def test_an_interrupt_of_one_while_the_policy_is_asked_is_heard_by_all(
    pair: dict[str, Any],
) -> None:
    assert [one["asked"] for one in pair["facts fail"]] == [1, 1]
    assert all("stopped by SIGTERM" in one["kind"] for one in pair["facts fail"])


def test_one_process_needs_nobody() -> None:
    alone = Ranks.join()
    assert alone == Ranks(0, 1)
    assert alone.every(lambda: object)[0] is object, "nothing is copied"
    with pytest.raises(ZeroDivisionError):
        alone.every(lambda: 1 / 0)


def run_task(ranks: Ranks, task: str) -> dict[str, Any]:
    name, _, argument = task.partition(" ")
    if name == "round":
        return round_of(ranks, int(argument))
    if name == "fail":
        return fail(ranks, argument)
    if name == "die":
        return die(ranks)
    if name == "meet":
        return meet(ranks)
    if name == "facts":
        return facts(ranks, argument)
    if name == "measure":
        return measure(ranks)
    sampling = Sampling(group=2, max_tokens=3)
    rollout = ranks.generate(Model(), prompts_of(3), sampling, nobody)  # type: ignore[arg-type]
    scores = ranks.score(score, rollout)
    return {
        "total": scores.total,
        "rewards": scores.rewards,
        "components": scores.components,
        "seconds": scores.seconds,
        "failures": [(one.prompt_index, one.row) for one in scores.failures],
    }


if __name__ == "__main__":
    ranks_module.MEETING = timedelta(seconds=1)
    met = Ranks.join()
    for each in TASKS:
        print(json.dumps(run_task(met, each)), flush=True)
    met.leave()

"""A model behind an endpoint as a row of `grpokit eval`: a real server, real commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import Prompt, Recipe, Sampling
from grpokit.errors import ComponentError, PreflightError
from grpokit_rewards_model.answers import Answers, AnswersConfig

RECIPE = """
grpokit: 1
model: {id: nowhere, dtype: float32}
dataset: {use: arithmetic, with: {level: 2}}
prompt: {use: plain, system: Answer with a number.}
rewards: [{use: number}]
rollout: {max_tokens: 16}
eval: {dataset: {use: arithmetic, with: {split: test, level: 2}}, limit: 40, seed: 7}
"""


class Commands:
    """Real commands in a folder, a process each; none of them needs torch."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, ""

    def run(self, *arguments: str) -> int:
        command = [sys.executable, "-m", "grpokit", *arguments]
        found = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        self.output = found.stdout + found.stderr
        return found.returncode


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    (tmp_path / "sums.yaml").write_text(RECIPE)
    return Commands(tmp_path)


def solve(_: Any, asked: Any) -> str:
    """Right at sums, wrong at differences."""
    a, sign, b = re.search(r"(\d+) ([-+]) (\d+)", asked.user).groups()
    return f"It is \\boxed{{{int(a) + int(b) if sign == '+' else 'unknown'}}}."


def ask(server: Any, **settings: Any) -> Answers:
    model = Answers(AnswersConfig.model_validate({"base_url": server.url, **settings}))
    recipe = Recipe.model_validate(
        {"grpokit": 1, "model": {"id": "m-1"}, "dataset": {"use": "x"}, "rewards": [{"use": "y"}]}
    )
    model.open_checkpoint(recipe, None)
    return model


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt(id=f"p{n}", index=n, row={}, messages=({"role": "user", "content": f"{n} + 1"},))
        for n in range(count)
    ]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def evaluate(commands: Commands, server: Any, *more: str) -> int:
    return commands.run(
        *("eval", "openai:m-1", "--recipe", "sums.yaml", "--base-url", server.url, *more)
    )


def test_an_endpoint_is_a_row_like_any_other(commands: Commands, server: Any) -> None:
    server.behave = solve
    (commands.folder / "prices.yaml").write_text("m-1: {input: 2.0, output: 10.0}\n")
    out = commands.folder / "out"
    assert evaluate(commands, server, "--out", str(out), "--prices", "prices.yaml") == 0, (
        commands.output
    )
    items = rows(out)
    sums = sum("+" in item["question"] for item in items)
    summary = json.loads((out / "summary.json").read_text())
    (model,) = summary["models"]
    assert len(items) == 40
    assert 0 < sums < 40
    assert model["correct"] == sums
    assert {item["tokens"] for item in items} == {10}
    assert {item["prompt_tokens"] for item in items} == {100}
    assert summary["usage"] == {
        "m-1": {
            "requests": 40,
            "answers": 40,
            "prompt_tokens": 4000,
            "completion_tokens": 400,
        }
    }
    (cost,) = summary["costs"]
    assert cost["cost_per_question"] == pytest.approx((100 * 2.0 + 10 * 10.0) / 1e6)
    assert model["fingerprint"]["model"]["endpoint"] == server.url
    assert "40 requests, 40 answers, 4000 prompt tokens, 400 completion tokens" in commands.output
    roles = [[message["role"] for message in asked.body["messages"]] for asked in server.asked]
    assert roles == [["system", "user"]] * 40
    seeds = [asked.body["seed"] for asked in server.asked]
    assert len({*seeds}) == 40
    assert {
        (a.body["temperature"], a.body["max_tokens"], a.body["model"]) for a in server.asked
    } == {(0.0, 16, "m-1")}


def test_what_cannot_be_had_is_no_wrong_answer_and_the_rest_goes_on(
    commands: Commands, server: Any
) -> None:
    """The server breaks in the second batch; the same command asks for what is missing."""
    server.behave = lambda s, asked: solve(s, asked) if len(s.asked) <= 32 else (503, {}, b"full")
    out = commands.folder / "broken"
    options = ("--out", str(out), "--endpoint", "retries=0")
    assert evaluate(commands, server, *options) == 3, commands.output
    assert "has no answer: the endpoint answered 503" in commands.output
    assert "the same command goes on with the answers that are there" in commands.output
    assert [path.name for path in out.iterdir()] == ["samples.partial.jsonl"]
    server.asked.clear()
    server.behave = solve
    assert evaluate(commands, server, *options) == 0, commands.output
    assert len(server.asked) == 8
    assert len(rows(out)) == 40


def test_the_key_comes_from_a_variable_and_goes_nowhere_else(
    commands: Commands, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave = solve
    out = commands.folder / "no-key"
    options = ("--out", str(out), "--key-variable", "NO_SUCH_API_KEY", "--limit", "4")
    assert evaluate(commands, server, *options) == 3
    assert "NO_SUCH_API_KEY, which is to hold the endpoint's key, is not set" in commands.output
    assert server.asked == []
    monkeypatch.setenv("SOME_API_KEY", "s3cret")
    model = ask(server, key_variable="SOME_API_KEY")
    model.generate(prompts(1), Sampling(group=1, max_tokens=4))
    assert server.asked[0].headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in json.dumps(model.identity)


def test_answers_are_asked_several_at_a_time_and_stay_in_order(server: Any) -> None:
    def slow(s: Any, asked: Any) -> str:
        time.sleep(0.02)
        return asked.user

    server.behave = slow
    found = ask(server, concurrency=5).generate(prompts(12), Sampling(group=2, max_tokens=4))
    assert server.most_busy == 5
    texts = [completion.text for group in found.completions for completion in group]
    assert texts == [f"{n} + 1" for n in range(12) for _ in range(2)]


def test_ends_that_are_not_stop_are_counted(server: Any) -> None:
    server.behave = lambda *_: "x"
    server.finish = "length"
    model = ask(server)
    rollout = model.generate(prompts(2), Sampling(group=1, max_tokens=4))
    assert [group[0].finish for group in rollout.completions] == ["length"] * 2
    server.finish = "content_filter"
    rollout = model.generate(prompts(3), Sampling(group=1, max_tokens=4))
    assert [group[0].finish for group in rollout.completions] == ["stop"] * 3
    assert model.usage["ended_by_content_filter"] == 3
    assert model.usage["answers"] == 5


def test_what_a_model_refuses_is_not_sent(server: Any) -> None:
    server.behave = lambda *_: "x"
    model = ask(
        server,
        omit=["temperature", "seed"],
        tokens_key="max_completion_tokens",
        extra={"reasoning_effort": "low"},
    )
    model.generate(prompts(1), Sampling(group=1, max_tokens=4, top_p=0.9))
    body = dict(server.asked[0].body)
    del body["messages"]
    assert body == {
        "model": "m-1",
        "max_completion_tokens": 4,
        "top_p": 0.9,
        "reasoning_effort": "low",
    }


def test_an_endpoint_that_counts_no_tokens_is_refused(server: Any) -> None:
    server.behave = lambda *_: "x"
    server.usage = None
    with pytest.raises(ComponentError, match="does not say how many tokens"):
        ask(server).generate(prompts(1), Sampling(group=1, max_tokens=4))


def test_an_interrupt_ends_the_requests(server: Any) -> None:
    def late(*_: Any) -> str:
        time.sleep(5)
        return "x"

    def stop() -> None:
        raise KeyboardInterrupt

    server.behave = late
    with pytest.raises(KeyboardInterrupt):
        ask(server).generate(prompts(3), Sampling(group=1, max_tokens=4), stop)
    assert len(server.asked) <= 3


def test_it_cannot_train(commands: Commands, server: Any) -> None:
    recipe = RECIPE + f"backend: {{use: openai, with: {{base_url: '{server.url}'}}}}\n"
    (commands.folder / "train.yaml").write_text(recipe)
    assert commands.run("plan", "train.yaml") == 2
    assert "C510 algorithm (`grpo`) needs `custom-loss`" in commands.output
    assert commands.run("doctor") in (0, 3)
    [line] = [each for each in commands.output.splitlines() if " rewards-model/openai " in each]
    assert line.split()[:2] == ["rewards-model/openai", "no"]
    with pytest.raises(PreflightError, match="cannot be trained"):
        ask(server).open(None, needs_reference=False, needs_entropy=False)  # type: ignore[arg-type]

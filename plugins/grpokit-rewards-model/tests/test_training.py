"""Two real steps with each reward, by the command; and a budget that ends a run, which goes on later."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from tiny_model import write_tiny_model

KEY = "sk-test-1234567890"


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    pytest.importorskip("grpokit_hf")
    folder = tmp_path_factory.mktemp("training")
    write_tiny_model(folder / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUDGE_API_KEY", KEY)
        with Commands(folder) as found:
            yield found


def behave(_: Any, asked: Any) -> str:
    """Grades the answer, and if it is wrong, by a number that the text decides."""
    said = asked.data("completion")
    if f"\\boxed{{{asked.data('answer')}}}" in said:
        return asked.verdict(10)
    return asked.verdict(random.Random(said).choice((0, 0.25, 0.5)))


@pytest.fixture
def settings(settings_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def make(**changes: Any) -> dict[str, Any]:
        usual = {
            "template": "{prompt} {answer} {completion}",
            "key_variable": "JUDGE_API_KEY",
            "max_tokens": 50,
            "price_in": 1.0,
            "price_out": 2.0,
        }
        return settings_of(**{**usual, **changes})

    return make


def recipe(folder: Path, name: str, use: str, settings: dict[str, Any]) -> str:
    data = {
        "grpokit": 1,
        "extends": "quickstart",
        "model": {"id": "tiny", "dtype": "float32"},
        "rewards": [{"use": use, "weight": 1.0, "with": settings}],
        "rollout": {"prompts": 2, "group": 4, "max_tokens": 8},
        "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
        "train": {"steps": 2, "save_every": 1, "out": name},
        "optim": {"warmup": 0.0},
        "eval": None,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(data))
    return f"{name}.yaml"


def steps_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "reward" in line]


def test_two_steps_with_a_judge(commands, server, settings):
    server.behave = behave
    made = recipe(commands.folder, "judged", "rewards-model/judge", settings())
    assert commands.run("train", made, "--plain") == 0, commands.output
    assert "note: the rewards were not checked: calls of judge cost money" in commands.output
    planned = len(server.asked) - 16
    assert 0 < planned <= 24  # two rows, each way to write an answer, right and wrong
    (run,) = (commands.folder / "judged").iterdir()
    first, second = steps_of(run)
    for line in (first, second):
        assert line["failures"] == 0
        assert 0 < line["reward"] < 0.1
        assert 0 <= line["components/judge/cost"] <= 0.00012
        assert 0 <= line["components/judge/reused"] <= 1
    assert all(asked.headers["Authorization"] == f"Bearer {KEY}" for asked in server.asked)
    for file in commands.folder.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
    assert KEY not in commands.output


def test_a_budget_ends_the_run_and_nothing_is_lost(commands, server, settings):
    server.behave = behave
    server.usage = {"prompt_tokens": 900, "completion_tokens": 50}  # 0.001
    limit = settings(max_cost=0.0305, concurrency=1)
    made = recipe(commands.folder, "poor", "rewards-model/judge", limit)
    assert commands.run("train", made, "--plain", "--skip-reward-check") == 4, commands.output
    words = " ".join(commands.output.split())
    assert "has spent 0.0" in words
    assert "of the judge's max_cost 0.0305" in words
    assert "reward judge of rewards-model/judge (grpokit-rewards-model" in words
    assert "Traceback" not in words
    (run,) = (commands.folder / "poor").iterdir()
    done = len(steps_of(run))
    paid = len(server.asked)
    assert 0.028 < paid * 0.001 <= 0.0305
    assert done == 1
    more = ("--set", "rewards.0.with.max_cost=1.0", "--force")
    assert commands.run("train", "--resume", str(run), *more, "--plain") == 0, commands.output
    assert len(steps_of(run)) == 2
    texts = [(asked.data("prompt"), asked.data("completion")) for asked in server.asked]
    assert len(set(texts)) == len(texts), "a verdict was paid for twice"
    assert len(texts) > paid


def test_a_wrong_key_ends_the_run_with_the_servers_words(commands, server, settings):
    server.behave = lambda *_: (401, {}, f"no such key: {KEY}".encode())
    made = recipe(commands.folder, "refused", "rewards-model/judge", settings())
    assert commands.run("train", made, "--plain", "--skip-reward-check") in (3, 4)
    words = " ".join(commands.output.split())
    assert "401 Unauthorized: no such key: ***" in words
    assert KEY not in words


def test_two_steps_with_a_reward_model(commands):
    torch = pytest.importorskip("torch")
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    folder = commands.folder / "grader"
    tokenizer = AutoTokenizer.from_pretrained(commands.folder / "tiny")
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_labels=1, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    given = {"model": "grader", "score": "sigmoid", "device": "cpu", "threads": 1}
    made = recipe(commands.folder, "scored", "rewards-model/reward-model", given)
    assert commands.run("train", made, "--plain", "--skip-reward-check") == 0, commands.output
    (run,) = (commands.folder / "scored").iterdir()
    for line in steps_of(run):
        assert line["failures"] == 0
        assert 0 < line["reward"] < 1
        assert line["components/reward-model/tokens"] > 10
        assert line["components/reward-model/cut"] == 0.0

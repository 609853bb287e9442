"""cases.yaml is executed, and each way in which it can fail is told."""

import importlib
import sys

import pytest

from grpokit.registry.catalog import Catalog
from grpokit.registry.record import PluginRecord
from grpokit.scaffold.cases import read_cases
from grpokit.scaffold.execute import check_cases
from grpokit.spec.components import DatasetSpec, RewardSpec

CODE = r'''
import re
from grpokit.api import Config, reward

class Scale(Config):
    scale: float = 1.0
    """Score of the right answer."""

def scaled(config):
    return lambda completion, answer: config.scale * (answer in completion)

def last(completion, answer):
    if not answer.isdigit():
        return None
    found = re.findall(r"\d+", completion)
    return float(bool(found) and found[-1] == answer)

@reward(form="group")
def grouped(completions, answer):
    right = [text for text in completions if answer in text]
    best = min(map(len, right), default=0)
    return [float(text in right and len(text) == best) for text in completions]

def breaks(completion, answer):
    return 1 / 0

def high(completion, answer):
    return 7.0

def hangs(completion, answer):
    while len(completion) == 100_000:
        pass
    return float(answer in completion)

def leaves(completion, answer):
    import os
    print("spoken")
    os._exit(3 if completion == "8" else 4)

def silent(completion, answer):
    return 1.0 if answer in completion else None
'''
GOOD = """
- reward: last
  row: {answer: "7"}
  gold: ["it is 7", {say: "8, no: 7", score: 1.0}]
  wrong: ["8", {say: "", score: 0}]
  trick: ["7 or 8"]
- reward: last
  row: {answer: seven}
  abstain: ["7"]
- reward: scaled
  with: {scale: 0.25}
  row: {answer: "7"}
  gold: [{say: "7", score: 0.25}]
  wrong: ["8"]
  trick: ["6"]
"""


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Writes a plugin with this file of cases and returns the check of it."""

    def run(text, *names):
        package = tmp_path / "cased"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "code.py").write_text(CODE)
        if text is not None:
            (package / "cases.yaml").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.partition(".")[0] == "cased"]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        specs = [
            RewardSpec(
                name=name,
                summary="A reward.",
                target=f"cased.code:{name}",
                config="cased.code:Scale" if name == "scaled" else "",
            )
            for name in names
        ]
        plugin = PluginRecord(
            name="cased",
            distribution="grpokit-cased",
            version="1.0",
            module="cased.hooks",
            state="loaded",
            specs=(*specs, DatasetSpec(name="rows", summary="", target="cased.code:rows")),
        )
        return check_cases(Catalog([plugin]), plugin)

    return run


def texts(check):
    return "\n".join(finding.text for finding in check.findings)


def test_cases_that_hold(look):
    check = look(GOOD, "last", "scaled")
    assert check.state == "ok", texts(check)
    assert check.note == "9 completions of 3 rows"


@pytest.mark.parametrize(
    ("reward", "more", "told"),
    [
        (
            "last",
            'wrong: ["also 7"]',
            "cases.yaml:4 (last): wrong 'also 7' earns 1, and gold '7' (line 3) earns 1",
        ),
        (
            "last",
            'trick: ["7 7 7"]',
            "cases.yaml:5 (last): trick '7 7 7' earns 1, and gold '7' (line 3) earns 1",
        ),
        ("last", "gold: [seven]", "wrong '8' earns 0, and gold 'seven' (line 3) earns 0"),
        ("last", "gold: [{say: '7', score: 0.5}]", "gold '7': scored 1; the case says 0.5"),
        ("last", "wrong: [{say: '7', score: .nan}]", "finite"),
        ("last", "gold: [7]", "cases.yaml:3:10: gold.0: Input should be a valid string"),
        ("last", 'abstain: ["7"]', "abstain '7': scored 1; it must abstain (None)"),
        ("last", "row: {answer: seven}", "gold '7': abstained (None); a right answer must have"),
        ("last", "row: {question: x}", "it asks for answer; the row has question"),
        ("last", 'with: {scale: "big"}', "the reward cannot be made"),
        ("scaled", 'with: {scale: "big"}', "the reward cannot be made"),
        ("scaled", "with: {scale: 3.0}", "gold '7': scored 3.0, outside its declared range"),
        ("breaks", "", "gold '7': raised ZeroDivisionError"),
        ("high", "", "scored 7.0, outside its declared range 0.0 to 1.0"),
        ("high", "", "the probe 'empty': scored 7.0"),  # the contract, on the rows of the cases
        ("leaves", "", "wrong '8': its process ended with exit code 3"),
        ("silent", "", "wrong '8': abstained (None), so training would not hold it against"),
        (
            "last",
            'gold: ["it is \\\\7"]\n  gold: ["7"]',
            "cases.yaml:4:3: the key `gold` stands here a",
        ),
        ("last", "gold: !!python/object:os.system x", "cases.yaml:3:9: the value has the tag"),
        ("last", "with: {a: &a [1, 1, 1, 1], b: *a, c: &c [*a, *a], d: {e: *f}}", "the alias `*f`"),
        (
            "last",
            "wrong: ['\\[]', {say: 3}]",
            "cases.yaml:4:24: wrong.1.say: Input should be a valid string",
        ),
        ("last", "gold: {}", "gold: Input should be a valid list"),
        ("last", "golden: []", "golden: Extra inputs are not permitted"),
        ("last", "row: [", "cases.yaml:4:3: a list in brackets is not closed"),
        ("other", "", "the plugin has no reward 'other'; it has last, "),
    ],
)
def test_a_case_that_fails_says_why(look, reward, more, told):
    key = more.partition(":")[0]
    lines = {
        "reward": f"reward: {reward}",
        "row": 'row: {answer: "7"}',
        "gold": 'gold: ["7"]',
        "wrong": 'wrong: ["8"]',
        "trick": 'trick: ["9"]',
    } | ({key: more} if key else {})
    text = "- " + "\n  ".join(lines.values())
    check = look(text, "last", "scaled", "breaks", "high", "leaves", "silent")
    assert check.state == "error"
    assert told in texts(check)


def test_what_no_case_covers_is_a_warning(look):
    check = look('- {reward: last, row: {answer: "7"}, gold: ["7"]}', "last", "scaled")
    assert check.state == "warning"
    assert texts(check).splitlines() == [
        "cases.yaml has no wrong and no trick completion for the reward 'last'",
        "cases.yaml has no gold and no wrong and no trick completion for the reward 'scaled'",
    ]


@pytest.mark.parametrize("text", [None, ""])
def test_a_reward_without_cases_is_a_warning(look, text):
    assert look(text, "last").state == "warning"


def test_a_plugin_without_rewards_needs_no_cases(look):
    check = look(None)
    assert (check.state, check.note) == ("skipped", "it has no reward")


def test_completions_of_a_row_are_one_group(look):
    text = '- {reward: grouped, row: {answer: "7"}, gold: ["7"], wrong: ["it is 7"], trick: ["9"]}'
    check = look(text, "grouped")
    assert check.state == "ok", texts(check)


def test_a_long_completion_is_not_printed_whole(look):
    text = f'- {{reward: last, row: {{answer: "7"}}, gold: ["{"x" * 5000}"], wrong: ["8"]}}'
    assert len(texts(look(text, "last"))) < 1000


def test_a_reward_that_hangs_is_ended(look, monkeypatch):
    monkeypatch.setattr("grpokit.scaffold.probes.DEADLINE", 1.0)
    check = look(
        '- {reward: hangs, row: {answer: "7"}, gold: ["7"], wrong: ["8"], trick: [x]}', "hangs"
    )
    assert "the probe 'long word': gave no answer within 1 s" in texts(check)


def test_names_that_other_yaml_takes_for_values(look):
    """`answer: no` is a text, as in a recipe. And no case may have what a reward asks for."""
    check = look("- {reward: last, row: {answer: no}, abstain: [no, yes]}", "last")
    assert check.state == "ok", texts(check)


def test_one_gold_completion_below_all_others_is_the_one_that_is_told(look):
    text = '- {reward: last, row: {answer: "7"}, gold: ["7",\n x],\n wrong: ["7", "y 7"], trick: [\n"1 7"]}'
    assert texts(look(text, "last")) == (
        "cases.yaml:2 (last): gold 'x' earns 0, and so much or more earn 3 completions that are not "
        "right (lines 3, 4)"
    )


def test_many_findings_are_not_all_told(look):
    wrong = ", ".join(f'"{number} 7"' for number in range(50))
    text = f'- {{reward: last, row: {{answer: "7"}}, gold: ["7"], wrong: [{wrong}], trick: [x]}}'
    lines = texts(look(text, "last")).splitlines()
    assert (len(lines), lines[-1]) == (21, "and 30 more")


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"\xff", "cases.yaml is no UTF-8"), (b"# " + b"x" * 2_000_000, "at most 2,000,000")],
)
def test_files_that_are_not_read(data, told):
    with pytest.raises(ValueError, match=told):
        read_cases(data)


def test_what_a_completion_holds_steers_no_terminal(look):
    text = '- {reward: last, row: {answer: "7"}, gold: ["7"], trick: ["\\e[31m\\u202e\\n\\\\boxed{7}"]}'
    told = texts(look(text, "last"))
    assert r"trick '\x1b[31m\u202e\n\boxed{7}' earns 1" in told

"""The checks that plugin authors get find what they promise to find."""

import math

import pytest

from dists import grpokit, install, reward_hooks
from grpokit.testing import PROBES, check_reward

ROW = {"question": "2 + 2?", "answer": "4"}


def right(completion, answer):
    return float(answer in completion)


def test_a_good_reward_passes():
    check_reward(right, ROW)
    check_reward(lambda completion: None)
    check_reward(lambda completions, answers: [0.5 for _ in completions], ROW)


def raises(completion):
    raise ValueError("no")


def nan(completion):
    return math.nan


def text(completion):
    return "1.0"


def short(completions):
    return []


def parses(completion):
    return float(completion.split()[0] == "4")


def encodes(completion):
    return float(len(completion.encode()) % 2)


def recurses(completion):
    def depth(rest):
        return 1 + depth(rest[7:]) if rest.startswith("\\boxed{") else 0

    return float(depth(completion))


def wants(completion, solution):
    return 1.0


COUNTER = iter(range(10**9))


def counts(completion):
    return float(next(COUNTER))


def slow(completion):
    import time

    time.sleep(2.1 if len(completion) > 100_000 else 0)
    return 1.0


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (raises, "raised ValueError: no"),
        (nan, "nan"),
        (text, "the text '1.0'"),
        (short, "returned 0 scores for 1 completions"),
        (parses, "'empty': raised IndexError"),
        (encodes, "'lone surrogate': raised UnicodeEncodeError"),
        (recurses, "'open braces': raised RecursionError"),
        (wants, "it asks for solution; the row has question, answer"),
        (counts, "scored 0.0 first and 1.0 again"),
        (slow, "the limit is 2 s"),
    ],
)
def test_a_bad_reward_fails_with_the_reason(reward, told):
    with pytest.raises(AssertionError) as caught:
        check_reward(reward, ROW)
    assert told in str(caught.value)


def test_the_longest_probe_has_a_hundred_thousand_characters():
    assert max(map(len, PROBES.values())) >= 100_000


CHECKED = """
def test_it(check_plugin, check_reward):
    check_plugin({name!r})
    {more}
"""


def run_pytest(tmp_path, site, name, more="pass"):
    file = tmp_path / "test_made.py"
    file.write_text(CHECKED.format(name=name, more=more))
    code = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    return grpokit("-q", "-p", "no:cacheprovider", str(file), path=site, code=code)


def test_the_fixtures_pass_a_good_plugin(tmp_path):
    files = {"code.py": "def loud(completion):\n    return float(completion.isupper())\n"}
    install(
        tmp_path / "site",
        "grpokit-good",
        reward_hooks("loud", "grpokit_good.code:loud"),
        files=files,
    )
    done = run_pytest(tmp_path, tmp_path / "site", "good", "check_reward('loud')")
    assert done.returncode == 0, done.stdout


RECIPES = """
from pathlib import Path
from grpokit.api import hookimpl

@hookimpl
def grpokit_recipes():
    return [Path(__file__).parent]
"""
BAD = {
    "absent": (None, "no plugin 'absent' is installed"),
    "broken": ("1 / 0", "ZeroDivisionError"),
    "empty": ("", "it registers nothing"),
    "target": (reward_hooks("x", "no_such_module:x"), "No module named 'no_such_module'"),
    "number": (reward_hooks("x", "math:pi"), "math:pi cannot be called"),
    "silent": (
        reward_hooks("x", "m:x").replace('"A reward."', '" ", config="grpokit_silent.code:C"'),
        "the setting 'n' has no docstring",
    ),
    "columns": (
        reward_hooks("x", "grpokit_columns.code:x").replace(
            "summary=", "columns=('gone',), summary="
        ),
        "columns names ['gone']",
    ),
    "answer": (
        reward_hooks("x", "grpokit_answer.code:x").replace(
            "summary=", "answer='grpokit_answer.code:gone', summary="
        ),
        "has no attribute 'gone'",
    ),
    "lenient": (
        reward_hooks("x", "grpokit_lenient.code:x").replace(
            "summary=", "lenient=(('from', 1),), summary="
        ),
        "lenient names 'from', and there is no such setting",
    ),
    "recipes": (RECIPES, "recipe bad.yaml"),
}


@pytest.mark.parametrize("name", BAD)
def test_check_plugin_finds(tmp_path, name):
    hooks, told = BAD[name]
    code = "from grpokit.api import Config\nclass C(Config):\n    n: int = 1\ndef x(completion): return 1.0\n"
    if hooks is not None:
        install(
            tmp_path / "site", f"grpokit-{name}", hooks, files={"code.py": code, "bad.yaml": "a: ["}
        )
    done = run_pytest(tmp_path, tmp_path / "site", name)
    assert done.returncode == 1, done.stdout
    assert told in done.stdout

"""Verdicts, templates, settings, waiting times, and the file that several processes share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import ValidationError

from grpokit.errors import ComponentError
from grpokit.testing import check_plugin
from grpokit_rewards_model.client import retry_after
from grpokit_rewards_model.config import JudgeConfig
from grpokit_rewards_model.errors import shown
from grpokit_rewards_model.judge import judge
from grpokit_rewards_model.question import Question, fresh_nonce
from grpokit_rewards_model.store import Store, default_file
from grpokit_rewards_model.verdict import UnreadableError, read_verdict

N = "0123456789abcdef"


def test_the_plugin_is_in_order():
    check_plugin("rewards-model")


def test_the_judge_imports_no_torch():
    code = (
        "import sys, grpokit_rewards_model.judge, grpokit_rewards_model.scorer;"
        "print(sorted({'torch', 'transformers', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("output", "answer", "grade"),
    [
        ("line", f"VERDICT {N}: 7", 7.0),
        ("line", f"  so:\n\n  VERDICT {N}: 0.5  \n\n", 0.5),
        ("line", f"I must end with VERDICT {N}: GRADE.\nVERDICT {N}: 10", 10.0),
        ("line", f"VERDICT {N}: 3\nas said:\nVERDICT {N}: 3.0", 3.0),
        ("json", f'{{"verdict": "{N}", "score": 7}}', 7.0),
        ("json", f'\n{{"reason": "a", "verdict": "{N}", "score": 0.25}}\n', 0.25),
        ("json", f'```json\n{{"verdict": "{N}", "score": 1}}\n```', 1.0),
    ],
)
def test_verdicts(output, answer, grade):
    assert read_verdict(answer, N, output, 0.0, 10.0).grade == grade


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("line", ""),
        ("line", "7"),
        ("line", "VERDICT: 7"),
        ("line", "VERDICT 0123456789abcdee: 7"),
        ("line", f"VERDICT {N}: seven"),
        ("line", f"VERDICT {N}: 7/10"),
        ("line", f"VERDICT {N}: \u0667"),
        ("line", f"VERDICT {N}: 1e1"),
        ("line", f"VERDICT {N}: nan"),
        ("line", f"VERDICT {N}: 10.5"),
        ("line", f"VERDICT {N}: -1"),
        ("line", f"VERDICT {N}: 7\nI hope this helps!"),
        ("line", f"VERDICT {N}: 0\nVERDICT {N}: 10"),
        ("line", f"**VERDICT {N}: 7**"),
        ("json", ""),
        ("json", "7"),
        ("json", "[" * 100_000),
        ("json", '{"score": 7}'),
        ("json", '{"verdict": "0123456789abcdee", "score": 7}'),
        ("json", f'{{"verdict": "{N}", "score": true}}'),
        ("json", f'{{"verdict": "{N}", "score": "7"}}'),
        ("json", f'{{"verdict": "{N}", "score": NaN}}'),
        ("json", f'{{"verdict": "{N}", "score": 1{"0" * 400}}}'),
        ("json", f'{{"verdict": "{N}", "score": 0, "score": 10}}'),
        ("json", f'{{"verdict": "{N}", "score": 7, "correct": true}}'),
        ("json", f'{{"verdict": "{N}", "score": 7}} indeed'),
        ("json", f'{{"verdict": "x", "score": 1}}\n{{"verdict": "{N}", "score": 7}}'),
    ],
)
def test_what_is_no_verdict(output, answer):
    with pytest.raises(UnreadableError):
        read_verdict(answer, N, output, 0.0, 10.0)


GOOD = {"base_url": "http://localhost:8000/v1", "model": "m", "rubric": "r"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "localhost:8000"}, "write an address such as"),
        ({"base_url": "file:///etc/passwd"}, "write an address such as"),
        ({"base_url": "https://me:secret@host/v1"}, "a key goes into a variable"),
        ({"base_url": "https://host/v1?key=1"}, "a key goes into a variable"),
        ({"base_url": "https://host/v1/chat/completions"}, "leave /chat/completions out"),
        ({"template": "{prompt}"}, "`{completion}` exactly once"),
        ({"template": "{completion} {completion}"}, "`{completion}` exactly once"),
        ({"template": "{completion} {answer.__class__}"}, "no column name"),
        ({"template": "{completion} {row}"}, "no column name"),
        ({"template": "{completion} }"}, "a single `}` at character 14"),
        ({"lowest": 3.0, "highest": 3.0}, "highest must be above lowest"),
        ({"max_cost": 1.0}, "max_cost needs price_in"),
        ({"extra": {"messages": []}}, "messages cannot be set here"),
        ({"key_variable": "AWS_SECRET_ACCESS_KEY"}, "should match pattern"),
        ({"key_variable": "sk-1234"}, "should match pattern"),
        ({"key_variable": "OPENAI_API_KEY"}, "is for openai.com, and base_url is at localhost"),
        (
            {"key_variable": "OPENAI_API_KEY", "base_url": "https://openai.com.evil.example/v1"},
            "is for openai.com",
        ),
        (
            {"key_variable": "OPENAI_API_KEY", "base_url": "https://evilopenai.com/v1"},
            "is for openai.com",
        ),
        ({"api_key": "sk-1234"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_are_refused(changes, message):
    with pytest.raises(ValidationError) as caught:
        JudgeConfig(**{**GOOD, **changes})
    assert message in str(caught.value)


def test_a_key_goes_to_its_own_host():
    found = JudgeConfig(
        **{**GOOD, "key_variable": "OPENAI_API_KEY", "base_url": "https://api.openai.com/v1/"}
    )
    assert found.base_url == "https://api.openai.com/v1"


def test_a_missing_key_stops_before_a_model_is_loaded(tmp_path, monkeypatch):
    settings = {**GOOD, "key_variable": "JUDGE_API_KEY", "cache": str(tmp_path / "a.sqlite")}
    monkeypatch.delenv("JUDGE_API_KEY", raising=False)
    with pytest.raises(ComponentError, match="JUDGE_API_KEY, which is to hold") as caught:
        judge(JudgeConfig(**settings))
    assert "export JUDGE_API_KEY" in caught.value.remedy
    monkeypatch.setenv("JUDGE_API_KEY", "two\nlines")
    with pytest.raises(ComponentError, match="cannot be sent in a header"):
        judge(JudgeConfig(**settings))


def test_what_a_server_says_is_made_fit_to_be_shown():
    assert shown("a\x1b[31m\n\tb\u202e", "") == "a [31m b"
    key = "sk-0123456789"
    for filler in range(180, 215):
        for text in (f"{'x' * filler} {key} y", f"y {key} {'x' * filler}"):
            for end in (False, True):
                line = shown(text, key, end=end)
                assert len(line) <= 203
                assert "sk" not in line
                assert "89" not in line
    assert shown(f"first {'x' * 300} last", "", end=True).endswith(" last")
    assert shown(f"first {'x' * 300} last", "").startswith("first ")


def test_servers_can_reuse_the_rubric():
    question = Question(
        rubric="Is it polite?",
        template="{prompt} {completion}",
        lowest=0,
        highest=10,
        output="line",
        max_characters=100,
        texts={"prompt": "Hello", "completion": "Hello to you"},
    )
    one, two = (question.messages(nonce)[0]["content"] for nonce in (fresh_nonce(), fresh_nonce()))
    assert one != two
    same = next(place for place, pair in enumerate(zip(one, two, strict=True)) if len({*pair}) > 1)
    assert "Is it polite?" in one[:same]
    assert "from 0 (worst) to 10 (best)" in one[:same]


def test_retry_after():
    assert retry_after("7") == 7.0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 < retry_after(later) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for value in ("", "soon", "-1", "1.5", "9" * 40, "\u0663"):
        assert retry_after(value) is None


# ---------------------------------------------------------------------------------------- the file


WORK = """
import sys
from pathlib import Path
from grpokit_rewards_model.store import Key, Known, Line, Store

def key(number):
    return Key(question="q", completion=str(number), endpoint="e", model="m", settings="s")

store = Store(Path(sys.argv[1]))
for number in range(50):
    store.keep(key(number % 25), Known(float(number % 25), sys.argv[2]))
    store.book(Line(account="a", endpoint="e", model="m", requests=1, cost=0.5))
print(sum(store.find(key(number)).grade == number for number in range(25)))
store.close()
"""


def test_processes_share_the_file(tmp_path):
    """They open it at the same time, the first one makes it, and all of them write."""
    path = tmp_path / "new" / "judge.sqlite"
    commands = [[sys.executable, "-c", WORK, str(path), str(number)] for number in range(3)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [worker.communicate()[0] for worker in workers] == ["25\n"] * 3
    store = Store(path)
    (line,) = store.lines()
    assert (line.requests, line.cost) == (150, 75.0)
    assert store.spent("a") == 75.0
    assert store.spent("b") == 0.0
    store.close()


def test_a_file_that_is_none_and_a_folder_that_cannot_be(tmp_path):
    wrong = tmp_path / "text.sqlite"
    wrong.write_text("not a database, but long enough to be looked at as one" * 40)
    for path in (wrong, wrong / "below.sqlite", tmp_path):
        with pytest.raises(ComponentError, match="the file of verdicts cannot be used"):
            Store(path)
    newer = tmp_path / "newer.sqlite"
    base = sqlite3.connect(newer)
    base.execute("PRAGMA user_version=9")
    base.close()
    with pytest.raises(ComponentError, match="it is of version 9"):
        Store(newer)


def test_where_the_file_is(monkeypatch, tmp_path):
    monkeypatch.setenv("GRPOKIT_CACHE", str(tmp_path))
    assert default_file() == tmp_path / "judge.sqlite"
    monkeypatch.setenv("GRPOKIT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_file() == tmp_path / "x" / "grpokit" / "judge.sqlite"

"""Names of other trainers' rewards: what they mean, and what their source says without importing it."""

from __future__ import annotations

import sys

import pytest

from grpokit.errors import ComponentError
from grpokit.registry.catalog import Catalog
from grpokit.registry.foreign.reference import flag_for, is_foreign, parse, short_name
from grpokit.registry.foreign.sniff import misread, reading
from grpokit.registry.resolve import source_hash

EXPLODES = 'raise SystemExit("imported")\n'
REWARDS = f"""
{EXPLODES}
from .inner import moved as renamed
from elsewhere import lost

def text_of(completion):
    return completion if isinstance(completion, str) else completion[0]["content"]

def plain(completions: list[str], answer, *, weight=1.0, **kwargs) -> list[float]:
    return [1.0 for _ in completions]

def chat(prompts, completions):
    return [len(text_of(each)) for each in completions]

if True:
    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        return 1.0

async def traced(task, trace):
    return 1.0

def remote(queries, prompts, labels):
    return 1.0

def other(text):
    return 1.0

made = plain
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "their_rewards"
    folder.mkdir()
    (folder / "__init__.py").write_text(EXPLODES)
    (folder / "fns.py").write_text(REWARDS)
    (folder / "inner.py").write_text(EXPLODES + "def moved(completions, gold):\n    return []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("text", "module", "file", "attribute"),
    [
        ("trl:a.b.fn", "a.b", None, "fn"),
        ("trl:a.b:fn", "a.b", None, "fn"),
        ("trl:dir/x.py:fn", "", "dir/x.py", "fn"),
        ("verl:x.py", "", "x.py", "compute_score"),
        ("verl:/a:b/x.py", "", "/a:b/x.py", "compute_score"),
        ("verl:/a:b/x.py:fn", "", "/a:b/x.py", "fn"),
        ("verl:a.fn", "a", None, "fn"),
        ("verifiers:gsm8k_v1", "gsm8k_v1", None, ""),
        ("verifiers:a.b", "a.b", None, ""),
        ("verifiers:a.b:fn", "a.b", None, "fn"),
        ("reasoning_gym:countdown", "", None, "countdown"),
    ],
)
def test_what_a_name_means(text, module, file, attribute, tmp_path):
    found = parse(text, tmp_path)
    assert (found.module, found.attribute) == (module, attribute)
    assert found.file == (None if file is None else tmp_path / file)
    assert found.name == attribute or found.name == module.rpartition(".")[2]
    again = parse(found.target, tmp_path / "elsewhere")
    assert (again.module, again.file, again.attribute) == (module, found.file, attribute)


@pytest.mark.parametrize(
    "text",
    ["trl:", "trl:fn", "trl:x.py", "trl:a b.c", "trl:a.b:c.d", "verl:x.py:", "verl:a-b.c",
     "verifiers:", "verifiers:x.py", "reasoning_gym:", "reasoning_gym:a.b", "trl:.b.c", "trl:a..b",
     "trl:a\nerror: b.py:f", "verl:\x1b[31mx.py", "verl:gnp\u202eyp.x.py"],
)  # fmt: skip
def test_malformed_names_say_what_to_write(text):
    assert is_foreign(text)
    with pytest.raises(ComponentError, match=f"write {text.partition(':')[0]}:"):
        parse(text)


def test_other_names_are_not_foreign():
    assert not any(map(is_foreign, ("number", "math/boxed", "trl", "os:system", "a.b", "TRL:a.b")))
    assert short_name("trl:a.b.fn") == "fn"
    assert short_name("math/boxed") == "boxed"
    assert flag_for(["number", "reasoning_gym:countdown"]) == ""
    assert flag_for(["number", "verl:x.py"]) == " --allow-foreign-rewards"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "trl:their_rewards.fns.plain",
            (
                "read as TRL: plain(completions: list[str], answer, *, weight=1.0, **kwargs) -> list, "
                "completions as text"
            ),
        ),
        (
            "trl:their_rewards/fns.py:chat",
            "read as TRL: chat(prompts, completions) -> list, completions as messages",
        ),
        (
            "trl:their_rewards.fns.renamed",
            "read as TRL: renamed(completions, gold) -> list, completions as text",
        ),
        (
            "verl:their_rewards/fns.py",
            (
                "read as verl: compute_score(data_source, solution_str, ground_truth, extra_info=None) "
                "-> score or {score, ...}"
            ),
        ),
        ("trl:their_rewards.fns.made", "its parameters show once it is imported"),
        ("trl:their_rewards.fns.lost", "its parameters show once it is imported"),
        ("verifiers:their_rewards", "the rewards of the taskset their_rewards, added up"),
        ("reasoning_gym:countdown", "score_answer(answer, entry) of the task countdown"),
    ],
)
@pytest.mark.usefixtures("package")
def test_signatures_come_from_the_source(text, line):
    assert line in reading(parse(text))
    assert "their_rewards" not in sys.modules


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trl:their_rewards.fns.plain", ""),
        ("trl:their_rewards.fns.compute_score", "those of verl.*; write verl: before its name"),
        ("verl:their_rewards.fns.chat", "those of TRL.*; write trl: before its name"),
        ("trl:their_rewards.fns.remote", "those of OpenRLHF"),
        ("verifiers:their_rewards.fns:plain", "those of TRL"),
        ("trl:their_rewards.fns.traced", "those of verifiers"),
        ("trl:their_rewards.fns.other", r"no parameter `completions`: \(text\)"),
        ("trl:their_rewards.fns.made", ""),  # importing it says that
    ],
)
@pytest.mark.usefixtures("package")
def test_a_function_of_another_trainer_is_noticed(text, told):
    found = misread(parse(text))
    if not told:
        assert found == ""
        return
    with pytest.raises(ComponentError, match=told):
        Catalog((), foreign_rewards=True).find("reward", text)


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [
        ("def f(completions:\n    pass\n", "f", r"x\.py:1 is no Python: '\(' was never closed"),
        ("x = 1\0", "f", "is no Python|cannot be read"),
        ("(" * 5000, "f", "is no Python|cannot be read"),
        ("def lengths(completions): ...\n", "length", "has no 'length'; did you mean 'lengths'?"),
        ("def a(completions): ...\ndef _b(): ...\n", "zz", "its functions are a$"),
        ("x = 1\n", "f", "has no 'f'; name a function"),
    ],
)
def test_what_a_file_lacks_is_known_without_importing_it(tmp_path, source, name, told):
    file = tmp_path / "x.py"
    file.write_text(EXPLODES + source if "no Python" not in told else source)
    with pytest.raises(ComponentError, match=told):
        Catalog((), foreign_rewards=True).find("reward", f"trl:{file}:{name}")


@pytest.mark.parametrize(
    "source",
    [
        "f = lambda completions: []\n",
        "from elsewhere import *\n",
        "from elsewhere import g as f\n",
        "import f\n",
        "def __getattr__(name): ...\n",
        "globals().update(a=1)\n",
        "for f in (1, 2): ...\n",
        "if (f := 1): ...\n",
        "class f: ...\n",
        "a, *f = 1, 2\n",
        "with open('x') as f: ...\n",
        "try: ...\nexcept KeyError as f: ...\n",
        'x = "\\d"\ndef f(completions): ...\n',  # a warning of the compiler is nobody's business
    ],
)
def test_what_may_be_there_is_not_refused(tmp_path, source):
    file = tmp_path / "x.py"
    file.write_text(EXPLODES + source)
    assert Catalog((), foreign_rewards=True).find("reward", f"trl:{file}:f").spec.name == "f"


@pytest.mark.usefixtures("package")
def test_nobody_agreed():
    catalog = Catalog(())
    with pytest.raises(ComponentError, match="--allow-foreign-rewards") as error:
        catalog.find("reward", "trl:their_rewards.fns.plain")
    assert "fns.py" in error.value.fact
    assert "read as TRL: plain(" in error.value.fact
    agreed = Catalog((), foreign_rewards=True)
    entry = agreed.find("reward", "trl:their_rewards.fns.plain")
    assert agreed.find("reward", entry.id) is entry
    assert entry.spec.name == "plain"
    assert "their_rewards" not in sys.modules
    with pytest.raises(ComponentError, match="no file"):
        agreed.find("reward", "verl:gone.py")
    with pytest.raises(ComponentError, match="no Python source of the module gone"):
        agreed.find("reward", "trl:gone.fn")


def test_the_hash_is_that_of_the_source(package):
    catalog = Catalog((), foreign_rewards=True)
    entry = catalog.find("reward", "verl:their_rewards/fns.py")
    before = source_hash(entry)
    assert source_hash(catalog.find("reward", "trl:their_rewards.fns.plain")) == before
    (package / "fns.py").write_text(REWARDS + "# changed\n")
    assert source_hash(entry) != before


def test_the_hash_is_that_of_where_a_function_stands(package):
    entry = Catalog((), foreign_rewards=True).find("reward", "trl:their_rewards.fns.renamed")
    before = source_hash(entry)
    (package / "inner.py").write_text("def moved(completions, gold):\n    return [1.0]\n")
    assert source_hash(entry) != before


def test_a_taskset_is_its_whole_package(package, monkeypatch):
    from grpokit.registry.foreign import entry as foreign

    monkeypatch.setattr(foreign, "check", lambda _: None)  # verifiers may not be installed
    entry = Catalog((), foreign_rewards=True).find("reward", "verifiers:their_rewards")
    before = source_hash(entry)
    (package / "inner.py").write_text(EXPLODES)
    assert source_hash(entry) != before

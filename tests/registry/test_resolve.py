"""From specs to objects, and what is said when the code behind a spec is not there."""

import hashlib
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from dists import install, reward_hooks
from grpokit.api import CallbackSpec, Config, PreflightError, RewardSpec
from grpokit.errors import ComponentError
from grpokit.registry.catalog import Catalog, Entry
from grpokit.registry.discover import PluginRecord
from grpokit.registry.resolve import build_config, config_model, create, resolve, source_hash
from grpokit.registry.source import read_sources

CODE = '''
from pathlib import Path
from grpokit.api import Config, PreflightError

class Settings(Config):
    n: int = 3
    ends: tuple[int, int] = (0, 1)
    file: Path | None = None

class NoConfig:
    """Not a Config."""

def plain(completion):
    return 1.0

def factory(config):
    print("noise")
    return lambda completion: float(config.n)

def failing(config=None):
    raise KeyError("bad")

def preflight(config=None):
    raise PreflightError("no such file")

class Watcher:
    pass
'''
PLUGIN = PluginRecord(
    name="made", distribution="grpokit-made", version="4.2", module="made.hooks", state="loaded"
)


@pytest.fixture(autouse=True)
def made(tmp_path, monkeypatch):
    files = {
        "code.py": CODE,
        "needs.py": "import nobody_has_this.sub",
        "quits.py": "raise SystemExit(2)",
    }
    install(tmp_path, "made", reward_hooks("x"), files=files)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "made"
    for name in [name for name in sys.modules if name.partition(".")[0] == "made"]:
        del sys.modules[name]


def entry(target, config="", spec=RewardSpec):
    made = spec(name="thing", summary="A thing.", target=f"made.{target}", config=config)
    return Entry(id="made/thing", kind=spec.kind, spec=made, plugin=PLUGIN)


SETTINGS = "made.code:Settings"


def test_resolve_finds_nested_attributes():
    assert resolve("made.code:Settings.__name__") == "Settings"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("needs:x", "No module named 'nobody_has_this'"),
        ("needs:x", "install the package that provides 'nobody_has_this'"),
        ("needs:x", "pip install grpokit-made"),
        ("quits:x", "SystemExit: 2"),
        ("absent:x", "No module named 'made.absent'"),
        ("code:absent", "the module made.code has no attribute 'absent'"),
    ],
)
def test_an_unusable_target_names_its_owner_cause_and_remedy(target, told):
    with pytest.raises(ComponentError) as caught:
        resolve(f"made.{target}", entry(target))
    assert str(caught.value).startswith("reward made/thing (grpokit-made 4.2): ")
    assert told in str(caught.value)
    assert caught.value.__cause__ is not None


def test_settings_are_strict_but_fit_yaml():
    built = build_config(entry("code:factory", SETTINGS), {"n": 5, "ends": [1, 2], "file": "a/b"})
    assert (built.n, built.ends, built.file) == (5, (1, 2), Path("a/b"))


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"m": 1}, "extra_forbidden"),
        ({"n": "1"}, "int_type"),
        ({"n": 1.5}, "int_type"),
        ({"n": True}, "int_type"),
        ({"ends": [1]}, "missing"),
    ],
)
def test_wrong_settings_are_pydantic_s_to_report(settings, kind):
    with pytest.raises(ValidationError) as caught:
        build_config(entry("code:factory", SETTINGS), settings)
    assert kind in [error["type"] for error in caught.value.errors()]


def test_settings_for_a_component_without_any_are_refused():
    assert build_config(entry("code:plain"), {}) is None
    with pytest.raises(ValidationError, match="extra_forbidden"):
        build_config(entry("code:plain"), {"n": 1})


def test_a_config_must_be_a_config():
    with pytest.raises(ComponentError, match="no subclass of"):
        config_model(entry("code:plain", "made.code:NoConfig"))
    assert issubclass(config_model(entry("code:factory", SETTINGS)), Config)


def test_create_calls_factories_and_leaves_functions(capsys):
    assert create(entry("code:plain"), {})("x") == 1.0
    assert create(entry("code:factory", SETTINGS), {"n": 7})("x") == 7.0
    assert type(create(entry("code:Watcher", spec=CallbackSpec), {})).__name__ == "Watcher"
    assert capsys.readouterr() == ("", "noise\n")


def test_a_factory_that_fails_is_named_and_errors_on_purpose_pass():
    with pytest.raises(ComponentError, match=r"made/thing \(grpokit-made 4.2\).*KeyError: 'bad'"):
        create(entry("code:failing", SETTINGS), {})
    with pytest.raises(PreflightError, match="no such file"):
        create(entry("code:preflight", spec=CallbackSpec), {})


def test_the_hash_is_the_source_s_and_imports_nothing(made):
    expected = hashlib.sha256((made / "quits.py").read_bytes()).hexdigest()[:16]
    assert source_hash(entry("quits:x")) == expected
    assert "made" not in sys.modules
    (made / "quits.py").write_text("# changed\n")
    assert source_hash(entry("quits:x")) != expected


def test_the_hash_covers_what_the_module_imports_of_its_own_package(made):
    (made / "deep").mkdir()
    files = {
        "deep/__init__.py": "raise SystemExit\n",
        "deep/reward.py": "import os\nfrom made.deep.grader import (  # a grader\n    judge,\n)\nfrom . import near\n",
        "deep/grader.py": "def judge():\n    import made.deep.inner\n",
        "deep/near.py": "",
        "deep/apart.py": "",
        "deep/inner.py": "",
    }
    for name, text in files.items():
        (made / name).write_text(text)
    before = source_hash(entry("deep.reward:x"))
    for name, counts in {"apart": False, "grader": True, "near": True, "inner": True}.items():
        (made / f"deep/{name}.py").write_text(files[f"deep/{name}.py"] + "# changed\n")
        assert (source_hash(entry("deep.reward:x")) != before) == counts, name
        (made / f"deep/{name}.py").write_text(files[f"deep/{name}.py"])
    assert source_hash(entry("deep.reward:x")) == before
    assert "made.deep" not in sys.modules


@pytest.mark.parametrize(
    ("reward", "part"),
    [
        ("number", "grpokit.answers.parse"),
        ("math/accuracy", "grpokit_math.verify.compare"),
        ("cppo/math-accuracy", "grpokit_math.verify.compare"),
    ],
)
def test_a_reward_s_hash_covers_its_grader(reward, part):
    module = Catalog.load().find("reward", reward).spec.target.partition(":")[0]
    assert part in read_sources(module)


def test_without_a_file_the_version_is_the_identity():
    first, second = source_hash(entry("absent:x")), source_hash(entry("absent:y"))
    assert len(first) == 16
    assert first != second

"""`grpokit plugins check`: projects that are not in order, and what it says of them."""

import json
import shutil

import pytest

from dists import grpokit, install, reward_hooks
from grpokit.scaffold.names import read_name
from grpokit.scaffold.write import write_package


@pytest.fixture
def project(tmp_path):
    return write_package("reward", read_name("exact-unit"), tmp_path).folder


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def check(*args, code=3, path=None):
    done = grpokit("plugins", "check", *map(str, args), path=path)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_wheel_is_what_is_checked(project):
    """The project is not installed anywhere, and a file that the wheel lacks is missed."""
    change(
        project / "pyproject.toml",
        'packages = ["src/grpokit_exact_unit"]',
        'packages = ["src/grpokit_exact_unit"]\nexclude = ["cases.yaml", "*.json"]',
    )
    (project / "src/grpokit_exact_unit/recipes/smoke.receipt.json").write_text("{}")
    told = check(project)
    assert "error: grpokit_exact_unit/recipes/smoke.receipt.json is not in it" in told
    assert "error: grpokit_exact_unit/cases.yaml is not in it" in told
    assert "warning: there is no cases.yaml" in told
    assert not list(project.glob("dist")) + list(project.glob("build"))


def test_what_pypi_refuses_or_readers_miss(project):
    file = project / "pyproject.toml"
    for line in (
        'readme = "README.md"\n',
        'license = "Apache-2.0"\n',
        'requires-python = ">=3.11"\n',
    ):
        change(file, line, "")
    change(file, '"grpokit>=', '"pydantic>=')
    change(file, '"Typing :: Typed"', '"Private :: Do Not Upload"')
    told = check(project, code=0)
    for text in (
        "it does not say which Python it needs",
        "it has no licence",
        "it has no README",
        "its dependencies do not name grpokit",
    ):
        assert f"warning: {text}" in told
    report = json.loads(check(project, "--strict", "--json"))
    assert report["ok"] is False
    assert [each["name"] for each in report["checks"] if each["state"] != "ok"] == ["metadata"]


def test_a_classifier_that_nobody_knows_fails(project):
    change(project / "pyproject.toml", '"Typing :: Typed"', '"Framework :: grpokit"')
    told = check(project)
    assert "Framework :: grpokit" in told


def test_a_case_that_does_not_hold(project):
    change(project / "src/grpokit_exact_unit/rewards.py", "found == gold", "found is not None")
    told = check(project)
    assert (
        r"cases.yaml:10 (exact-unit): wrong 'It is \boxed{8}.': scored 1; the case says 0" in told
    )


def test_a_broken_hook_shows_its_traceback(project):
    change(project / "src/grpokit_exact_unit/hooks.py", "GRPOKIT_HOOK_API = 1", "1 / 0")
    told = check(project)
    assert "ZeroDivisionError" in told
    assert 'hooks.py", line' in told


def test_a_project_that_does_not_build(project):
    change(project / "pyproject.toml", 'version = "0.1.0"', 'version = "first"')
    told = check(project)
    assert told.startswith("wheel       error")
    assert "first" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("[project", "it cannot be read"),
        ("[project]\nname = 'x'\n", "it names no entry point in the group 'grpokit'"),
        ("project = 3\n", "it names no entry point"),
        ("[project]\nname = 4\n[project.entry-points.grpokit]\nx = 'y'\n", "it names no entry"),
    ],
)
def test_a_folder_that_is_no_plugin(tmp_path, text, told):
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert told in check(tmp_path)


def test_an_installed_plugin_by_name(tmp_path):
    code = "print('spoken')\ndef loud(completion):\n    return float(completion.isupper())\n"
    install(
        tmp_path,
        "grpokit-loud",
        reward_hooks("loud", "grpokit_loud.code:loud"),
        files={"code.py": code},
    )
    assert json.loads(grpokit("plugins", "check", "loud", "--json", path=tmp_path).stdout)["ok"]
    told = check("loud", code=0, path=tmp_path)
    assert "loaded      ok       reward loud/loud" in told
    assert "warning: there is no cases.yaml" in told
    assert "no plugin 'nobody' is installed" in check("nobody", path=tmp_path)


def test_the_plugins_of_this_repository_are_in_order(request):
    """The one that is there to be copied without a warning."""
    root = request.config.rootpath
    told = check(root / "plugins/grpokit-example-reward", "--strict", code=0)
    assert "example-reward: in order" in told


def test_without_pip_the_installed_plugin_is_checked(project, tmp_path):
    shutil.copytree(project / "src", tmp_path / "site")
    install(tmp_path / "site", "grpokit-exact-unit", None)
    report = json.loads(check(project, "--no-build", "--json", code=0, path=tmp_path / "site"))
    states = {each["name"]: each["state"] for each in report["checks"]}
    assert (states["wheel"], states["cases"]) == ("skipped", "ok")


def test_what_hooks_import_and_what_no_dependency_brings(project):
    package = project / "src/grpokit_exact_unit"
    change(package / "hooks.py", "GRPOKIT_HOOK_API", "import numpy\n\nGRPOKIT_HOOK_API")
    change(
        package / "rewards.py", "from grpokit", "import hatchling\nimport pydantic\nfrom grpokit"
    )
    told = check(project, code=0)
    assert "warning: grpokit_exact_unit.hooks imports numpy, which every command would" in told
    assert 'warning: hooks.py imports numpy, and no dependency brings it: add "numpy"' in told
    assert "warning: rewards.py imports hatchling, and no dependency brings it" in told
    assert "pydantic" not in told  # grpokit brings it
    change(project / "pyproject.toml", '"grpokit>=', '"hatchling", "numpy>=1", "grpokit>=')
    told = check(project, code=0)
    assert "no dependency" not in told
    assert "numpy, which every command would wait for" in told


def test_full_runs_the_tests_and_the_recipe_with_the_wheel(project):
    change(
        project / "tests/test_grpokit_exact_unit.py", "check_plugin(", "assert not check_plugin("
    )
    with (project / "tests/test_grpokit_exact_unit.py").open("a") as file:
        file.write(
            "\n\ndef test_where() -> None:\n    import grpokit_exact_unit as it\n\n"
            "    assert 'site' in it.__file__.split('/')\n\n\n"
            "def test_that_fails() -> None:\n    raise ValueError('as it must')\n"
        )
    change(project / "src/grpokit_exact_unit/recipes/smoke.yaml", "bench-sums", "nowhere")
    report = json.loads(check(project, "--full", "--json"))
    tests, smoke = report["checks"][-2:]
    assert (tests["name"], tests["state"]) == ("tests", "error")
    told = tests["findings"][0]["text"]
    assert "ValueError: as it must" in told
    assert "2 failed, 2 passed" in told  # the other says that the recipe is broken
    assert (smoke["name"], smoke["state"]) == ("smoke", "error")
    assert "it ended with code" in smoke["findings"][0]["text"]
    assert "nowhere" in smoke["findings"][0]["text"]


@pytest.mark.parametrize("args", [["hf", "--no-build", "--full"], ["nobody", "--full"]])
def test_full_needs_a_project(args):
    assert "the tests are run with a wheel that is built here" in check(*args)


def test_a_plugin_may_be_named_as_pip_names_it(tmp_path):
    install(tmp_path, "grpokit-loud", reward_hooks("loud", "grpokit_loud.code:loud"))
    assert "loud: " in check("grpokit-loud", path=tmp_path)


def test_where_pip_is_told_to_install_elsewhere(project, monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")
    check(project, code=0)

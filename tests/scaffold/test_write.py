"""What `grpokit plugins new` writes, and that it never writes over anything."""

import re
import tomllib

import pytest
import yaml

from dists import grpokit, install, reward_hooks
from grpokit.scaffold.names import read_name
from grpokit.scaffold.write import KINDS, git_author, package_files

NAMES = read_name("exact-unit")
COMMON = {
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "src/grpokit_exact_unit/__init__.py",
    "src/grpokit_exact_unit/hooks.py",
    "src/grpokit_exact_unit/py.typed",
    "src/grpokit_exact_unit/recipes/smoke.yaml",
    "tests/test_grpokit_exact_unit.py",
}
OWN = {
    "reward": {"src/grpokit_exact_unit/rewards.py", "src/grpokit_exact_unit/cases.yaml"},
    "dataset": {"src/grpokit_exact_unit/rows.py"},
    "algorithm": {"src/grpokit_exact_unit/parts.py"},
    "backend": {"src/grpokit_exact_unit/backend.py"},
    "recipe": {"src/grpokit_exact_unit/recipes/exact-unit.yaml"},
}


def new(kind, name, into, **env):
    return grpokit("plugins", "new", kind, name, "--into", str(into), env=env)


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_of_a_package(kind):
    found = package_files(kind, NAMES)
    assert set(found) == COMMON | OWN[kind]
    for path, text in found.items():
        assert not re.search(r"@[a-z]+@", path + text), f"{path}: a name was not filled in"
        assert text == "" or text.endswith("\n")
    project = tomllib.loads(found["pyproject.toml"])["project"]
    assert project["name"] == "grpokit-exact-unit"
    assert project["entry-points"]["grpokit"] == {"grpokit-exact-unit": "grpokit_exact_unit.hooks"}
    assert project["requires-python"] == ">=3.11"
    # The tests of a package are short: they call the checks that grpokit has.
    assert len(found["tests/test_grpokit_exact_unit.py"].splitlines()) < 25


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_job_that_publishes_gets_a_token(kind):
    text = package_files(kind, NAMES)[".github/workflows/ci.yml"]
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {}
    jobs = flow["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "test": {"contents": "read"},
        "build": {"contents": "read"},
        "publish": {"id-token": "write"},
    }
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["if"] == "github.event_name == 'release'"
    assert (jobs["publish"]["needs"], jobs["build"]["needs"]) == ("build", "test")
    # Whoever holds the token runs no code of the project.
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]
    # Who can move a tag of an action does not get it either.
    uses = re.findall(r"uses: (.*)", text)
    assert len(uses) == 7
    for each in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
    assert all(job["timeout-minutes"] <= 20 for job in jobs.values())
    assert "password" not in text.replace("without a password", "")
    assert jobs["test"]["strategy"]["matrix"] == {"python": ["3.11", "3.12", "3.13"]}
    runs = [step["run"] for step in jobs["test"]["steps"] if "run" in step]
    assert runs[-1] == "grpokit plugins check . --full --strict"
    (updates,) = yaml.safe_load(package_files(kind, NAMES)[".github/dependabot.yml"])["updates"]
    assert updates["package-ecosystem"] == "github-actions"


def test_the_licence_is_that_of_this_repository(request):
    licence = (request.config.rootpath / "LICENSE").read_text()
    assert package_files("reward", NAMES)["LICENSE"] == licence


@pytest.mark.parametrize(
    ("author", "told"),
    [
        ("", None),
        ("Zoë d'Arc", "Zoë d'Arc"),
        ('a "b" \\ c', 'a "b" \\ c'),
        ('x"]\n[project]\x1b\x7f', 'x"][project]'),
        ("@name@", "@name@"),
    ],
)
def test_the_author_is_whom_git_knows(author, told):
    project = tomllib.loads(package_files("reward", NAMES, author)["pyproject.toml"])["project"]
    assert project.get("authors") == (None if told is None else [{"name": told}])


def test_without_git_there_is_no_author(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_author() == ""
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\n[ "$*" = "config user.name" ] && echo " Ada "\n')
    git.chmod(0o755)
    assert git_author() == "Ada"


def test_it_says_what_it_wrote_and_what_comes_next(tmp_path):
    done = new("reward", "exact-unit", tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "grpokit-exact-unit"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == COMMON | OWN["reward"]
    lines = done.stdout.splitlines()
    assert written <= {line.split("<-")[0].strip() for line in lines}
    assert [line.split()[0] for line in lines if "<- begin here" in line] == [
        "src/grpokit_exact_unit/rewards.py"
    ]
    after = lines[lines.index("next:") + 1 :]
    assert after == [
        f"  cd {folder} && pip install -e .",
        "  grpokit plugins check .",
        "  grpokit train exact-unit/smoke",
    ]


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    folder = tmp_path / "grpokit-exact-unit"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    done = new("recipe", "exact-unit", tmp_path)
    assert done.returncode == 3
    assert "it is there already" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_link_that_points_nowhere_is_left_alone(tmp_path):
    (tmp_path / "grpokit-exact-unit").symlink_to(tmp_path / "nowhere")
    assert new("recipe", "exact-unit", tmp_path).returncode == 3
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("reward", "number", "there is a reward of this name, number (grpokit)"),
        ("algorithm", "dapo", "there is an algorithm of this name, dapo (grpokit)"),
        ("reward", "example-reward", "a plugin of this name is installed (grpokit-example-reward"),
        ("reward", "hf", "this name is grpokit's own"),
        ("reward", "Exact_Unit", "take another, such as 'exact-unit'"),
        ("reward", "../up", "take another, such as 'up'"),
    ],
)
def test_names_that_would_clash_are_refused(tmp_path, kind, name, told):
    done = new(kind, name, tmp_path / "deep")
    assert done.returncode == 3, done.stdout
    assert told in done.stderr
    assert not (tmp_path / "deep").exists()


def test_a_component_of_another_plugin_is_not_hidden(tmp_path):
    install(tmp_path / "site", "grpokit-others", reward_hooks("exact-unit"))
    args = ("plugins", "new", "reward", "exact-unit", "--into", str(tmp_path))
    done = grpokit(*args, path=tmp_path / "site")
    assert done.returncode == 3
    assert "there is a reward of this name, others/exact-unit (grpokit-others)" in done.stderr


def test_an_unknown_kind_lists_the_kinds(tmp_path):
    done = new("model", "x", tmp_path)
    assert done.returncode == 2
    assert all(kind in done.stderr for kind in KINDS)


def test_a_folder_that_may_not_be_written_is_no_crash(tmp_path):
    (tmp_path / "file").write_text("")
    done = new("reward", "exact-unit", tmp_path / "file")
    assert done.returncode == 3
    assert "it cannot be written: Not a directory" in done.stderr

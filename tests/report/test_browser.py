"""A real browser opens the report: it draws, filters, compares, asks for nothing, and obeys no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import Opened, open_page
from grpokit.report.markup import visible
from grpokit.report.page import write_report
from report_pages import HOSTILE, varied_groups
from saved_runs import completion, group, rows, saved_run

DRAWN = """
[...document.querySelectorAll('figure.chart > svg')].map(svg => ({
  shown: svg.getBoundingClientRect().width > 0,
  inside: [...svg.querySelectorAll('path')].every(path => {
    const box = path.getBBox(), view = svg.viewBox.baseVal;
    return path.getTotalLength() >= 0 && box.x >= 0 && box.y >= 0 &&
      box.x + box.width <= view.width && box.y + box.height <= view.height;
  }),
  length: Math.max(...[...svg.querySelectorAll('path')].map(path => path.getTotalLength())),
}))
"""


@pytest.fixture(scope="module")
def report(browser: Any, trained: Path) -> Iterator[Opened]:
    with open_page(
        browser, trained / "report.html", viewport={"width": 1200, "height": 900}
    ) as found:
        yield found


@pytest.fixture
def made(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """``made(run, run, ...)``: their page, opened."""
    pages: list[Any] = []

    def make(*runs: Path, **settings: Any) -> Opened:
        out = tmp_path / "page.html"
        write_report(runs, out)
        pages.append(open_page(browser, out, **settings))
        return pages[-1].__enter__()

    yield make
    for each in pages:
        each.__exit__(None, None, None)


def texts(run: Path) -> list[str]:
    return [one["text"] for each in rows(run / "rollouts.jsonl") for one in each["completions"]]


def listed(opened: Opened) -> list[str]:
    """The completions in sight, in the order of the list."""
    found = opened.page.eval_on_selector_all(
        "#rows .row",
        "e => e.map(r => [Number(r.style.transform.match(/[\\d.]+/)[0]), r.lastChild.textContent])",
    )
    return [text for _, text in sorted(found)]


def test_curves_are_drawn_and_nothing_else_is_asked_for(report: Opened, trained: Path) -> None:
    found = report.page.evaluate(DRAWN)
    assert len([each for each in found if each["shown"]]) >= 10
    assert all(each["inside"] for each in found)
    assert all(each["length"] > 50 for each in found if each["shown"])
    assert report.asked == [(trained / "report.html").as_uri()]
    assert report.said == []


def test_values_are_read_at_the_pointer_and_at_the_keys(report: Opened, trained: Path) -> None:
    rewards = [row["reward"] for row in rows(trained / "metrics.jsonl")]
    svg = report.page.locator("figure.chart svg.big").first
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    report.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    told = report.text("figure.chart .readout.on")
    assert told.startswith("step 12reward ")
    assert float(told.split()[-1]) == pytest.approx(sum(rewards[-5:]) / 5, rel=1e-3)
    svg.focus()
    report.page.keyboard.press("Home")
    told = report.text("figure.chart .readout.on")
    assert told.startswith("step 1reward ")
    assert float(told.split()[-1]) == pytest.approx(rewards[0], rel=1e-3)


def test_large_numbers_keep_their_digits(made: Any, tmp_path: Path) -> None:
    run = saved_run(tmp_path, varied_groups(1))
    lines = [{"step": n, "reward": n / 7, "total/forwards_saved": 3 * n} for n in (12_344, 12_345)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    page: Opened = made(run)
    page.page.locator("figure.chart", has_text="Forward passes").locator("svg").focus()
    page.page.keyboard.press("ArrowRight")
    assert page.text("figure.chart .readout.on") == "step 12345forwards_saved 37035"


def test_the_browser_filters_and_sorts(made: Any, tmp_path: Path) -> None:
    run = saved_run(tmp_path, varied_groups(30))
    page: Opened = made(run)
    every = [(each, one) for each in rows(run / "rollouts.jsonl") for one in each["completions"]]

    def check(expected: list[Any]) -> None:
        assert page.text("#count") == f"{len(expected)} of 240 completions"
        assert listed(page) == [one["text"] for _, one in expected][: page.count("#rows .row")]
        page.page.click("#filters [type=reset]")
        page.settled()
        assert page.text("#count") == "240 of 240 completions"

    assert 0 < page.count("#rows .row") < 60, "only what is in sight"
    page.fill(step_low=3, step_high=5)
    check([(e, one) for e, one in every if 3 <= e["step"] <= 5])
    page.fill(total_low=0.5, prompt="id1")
    check([(e, one) for e, one in every if one["total"] >= 0.5 and e["prompt"]["id"] == "id1"])
    page.fill(name="format", score_low=1, finish=1)
    check([p for p in every if p[1]["rewards"]["format"] == 1 and p[1]["finish"] == "length"])
    page.fill(text="STEP 7 thinks")
    check([p for p in every if "step 7 thinks" in p[1]["text"]])
    page.fill(text="7.*")
    check([])
    page.fill(prompt="#1")
    check([p for p in every if p[0]["prompt"]["index"] == 1])
    page.page.click("#heads button >> text=reward")
    page.settled()
    check(sorted(every, key=lambda p: -p[1]["total"]))
    assert page.said == []


def test_missing_scores_come_last_and_fates_are_told(made: Any, tmp_path: Path) -> None:
    ones = [
        completion(0, "low", 0.1, exact=0.0),
        completion(1, "none", None, errors={"exact": "took <b>too</b> long"}, exact=None),
        {**completion(2, "high", 0.9, exact=1.0), "kept": False},
    ]
    page: Opened = made(
        saved_run(tmp_path, [group(1, 0, "a", ones), group(2, 1, "a", ones, dropped=True)])
    )
    for down in (True, False):
        page.page.click("#heads button >> text=reward")
        page.settled()
        assert listed(page) == [
            *sorted(["high", "high", "low", "low"], reverse=not down),
            "none",
            "none",
        ]
    for fate, expected in {"kept": 4, "pruned": 2, "dropped": 3, "failed": 2}.items():
        page.fill(fate=fate)
        assert page.text("#count") == f"{expected} of 6 completions"
    page.choose(0)
    assert "exact: took <b>too</b> long" in page.text("#detail")
    assert "reward \u2013 (exact \u2013)" in page.text("#detail")


def test_two_completions_are_compared_word_by_word(made: Any, tmp_path: Path) -> None:
    first = "so 3 + 4 is 7, I think.\nThe answer is 7"
    second = "so 3 + 4 is 8, I am sure.\nThe answer is 8"
    groups = [
        group(1, 0, "7", [completion(0, first, 1.0, exact=1.0)]),
        group(2, 1, "9", [completion(0, "another", 0.0, exact=0.0)]),
        group(3, 0, "7", [completion(0, second, 0.0, exact=0.0)]),
    ]
    page: Opened = made(saved_run(tmp_path, groups))
    page.choose(0)
    assert page.text("#detail pre.text") == first
    page.page.click("text=Keep as A")
    page.choose(2)
    page.page.wait_for_selector("#detail ins")
    marks = [page.page.locator(f"#detail {kind}").all_text_contents() for kind in ("del", "ins")]
    assert marks == [["7", "think", "7"], ["8", "am sure", "8"]] or marks == [
        ["7", "think", "7"],
        ["8", "am", " sure", "8"],
    ]
    both = page.page.locator("#detail article pre.text").all_text_contents()
    assert both == [first, second]
    page.page.click("text=Forget A")
    page.page.wait_for_selector("#detail ins", state="detached")
    page.page.select_option("#detail select", label="step 1, sample 0, reward 1")  # the same prompt
    page.page.wait_for_selector("#detail del")
    assert page.page.locator("#detail article h4").all_text_contents() == [
        "A: step 1, prompt #0, sample 0",
        "B: step 3, prompt #0, sample 0",
    ]
    assert "question 0" in page.text("#detail .prompt")
    assert "answer: 7" in page.text("#detail .prompt")
    page.page.click("text=Only this prompt")
    page.settled()
    assert page.text("#count") == "2 of 3 completions"


def test_the_keyboard_is_enough(made: Any, tmp_path: Path) -> None:
    run = saved_run(tmp_path, varied_groups(30))
    page: Opened = made(run)
    page.page.focus("#rows")
    for key in ("ArrowDown", "a", "End"):
        page.page.keyboard.press(key)
    page.page.wait_for_selector("#detail[data-row=row-239]")
    page.page.wait_for_selector("#detail article:nth-child(2)")
    both = page.page.locator("#detail article pre.text").all_text_contents()
    assert both == [texts(run)[0], texts(run)[-1]]
    assert page.page.locator("#rows [aria-selected=true]").count() == 1


def test_what_a_model_wrote_does_nothing(made: Any, tmp_path: Path) -> None:
    ones = [completion(g, text, g / 9, exact=g / 9) for g, text in enumerate(HOSTILE)]
    big = completion(len(HOSTILE), "<b>\x1b" * 250_000, 1.0, exact=1.0)
    each = group(1, 0, HOSTILE[1], [*ones, big])
    each["prompt"]["id"] = HOSTILE[0]
    each["prompt"]["messages"] = [{"role": HOSTILE[2], "content": text} for text in HOSTILE]
    run = saved_run(tmp_path, [])
    line = json.dumps(each) + "\n" + json.dumps({**each, "step": 2}) + "\n"
    (run / "rollouts.jsonl").write_text(line)
    page: Opened = made(run)
    before = page.page.evaluate("document.querySelectorAll('script, img, iframe, a, style').length")
    for place, text in enumerate(HOSTILE):
        page.choose(place)
        assert page.text("#detail article pre.text") == visible(text)
        assert listed(page)[place] == visible(text)
        messages = page.page.locator("#detail .message pre").all_text_contents()
        assert messages == [visible(each) for each in HOSTILE]
    page.page.click("text=Keep as A")
    page.choose(len(HOSTILE))
    page.page.wait_for_selector("#detail del")
    assert len(page.text("#detail article:last-child pre")) == 100_000, "the rest is said to be cut"
    page.fill(text="<img", prompt="</script>")
    assert page.text("#count") == "2 of 20 completions"
    assert page.page.evaluate("window.pwned") is None
    assert (
        page.page.evaluate("document.querySelectorAll('script, img, iframe, a, style').length")
        == before
    )
    assert page.dialogs == []
    assert page.said == []
    assert len(page.asked) == 1


def test_the_policy_stops_what_gets_in(made: Any, tmp_path: Path) -> None:
    """Even markup that were put into the page could not run or load anything."""
    page: Opened = made(saved_run(tmp_path, varied_groups(2)))
    page.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        '\'<img src=https://example.invalid/x onerror="window.pwned=1"><b onclick="window.pwned=2" id=b>x</b>\')'
    )
    page.page.evaluate("document.getElementById('b').click()")
    page.page.wait_for_timeout(100)
    assert page.page.evaluate("window.pwned") is None
    assert len([each for each in page.said if "Content Security Policy" in each]) >= 2


def test_several_runs_share_the_browser(made: Any, tmp_path: Path) -> None:
    runs = [
        saved_run(tmp_path / "a", varied_groups(3)),
        saved_run(tmp_path / "b", varied_groups(5)),
    ]
    page: Opened = made(*runs)
    assert page.text("#count") == "24 of 24 completions"
    page.choose(0)
    page.page.click("text=Keep as A")
    page.fill(run=1)
    assert page.text("#count") == "40 of 40 completions"
    page.choose(1)
    page.page.wait_for_selector("#detail article:nth-child(2)")
    titles = page.page.locator("#detail article h4").all_text_contents()
    assert titles[0].startswith("A: ")
    assert titles[1].endswith("step 1, prompt #0, sample 1")
    assert page.said == []


def test_a_finding_shows_its_completions(made: Any, tmp_path: Path) -> None:
    run = saved_run(tmp_path, varied_groups(45))
    dead = [{"step": n, "reward": 0.1, "reward_std": 0.0, "dead_groups": 1.0} for n in range(1, 46)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in dead))
    page: Opened = made(run)
    page.page.locator("button.see").first.click()
    page.settled()
    first, last = (int(page.page.input_value(f"[name=step-{end}]")) for end in ("low", "high"))
    assert 1 <= first <= last == 45
    assert page.text("#count") == f"{8 * (last - first + 1)} of 360 completions"


@pytest.mark.parametrize("width", [400, 900])
def test_it_fits_a_narrow_window_and_the_dark(browser: Any, trained: Path, width: int) -> None:
    size = {"width": width, "height": 800}
    with open_page(browser, trained / "report.html", viewport=size, color_scheme="dark") as page:
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        paper, ink = page.page.evaluate(
            "['backgroundColor', 'color'].map(k => getComputedStyle(document.body)[k].match(/\\d+/g).map(Number))"
        )
        assert max(paper) < 60 < 200 < min(ink)
        assert page.said == []


def test_without_a_script_the_curves_are_there(browser: Any, trained: Path) -> None:
    path = trained / "report.html"
    with open_page(browser, path, ready="footer", java_script_enabled=False) as page:
        assert (
            page.page.locator("figure.chart svg path.line").first.get_attribute("d").startswith("M")
        )
        assert page.page.locator("#plain").is_visible()
        assert not page.page.locator("#filters").is_visible()


def test_a_hundred_thousand_completions_are_usable(made: Any, tmp_path: Path) -> None:
    """No clock here; docs/bench_report.py has one. What counts is that the list stays small."""
    run = saved_run(tmp_path, [])
    groups = [
        group(
            step,
            step % 500,
            "a",
            [completion(g, f"word{g} of step {step}", g / 16, exact=0.0) for g in range(16)],
        )
        for step in range(1, 6251)
    ]
    (run / "rollouts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in groups))
    page: Opened = made(run)
    assert page.text("#count") == "100,000 of 100,000 completions"
    page.page.focus("#rows")
    page.page.keyboard.press("End")
    page.page.wait_for_selector("#detail[data-row=row-99999]")
    assert page.text("#detail pre.text") == "word15 of step 6250"
    page.fill(text="word3 of step 62", total_low=0.1)
    assert page.text("#count") == "62 of 100,000 completions"
    assert page.count("*") < 3000
    assert page.said == []

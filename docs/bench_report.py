"""Measures `grpokit runs report` on a long run: writing the page, opening it, and filtering in it.

    python docs/bench_report.py [COMPLETIONS]

Makes a run of 100,000 completions of about 600 characters in a temporary folder, writes its page with
the command line in a process of its own, and opens it in a headless Chromium. Needs chromium and the
package playwright. The numbers of docs/reports.md come from it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GROUP, PROMPTS = 16, 8
WORDS = """so the sum of these two numbers is then we carry one and add three to get wait let me check
that again because twelve minus five equals seven therefore answer boxed first second digit multiply"""
READY = "#rollouts[data-state^=ready]"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def groups(count: int) -> Iterator[dict[str, Any]]:
    """Rollouts as a run saves them, with 2,000 questions that come again."""
    draw, words = random.Random(0), WORDS.split()  # noqa: S311  only texts to fill a page
    for number in range(count // GROUP):
        index = number % 2000
        rows = []
        for sample in range(GROUP):
            text = " ".join(draw.choices(words, k=draw.randint(40, 200)))
            right = float(draw.random() < number * GROUP / count)
            rewards = {"number": right, "format": float(draw.random() < 0.9)}
            row = {"sample": sample, "text": f"{text} {number}", "tokens": len(text) // 4}
            row |= {"finish": "stop", "rewards": rewards, "total": 0.9 * right}
            rows.append({**row, "advantage": right - 0.5, "kept": sample % 4 > 0})
        messages = [{"role": "user", "content": f"What is {index} + {index // 7}?"}]
        prompt = {"id": f"{index:016x}", "index": index, "messages": messages, "answer": str(index)}
        yield {"step": 1 + number // PROMPTS, "prompt": prompt, "completions": rows}


def make_run(folder: Path, count: int) -> Path:
    run = folder / "run"
    run.mkdir()
    rewards = "[{use: number, weight: 0.9}, {use: format, weight: 0.1, with: {boxed: true}}]"
    recipe = f"grpokit: 1\nrewards: {rewards}\neval: {{correct: number}}\n"
    (run / "recipe.yaml").write_text(recipe, "utf-8")
    (run / "plan.json").write_text('{"name": "long"}', "utf-8")
    with (run / "rollouts.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in groups(count))
    draw = random.Random(1)  # noqa: S311
    with (run / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for step in range(1, 1 + count // GROUP // PROMPTS):
            row = {
                "step": step,
                "reward": draw.random(),
                "entropy": 1 / step,
                "grad_norm": draw.random(),
            }
            file.write(
                json.dumps({**row, "seconds": {"generate": 2.0, "update": 1.0, "total": 3.1}})
                + "\n"
            )
    return run


def write_page(run: Path) -> dict[str, str]:
    command = [sys.executable, "-m", "grpokit", "runs", "report", str(run)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  this command line
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rollouts.jsonl": f"{(run / 'rollouts.jsonl').stat().st_size / 1e6:.0f} MB",
        "written in": f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of it on a processor",
        "memory while writing": f"{used.ru_maxrss / 1024:.0f} MiB",
        "page": f"{(run / 'report.html').stat().st_size / 1e6:.1f} MB",
    }


def open_page(page: Path) -> dict[str, str]:
    from playwright.sync_api import sync_playwright

    found: dict[str, str] = {}
    with sync_playwright() as driver:
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector(READY, state="attached", timeout=120_000)
        found["usable in the browser after"] = f"{time.perf_counter() - start:.1f} s"

        def measure(name: str, script: str) -> None:
            found[name] = f"{tab.evaluate(TIMED % script):.0f} ms"

        measure("filtered by steps and reward", "set('step-low', 100); set('total-low', 0.5)")
        measure("all of them again", "set('step-low', ''); set('total-low', '')")
        measure("sorted by reward", "[...document.querySelectorAll('#heads button')][2].click()")
        measure("text searched, first time", "set('text', 'therefore answer boxed')")
        measure("text searched again", "set('text', 'twelve minus')")
        browser.close()
    return found


TIMED = """
() => new Promise(done => {
  const area = document.querySelector('#rollouts'), form = document.querySelector('#filters').elements;
  const set = (name, value) => {
    form[name].value = value;
    form[name].dispatchEvent(new Event('input', {bubbles: true}));
  };
  const start = performance.now();
  let busy = false;
  new MutationObserver(() => {
    busy ||= area.dataset.state === 'busy';
    if (busy && area.dataset.state === 'ready') requestAnimationFrame(() => done(performance.now() - start));
  }).observe(area, {attributes: true});
  %s;
})
"""
"""Until the list is painted again; the 60 ms that the page waits for the next key are in it."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), count)
        print(f"{count:,} completions, {os.cpu_count()} cores")
        for name, value in {**write_page(run), **open_page(run / "report.html")}.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()

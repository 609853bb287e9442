"""Takes the picture of docs/reports.md: the top of a run's page in a headless Chromium, in light colours.

    python docs/report_picture.py RUN

Needs chromium and the package playwright.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench_report import ARGUMENTS, READY

PICTURE = Path(__file__).parent / "images" / "report.png"
WIDTH, CARDS = 1180, 7
"""Of the picture, and how many curves are in it."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    from playwright.sync_api import sync_playwright

    from grpokit.report.page import write_report

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page = Path(folder) / "report.html"
        write_report([Path(sys.argv[1])], page)
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        size = {"width": WIDTH, "height": 2000}
        tab = browser.new_page(viewport=size, color_scheme="light")
        tab.goto(page.as_uri())
        tab.wait_for_selector(READY, state="attached")
        last = tab.locator("figure.chart").nth(CARDS - 1).bounding_box()
        assert last is not None
        height = last["y"] + last["height"] + 7
        tab.screenshot(path=PICTURE, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        browser.close()
    print(f"written: {PICTURE}, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

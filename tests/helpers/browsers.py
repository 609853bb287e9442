"""A real headless browser, for pages that are files. Tests that need one skip where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Opened", "chromium", "open_page"]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
READY = "#rollouts[data-state^=ready]"


@dataclass
class Opened:
    """A page and everything that happened while it was open."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def settled(self) -> None:
        """Waits until the list shows what the filters ask for."""
        self.page.wait_for_selector(READY, state="attached")

    def fill(self, **values: object) -> None:
        """Fills controls of the filters, and waits for the list."""
        for name, value in values.items():
            control = self.page.locator(f"#filters [name={name.replace('_', '-')}]")
            if control.evaluate("e => e.tagName") == "SELECT":
                control.select_option(str(value))
            else:
                control.fill(str(value))
        self.settled()

    def choose(self, place: int) -> None:
        """Clicks a row of the list, and waits for the completion."""
        row = self.page.locator("#rows .row").nth(place)
        name = row.get_attribute("id")
        row.click()
        self.page.wait_for_selector(f"#detail[data-row='{name}']")

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, or a skip that says what is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if path is None:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any, path: Path, *, ready: str = READY, **settings: Any) -> Iterator[Opened]:
    """Opens a file and waits until ``ready`` is in it."""
    context = browser.new_context(**settings)
    opened = Opened(context.new_page())

    def dialog(found: Any) -> None:
        opened.dialogs.append(found.message)
        found.dismiss()

    opened.page.on("console", lambda each: opened.said.append(f"{each.type}: {each.text}"))
    opened.page.on("pageerror", lambda each: opened.said.append(f"error: {each}"))
    opened.page.on("request", lambda each: opened.asked.append(each.url))
    opened.page.on("dialog", dialog)
    try:
        opened.page.goto(path.as_uri())
        opened.page.wait_for_selector(ready, state="attached", timeout=20_000)
        yield opened
    finally:
        context.close()

"""Chromium, and what TensorBoard's pages show in it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pytest
from PIL import Image, ImageColor

T = TypeVar("T")

SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_GRAPH_NODES = """
    const names = [];
    const visit = root => {
      for (const element of root.querySelectorAll("*")) {
        if (element.matches("g.node")) names.push(element.getAttribute("data-name"));
        if (element.shadowRoot) visit(element.shadowRoot);
      }
    };
    visit(document);
    return names;
"""
PATIENCE = 60
"""Seconds until something must be seen."""


class Browser:
    """A headless Chromium with an empty profile in ``profile``."""

    def __init__(self, chromium: str, driver: str, profile: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for switch in (*SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(driver))

    def open(self, address: str, width: int, height: int) -> None:
        """Opens a page in a window whose inside has that size."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.get("about:blank")  # the same page with another fragment would stay as it is
        self.driver.get(address)

    def find(self, selector: str, parent: Any = None) -> list[Any]:
        """The elements that a CSS selector matches."""
        found: list[Any] = (parent or self.driver).find_elements("css selector", selector)
        return found

    def graph_nodes(self) -> set[str]:
        """The names of the nodes in the image of a graph, which is in shadow trees."""
        return set(self.driver.execute_script(_GRAPH_NODES))

    def text(self) -> str:
        """All that is to be read on the page."""
        text: str = self.driver.find_element("css selector", "body").text
        return text

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Returns the value of ``look()`` once it is neither None, False nor empty."""
        from selenium.common.exceptions import StaleElementReferenceException

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                seen = look()
            except StaleElementReferenceException:
                seen = None  # the page has just replaced it
            if seen:
                return seen
            assert time.monotonic() < deadline, f"not seen: {what}; but: {self.text()}"
            time.sleep(0.2)

    def screenshot(self, path: Path) -> None:
        """Saves what the window shows, once it stands still."""
        before = b""
        while (now := self.driver.get_screenshot_as_png()) != before:
            before = now
            time.sleep(0.5)
        Image.open(io.BytesIO(now)).convert("RGB").quantize(128).save(path, optimize=True)

    def complaints(self) -> list[str]:
        """Returns the errors that the page has reported since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE"]  # fmt: skip

    def quit(self) -> None:
        self.driver.quit()


class Row(NamedTuple):
    """The last value of a run, as the table below a chart has it."""

    value: float
    step: int


class TimeSeries:
    """TensorBoard's page "Time series" with the charts of some tags, unsmoothed and complete."""

    def __init__(self, browser: Browser, address: str, tags: list[str]) -> None:
        self._browser = browser
        pattern = "|".join(tags)
        browser.open(
            f"{address}?tagFilter=^({pattern})$&smoothing=0#timeseries", width=1500, height=620
        )
        browser.until(lambda: len(self.titles()) >= len(tags), f"charts of {tags}")
        self._show_outliers()
        browser.find("[aria-label='Toggle settings side pane']")[0].click()

    def _show_outliers(self) -> None:
        for box in self._browser.find("mat-checkbox"):
            if "outliers" in box.text:
                self._browser.find("input", box)[0].click()
                return
        pytest.fail("no setting for outliers")

    def titles(self) -> list[str]:
        """The tags that have a chart."""
        return [
            e.get_attribute("title") for e in self._browser.find("scalar-card tb-truncated-path")
        ]

    def _card(self, tag: str) -> Any:
        return self._browser.find("scalar-card")[self.titles().index(tag)]

    def rows(self, tag: str) -> dict[str, Row]:
        """The table below a chart, by run, as far as it is loaded."""
        _, _, table = self._card(tag).text.partition("Relative\n")
        cells = table.split("\n")
        return {
            run: Row(float(value), int(step.replace(",", "")))
            for run, value, step in zip(cells[::4], cells[1::4], cells[2::4], strict=False)
        }

    def drawn(self, tag: str) -> dict[str, int]:
        """Counts the columns of pixels of a chart that have the color of each run."""
        colors = {
            self._browser.find(".table-column-run", row)[0].text: color
            for row in self._browser.find("runs-data-table tb-data-table-content-row")
            for color in [_background(self._browser.find(".run-color-swatch", row)[0])]
        }
        png = self._browser.find(".series-view", self._card(tag))[0].screenshot_as_png
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int32)
        return {
            run: int((np.abs(pixels - color).max(2) < 40).any(0).sum())
            for run, color in colors.items()
        }


def _background(element: Any) -> np.ndarray[Any, Any]:
    _, _, color = element.get_attribute("style").partition("background: ")
    return np.array(ImageColor.getrgb(color.rstrip("; ")))

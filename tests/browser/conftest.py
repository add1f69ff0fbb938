"""The run to look at, TensorBoard and the browser: one of each for all tests here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.pages import Browser
from tests.integration.cluster import ENVIRONMENT, ROOT, eventually


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", help="the directory to save screenshots in")


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = request.config.getoption("--screenshots", default=None)
    return Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the directory of a run of the example as its users start it."""
    directory = tmp_path_factory.mktemp("run") / "model_dir"
    done = subprocess.run(
        [sys.executable, "examples/dogs_vs_cats.py", f"--model_dir={directory}"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"accuracy on the validation images: ([\d.]+)%", done.stdout)
    assert accuracy, done.stdout
    assert float(accuracy[1]) > 90
    return directory


@pytest.fixture(scope="session")
def tensorboard(model_dir: Path) -> Iterator[str]:
    """The address of ``tensorboard --logdir model_dir``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", f"--logdir={model_dir}", "--host=127.0.0.1",
         "--port=0"],
        env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        eventually(
            lambda: "TensorBoard" in "".join(lines) or process.poll() is not None,
            "TensorBoard says where it serves",
            90,
        )
        address = re.search(r"at (http://\S+) ", "".join(lines))
        assert address, "".join(lines)
        yield address[1]
    finally:
        process.terminate()
        process.wait(20)
        reader.join(5)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("selenium", reason="the extra `browser` is not installed")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no chromium and chromedriver: apt-get install chromium-driver")
    browser = Browser(*map(str, programs), tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()

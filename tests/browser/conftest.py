"""A real JupyterLab server and a real Chromium, for the tests of the lessons as students see them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("EDU_COMPRESS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class Lab:
    """A running JupyterLab server whose root is a copy of the lessons folder."""

    def __init__(self, folder: Path):
        shutil.copytree(LESSONS, folder / "lessons", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        config = folder / "config" / "labconfig"
        config.mkdir(parents=True)
        # the announcements extension asks the network for news and covers the page with a question
        disabled = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
        (config / "page_config.json").write_text(json.dumps(disabled))
        # draw all cells, not only those near the view: a widget is then on the page as soon as its cell has run
        tracker = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
        tracker.mkdir(parents=True)
        (tracker / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.token, self.url = "browser-test", f"http://127.0.0.1:{port}"
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
            f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={folder / 'lessons'}",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
        }
        self.log = open(folder / "jupyterlab.log", "w")  # noqa: SIM115 - closed in stop()
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        _wait_for(lambda: self.get("/api/status"), 60, "JupyterLab to start")

    def get(self, path: str):
        """Return the server's JSON answer, or None while it does not answer."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def kernel_idle(self) -> bool:
        sessions = self.get("/api/sessions")
        return bool(sessions) and all(session["kernel"]["execution_state"] == "idle" for session in sessions)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()


class Lesson:
    """One lesson, open in the browser."""

    def __init__(self, lab: Lab, page, name: str):
        self.lab, self.page = lab, page
        page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        _wait_for(lab.kernel_idle, 60, "the kernel to start")

    def run_all(self, seconds: float = 120) -> None:
        """Run all cells as a student does, and wait until the kernel has come to rest."""
        self.page.click("text=Run >> nth=0")
        self.page.click('[data-command="runmenu:run-all"]')
        _wait_for(lambda: self.pending() or not self.lab.kernel_idle(), 30, "the lesson to start running")
        quiet = 0  # the kernel is briefly idle between two cells
        start = time.monotonic()
        while quiet < 3:
            assert time.monotonic() - start < seconds, "the lesson did not finish in time"
            quiet = quiet + 1 if self.lab.kernel_idle() and not self.pending() else 0
            time.sleep(0.5)

    def pending(self) -> int:
        """Number of cells still waiting, which the notebook shows as [*]."""
        return self.page.locator(".jp-InputPrompt:has-text('[*]')").count()

    def errors(self) -> list[str]:
        """The tracebacks on the page."""
        selector = '.jp-OutputArea-output[data-mime-type^="application/vnd.jupyter."]'
        texts = self.page.locator(selector).all_inner_texts()
        return [text for text in texts if "Traceback (most recent call last)" in text]

    def show(self, selector: str):
        """Scroll to the first element that matches and return it."""
        element = self.page.locator(selector).first
        element.wait_for(state="attached", timeout=30_000)
        element.scroll_into_view_if_needed(timeout=30_000)
        return element


def _wait_for(condition, seconds: float, what: str) -> None:
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"Waited {seconds:.0f} s for {what}.")
        time.sleep(0.2)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    if chromium() is None:
        pytest.skip("no Chromium on this machine: browser tests skipped (Debian: apt-get install chromium)")
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser(lab):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_lesson(lab, browser):
    """Return a function that opens a lesson by file name."""
    pages = []

    def open_one(name: str) -> Lesson:
        pages.append(browser.new_page(viewport={"width": 1400, "height": 1000}))
        return Lesson(lab, pages[-1], name)

    yield open_one
    for page in pages:
        page.close()

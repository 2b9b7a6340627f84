"""A real JupyterLab server and a real Chromium, for the tests of the lessons as students see them."""

import collections
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

PATIENCE = 120  # seconds: two busy cores can be slow
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
        try:
            _wait_for(lambda: self.ask("/api/status"), "JupyterLab to start")
        except TimeoutError:
            self.stop()
            raise

    def ask(self, path: str, method: str = "GET"):
        """Return the server's JSON answer, or None while it does not answer (and when it has nothing to say)."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read() or "null")
        except OSError:
            return None

    def session(self, name: str) -> dict | None:
        """The session of a notebook: its kernel's state is in it; None if it has none."""
        return next((s for s in self.ask("/api/sessions") or [] if s["path"] == name), None)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Lesson:
    """One lesson, open in the browser."""

    def __init__(self, lab: Lab, page, name: str):
        self.lab, self.page, self.name = lab, page, name
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        _wait_for(self.idle, "the kernel to start")

    def idle(self) -> bool:
        """Whether this lesson's kernel is there and at rest."""
        session = self.lab.session(self.name)
        return session is not None and session["kernel"]["execution_state"] == "idle"

    def run_all(self, seconds: float = 120) -> None:
        """Run all cells as a student does, and wait until all have run or one has failed.

        The stored outputs and numbers are taken away first: what is on the page then comes from this run.
        """
        self._menu("Edit", "editmenu:clear-all")
        _wait_for(lambda: self.prompts() == {"[ ]:"}, "the stored outputs to go away")
        self._menu("Run", "runmenu:run-all")
        done = lambda: not self.prompts() & {"[ ]:", "[*]:"}  # noqa: E731
        _wait_for(lambda: done() or self.errors(), "the lesson to finish", seconds)

    def rest(self) -> None:
        """Wait until the kernel has had nothing to do for three seconds: between two moves it rests briefly."""
        _wait_for(_lasting(self.idle, looks=15), "the kernel to come to rest")

    def _menu(self, menu: str, command: str) -> None:
        self.page.locator(".lm-MenuBar-itemLabel", has_text=menu).first.click()
        self.page.locator(f'.lm-Menu [data-command="{command}"]').click()

    def prompts(self) -> set[str]:
        """What stands beside the code cells: "[ ]:" for one that has not run, "[*]:" for one that waits, "[7]:"."""
        cells = self.page.locator(".jp-CodeCell:has(.cm-line:not(:empty)) .jp-InputArea-prompt")
        return set(cells.evaluate_all("prompts => prompts.map(prompt => prompt.textContent.trim())"))

    def close(self) -> None:
        """Close the page and end the kernel, which would keep its memory."""
        session = self.lab.session(self.name)
        self.page.close()
        if session is not None:
            self.lab.ask(f"/api/sessions/{session['id']}", "DELETE")

    def errors(self) -> list[str]:
        """The tracebacks on the page."""
        selector = '.jp-OutputArea-output[data-mime-type^="application/vnd.jupyter."]'
        texts = self.page.locator(selector).all_inner_texts()
        return [text for text in texts if "Traceback (most recent call last)" in text]

    def show(self, selector: str):
        """Scroll to the first element that matches, wait until it no longer changes, and return it."""
        element = self.page.locator(selector).first
        element.wait_for(state="attached")
        element.scroll_into_view_if_needed()
        self.rest()
        shown = ""

        def unchanged() -> bool:
            nonlocal shown
            before, shown = shown, element.inner_html()
            return shown == before

        _wait_for(_lasting(unchanged, looks=8), f"{selector} to be drawn")
        return element


def _lasting(condition, looks: int):
    """A condition that holds once another one has held at so many looks in a row, five of them a second."""
    recent = collections.deque(maxlen=looks)

    def holds() -> bool:
        recent.append(condition())
        return len(recent) == looks and all(recent)

    return holds


def _wait_for(condition, what: str, seconds: float = PATIENCE) -> None:
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
    lessons = []

    def open_one(name: str) -> Lesson:
        lessons.append(Lesson(lab, browser.new_page(viewport={"width": 1400, "height": 1000}), name))
        return lessons[-1]

    yield open_one
    for lesson in lessons:
        lesson.close()

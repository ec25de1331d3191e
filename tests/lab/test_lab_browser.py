"""The lab as a reader uses it: JupyterLab in headless Chromium, the notebook run, a sentence typed,
a slider moved."""

import json
import os
import re
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import pytest

from lib.common.places import ROOT
from lib.report.page.pdf import QUIET, chromium
from tests.helpers import lab_outputs
from tests.helpers.project import copy_project

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = pytest.mark.skipif(not chromium(), reason="needs Chromium")

PATIENCE = 120  # seconds, for machines that do other things too
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {
        "windowingMode": "none"
    },  # every output is there, scrolled to or not
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on a free port, of a copy of the project with a small outputs folder: its
    address and its token."""
    home = tmp_path_factory.mktemp("home")
    project = copy_project(tmp_path_factory.mktemp("project"))
    lab_outputs.make(project / "outputs")
    places = {
        name: str(home / name)
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    for name, values in SETTINGS.items():
        package, _, plugin = name.replace(":", "/").rpartition("/")
        file = home / "JUPYTERLAB_SETTINGS_DIR" / package / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "notebooks/lab.ipynb",
        "--no-browser",
        "--allow-root",
        "--ServerApp.port=0",
    ]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=project,
            stdout=log,
            stderr=log,
            env=os.environ | places | {"PYTHONPATH": str(project)},
        )
    try:
        yield waited_for(lambda: answers(home / "JUPYTER_RUNTIME_DIR"), server, home / "log")
    finally:
        server.terminate()  # and with it its kernels
        server.wait(timeout=PATIENCE)


def answers(runtime) -> tuple[str, str] | None:
    """Address and token of the server that has noted its own in this folder, once it answers."""
    try:
        server = json.loads(next(runtime.glob("jpserver-*.json")).read_text())
        urlopen(
            Request(
                f"{server['url']}api/status", headers={"Authorization": f"token {server['token']}"}
            ),
            timeout=5,
        )
    except (StopIteration, OSError, ValueError):
        return None
    return server["url"], server["token"]


def waited_for(what, server, log):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        if result := what():
            return result
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def page(lab):
    """The lab notebook, all of its cells run."""
    address, token = lab
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=list(QUIET))
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        playwright.expect.set_options(timeout=1000 * PATIENCE)
        page.goto(f"{address}lab/tree/lab.ipynb?token={token}")
        playwright.expect(page.locator(".jp-CodeCell")).to_have_count(len(code_cells()))
        page.get_by_text(
            re.compile(r"Python 3.* \| Idle")
        ).wait_for()  # earlier, what is asked of the kernel is lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        numbered = page.locator(".jp-CodeCell .jp-InputPrompt", has_text=re.compile(r"^\[\d+\]:$"))
        playwright.expect(numbered).to_have_count(len(code_cells()))
        yield page
        browser.close()


def code_cells() -> list:
    cells = json.loads((ROOT / "notebooks/lab.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def control(page, section: str, label: str):
    """A control by the heading it stands under and its name."""
    cell = page.locator(".jp-MarkdownCell", has=page.get_by_role("heading", name=section)).locator(
        "xpath=following-sibling::*[1]"
    )
    return cell, cell.locator(
        ".jupyter-widgets", has=page.locator(f"label:text-is('{label}')")
    ).last


def test_every_cell_shows_its_widget_once_and_no_error(page):
    assert (
        page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count()
        == 0
    )
    assert page.get_by_text("What each model would put into the blank").count() == 1
    assert page.get_by_text("The losses at T = 2.", exact=True).count() == 1
    for name in ("Students", "Mapping", "Temperature", "Protocol", "Name"):
        playwright.expect(page.locator(f"label:text-is('{name}')")).to_be_visible()


def test_a_sentence_typed_is_filled_in(page):
    cell, sentence = control(page, "Fill the blank", "Sentence")
    strip = cell.locator("figure.figure svg")
    before = strip.inner_html()
    sentence.locator("input").fill("a _ <b> _")
    sentence.locator("input").press("Enter")
    playwright.expect(
        cell.get_by_text("What each model would put into blank 2 of 2")
    ).to_be_visible()
    assert strip.inner_html() != before and cell.locator(".widget-html b").count() == 0


def test_the_temperature_moved_moves_the_losses(page):
    cell, slider = control(page, "Losses", "Temperature")
    total, drawing = (
        cell.locator("figure.table tbody tr:last-child td:last-child"),
        cell.locator("figure.figure svg"),
    )
    before = total.inner_text(), drawing.inner_html()
    slider.locator(".noUi-handle").press("ArrowRight")
    playwright.expect(cell.get_by_text("The losses at T = 2.25.")).to_be_visible()
    assert total.inner_text() != before[0] and drawing.inner_html() != before[1]

"""The lab's notebook: committed clean, run by papermill, and as a page that runs nothing."""

import nbformat
import papermill

from lib.common.places import ROOT
from lib.report.page import render
from lib.report.page.render import external_references
from tests.helpers import lab_outputs
from tests.helpers.project import copy_project

NOTEBOOK = ROOT / "notebooks" / "lab.ipynb"


def test_it_is_committed_stripped_and_thin():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell["id"] for cell in cells] == [f"lab-{number:02d}" for number in range(len(cells))]
    for cell in cells:
        if cell.cell_type == "code":
            assert (
                not cell.outputs
                and cell.execution_count is None
                and len(cell.source.splitlines()) <= 20
            )
            assert not any(line.startswith(("def ", "class ")) for line in cell.source.splitlines())


def test_its_parameters_are_in_one_cell_and_each_is_used():
    cells = [
        cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"
    ]
    (tagged,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged is cells[0]
    names = {line.split(" = ")[0] for line in tagged.source.splitlines()}
    assert names == set(papermill.inspect_notebook(str(NOTEBOOK))) == {"scale", "guesses"}
    later = "\n".join(cell.source for cell in cells[1:])
    assert all(f"{name}={name}" in later for name in names)


def test_a_page_shows_the_static_view_of_each_widget_once(tmp_path, monkeypatch):
    project, done = copy_project(tmp_path / "project"), tmp_path / "lab.ipynb"
    lab_outputs.make(project / "outputs")
    monkeypatch.setenv("PYTHONPATH", str(project))
    papermill.execute_notebook(
        str(project / "notebooks/lab.ipynb"),
        str(done),
        cwd=str(project / "notebooks"),
        parameters={"scale": "smoke", "guesses": 3},
        kernel_name="python3",
        progress_bar=False,
    )
    render.render(done, done.with_suffix(".html"), "The lab")
    page = done.with_suffix(".html").read_text(encoding="utf-8")
    assert external_references(page) == [] and "<script" not in page
    once = (
        "What has run.",
        "What each model would put into the blank",
        "Distance of each student",
        "Head 1 of layer 1",
        "Linear CKA of the hidden outputs",
        "The losses at T = 2",
        "Scores in percent by scenario",
        "An entry of your own for herbert",
    )
    assert {text: page.count(text) for text in once} == dict.fromkeys(once, 1)
    assert page.count("<svg") == 5 and 'class="plain"' not in page and 'class="error"' not in page
    assert (
        page.count(
            "Will run distillation: truncated, layers alternate; 5 soft + 2 mlm + 1 cosine; 4 steps"
        )
        == 1
    )
    assert 'role="alert"' not in page

"""The analysis notebook, its cells run on made-up results: any choice of studies gives a page
without empty sections."""

import ast
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_output

from lib.common.places import ROOT
from lib.report import bench, results, section, stages
from lib.report.declaration import from_files
from lib.report.page import render, show
from lib.report.page.render import external_references
from lib.runner import stage
from lib.studies import registry
from tests.helpers import made_up
from tests.helpers.papers_claims import BY_STUDY
from tests.report.test_tables import results as results_of_mine
from tests.studies.test_herbert import efficiency as herbert_efficiency
from tests.studies.test_herbert import made_up as herbert_results

SECTIONS = {
    "herbert": "Distillation of HerBERT",
    "transfer_set": "Transfer sets: how much text, and of what kind",
    "ablation": "DistilBERT: what each loss is worth",
    "cascade": "Cascades: a multilingual teacher, one layer less at a time",
}
STATISTICS = {"bytes": 2e6, "sequences": 100, "tokens": 4_000_000, "words": 900, "lines": 90}


class Found:
    """Gathered results, made up: `scores` by study."""

    def __init__(self, scores: dict):
        self.folder, self.made_up = ROOT / "outputs" / "none", scores
        self.stages, self.repeats = {}, {}
        self.studies = list(scores)

    def scores(self):
        return pd.concat(self.made_up.values())

    def efficiency(self, latency):
        frames = [herbert_efficiency()] if "herbert" in self.made_up else []
        frames += [made_up.efficiency(s, made_up.TRANSFER) for s in self.made_up if s != "herbert"]
        return pd.concat(frames).reindex(columns=made_up.EFFICIENCY)

    models, is_toy = results.Results.models, results.Results.is_toy

    def by_scenario(self, kind, study=None):
        return (
            {"corpus_corpus10pct": {"statistics": STATISTICS}}
            if kind == "data_prep" and study == "transfer_set"
            else {}
        )

    def curves(self, study):
        rows = [("triple", step, "loss", 1 / (step + 1)) for step in range(5)]
        return pd.DataFrame(rows, columns=["scenario", "step", "component", "value"])

    def epochs(self, study):
        return herbert_results()[1]

    def corpora(self, study):
        return pd.DataFrame({"transfer": ["1"]}, index=pd.Index(["lines"], name="statistic"))

    def components(self, study):
        rows = [
            {"when": when, "component": "soft", "weight": 5, "value": 2.5, "gradient_norm": 0.125}
            for when in ("first step", "last step")
        ]
        return pd.concat({"triple": stages.components(rows)}, names=["model"])

    def outcomes(self):
        return pd.DataFrame(columns=[*results.RESULTS, results.EXAMPLES])

    def distinct(self):
        spent = {
            "tokens_seen": 90,
            "train_seconds": 2.0,
            "padding_share": 0.1,
            "waiting_share": 0.01,
        }
        tuned = {
            "stage": "finetune",
            "stage_seconds": 3.0,
            "summary": spent,
            "parameters": {"model": "S0", "output_dir": "S0/finetune"},
            "scores": [],
        }
        return [("herbert", tuned)]

    def with_other_stages(self, models):
        return models

    def write(self, *_, **frames):
        self.written = frames


def run(monkeypatch, tmp_path, scores: dict, studies: list[str]) -> str:
    """The notebook's page for these studies, and nothing on disk outside tmp_path."""
    monkeypatch.setattr(section, "Results", lambda *_: Found(scores))
    monkeypatch.setattr(section, "latency", lambda models: {})
    monkeypatch.setattr(bench, "FOLDER", tmp_path)  # as on a machine where no benchmark ran
    monkeypatch.setattr(bench, "read", lambda: None)
    monkeypatch.setattr(stage, "finish", lambda *_: None)
    notebook = nbformat.read(ROOT / "notebooks" / "6_analysis.ipynb", as_version=4)
    shown: list = []
    names = {"display": lambda *objects: shown.extend(objects)}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown.clear()
            execute(cell.source, names, shown)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"studies": studies, "output_dir": str(tmp_path / "analysis")}
            cell.outputs = [output(thing) for thing in shown if thing is not None]
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    render.render(path, tmp_path / "report.html", "report")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def execute(source: str, names: dict, shown: list) -> None:
    """Run a cell; what its last line evaluates to is shown, as in a notebook."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last:
        shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))


def output(thing):
    data = (
        {"text/html": thing.data}
        if hasattr(thing, "_repr_html_")
        else {"text/markdown": getattr(thing, "data", "")}
    )
    return new_output("display_data", data={"text/plain": "", **data})


SCORES = {
    "herbert": herbert_results()[0],
    "transfer_set": made_up.transfer_set(),
    "ablation": made_up.ablation(),
}


@pytest.mark.parametrize(
    "studies",
    [["herbert"], ["transfer_set"], ["ablation"], ["herbert", "transfer_set", "ablation"]],
    ids=" ".join,
)
def test_the_page_has_the_sections_of_the_studies_that_ran(monkeypatch, tmp_path, studies):
    page = run(monkeypatch, tmp_path, {study: SCORES[study] for study in studies}, studies)
    for study, title in SECTIONS.items():
        assert (f">{title}</h2>" in page) == (study in studies), study
    assert external_references(page) == [] and not re.search(r">nan\b|[\[ (]nan[\], )]|None", page)
    headings = re.split(r"<h[23] ", page)[1:]
    empty = [
        part
        for part in headings
        if not re.search("<table|<svg|<p>", part) and ">Appendix<" not in part
    ]
    assert empty == []
    claims = len(re.findall(r"<td[^>]*>00[0124], ", page))
    assert claims == sum(len(BY_STUDY[study]) for study in studies)


def test_a_study_with_few_of_its_scenarios_still_gives_a_page(monkeypatch, tmp_path):
    few = {
        "transfer_set": made_up.transfer_set({"corpus1pct": (70, None)}, seeds=1),
        "ablation": made_up.ablation({"without_mlm": 70}, seeds=1),
    }
    page = run(monkeypatch, tmp_path, few, list(few))
    assert "Not measured" in page and "–" in page and "Traceback" not in page
    assert not re.search(r">nan\b|[\[ (]nan[\], )]|None", page)


def test_a_study_that_was_asked_for_and_has_nothing_still_gives_a_page(monkeypatch, tmp_path):
    page = run(monkeypatch, tmp_path, {"herbert": SCORES["herbert"]}, list(SECTIONS))
    assert page.count("Not measured") >= 10


def test_a_page_of_an_own_study_speaks_of_no_claims_and_no_papers(
    monkeypatch, tmp_path, own_params
):
    """Also one that shows a figure of its own, and so has code."""
    own = SimpleNamespace(
        declared=lambda: replace(from_files("mine"), section=lambda _: [show.prose("My figure.")])
    )
    monkeypatch.setitem(registry.WITH_CODE, "mine", own)
    (own_params / "mine").mkdir()
    scenarios = "{S3: {weight_soft: 1}, S2: {weight_mlm: 1}, truncated: {label: control}}"
    questions = "[{title: What imitation buys, better: S3, worse: S2}]"
    text = f"title: Mine\nscenarios: {scenarios}\nquestions: {questions}\n"
    (own_params / "mine/scenarios.yaml").write_text(text)
    (own_params / "mine/tiny.yaml").write_text("teachers: {teacher: {hub: a/b}}")
    page = run(monkeypatch, tmp_path, {"mine": results_of_mine()}, ["mine"])
    soup = BeautifulSoup(page, "html.parser")
    for other in soup(["style", "svg", "pre"]):
        other.decompose()
    text = soup.get_text(" ")
    assert "What imitation buys (S3 against S2)" in text and "My figure." in text
    advice = text[text.rindex("If you distill tomorrow") :]
    assert re.search(r"What imitation buys\.\s+Prefer\s+S3\s+to\s+S2", advice)
    assert not re.findall("(?i).*(?:claim|paper|source|diamond).*", text)


CELLS = json.loads((ROOT / "notebooks" / "6_analysis.ipynb").read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_short_and_knows_no_study_in_its_code():
    assert len(CELLS) <= 30
    for cell in CELLS:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "parameters" not in tags:
            assert len(source.splitlines()) <= 15 and 'if "' not in source


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("[1-5]_*.ipynb")))
def test_the_cells_of_the_other_notebooks_are_shorter(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            assert len("".join(cell["source"]).splitlines()) <= 12


def test_every_section_of_a_study_is_tagged():
    """So that the page leaves out what did not run."""
    assert list(SECTIONS) == list(registry.WITH_METHOD)
    for study, title in SECTIONS.items():
        own = [cell for cell in CELLS if cell["metadata"].get("tags") == [f"study:{study}"]]
        assert "".join(own[0]["source"]).startswith(f"## {title}\n")
        assert "".join(own[1]["source"]) == f'display(*section.section(analysis, "{study}"))'
        assert registry.declared([study])[study].title == title

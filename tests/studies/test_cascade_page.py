"""The analysis notebook's cells about cascades, run on made-up results."""

import re

import pytest

from tests.helpers.made_up import NO_RESULTS, XNLI
from tests.helpers.papers_claims import BY_STUDY
from tests.report import test_analysis
from tests.studies.test_cascade import history, mixture, toy


class Found(test_analysis.Found):
    """Gathered results with a cascade's training and corpus."""

    def by_scenario(self, kind, study=None):
        if (kind, study) == ("cascade_ta", "cascade"):
            teacher = "outputs/tiny/cascade/teacher/teacher_continuation/model"
            return {
                "cascade-5": {
                    "history": history(5, 9),
                    "parameters": {"teacher": teacher},
                    "summary": {"steps": 9},
                }
            }
        if (kind, study) == ("data_prep", "cascade"):
            return {"corpus_corpus": {"statistics": mixture([f"toy-{code}" for code in XNLI])}}
        return super().by_scenario(kind, study)


@pytest.mark.parametrize("scores", [toy(), toy({"cascade-5": (60,) * 6}, seeds=1)])
def test_the_page_has_the_cascades_section(monkeypatch, tmp_path, scores):
    monkeypatch.setattr(test_analysis, "Found", Found)
    page = test_analysis.run(monkeypatch, tmp_path, {"cascade": scores}, ["cascade"])
    assert (
        ">Cascades: a multilingual teacher, one layer less at a time</h2>" in page
        and "Traceback" not in page
    )
    assert not re.search(r">nan\b|[\[ (]nan[\], )]|None", page) and page.count("<math") >= 8
    headings = re.split(r"<h[23] ", page)[1:]
    assert [
        part
        for part in headings
        if not re.search("<table|<svg|<p>", part) and ">Appendix<" not in part
    ] == []
    assert len(re.findall(r"<td[^>]*>004, ", page)) == len(BY_STUDY["cascade"])


def test_the_page_without_anything_measured(monkeypatch, tmp_path):
    page = test_analysis.run(monkeypatch, tmp_path, {"cascade": NO_RESULTS}, ["cascade"])
    assert page.count("Not measured") >= 6 and "Traceback" not in page

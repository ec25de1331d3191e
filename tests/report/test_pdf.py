"""The report on paper, and what `make report FORMAT=…` refuses before anything is computed."""

import re

import pytest

from lib.common.errors import InputError
from lib.report.page import pdf
from tests.helpers.project import copy_project, needs_environment, run_make

PAGE = (
    "<!DOCTYPE html><html><head><meta "
    "charset='utf-8'><title>t</title></head><body><h1>One</h1><p>page</p></body></html>"
)


@pytest.mark.parametrize("format", ["doc", "PDF", "", "html pdf"])
def test_another_format_is_refused_with_what_is_allowed(format, capsys):
    assert pdf.main([format]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"FORMAT={format}: allowed are html, pdf" in said


def test_html_needs_no_browser(monkeypatch, capsys):
    monkeypatch.setattr(pdf, "chromium", lambda: None)
    assert pdf.main(["html"]) == pdf.main(["html", "report.html"]) == 0 and capsys.readouterr() == (
        "",
        "",
    )


def test_without_a_browser_the_error_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(pdf, "chromium", lambda: None)
    assert pdf.main(["pdf"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: FORMAT=pdf prints with Chromium") and said.count("\n") == 1
    with pytest.raises(InputError, match="chromium-browser"):
        pdf.write(tmp_path / "a.html", tmp_path / "a.pdf")


def test_a_browser_that_prints_nothing_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf, "chromium", lambda: "/bin/false")
    with pytest.raises(InputError, match="did not print it: exit code 1"):
        pdf.write(tmp_path / "a.html", tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not pdf.chromium(), reason="no Chromium")
def test_a_page_is_printed_beside_itself(tmp_path, capsys):
    (tmp_path / "report.html").write_text(PAGE, encoding="utf-8")
    assert (
        pdf.main(["pdf", str(tmp_path / "report.html")]) == 0
        and "report.pdf" in capsys.readouterr().out
    )
    made = (tmp_path / "report.pdf").read_bytes()
    assert made.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", made)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.pdf"]


@needs_environment
def test_make_refuses_a_format_before_it_plans_anything(tmp_path):
    project = copy_project(tmp_path / "project")
    done = run_make(project, "report", "FORMAT=doc", "SCALE=nowhere")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode and said == ["error: FORMAT=doc: allowed are html, pdf"]
    assert not (project / "outputs").exists()

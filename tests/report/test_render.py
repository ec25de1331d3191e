"""One executed notebook becomes one page that needs nothing else."""

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib.common.errors import InputError
from lib.report.figures import DIAMOND
from lib.report.page import pdf, render, show
from lib.report.wording import plain, quoted

FORMULAS = r"""## The loss

With $p_i(T) = \operatorname{softmax}(z_i / T)$ and `echo $HOME $PATH`:

$$
\mathcal{L} = \alpha\,T^2 \frac{1}{n}\sum_{i=0}^{n} \mathrm{KL}(p^{\mathrm{t}} \,\|\, p^{\mathrm{s}})
  + \lVert h^S - \tfrac12 (h^T_j + h^T_{j+1}) \rVert_2^2 \quad \text{for all } i < n
$$

See [Table](#scores), [Figure](#curve) and [Sanh et al.](https://arxiv.org/abs/1910.01108).

### Again

| a | b |
|---|--:|
| x | $\frac{a}{b}$ |

## The loss
"""


def result(html=None, **data):
    if html is not None:
        data["text/html"] = html
    return new_output("execute_result", data={"text/plain": "plain", **data})


def cell(source="x", outputs=(), tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def sample():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        sheet = show.style().data
        drawings = []
        for name in ("curve", ""):
            fig, ax = plt.subplots()
            ax.plot([1, 2], [1, 2], **DIAMOND)
            drawings.append(show.figure(fig, f"A figure {name}", "A rising line", name=name).data)
    frame = pd.DataFrame({"text": ["<script>alert(1)</script> & <b>"], "paper": [84.7]})
    wide = pd.DataFrame({f"column {i}": [1234567.0] for i in range(30)})
    widget = {
        "application/vnd.jupyter.widget-view+json": {
            "model_id": "m",
            "version_major": 2,
            "version_minor": 0,
        }
    }
    return new_notebook(
        cells=[
            cell("scale = 'tiny'  # costs $5 or $6", tags=["parameters"]),
            cell("scale = 'smoke'", tags=["injected-parameters"]),
            cell("show.style()", [result(sheet)]),
            new_markdown_cell(FORMULAS),
            cell(
                outputs=[
                    result(
                        show.table(frame, "Scores at $T = 2$", theirs=["paper"], name="scores").data
                    )
                ]
            ),
            cell(outputs=[result(frame.to_html())]),
            cell(outputs=[result(drawings[0]), result(drawings[1])]),
            cell(outputs=[result(show.table(wide, "Wide").data)]),
            cell(
                "df[['a']]",
                [
                    new_output("stream", name="stdout", text="printed <b>\r"),
                    new_output("stream", name="stderr", text="a warning"),
                ],
            ),
            cell(outputs=[result(**{"text/markdown": "A gap of **3** at $T$"})]),
            cell(outputs=[result(**widget)]),
            cell(
                "print('aside')", [new_output("stream", name="stdout", text="aside")], tags=["hide"]
            ),
            cell(
                outputs=[
                    new_output(
                        "error",
                        ename="InputError",
                        evalue="bad",
                        traceback=["InputError: T must be > 0"],
                    )
                ]
            ),
        ]
    )


def page_of(folder: Path, nb) -> str:
    nbformat.write(nb, folder / "in.ipynb")
    render.render(folder / "in.ipynb", folder / "out" / "report.html", "Distilling <BERT>")
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder, sample())


def test_the_page_stands_alone(page, folder):
    assert render.external_references(page) == [] and render.dangling_anchors(page) == []
    assert "http" not in page and "<script" not in page and " onload" not in page
    assert len(page) < 150_000
    assert [path.name for path in (folder / "out").iterdir()] == [
        "report.html"
    ]  # nothing left aside


def test_formulas_are_mathml(page):
    assert page.count("<math") == 5 and "<mfrac>" in page and "<mtext>KL</mtext>" in page
    assert not any("\\" in formula for formula in re.findall(r"<math.*?</math>", page, re.DOTALL))
    assert "<code>echo $HOME $PATH</code>" in page and "$5 or $6" in page
    assert "A gap of <strong>3</strong> at <math" in page and "Scores at <math" in page


@pytest.mark.parametrize(
    "formula, said",
    [
        (r"\label{a} x", r"\label"),
        (r"\foo", r"\foo"),
        (r"\frac{a", "formula"),
        (r"\begin{aligned}a&=b\end{aligned}", "aligned"),
    ],
)
def test_a_formula_that_cannot_be_typeset_is_an_error(formula, said):
    with pytest.raises(InputError, match=re.escape(said)):
        render.mathml(formula)


def test_tables_and_figures_are_numbered_and_referred_to(page):
    assert re.findall(r"<b>(\w+ \d)\.</b>", page) == ["Table 1", "Figure 1", "Figure 2", "Table 2"]
    assert (
        '<a href="#scores">Table\u00a01</a>' in page
        and '<a href="#curve">Figure\u00a01</a>' in page
    )
    assert (
        'id="figure-2"' in page
        and 'Sanh et al. <span class="address">(arxiv.org/abs/1910.01108)</span>' in page
    )


def test_contents_lead_to_headings_with_ids_of_their_own(page):
    listed = re.findall(r'<li class="level\d"><a href="#([^"]*)">', page)
    assert (
        listed == ["The-loss", "Again", "The-loss-2"] * 3
    )  # beside the text, above it on a phone, and on paper
    assert all(page.count(f'id="{anchor}"') == 1 for anchor in listed)


def test_cells_stay_text(page):
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;") == 2
    assert "printed &lt;b&gt;" in page and "<title>Distilling &lt;BERT&gt;</title>" in page
    assert "<h1" in page and "Distilling &lt;BERT&gt;</h1>" in page


def test_code_and_print_are_folded_and_errors_are_not(page):
    for summary in (
        "code",
        "parameters and their defaults",
        "parameters of this run",
        "printed output",
        "log",
        "details",
    ):
        assert f"<summary>{summary}</summary>" in page
    assert "open" not in re.findall(r"<details[^>]*>", page)
    assert '<pre class="error">InputError: T must be &gt; 0</pre>' in page
    assert "data-for" not in page  # the lab's copy of the stylesheet


def test_code_stands_behind_what_it_shows_and_silent_code_last(page):
    assert page.index("Scores at") < page.index("<summary>code</summary>")
    assert page.index("A gap of") < page.index("<summary>parameters and their defaults</summary>")


def test_sentences_from_data_are_text_and_the_papers_numbers_marked(tmp_path):
    said = f"{plain('<script>1</script> & $x$ *b* [a](#b)')} is 3 % above {quoted('−2.9')}"
    page = page_of(
        tmp_path, new_notebook(cells=[cell(outputs=[result(**{"text/markdown": said})])])
    )
    assert (
        "<script" not in page
        and "&lt;script&gt;1&lt;/script&gt; &amp; $x$ *b* [a](#b) is 3\u00a0% above" in page
    )
    assert re.search(r"<em[^>]*>−2.9</em>†", page)


def test_a_widget_shows_its_plain_text(page):
    assert '<pre class="plain">plain</pre>' in page and "widget" not in page


@pytest.mark.parametrize(
    "html, found",
    [
        ('<img src="https://a.b/c.png">', "https://a.b/c.png"),
        ('<img src="//a.b/c.png">', "//a.b"),
        ('<img src="beside.png">', "beside.png"),
        ('<a href="https://a.b">x</a>', "https://a.b"),
        ("<script>1</script>", "<script>"),
        ('<link rel="x">', "<link>"),
        ("<iframe></iframe>", "<iframe>"),
        ("<style>@import 'x.css';</style>", "@import"),
        ("<style>a{b:url( 'http://x')}</style>", "http://x"),
        ('<p style="background:url(//x)">', "//x"),
        ('<p onclick="f()">', "onclick"),
    ],
)
def test_what_leads_outside_is_found_and_refused(html, found, tmp_path):
    assert any(found in reference for reference in render.external_references(html))
    with pytest.raises(InputError, match="stand alone"):
        page_of(tmp_path, new_notebook(cells=[cell(outputs=[result(html)])]))
    assert not (tmp_path / "out").exists()


def test_what_stays_inside_is_not(page):
    assert not render.external_references(
        '<a href="#x"></a><img src="data:image/png;base64,AA"><p>http://x.y</p>'
        '<style>a{b:url(#c)}</style><pre>&lt;script src="http://x"&gt;</pre>'
    )


def test_a_link_to_nowhere_is_refused(tmp_path):
    with pytest.raises(InputError, match="#nowhere"):
        page_of(tmp_path, new_notebook(cells=[new_markdown_cell("[Table](#nowhere)")]))


@pytest.mark.skipif(not pdf.chromium(), reason="no Chromium")
def test_no_width_overflows_and_nothing_complains(page, folder):
    sync_api = pytest.importorskip("playwright.sync_api")
    complaints = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=pdf.chromium(), args=list(pdf.QUIET))
        for width in (420, 1400):
            view = browser.new_page(viewport={"width": width, "height": 900})
            view.on("console", lambda message: complaints.append(message.text))
            view.on("pageerror", lambda error: complaints.append(str(error)))
            view.on(
                "request",
                lambda request: (
                    complaints.append(request.url) if "file:" not in request.url else None
                ),
            )
            view.goto((folder / "out" / "report.html").as_uri())
            scroll, client = view.evaluate(
                "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
            )
            assert scroll <= client == width
            assert view.locator("nav.beside").is_visible() == (width == 1400)
            assert view.locator("details.contents").is_visible() == (width == 420)
        browser.close()
    assert complaints == []


@pytest.mark.skipif(not pdf.chromium(), reason="no Chromium")
def test_it_prints(page, folder):
    pdf.write(folder / "out" / "report.html", folder / "report.pdf")
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")

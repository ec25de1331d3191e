"""The whole report in headless Chromium: widths, light and dark, contents, labels, and on paper."""

import re

import pytest

from lib.report.page import pdf
from lib.report.page.render import dangling_anchors, external_references
from tests.helpers.whole_report import page as made_page

WIDTHS = (1400, 420)
PAPER = 672
"""Pixels between the margins of an A4 page."""
CONTRAST = """(selector) => {
  const numbers = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith('color(') ? found.map((v, i) => (i < 3 ? v * 255 : v)) : found;
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(numbers(getComputedStyle(document.body).backgroundColor));
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return [...document.querySelectorAll(selector)].map((element) => {
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    return [ratio(light(numbers(colour)), ground), (element.textContent || element.tagName).trim().slice(0, 40)];
  });
}"""
LABELS = """() => [...document.querySelectorAll('figure.figure svg')].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll('text')].map((text) => [text.textContent.trim(), text.getBoundingClientRect()]);
  const clash = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  return boxes.flatMap(([text, box], i) => boxes.slice(i + 1)
    .filter(([other, its]) => text && other && clash(box, its)).map(([other]) => `${text} / ${other}`));
})"""

BEYOND = """([selector, width]) => [...document.querySelectorAll(selector)]
  .filter((e) => e.getClientRects().length && e.getBoundingClientRect().right > width + 1)
  .map((e) => `${e.tagName} ${e.closest('figure')?.id} ${e.textContent.slice(0, 40)}`)"""
"""Shown elements that reach further right than a width."""

needs_browser = pytest.mark.skipif(not pdf.chromium(), reason="no Chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole_report")


@pytest.fixture(scope="module")
def html(folder):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return made_page(monkeypatch, folder)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=pdf.chromium(), args=list(pdf.QUIET))
        yield browser
        browser.close()


@pytest.fixture
def view(browser, html, folder, request):
    """The page at a width and in a scheme; afterwards there must have been no complaint and no
    request but the file's own."""
    width, scheme = getattr(request, "param", (1400, "light"))
    page, complaints = (
        browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme),
        [],
    )
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            complaints.append(asked.url) if asked.url != (folder / "report.html").as_uri() else None
        ),
    )
    page.goto((folder / "report.html").as_uri())
    yield page
    page.close()
    assert complaints == []


def at(*schemes):
    return pytest.mark.parametrize(
        "view", [(width, scheme) for width in WIDTHS for scheme in schemes], indirect=True
    )


# --- without a browser ----------------------------------------------------------------------------


def test_text_out_of_data_is_text(html):
    assert "<script" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $x$ *b*" in html
    assert (
        external_references(html) == [] and dangling_anchors(html) == [] and len(html) < 5_000_000
    )
    for place in (
        r"<dd>[^<]*",
        r'<th [^>]*scope="row">',
        r"<td[^>]*>[^<]*",
        r"<text [^>]*>",
        r"<p>[^\n]*",
        r'<th scope="col"[^>]*>',
    ):
        assert re.search(
            place + r"&lt;script&gt;alert\(1\)&lt;/script&gt; &amp; \$x\$ \*b\*", html
        ), place


def test_it_opens_with_what_was_run_the_claims_and_the_trade_off(html):
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", html)
    assert (
        headings[:2] == ["Claims at a glance", "What a smaller model keeps"]
        and headings[-1] == "Appendix"
    )
    opening = html[html.index("</h1>") : html.index("<h2")]
    for fact in ("Scale", "Models", "Hardware", "Versions", "Date", "Cost"):
        assert f"<dt>{fact}</dt>" in opening
    before = re.sub(r'<details class="contents">.*?</details>', "", opening, flags=re.DOTALL)
    assert "<details" not in before[: before.index("How sure it is")], (
        "no code before the first results"
    )
    first = re.search(r'<figure class="(\w+)[^"]*" id="([^"]*)">', html)
    assert first[1] == "table" and html.index(
        '<figure class="figure" id="tradeoff">'
    ) == html.index('<figure class="figure"')


def test_each_study_goes_from_method_to_what_it_says(html):
    main = html[html.index("<main>") : html.index(">Appendix</h2>")]
    sections = re.split(r"<h2 ", main)[3:]
    studies = [part for part in sections if "<strong>Method.</strong>" in part]
    assert len(studies) == 4
    for part in studies:
        marks = ("Method.", '<figure class="table', "<svg")
        order = [part.index(mark) for mark in marks]
        assert sorted(order) == order and ": results</h3>" in part
        says = re.search(r"<h3[^>]*>[^<]*: what (it|they) says?</h3>", part)
        assert order[-1] < says.start()
    assert main.index("How students are trained") < main.index("<math")


def test_tables_can_be_copied_and_read_aloud(html):
    assert "<img" not in html
    assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", html))
    pictures = re.findall(r"<svg[^>]*>", html)
    assert len(pictures) > 10 and all(
        'role="img"' in svg and re.search(r'aria-label="[^"]{15,}"', svg) for svg in pictures
    )


def test_the_papers_numbers_are_marked_everywhere(html):
    assert re.search(r'<em class="theirs">[−+\d.]+</em>†', html)
    assert '<small class="mark">paper</small>' in html
    assert not re.search(r"[Tt]he paper prints [−+\d]", html)


# --- in the browser -------------------------------------------------------------------------------


@needs_browser
@at("light")
def test_nothing_overflows(view):
    width = view.viewport_size["width"]
    scroll, client = view.evaluate(
        "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
    )
    assert scroll <= client == width
    # What is wider than the column scrolls inside it, never under the page's edge.
    assert (
        view.evaluate(
            BEYOND,
            [
                "main p, main li, main dd, main "
                "figcaption, main h1, main h2, main h3, main .scroll",
                width,
            ],
        )
        == []
    )


@needs_browser
@at("light")
def test_labels_of_figures_do_not_overlap(view):
    assert view.evaluate(LABELS) == []


@needs_browser
@at("light", "dark")
def test_text_stands_out_from_its_ground(view):
    for selector, least in (
        ("main p, main li, main dd, main td, main th, main h1, main h2, main h3, figcaption", 4.5),
        ("nav a, summary, .note, .theirs, .mark", 4.5),
        ("figure.figure svg text", 3.8),  # the papers' grey is the same in light and dark
    ):
        faint = [found for found in view.evaluate(CONTRAST, selector) if found[0] < least]
        assert faint == []


@needs_browser
def test_dark_is_dark(browser, html, folder):
    seen = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto((folder / "report.html").as_uri())
        colours = "(e => [e.backgroundColor, e.color])(getComputedStyle(document.body))"
        seen[scheme] = [
            sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in page.evaluate(colours)
        ]
        page.close()
    (ground, ink), (dark_ground, dark_ink) = seen["light"], seen["dark"]
    assert ground > 600 > 200 > ink and dark_ground < 200 < 500 < dark_ink


@needs_browser
@at("light")
def test_the_contents_stay_and_lead_to_headings(view):
    width = view.viewport_size["width"]
    shown = "nav.beside" if width == 1400 else "details.contents"
    hidden = "details.contents" if width == 1400 else "nav.beside"
    assert view.locator(shown).is_visible() and not view.locator(hidden).is_visible()
    targets = view.evaluate(
        f"[...document.querySelectorAll('{shown} a')].map((a) => "
        f"decodeURIComponent(a.hash.slice(1)))"
    )
    tags = view.evaluate("(ids) => ids.map((id) => document.getElementById(id)?.tagName)", targets)
    assert len(tags) > 15 and set(tags) == {"H2", "H3"}
    view.evaluate("window.scrollTo({top: 5000, behavior: 'instant'})")
    box = view.locator(shown).bounding_box()
    assert 0 <= box["y"] < 80
    if width == 420:
        view.locator("details.contents > summary").click()
    view.locator(f"{shown} a", has_text="Appendix").first.click()
    view.wait_for_function(
        "Math.abs(document.querySelector('#Appendix').getBoundingClientRect().top) < 300",
        timeout=5000,
    )


@needs_browser
@pytest.mark.parametrize("view", [(420, "light")], indirect=True)
def test_on_a_phone_sentences_stand_under_each_other(view):
    assert view.locator("figure.stacked").count() >= 3
    assert view.evaluate(BEYOND, ["figure.stacked tbody :is(tr, td, th)", 420]) == []


@needs_browser
@pytest.mark.parametrize("view", [(PAPER, "light")], indirect=True)
def test_on_paper_no_table_is_cut(view):
    view.emulate_media(media="print")
    assert view.evaluate(BEYOND, ["main :is(table, svg, math)", PAPER]) == []
    assert view.locator("nav.on-paper").is_visible() and not view.locator("nav.beside").is_visible()
    assert view.evaluate(
        "[...document.querySelectorAll('details')].every((e) => !e.getClientRects().length)"
    )


@needs_browser
def test_the_printed_report_has_about_as_many_pages_as_it_should(html, folder):
    pdf.write(folder / "report.html", folder / "report.pdf")
    pages = len(re.findall(rb"/Type\s*/Page\b", (folder / "report.pdf").read_bytes()))
    assert 15 <= pages <= 50

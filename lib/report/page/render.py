"""An executed notebook as one HTML file to mail: no script, no address, formulas as MathML, light
and dark.

`python -m lib.report.page.render notebook.ipynb report.html`; `lib.report.page.pdf` prints the
page.
"""

from __future__ import annotations

import copy
import html
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
from bs4 import BeautifulSoup
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lib.common.errors import InputError
from lib.common.files import atomic
from lib.report.page.show import PRINTED

TEMPLATE = Path(__file__).parent
LOADING_TAGS = ("script", "link", "iframe", "object", "embed", "base", "frame")
LOADING_ATTRIBUTES = ("src", "href", "xlink:href", "srcset", "data", "poster", "action")
LOADING_ATTRIBUTES += ("formaction", "background", "cite")


def render(notebook: Path, page: Path, title: str) -> None:
    """Write the executed `notebook` as one self-contained page, whole or not at all. The `title`
    stands in place of the notebook's own. Raises InputError if the page would refer to something
    outside or link to nothing."""
    exporter = _Exporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        embed_images=True,
    )
    exporter.register_preprocessor(
        "nbconvert.preprocessors.CoalesceStreamsPreprocessor", enabled=True
    )
    nb = nbformat.read(notebook, as_version=4)
    nb.cells = _without_title(_without_empty_parts(nb.cells))
    nb.cells.sort(key=_is_silent)  # parameters, imports and the like come last
    metadata = {"path": str(Path(notebook).parent)}
    resources = {"title": title, "metadata": metadata}
    text, _ = exporter.from_notebook_node(nb, resources=resources)
    soup = _parse(text)
    for style in soup.select("style[data-for=lab]"):  # the page has its own
        style.decompose()
    _number(soup)
    _add_ids(soup)
    _add_contents(soup)
    problems = [f"refers to {reference}" for reference in external_references(soup)]
    problems += [f"links to #{target}, which does not exist" for target in dangling_anchors(soup)]
    if problems:
        raise InputError(
            f"{notebook}: the report must stand alone, but it {'; '.join(problems[:5])}"
        )
    page = Path(page)
    page.parent.mkdir(parents=True, exist_ok=True)
    with atomic(page) as file:
        file.write(str(soup).encode())


def _parse(text: str | BeautifulSoup) -> BeautifulSoup:
    if isinstance(text, BeautifulSoup):
        return text
    # As browsers do: of an attribute that is there twice, the first counts.
    options = {"on_duplicate_attribute": "ignore", "multi_valued_attributes": None}
    return BeautifulSoup(text, "html.parser", **options)


def _without_empty_parts(cells: list) -> list:
    """Without the cells tagged `study:<name>` or `part:<name>` if no code cell with that tag has
    output, so that no section is empty."""

    def parts(cell) -> set[str]:
        return {tag for tag in cell.metadata.get("tags", []) if tag.startswith(("study:", "part:"))}

    shown = [cell for cell in cells if cell.cell_type == "code" and cell.outputs]
    filled = {part for cell in shown for part in parts(cell)}
    return [cell for cell in cells if parts(cell) <= filled]


def _without_title(cells: list) -> list:
    """Without a heading of the first level at the beginning of a cell."""
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\A# .*\s*", "", cell.source)
    return [cell for cell in cells if cell.cell_type == "code" or cell.source]


def _is_silent(cell) -> bool:
    """Whether this is code that shows nothing; the lab's stylesheet does not count."""
    if cell.cell_type != "code":
        return False
    outputs = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    return all(text.startswith("<style data-for='lab'>") for text in outputs)


# ------------------------------------------------------------------------- what a page refers to


def external_references(page: str | BeautifulSoup) -> list[str]:
    """Everything the page would fetch, run or lead away to: addresses, files beside it, scripts,
    imported styles."""
    references = []
    for tag in _parse(page).find_all(True):
        if tag.name in LOADING_TAGS or tag.get("http-equiv") == "refresh":
            references.append(f"<{tag.name}>")
        for name, value in tag.attrs.items():
            value = (value or "").strip()
            if name in LOADING_ATTRIBUTES:
                if value and not value.startswith(("#", "data:")):
                    references.append(f"{name}={value}")
            elif name.startswith("on"):
                references.append(f"<{tag.name} {name}>")
            else:
                references += _css_references(value)
        if tag.name == "style":
            references += _css_references(tag.get_text())
    return references


def _css_references(css: str) -> list[str]:
    addresses = re.findall(r"url\(\s*[\"']?(?!#|data:)([^\"')]*)", css)
    return re.findall(r"@import[^;]*", css) + [f"url({address})" for address in addresses]


def dangling_anchors(page: str | BeautifulSoup) -> list[str]:
    """The page's links to places in itself that do not exist."""
    tags = _parse(page).find_all(True)
    names = {tag.get(key) for tag in tags for key in ("id", "name")}
    targets = [tag.get(key) or "" for tag in tags for key in ("href", "xlink:href")]
    targets = [unquote(target[1:]) for target in targets if target.startswith("#")]
    return [target for target in targets if target not in names]


# ------------------------------------------------------------------------- markdown and formulas


class _Exporter(HTMLExporter):
    """nbconvert's HTML exporter, with formulas typeset here instead of by a script in the reader's
    browser."""

    @pass_context
    def markdown2html(self, context, source):
        cell = context.get("cell", {})
        path = context.get("resources", {}).get("metadata", {}).get("path", "")
        renderer = _Renderer(
            escape=True,  # sentences hold names out of data: markup in them is text
            exclude_anchor_links=True,
            embed_images=True,
            path=path,
            attachments=cell.get("attachments", {}),
        )
        text = MarkdownWithMath(renderer=renderer).render(source)
        text = re.sub(rf"<em>([^<]*)</em>{PRINTED}", rf'<em class="theirs">\1</em>{PRINTED}', text)
        return re.sub(r"(?<=\d) %", "\u00a0%", text)


class _Renderer(IPythonRenderer):
    """Markdown as nbconvert reads it; mathematics comes out as MathML, and addresses as text."""

    def inline_math(self, body):
        return mathml(body)

    def block_math(self, body):
        return mathml(body, display="block")

    def latex_environment(self, name, body):
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", display="block")

    def link(self, text, url, title=None):
        if url.startswith("#"):
            return super().link(text, url, title)
        # In the lab one can click; the mailed file shows the address and calls nobody.
        address = html.escape(re.sub(r"^(https?:)?//|^mailto:", "", url))
        if text in (address, html.escape(url)):
            return text
        return f'{text} <span class="address">({address})</span>'

    def text(self, text):
        # An entity in a sentence is the character that it names.
        return html.escape(html.unescape(text), quote=False)

    def table(self, text):
        return f'<div class="scroll"><table>{text}</table></div>'


def mathml(latex: str, display: str = "inline") -> str:
    """The formula as MathML. Raises InputError for a command that the converter does not know."""
    latex = latex.strip()
    try:
        # Upright letters as \text: in a script the converter would set \mathrm in italics.
        converted = convert(
            re.sub(r"\\mathrm\{([A-Za-z]+)\}", r"\\text{\1}", latex), display=display
        )
    except Exception as error:  # the converter raises a different type for every kind of mistake
        raise InputError(f"formula {latex!r}: {type(error).__name__} {error}".rstrip()) from error
    braces = re.sub(r"\\[{}]", "", latex)
    if braces.count("{") != braces.count("}"):
        raise InputError(f"formula {latex!r}: its braces do not pair")
    formula = _parse(converted).math
    del formula["xmlns"]
    for symbol in formula.find_all(["mi", "mo", "mn", "mtext"]):
        text = symbol.get_text()
        if "\\" in text:
            raise InputError(f"formula {latex!r}: {text} has no MathML")
        if text == "&":
            raise InputError(f"formula {latex!r}: & has no MathML (use align* or cases)")
        if symbol.name == "mo" and text in ("‖", "|"):
            symbol["stretchy"] = "false"  # bars stay as tall as a letter, left and right alike
        elif symbol.name == "mo" and re.fullmatch("[A-Za-z]{2,}", text):
            symbol.name = "mi"  # a named function is an identifier, no operator
        following = symbol.next_sibling
        if text in ("ln", "log", "exp", "min", "max") and following and following.name != "mo":
            symbol.insert_after(_parse('<mspace width="0.17em"></mspace>').mspace)
    return str(formula)


# -------------------------------------------------------------------- headings, numbers, contents


def _add_ids(soup: BeautifulSoup) -> None:
    """Give every heading the id that JupyterLab gives it, made unique, so that one link works in
    both."""
    counts: dict[str, int] = {}
    for heading in soup.find_all(["h1", "h2", "h3", "h4"], id=False):
        slug = re.sub(r"[\"'<>&#%¶]", "", heading.get_text().strip())
        slug = re.sub(r"\s+", "-", slug) or "section"
        counts[slug] = counts.get(slug, 0) + 1
        heading["id"] = slug if counts[slug] == 1 else f"{slug}-{counts[slug]}"


def _add_contents(soup: BeautifulSoup) -> None:
    """Add the contents three times, of which CSS shows one: beside the text on a wide screen,
    folded under the title on a narrow one, and as a list on paper."""
    items = ""
    for heading in soup.find_all(["h2", "h3"], id=True):
        text = copy.copy(heading)
        for link in text.find_all("a"):
            link.unwrap()
        link = f'<a href="#{html.escape(heading["id"])}">{text.decode_contents()}</a>'
        items += f'<li class="level{heading.name[1]}">{link}</li>'
    contents = f"<ol>{items}</ol>"
    soup.select_one("nav.beside").append(_parse(contents))
    soup.h1.insert_after(
        _parse(
            '<details class="contents"><summary>Contents</summary>'
            f'<nav aria-label="Contents">{contents}</nav></details>'
            f'<nav class="on-paper" aria-label="Contents"><p>Contents</p>{contents}</nav>'
        )
    )


def _number(soup: BeautifulSoup) -> None:
    """Number tables and figures in order, and the links to them: `[Table](#name)`."""
    counts, labels = {"table": 0, "figure": 0}, {}
    for figure in soup.select("figure.table, figure.figure"):
        kind = figure["class"].split()[0]
        counts[kind] += 1
        label = f"{kind.capitalize()} {counts[kind]}"
        figure["id"] = figure.get("id") or label.lower().replace(" ", "-")
        labels["#" + figure["id"]] = label
        for part in figure.select("figcaption, p.note"):
            _typeset_formulas(part)
        figure.figcaption.insert(0, _parse(f"<b>{label}.</b> "))
    for link in soup.find_all("a", href=list(labels)):
        if link.get_text() in ("Table", "Figure"):
            link.string = labels[link["href"]].replace(" ", "\u00a0")


def _typeset_formulas(tag) -> None:
    """Replace every $formula$ in the text of a tag."""
    for text in tag.find_all(string=re.compile(r"\$[^$\n]+\$")):
        parts = re.split(r"\$([^$\n]+)\$", text)
        parts[1::2] = [_parse(mathml(formula)) for formula in parts[1::2]]
        text.replace_with(*parts)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m lib.report.page.render notebook.ipynb report.html [title]")
    notebook, page, *title = sys.argv[1:]
    try:
        render(Path(notebook), Path(page), title[0] if title else Path(notebook).stem)
    except InputError as error:
        sys.exit(f"InputError: {error}")

"""Whether a page stands by itself: what it would fetch or run, and links in it that lead nowhere.

An executed notebook as one HTML file to mail: no script, no address, formulas as MathML, light and
dark.

`python -m lib.report.page.render notebook.ipynb report.html`; `lib.report.page.pdf` prints the
page.
"""

from __future__ import annotations

import html as entities
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lib.common.errors import InputError
from lib.report.page.show import PRINTED


class _Page(HTMLParser):
    """Collects what a page would fetch or run, its ids and its own links."""

    LOADS = (
        "src",
        "href",
        "xlink:href",
        "srcset",
        "data",
        "poster",
        "action",
        "formaction",
        "background",
        "cite",
    )
    TAGS = ("script", "link", "iframe", "object", "embed", "base", "frame")

    def __init__(self, text: str):
        super().__init__()
        self.external, self.ids, self.targets, self._tag = [], set(), [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        if tag in self.TAGS or (tag == "meta" and ("http-equiv", "refresh") in attrs):
            self.external.append(f"<{tag}>")
        for name, value in attrs:
            value = (value or "").strip()
            if name in ("id", "name"):
                self.ids.add(value)
            elif name in self.LOADS and value.startswith("#"):
                self.targets.append(unquote(value[1:]))
            elif name in self.LOADS and value and not value.startswith("data:"):
                self.external.append(f"{name}={value}")
            elif name.startswith("on"):
                self.external.append(f"<{tag} {name}>")
            elif "url(" in value or "@import" in value:
                self.styled(value)

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        if self._tag == "style":
            self.styled(data)

    def handle_endtag(self, tag):
        self._tag = ""

    def styled(self, css: str):
        self.external += re.findall(r"@import[^;]*", css)
        self.external += [
            f"url({u})" for u in re.findall(r"url\(\s*[\"']?(?!#|data:)([^\"')]*)", css)
        ]


def external_references(html_text: str) -> list[str]:
    """Everything the page would fetch, run or lead away to: addresses, files beside it, scripts,
    imported styles."""
    return _Page(html_text).external


def dangling_anchors(html_text: str) -> list[str]:
    """The page's links to places in itself that do not exist."""
    page = _Page(html_text)
    return [target for target in page.targets if target not in page.ids]


TEMPLATE = Path(__file__).parent
LAB_STYLE = re.compile(r"<style data-for=.lab.>.*?</style>", re.DOTALL)
"""The stylesheet that `show.style` gives the lab; the page has its own."""


def render(notebook: Path, html: Path, title: str) -> None:
    """Write the executed `notebook` as one self-contained page; raise InputError rather than a page
    that is not."""
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
    nb.cells = _silent_last(_of_studies_that_ran(nb.cells))
    titled = any(
        c.cell_type == "markdown" and re.search(r"^# ", c.source, re.MULTILINE) for c in nb.cells
    )
    page, _ = exporter.from_notebook_node(
        nb,
        resources={
            "title": title,
            "titled": titled,
            "metadata": {"path": str(Path(notebook).parent)},
        },
    )
    page = LAB_STYLE.sub("", page)
    page = _numbered(_anchored(page))
    page = _with_contents(page)
    problems = [f"refers to {reference}" for reference in external_references(page)]
    problems += [
        f"links to #{target}, which nothing is called" for target in dangling_anchors(page)
    ]
    if problems:
        raise InputError(
            f"{notebook}: the report must stand alone, but it {'; '.join(problems[:5])}"
        )
    _write(Path(html), page)


def _of_studies_that_ran(cells: list) -> list:
    """Without the cells tagged `study:<name>` where no code cell of that study showed anything: no
    section is left empty."""

    def studies(cell) -> set[str]:
        return {tag for tag in cell.metadata.get("tags", []) if tag.startswith("study:")}

    ran = {
        study
        for cell in cells
        if cell.cell_type == "code" and cell.outputs
        for study in studies(cell)
    }
    return [cell for cell in cells if studies(cell) <= ran]


def _silent_last(cells: list) -> list:
    """Code that shows nothing (parameters, imports, the end of the stage) behind everything that
    does."""

    def silent(cell) -> bool:
        shown = [
            output
            for output in cell.get("outputs", [])
            if not LAB_STYLE.match("".join(_html(output)))
        ]
        return cell.cell_type == "code" and not shown

    return [cell for cell in cells if not silent(cell)] + [cell for cell in cells if silent(cell)]


def _html(output) -> str:
    return output.get("data", {}).get("text/html", "")


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a reader never meets half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


# ---------------------------------------------------------------------------- markdown and formulas


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
        address = entities.escape(re.sub(r"^(https?:)?//|^mailto:", "", url))
        # A lab's reader can click; the mailed file shows where to look and calls nobody.
        return (
            text
            if text in (address, entities.escape(url))
            else f'{text} <span class="address">({address})</span>'
        )

    def text(self, text):
        return entities.escape(
            entities.unescape(text), quote=False
        )  # an entity in a sentence is the character it names

    def table(self, text):
        return f'<div class="scroll"><table>{text}</table></div>'


def mathml(latex: str, display: str = "inline") -> str:
    """The formula as MathML. Raises InputError for a command that the converter does not know."""
    try:
        # Upright letters as \text: in a script the converter would set \mathrm in italics.
        text = convert(
            re.sub(r"\\mathrm\{([A-Za-z]+)\}", r"\\text{\1}", latex.strip()), display=display
        )
    except Exception as error:  # the converter raises a different type for every kind of mistake
        raise InputError(
            f"formula {latex.strip()!r}: {type(error).__name__} {error}".rstrip()
        ) from error
    braces = re.sub(r"\\[{}]", "", latex)
    if braces.count("{") != braces.count("}"):
        raise InputError(f"formula {latex.strip()!r}: its braces do not pair")
    unknown = re.search(r"\\\w*|<m[io]>&</m[io]>", text)
    if unknown:
        what = unknown[0] if unknown[0].startswith("\\") else "& (use align* or cases, not aligned)"
        raise InputError(f"formula {latex.strip()!r}: {what} has no MathML")
    text = text.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    # Bars that the writer did not ask to grow stay as tall as a letter, left and right alike.
    text = re.sub(r"<mo>(&#x02016;|&#x0007C;)</mo>", r'<mo stretchy="false">\1</mo>', text)
    # Named functions are identifiers, not operators, and stand a thin space off what they apply to.
    text = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", text)
    return re.sub(
        r"(<mi>(?:ln|log|exp|min|max)</mi>)(?=<m(?!o\b))",
        r'\1<mspace width="0.17em"></mspace>',
        text,
    )


# ---------------------------------------------------------------------- headings, numbers, contents


def _anchored(page: str) -> str:
    """Give every heading the id that JupyterLab gives it, made unique, so that one link works in
    both."""
    seen: dict[str, int] = {}

    def heading(match):
        plain = re.sub(r"<[^>]*>", "", match[2])
        slug = (
            re.sub(r"\s+", "-", re.sub(r"[\"'<>&#%¶]", "", entities.unescape(plain).strip()))
            or "section"
        )
        seen[slug] = seen.get(slug, 0) + 1
        slug += f"-{seen[slug]}" if seen[slug] > 1 else ""
        return f'<h{match[1]} id="{slug}">{match[2]}</h{match[1]}>'

    return re.sub(r"<h([1-4])>(.*?)</h\1>", heading, page, flags=re.DOTALL)


def contents(page: str) -> str:
    """The list of contents: every h2 and h3 of the page that has an id."""
    items = re.findall(r'<h([23]) id="([^"]*)">(.*?)</h\1>', page, flags=re.DOTALL)
    return (
        "<ol>"
        + "".join(
            f'<li class="level{level}"><a '
            f'href="#{anchor}">{re.sub(r"</?a[^>]*>", "", text)}</a></li>'
            for level, anchor, text in items
        )
        + "</ol>"
    )


def _with_contents(page: str) -> str:
    """The contents three times, of which CSS shows one: beside the text on a wide screen, folded
    under the title on a narrow one, and as a list on paper."""
    listed = contents(page)
    folded = (
        f'<details class="contents"><summary>Contents</summary><nav '
        f'aria-label="Contents">{listed}</nav></details>'
    )
    printed = f'<nav class="on-paper" aria-label="Contents"><p>Contents</p>{listed}</nav>'
    page = page.replace("<!--contents-->", listed, 1)
    return page.replace("</h1>", f"</h1>{folded}{printed}", 1)


def _numbered(page: str) -> str:
    """Number tables and figures in order; a link `[Table](#name)` gets its number too."""
    counts, numbers = {"table": 0, "figure": 0}, {}

    def number(match):
        kind, shape, name, inside, caption, note = match.groups()
        counts[kind] += 1
        label = f"{kind.capitalize()} {counts[kind]}"
        name = name or label.lower().replace(" ", "-")
        numbers[name] = label
        return (
            f'<figure class="{kind}{shape}" id="{name}">{inside}<figcaption><b>{label}.</b> '
            f"{_with_math(caption)}"
            f"</figcaption>{_with_math(note) if kind == 'figure' else note}</figure>"
        )

    page = re.sub(
        r'<figure class="(table|figure)((?: \w+)*)"(?: id="([^"]*)")?>(.*?)<figcaption>(.*?)</figcaption>(.*?)</figure>',
        number,
        page,
        flags=re.DOTALL,
    )
    page = re.sub(
        r'(<p class="note">)(.*?)(</p>)',
        lambda m: m[1] + _with_math(m[2]) + m[3],
        page,
        flags=re.DOTALL,
    )
    return re.sub(
        r'(<a href="#([^"]*)">)(?:Table|Figure)</a>',
        lambda m: f"{m[1]}{numbers[m[2]].replace(' ', '&nbsp;')}</a>" if m[2] in numbers else m[0],
        page,
    )


def _with_math(text: str) -> str:
    return re.sub(r"\$([^$\n]+)\$", lambda m: mathml(entities.unescape(m[1])), text)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m lib.report.page.render notebook.ipynb report.html [title]")
    try:
        render(
            Path(sys.argv[1]),
            Path(sys.argv[2]),
            sys.argv[3] if len(sys.argv) == 4 else Path(sys.argv[1]).stem,
        )
    except InputError as error:
        sys.exit(f"InputError: {error}")

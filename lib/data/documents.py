"""Text passages out of whole documents: encyclopedia articles as WikiExtractor writes them, and
books.

001 ("English Wikipedia"): "extract only the text passages (ignoring any lists, tables and
headers)".
"""

import html
import re
from pathlib import Path
from typing import Iterable, Iterator, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lib.common.errors import InputError
from lib.data.languages import Language
from lib.data.textfiles import find_files, json_record, text_lines

BOOK = r".*\.txt(\.(bz2|gz|xz))?"
WIKI = r"wiki_\d+(\.(bz2|gz|xz))?"
HEADING = 60  # letters: a line as short as this may be a heading
# "History of the early church." may be a section title, a longer line that ends in a stop is none
TITLE_WORDS = 6
HARD_WRAPPED = 120  # letters: no line of a hard-wrapped book is longer

# Marks that end a sentence, in the scripts of the world: Latin, CJK, Arabic, Urdu, Indic, Armenian,
# Ethiopic, Burmese, Khmer, Tibetan, Mongolian.
STOPS = ".!?…。！？｡．؟۔।॥։።፧။។៕།༎᠃᠉⁇⁈⁉‼"
CLOSING = "\"'”’“‘»«›‹)\\]}）］」』】〉》〕"
END = re.compile(
    rf"[{CLOSING}\s]*(?:\[[^\[\]]{{1,24}}\][{CLOSING}\s]*)*$"
)  # quotes, brackets, "[1]" after the stop
SPACELESS = re.compile(
    "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003134f]"
)
WIDE = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]"
)
ITEM = re.compile(
    r"[*#;:•·‣◦▪●○–—-]\s|[*#;:•‣◦▪●]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})\)\s|\d{1,3}(?:\.\s|、)|[（(][一二三四五六七八九十]+[）)]|[①-⑳]"
)
TABLE = re.compile(r"\t|\{\{|\}\}|\{\||^\s*[|!]|\|.*\|")
HEADER = re.compile(
    r'<doc\s+(?:[^<>]*?\s)?id="(?P<id>[^"]*)"(?:.*?\stitle="(?P<title>.*)")?.*>\s*$'
)
CHAPTER = re.compile(
    r"[\s\[(*_.—-]*(?:(?:chapter|book|part|volume|act|scene|canto|rozdział|księga|część|tom|kapitel|buch|teil|band|capítulo"
    r"|libro|parte|tomo|chapitre|livre|partie|kafli|الفصل|باب)(?:\s+[^\s,;]+)?(?:\s+(?:\d+|[ivxlcdm]+)\b.*)?\W*"
    r"|(?:chapter|rozdział|kapitel|capítulo|chapitre|kafli)\s+(?:\d+|[ivxlcdm]+)\b.*"
    r"|(?-i:[IVXLCDM]+|\d+)[\s\])*_.—-]*|第[\d〇零一二三四五六七八九十百千]+[章回卷節节部].*)",
    re.IGNORECASE,
)


class WikiSource(BaseModel):
    """A folder of WikiExtractor's output: files wiki_00, wiki_01, … in AA, AB, …, plain or written
    with --json.

    [share_from, share_to) keeps the documents whose id has its hash there: an article is never
    divided.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    kind: Literal["wikiextractor"] = "wikiextractor"
    path: str = Field(min_length=1)
    language: Language = ""
    share_from: float = Field(0.0, ge=0, le=1)
    share_to: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _some_share(self):
        if self.share_from >= self.share_to:
            raise ValueError(f"share_from {self.share_from} must be below share_to {self.share_to}")
        return self


class BookSource(BaseModel):
    """A folder of books, one .txt file each."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    kind: Literal["books"] = "books"
    path: str = Field(min_length=1)
    language: Language = ""


def files(source: WikiSource | BookSource) -> list[Path]:
    """The files of a source, sorted. Raises InputError if there is none."""
    if source.kind == "books":
        return find_files(source.path, re.compile(BOOK).fullmatch, ".txt, also .gz, .xz, .bz2")
    return find_files(
        source.path, re.compile(WIKI).fullmatch, "wiki_00, wiki_01, …, also .bz2, .gz, .xz"
    )


# ----------------------------------------------------------------------------------------- passages


def passages(lines: Iterable[str], title: str = "") -> Iterator[str]:
    """The text passages of one article, a line each; lists, tables and headings are left out. A
    line is no passage if it

    - is blank, or repeats the `title` before anything else has come;
    - begins as a list item: a bullet or a dash and a space, or "1." "2)" "(c)" "iv)" "①" and text;
    - belongs to a table or a template: a tab, `{{`, `}}`, `{|`, two pipes, or a pipe or `!` at its
      beginning;
    - is short (HEADING letters; Han, kana and Hangul count three) and ends in no mark that ends a
      sentence in any script;
    - is short, of at most TITLE_WORDS words, and ends in one Latin full stop, as WikiExtractor ends
      section titles
      ("History."): a short sentence that stands alone is lost with them, for nothing tells it from
      a title.

    Long lines without a stop stay: Thai has none, and some passages lead to a list with a colon.
    """
    began = False
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if not began and text == title:
            began = True
            continue
        began = True
        if not (ITEM.match(text) or TABLE.search(line) or heading(text)):
            yield text


def letters(text: str) -> int:
    """The length of a text, Han, kana and Hangul counted three times: they say as much in a third
    of the letters."""
    return len(text) + 2 * len(WIDE.findall(text))


def heading(text: str) -> bool:
    """Whether a line of an article reads as a heading; see passages."""
    if letters(text) > HEADING:
        return False
    body = END.sub("", text)
    if not body or body[-1] not in STOPS:
        return True
    return body[-1] == "." and not body.endswith("..") and len(body.split()) <= TITLE_WORDS


# -------------------------------------------------------------------------------------------- wikis


def wiki_documents(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The documents of one file of WikiExtractor: id (their text, if they have none), title, lines.

    Raises: InputError at a line that is neither inside <doc …> and </doc> nor a JSON object with
    `text`.
    """
    inside: tuple[str, str, list[str]] | None = None
    number = 0
    for number, line in enumerate(text_lines(path), 1):
        where = f"{path}, line {number}"
        if inside is not None:
            if line.startswith("<doc ") and HEADER.match(line):
                raise InputError(
                    f"{where}: a document begins before </doc>; allowed: what WikiExtractor writes"
                )
            if line.strip() == "</doc>":
                yield inside
                inside = None
            else:
                inside[2].append(line)
        elif header := HEADER.match(line):
            inside = header["id"], html.unescape(header["title"] or ""), []
        elif line.startswith("{"):
            found = json_record(line, "text", where)
            yield (
                str(found.get("id") or found["text"]),
                str(found.get("title", "")),
                found["text"].split("\n"),
            )
        elif line.strip():
            raise InputError(
                f'{where}: neither <doc id="…"> nor a JSON object; allowed: what WikiExtractor '
                f"writes"
            )
    if inside is not None:
        raise InputError(
            f"{path}, after line {number}: </doc> is missing; allowed: whole files of WikiExtractor"
        )


# -------------------------------------------------------------------------------------------- books


def book_passages(path: Path) -> Iterator[str]:
    """The paragraphs of one book, without chapter headings.

    Paragraphs are separated by blank lines and the lines of one are joined, unless one is longer
    than HARD_WRAPPED: then each is a paragraph. So is every line of a file without blank lines
    between lines. A heading is a short paragraph that is a number or begins with a word like
    "Chapter", that is all in capitals, or that ends in a letter.
    """
    paragraphs = wrapped(text_lines(path)) if has_blank_lines(path) else text_lines(path)
    for paragraph in paragraphs:
        text = paragraph.strip()
        if text and not book_heading(text):
            yield text


def has_blank_lines(path: Path) -> bool:
    """Whether a blank line stands between two lines of a file."""
    text = blank = False
    for line in text_lines(path):
        if line.strip():
            if blank:
                return True
            text = True
        else:
            blank = text
    return False


def wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs of hard-wrapped text."""
    block: list[str] = []
    for line in lines:
        if line.strip():
            block.append(line.strip())
            continue
        yield from joined(block)
        block = []
    yield from joined(block)


def joined(block: list[str]) -> list[str]:
    """The lines of a paragraph as one, without a space between two letters of a script that has
    none."""
    if not block or max(map(len, block)) > HARD_WRAPPED:
        return block
    text = block[0]
    for line in block[1:]:
        text += ("" if SPACELESS.match(text[-1]) and SPACELESS.match(line) else " ") + line
    return [text]


def book_heading(text: str) -> bool:
    """Whether a paragraph of a book reads as a heading; see book_passages."""
    if letters(text) > HEADING:
        return False
    capitals = (
        text == text.upper() and text != text.lower() and (text[-1].isalnum() or text[-1] == ".")
    )
    return capitals or bool(CHAPTER.fullmatch(text)) or text[-1].isalnum()

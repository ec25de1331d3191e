"""Passages of text from documents: encyclopedia articles as WikiExtractor writes them, and books.

001 ("English Wikipedia"): "extract only the text passages (ignoring any lists, tables and
headers)".
"""

import html
import re
from itertools import dropwhile, groupby, islice
from pathlib import Path
from typing import Iterable, Iterator

from lib.common.errors import InputError
from lib.data.textfiles import json_record, text_lines

HEADING = 60  # letters: only lines this short can be headings
# A line that ends in a full stop is a section title ("History of the early church.") only if short.
TITLE_WORDS = 6
HARD_WRAPPED = 120  # letters: the longest line of a hard-wrapped book

# Marks that end a sentence, in the scripts of the world: Latin, CJK, Arabic, Urdu, Indic, Armenian,
# Ethiopic, Burmese, Khmer, Tibetan, Mongolian.
STOPS = ".!?…。！？｡．؟۔।॥։።፧။។៕།༎᠃᠉⁇⁈⁉‼"
CLOSING = "\"'”’“‘»«›‹)\\]}）］」』】〉》〕"
# Quotes, brackets and "[1]" after the mark.
END = re.compile(rf"[{CLOSING}\s]*(?:\[[^\[\]]{{1,24}}\][{CLOSING}\s]*)*$")
SPACELESS = re.compile(
    "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003134f]"
)
WIDE = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]"
)
ITEM = re.compile(
    r"[*#;:•·‣◦▪●○–—-]\s|[*#;:•‣◦▪●]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})\)\s|\d{1,3}(?:\.\s|、)"
    r"|[（(][一二三四五六七八九十]+[）)]|[①-⑳]"
)
TABLE = re.compile(r"\t|\{\{|\}\}|\{\||^\s*[|!]|\|.*\|")
HEADER = re.compile(
    r'<doc\s+(?:[^<>]*?\s)?id="(?P<id>[^"]*)"(?:.*?\stitle="(?P<title>.*)")?.*>\s*$'
)
CHAPTER = re.compile(
    r"[\s\[(*_.—-]*(?:(?:chapter|book|part|volume|act|scene|canto|rozdział|księga|część|tom|kapitel"
    r"|buch|teil|band|capítulo|libro|parte|tomo|chapitre|livre|partie|kafli|الفصل|باب)"
    r"(?:\s+[^\s,;]+)?(?:\s+(?:\d+|[ivxlcdm]+)\b.*)?\W*"
    r"|(?:chapter|rozdział|kapitel|capítulo|chapitre|kafli)\s+(?:\d+|[ivxlcdm]+)\b.*"
    r"|(?-i:[IVXLCDM]+|\d+)[\s\])*_.—-]*|第[\d〇零一二三四五六七八九十百千]+[章回卷節节部].*)",
    re.IGNORECASE,
)


# ---------------------------------------------------------------------------------------- articles


def article_passages(lines: Iterable[str], title: str = "") -> Iterator[str]:
    """The text passages of an article, one a line, without lists, tables and headings.

    Left out are lines that

    - are blank, or repeat the `title` before any other text;
    - start like a list item: a bullet or a dash and a space, or "1." "2)" "(c)" "iv)" "①" and text;
    - belong to a table or a template: a tab, `{{`, `}}`, `{|`, two pipes, or a leading pipe or `!`;
    - are short (see weighted_length) and do not end in a sentence mark of any script;
    - are short, have at most TITLE_WORDS words and end in one Latin full stop, as WikiExtractor
      ends section titles ("History."): they cannot be told from short sentences, so those are lost.

    Long lines without a full stop stay: Thai has none, and a colon may introduce a list.
    """
    started = False
    for line in lines:
        text = line.strip()
        if not text:
            continue
        is_title = not started and text == title
        started = True
        if not (is_title or ITEM.match(text) or TABLE.search(line) or is_section_heading(text)):
            yield text


def weighted_length(text: str) -> int:
    """Length in letters; Han, kana and Hangul count three times, as they say as much in a third."""
    return len(text) + 2 * len(WIDE.findall(text))


def is_section_heading(text: str) -> bool:
    """Whether a line of an article looks like a heading; see article_passages."""
    if weighted_length(text) > HEADING:
        return False
    body = END.sub("", text)
    if not body or body[-1] not in STOPS:
        return True
    return body[-1] == "." and not body.endswith("..") and len(body.split()) <= TITLE_WORDS


def wiki_articles(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The articles of one WikiExtractor file: id (the text if there is none), title, lines.

    Raises: InputError at a line that is neither inside <doc …> and </doc> nor a JSON object with
    `text`.
    """
    article: tuple[str, str, list[str]] | None = None
    number = 0
    for number, line in enumerate(text_lines(path), 1):
        where = f"{path}, line {number}"
        header = HEADER.match(line) if line.startswith("<doc") else None
        if article is not None:
            if header:
                problem = "a document begins before </doc>; allowed: what WikiExtractor writes"
                raise InputError(f"{where}: {problem}")
            if line.strip() == "</doc>":
                yield article
                article = None
            else:
                article[2].append(line)
        elif header:
            article = header["id"], html.unescape(header["title"] or ""), []
        elif line.startswith("{"):
            record = json_record(line, "text", where)
            text = record["text"]
            yield str(record.get("id") or text), str(record.get("title", "")), text.split("\n")
        elif line.strip():
            problem = 'neither <doc id="…"> nor a JSON object; allowed: what WikiExtractor writes'
            raise InputError(f"{where}: {problem}")
    if article is not None:
        problem = "</doc> is missing; allowed: whole files of WikiExtractor"
        raise InputError(f"{path}, after line {number}: {problem}")


# ------------------------------------------------------------------------------------------- books


def book_passages(path: Path) -> Iterator[str]:
    """The paragraphs of one book, without chapter headings.

    Blank lines separate paragraphs, and the lines of a paragraph are joined. A file without blank
    lines, and a paragraph with a line longer than HARD_WRAPPED, have one paragraph a line. A
    heading is a short paragraph that is a number or starts with a word like "Chapter", that is all
    in capitals, or that ends in a letter.
    """
    lines = text_lines(path)
    for paragraph in unwrap(lines) if has_blank_lines(path) else lines:
        text = paragraph.strip()
        if text and not is_chapter_heading(text):
            yield text


def has_blank_lines(path: Path) -> bool:
    """Whether there is a blank line between two lines of text."""
    runs = (is_blank for is_blank, _ in groupby(text_lines(path), lambda line: not line.strip()))
    return len(list(islice(dropwhile(bool, runs), 3))) == 3  # text, blank, text


def unwrap(lines: Iterable[str]) -> Iterator[str]:
    """The paragraphs of hard-wrapped text. No space is put between two letters of a script that has
    none."""
    for has_text, block in groupby(map(str.strip, lines), bool):
        paragraph = list(block)
        if not has_text:
            continue
        if max(map(len, paragraph)) > HARD_WRAPPED:
            yield from paragraph
            continue
        text = paragraph[0]
        for line in paragraph[1:]:
            spaceless = SPACELESS.match(text[-1]) and SPACELESS.match(line)
            text += line if spaceless else f" {line}"
        yield text


def is_chapter_heading(text: str) -> bool:
    """Whether a paragraph of a book looks like a heading; see book_passages."""
    if weighted_length(text) > HEADING:
        return False
    ends_in_letter = text[-1].isalnum()
    capitals = text == text.upper() != text.lower() and (ends_in_letter or text[-1] == ".")
    return capitals or ends_in_letter or bool(CHAPTER.fullmatch(text))

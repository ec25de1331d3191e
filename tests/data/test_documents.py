"""lib.data.documents: text passages of articles and books, from files in the forms that are found
in the wild."""

import bz2
import gzip
import json
import lzma
import sys
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter, ValidationError

from lib.common import hub
from lib.common.errors import InputError
from lib.data import documents, sources
from lib.data.sources import BookSource, WikiSource

ALBEDO = """Albedo

Albedo is the share of sunlight that a surface reflects, measured from 0 to 1.
History.
Johann Lambert used the word in 1760 (in his book "Photometria").[1]
Terrestrial albedo.
Values of everyday materials.
• fresh snow
- grass, dry
* Charcoal is a dark material that reflects next to nothing.
1. Asphalt, which darkens with age and use, as everybody knows.
b) Ocean water at noon, seen from far above, on a quiet day.
{| class="wikitable"
! Material !! Value
| Snow || 0.8
|}
Name\tValue
formula_12
{{cite book}} was never closed by its author, sadly for us.
The colours that follow were measured from a low orbit in winter:
"Is it bright?" asked Lambert, who could not sleep that night."""

TEXTS = {
    "en": [
        "Albedo is the share of sunlight that a surface reflects, measured from 0 to 1.",
        'Johann Lambert used the word in 1760 (in his book "Photometria").[1]',
        "The colours that follow were measured from a low orbit in winter:",
        '"Is it bright?" asked Lambert, who could not sleep that night.',
    ],
    "pl": [
        "Łódź leży nad Łódką i jest trzecim miastem kraju.",
        "Kto tu mieszkał?",
        "W 1820 r. było to miasteczko fabryczne „Łódka”.",
    ],
    "zh": ["北京是中国的首都。", "它有两千万人口！", "他说：“我不去。”"],
    "ja": ["東京は日本の首都である。", "「行きますか？」"],
    "ar": ["القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها.", "هل زرتها؟"],
    "ur": ["لاہور پاکستان کا شہر ہے۔", "کیا آپ وہاں گئے ہیں؟"],
    "hi": ["दिल्ली भारत की राजधानी है।"],
    "hy": ["Երեւանը Հայաստանի մայրաքաղաքն է։"],
    "my": ["ရန်ကုန်သည် မြို့ဖြစ်သည်။"],
    "am": ["አዲስ አበባ የኢትዮጵያ ዋና ከተማ ናት።"],
    "th": ["กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย เป็นศูนย์กลางการปกครอง การศึกษา"],
}
HEADINGS = {
    "pl": ["Łódź", "Historia.", "Nazwa i herb", "# lista"],
    "zh": ["北京", "历史.", "早期生活和職業.", "地理位置", "• 上海", "1、天津", "（二）重庆"],
    "ja": ["東京", "概要.", "歴史と文化"],
    "ar": ["القاهرة", "التاريخ.", "انظر أيضا"],
    "ur": ["لاہور", "تاریخ.", "مزید دیکھیے"],
    "hi": ["दिल्ली", "इतिहास."],
    "hy": ["Երեւան", "Պատմություն."],
    "my": ["ရန်ကုန်"],
    "am": ["አዲስ አበባ", "ታሪክ."],
    "th": ["กรุงเทพมหานคร", "ประวัติ."],
}


def article(language):
    """The passages of a language with its headings between them."""
    texts, headings = list(TEXTS[language]), list(HEADINGS[language])
    lines = [headings.pop(0), ""]
    while texts or headings:
        lines += [*headings[:1], *texts[:1]]
        texts, headings = texts[1:], headings[1:]
    return "\n".join(lines)


def doc(number, title, text):
    return (
        f'<doc id="{number}" url="https://xx.wikipedia.org/wiki?curid={number}" '
        f'title="{title}">\n{text}\n</doc>\n'
    )


def read(source):
    return list(sources.read_passages(source, seed=0))


def message(source):
    with pytest.raises(InputError) as caught:
        read(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ----------------------------------------------------------------------------------------- passages


def test_only_text_passages_are_kept():
    assert list(documents.article_passages(ALBEDO.split("\n"), "Albedo")) == TEXTS["en"]


@pytest.mark.parametrize("language", HEADINGS)
def test_every_script_has_its_own_stops(language):
    assert (
        list(documents.article_passages(article(language).split("\n"), HEADINGS[language][0]))
        == TEXTS[language]
    )


def test_the_title_goes_once_even_where_it_ends_like_a_sentence():
    lines = [
        "Who's Afraid of Virginia Woolf?",
        "",
        "It is a play by Edward Albee, first staged in 1962.",
        "Who is?",
    ]
    assert list(documents.article_passages(lines, lines[0])) == lines[2:]
    assert list(documents.article_passages(lines, "Another title")) == [lines[0], *lines[2:]]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("Early life and career.", False),
        ("He was elected to the city council of Springfield in 1950.", True),
        ("Nobody knows why...", True),
        ("Stop!", True),
        ("– a dash and a thing that looks like a list item, though long enough.", False),
        ("–12 degrees were measured at the station on that morning, a record.", True),
        ("1990 was a common year that began on a Monday, in the Gregorian calendar.", True),
        ("A. Smith came first, with 12.5 points, ahead of the others by far.", True),
        ("The probability of P(A|B) is not that of its reverse, as Bayes has shown.", True),
        ("a | b | c, and so on until the end of this row of the table.", False),
    ],
)
def test_what_reads_as_a_heading_an_item_or_a_row(line, kept):
    assert list(documents.article_passages([line])) == [line] * kept


# -------------------------------------------------------------------------------------------- wikis


def test_plain_folder(tmp_path):
    (tmp_path / "AA").mkdir()
    (tmp_path / "AB").mkdir()
    plain = doc(1, "Albedo", ALBEDO) + doc(2, "Łódź", article("pl"))
    (tmp_path / "AA" / "wiki_00").write_text(plain, encoding="utf-8")
    (tmp_path / "AA" / "wiki_01.bz2").write_bytes(
        bz2.compress(doc(3, "北京", article("zh")).encode())
    )
    (tmp_path / "AB" / "wiki_00.gz").write_bytes(
        gzip.compress(doc(4, "القاهرة", article("ar")).encode())
    )
    (tmp_path / "AB" / "wiki_01.xz").write_bytes(
        lzma.compress(doc(5, "لاہور", article("ur")).encode())
    )
    (tmp_path / "AB" / "notes.txt").write_text("not of WikiExtractor")
    source = WikiSource(path=str(tmp_path))
    assert read(source) == [*TEXTS["en"], *TEXTS["pl"], *TEXTS["zh"], *TEXTS["ar"], *TEXTS["ur"]]
    assert sources.check_source(source) is None and sources.expected_size(source) is None  # packed
    first = WikiSource(path=str(tmp_path / "AA" / "wiki_00"))
    assert sources.expected_size(first) == ("bytes", len(plain.encode()))
    assert sources.source_name(first) == "wiki_00" and sources.source_name(source) == tmp_path.name


def test_json_folder(tmp_path):
    (tmp_path / "AA").mkdir()
    records = [
        {"id": "1", "revid": "9", "url": "u", "title": "Albedo", "text": ALBEDO},
        {"id": "2", "revid": "9", "url": "u", "title": "Redirect", "text": ""},
        {"id": "3", "revid": "9", "url": "u", "title": "東京", "text": article("ja")},
    ]
    lines = [
        json.dumps(records[0]),
        json.dumps(records[1]),
        json.dumps(records[2], ensure_ascii=False),
    ]
    (tmp_path / "AA" / "wiki_00").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read(WikiSource(path=str(tmp_path))) == [*TEXTS["en"], *TEXTS["ja"]]


def test_titles_with_quotes_and_references(tmp_path):
    text = 'He said "x" & left\n\n' + TEXTS["en"][0]
    (tmp_path / "wiki_00").write_text(doc(1, 'He said "x" &amp; left', text), encoding="utf-8")
    ((key, title, _),) = documents.wiki_articles(tmp_path / "wiki_00")
    assert (key, title) == ("1", 'He said "x" & left')
    assert read(WikiSource(path=str(tmp_path))) == TEXTS["en"][:1]


def test_shares_divide_by_document(tmp_path):
    passage = "Passage {} of the article with the number {} is this one here."
    lines = {n: [passage.format(part, n) for part in range(3)] for n in range(300)}
    (tmp_path / "wiki_00").write_text(
        "".join(doc(n, f"T {n}", "\n".join(some)) for n, some in lines.items())
    )
    low, high = (
        read(WikiSource(path=str(tmp_path), **cut))
        for cut in (dict(share_to=0.3), dict(share_from=0.3))
    )
    assert sorted(low + high) == sorted(sum(lines.values(), [])) and not set(low) & set(high)
    assert len(low) % 3 == 0 and 60 < len(low) / 3 < 120  # whole articles; 90 expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("free text\n", 'line 1: neither <doc id="…"> nor a JSON object'),
        (doc(1, "A", "B") + "<doc id=2>\n", "line 4: neither"),
        (doc(1, "A", "B")[:-7], "</doc> is missing"),
        (doc(1, "A", "B")[:-7] + doc(2, "A", "B"), "line 3: a document begins before </doc>"),
        ('{"id": 1\n', "line 1: not JSON"),
        ('{"id": 1, "title": "x"}\n', "line 1: no text in column 'text'; it has: id, title"),
    ],
)
def test_files_that_are_wrong(tmp_path, text, expected):
    (tmp_path / "wiki_00").write_text(text, encoding="utf-8")
    result = message(WikiSource(path=str(tmp_path)))
    assert result.startswith(f"{tmp_path}/wiki_00, ") and expected in result


def test_folders_that_are_wrong(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "wiki_00.bz2").write_bytes(bz2.compress(doc(1, "A", ALBEDO).encode())[:-10])
    assert "wiki_00.bz2, after line" in message(WikiSource(path=str(tmp_path / "b")))
    (tmp_path / "b" / "wiki_00.bz2").unlink()
    assert "has no text file; allowed: wiki_00, wiki_01" in message(WikiSource(path=str(tmp_path)))
    assert "gone does not exist" in message(BookSource(path=str(tmp_path / "gone")))
    for wrong in (
        {"kind": "wikiextractor", "path": "a", "share_from": 0.5, "share_to": 0.2},
        {"kind": "books"},
    ):
        with pytest.raises(ValidationError):
            TypeAdapter(sources.Source).validate_python(wrong)


# -------------------------------------------------------------------------------------------- books

MOBY = """CHAPTER 1. Loomings.

Call me Ishmael. Some years ago--never mind
how long precisely--having little or no money
in my purse, I thought I would sail about.


"Whale!" he cried,

IV.

ROZDZIAŁ PIERWSZY

Part of the crew slept.

The End
"""


def test_hard_wrapped_book(tmp_path):
    (tmp_path / "moby.txt").write_text(MOBY, encoding="utf-8")
    assert read(BookSource(path=str(tmp_path))) == [
        "Call me Ishmael. Some years ago--never mind how long precisely--having little or no "
        "money in my purse, I thought "
        "I would sail about.",
        '"Whale!" he cried,',
        "Part of the crew slept.",
    ]


def test_one_paragraph_a_line(tmp_path):
    lines = ["Rozdział II", "— Kto tam? — zapytał.", "— Ja.", "Zapadła cisza."]
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\n".join(lines + [""]).encode()))
    (tmp_path / "b.txt").write_text(
        "\n\nLeading blank lines separate nothing.\nSo this is another.\n\n"
    )
    assert read(BookSource(path=str(tmp_path))) == [
        *lines[1:],
        "Leading blank lines separate nothing.",
        "So this is another.",
    ]


def test_long_lines_are_not_hard_wrapped(tmp_path):
    long = "A paragraph that is one long line, as most editors leave it. " * 4
    (tmp_path / "a.txt").write_text(
        f"Chapter One\n\n{long}\n“Yes.”\n{long}\n\nChapter Two\n\n{long}\n"
    )
    assert read(BookSource(path=str(tmp_path))) == [
        long.strip(),
        "“Yes.”",
        long.strip(),
        long.strip(),
    ]


def test_lines_of_a_script_without_spaces_are_joined_without_one(tmp_path):
    (tmp_path / "a.txt").write_text(
        "第一章 甄士隐\n\n此开卷第一回也。\n作者自云：曾历过\n一番梦幻之后。\n\n"
        "서울은 대한민국의\n수도이다.\n",
        "utf-8",
    )
    assert read(BookSource(path=str(tmp_path))) == [
        "此开卷第一回也。作者自云：曾历过一番梦幻之后。",
        "서울은 대한민국의 수도이다.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Chapter 12",
        "CHAPTER THE FIRST.",
        "Kapitel 3: Der Wald",
        "XIV.",
        "12",
        "第十二回 王熙凤",
        "THE END.",
        "Book II",
    ],
)
def test_chapter_headings(text):
    assert documents.is_chapter_heading(text)


@pytest.mark.parametrize(
    "text",
    [
        "“I.”",
        "Mild.",
        "Book in hand, he left.",
        "Part of it sank.",
        "NO!",
        "“STOP!”",
        "He said:",
        "是的。",
        "Tak —",
    ],
)
def test_what_only_looks_like_a_heading(text):
    assert not documents.is_chapter_heading(text)


# ---------------------------------------------------------------------------------------------- hub


def test_articles_of_a_hub_data_set(monkeypatch):
    rows = [{"title": "Albedo", "text": ALBEDO}, {"title": "Łódź", "text": article("pl")}]
    monkeypatch.setitem(
        sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: iter(rows))
    )
    monkeypatch.setattr(hub, "offline", lambda: False)
    whole = sources.HubSource(dataset="wikimedia/wikipedia", config="20231101.en")
    assert read(whole) == [ALBEDO, article("pl")]
    assert read(whole.model_copy(update={"documents": True})) == [*TEXTS["en"], *TEXTS["pl"]]
    assert sources.source_name(whole) == "wikimedia/wikipedia 20231101.en"

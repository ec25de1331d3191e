"""Cleaning raw text line by line, and measuring the damage that cleaning does.

A cased model needs capitals, and every model needs all words, so `careful` removes only what is not
text. `neattext` is what DistilHerBERT did to its corpus (000, section 4), kept as an experimental
condition: it lowercases and deletes English stop words, some of which are also Polish words ("i",
"do", "to", "o", "a").
"""

import html
import re
import unicodedata
from collections import Counter
from typing import Iterable, Literal, get_args

Cleaning = Literal["none", "careful", "neattext"]

# Controls (except white space), soft hyphen, zero-width space, word joiner, direction marks, byte
# order mark. Zero-width joiner and non-joiner stay: Persian, Urdu and Indic spelling needs them.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
TAG = re.compile(
    r"<!--.*?-->|</?(?:a|abbr|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|form|h[1-6]"
    r"|head|hr|html|i|iframe|img|input|li|link|meta|nav|nowiki|ol|option|p|pre|ref|s|script|section"
    r"|small|span|strong|style|sub|sup|table|tbody|td|th|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
RULE = re.compile(r"([-_=*~#|+•·–—])(?:\s?\1){3,}")  # a drawn line: "-----", "* * * *"
SHOUT = re.compile(r"([.!?,;:…])\1{3,}")  # "!!!!!!" says no more than "!!!"
WHITE = re.compile(r"\s+")

# neattext's emoji pattern ends in the range U+24C2 to U+1F251, which includes kana, Han and Hangul:
# it deletes all of a Chinese text.
NEATTEXT_EMOJI = re.compile(
    "[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff"
    "\u2702-\u27b0\u24c2-\U0001f251]+"
)
_NEGATED = "are could did does do had has have is might must need sha should was were wo would"
ENGLISH_STOP_WORDS = frozenset(
    [verb + ending for verb in _NEGATED.split() for ending in ("n", "n't")]
    + """
    i me my mine myself you you'd you'll you're you've your yours yourself yourselves he him his
    himself she she's her hers herself it it's its itself we us our ours ourselves they them their
    theirs themselves this that that'll these those who whoever whom whose which what whatever one
    someone something anyone anything everyone everything nobody none noone nothing other others
    another each either neither both all any some few many much more most several such same own
    enough various
    a an the and or but nor if unless until while because since although though whereas whether
    than so yet as
    about above across after against along among amongst around at before behind below beside
    besides between beyond by down during except for from in into of off on onto out over per
    regarding than through throughout thru to toward towards under up upon using via with within
    without
    afterwards again almost alone already also always anyhow anyway anywhere back beforehand else
    elsewhere even ever everywhere formerly further hence here hereafter hereby herein hereupon how
    however indeed just last latterly least less meanwhile moreover mostly namely never
    nevertheless next no not now nowhere often once only otherwise perhaps please quite rather
    really somehow sometime sometimes somewhere still then thence there thereafter thereby
    therefore therein thereupon thus together too very well when whence whenever where whereafter
    whereby wherein whereupon wherever whither why
    am are be became become becomes becoming been being is was were ca can cannot could did do does
    doing done get give go had has have having keep made make may might move must put say see seem
    seemed seeming seems should should've show take used will would call
    two three four five six eight nine ten eleven twelve fifteen twenty forty fifty sixty hundred
    first third
    amount bottom due empty every former front full latter name part serious side top whole
    ain d ll m ma o re s t ve y
    """.split()
)


def clean(line: str, cleaning: Cleaning) -> str:
    """One cleaned line of text; `none` returns it unchanged.

    >>> clean("<p>Zażółć  GĘŚLĄ&nbsp;jaźń!!!!!!</p>", "careful")
    'Zażółć GĘŚLĄ jaźń!!!'
    >>> clean("Poszedł Do domu i TO, o czym mówił", "neattext")
    'poszedł domu to, czym mówił'
    """
    if cleaning == "none":
        return line
    if cleaning == "careful":
        return careful(line)
    if cleaning == "neattext":
        return neattext(line)
    raise ValueError(f"cleaning: {cleaning!r} is not one of {', '.join(get_args(Cleaning))}")


def careful(line: str) -> str:
    """Unicode NFC, without tags, character references, invisible characters and drawn lines, and
    with white space collapsed. Case, words, diacritics, punctuation, URLs and addresses stay."""
    if "<" in line:
        line = TAG.sub(" ", line)
    if "&" in line:
        line = ENTITY.sub(lambda match: html.unescape(match[0]), line)
    line = INVISIBLE.sub("", unicodedata.normalize("NFC", line))
    line = SHOUT.sub(r"\1\1\1", RULE.sub(" ", line))
    return WHITE.sub(" ", line).strip()


def neattext(line: str) -> str:
    """The result of neattext 0.1.3's `clean_text(line)` with its defaults, as in DistilHerBERT.

    Removes words that equal an English stop word in lower case ("to", but not "to,"), then emoji,
    then case.
    """
    words = (word for word in line.split() if word.lower() not in ENGLISH_STOP_WORDS)
    return re.sub(r"\s{2,}", " ", NEATTEXT_EMOJI.sub("", " ".join(words))).lower()


def damage(lines: Iterable[str], cleaning: Cleaning) -> dict[str, float]:
    """The damage that cleaning does to a text, as shares in [0, 1] (0 for an empty text).

    Returns: `words_removed`; `words_changed`, still there but spelled differently;
    `characters_lost`, not counting white space; `lines_lowercased`, of the lines with a capital.
    """
    total: Counter = Counter()
    for line in lines:
        cleaned = clean(line, cleaning)
        before, after = line.split(), cleaned.split()
        unmatched = (Counter(before) - Counter(after)).total()
        removed = min(unmatched, max(0, len(before) - len(after)))
        characters = sum(map(len, before))
        has_capital = line != line.lower()
        total["words"] += len(before)
        total["words_removed"] += removed
        total["words_changed"] += unmatched - removed
        total["characters"] += characters
        total["characters_lost"] += max(0, characters - sum(map(len, after)))
        total["capitals"] += has_capital
        total["lines_lowercased"] += has_capital and cleaned == cleaned.lower()
    wholes = {
        "words_removed": "words",
        "words_changed": "words",
        "characters_lost": "characters",
        "lines_lowercased": "capitals",
    }
    return {part: total[part] / max(total[whole], 1) for part, whole in wholes.items()}

"""Cleaning raw text, one line at a time, and measuring what a way of cleaning costs.

A cased model needs its capitals, and every model needs its words. `careful` removes only what is no
text. `neattext` is what DistilHerBERT did to its corpus (000, section 4, "cleantext from neattext
library"), kept as an experimental condition: it lowercases, and deletes English stop words, several
of which are Polish words ("i", "do", "to", "o", "a").
"""

import html
import re
import unicodedata
from collections import Counter
from typing import Iterable, Literal, get_args

How = Literal["none", "careful", "neattext"]

# Invisible characters: controls (white space apart), soft hyphen, zero-width space, word joiner,
# direction marks, byte order mark. The zero-width joiner and non-joiner stay: they spell words in
# Persian, Urdu and the Indic scripts.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
TAG = re.compile(
    r"<!--.*?-->|</?(?:a|abbr|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|form|h[1-6]|head|hr|html|i"
    r"|iframe|img|input|li|link|meta|nav|nowiki|ol|option|p|pre|ref|s|script|section|small|span|strong|style|sub|sup"
    r"|table|tbody|td|th|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
RULE = re.compile(r"([-_=*~#|+•·–—])(?:\s?\1){3,}")  # a drawn line: "-----", "* * * *"
SHOUT = re.compile(r"([.!?,;:…])\1{3,}")  # "!!!!!!" says no more than "!!!"
WHITE = re.compile(r"\s+")

# The emoji pattern of neattext ends in a range from U+24C2 to U+1F251, which also holds kana, Han
# and Hangul: it deletes a Chinese text whole.
NEATTEXT_EMOJI = re.compile(
    "[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff"
    "\u2702-\u27b0\u24c2-\U0001f251]+"
)
_NEGATED = (
    "are could did does do had has have is might must need sha should was were wo would".split()
)
ENGLISH_STOP_WORDS = frozenset(
    [verb + "n" for verb in _NEGATED]
    + [verb + "n't" for verb in _NEGATED]
    + """
    i me my mine myself you you'd you'll you're you've your yours yourself yourselves he him his himself she she's her
    hers herself it it's its itself we us our ours ourselves they them their theirs themselves this that that'll these
    those who whoever whom whose which what whatever one someone something anyone anything everyone everything nobody
    none noone nothing other others another each either neither both all any some few many much more most several such
    same own enough various
    a an the and or but nor if unless until while because since although though whereas whether than so yet as
    about above across after against along among amongst around at before behind below beside besides between beyond by
    down during except for from in into of off on onto out over per regarding than through throughout thru to toward
    towards under up upon using via with within without
    afterwards again almost alone already also always anyhow anyway anywhere back beforehand else elsewhere even ever
    everywhere formerly further hence here hereafter hereby herein hereupon how however indeed just last latterly least
    less meanwhile moreover mostly namely never nevertheless next no not now nowhere often once only otherwise perhaps
    please quite rather really somehow sometime sometimes somewhere still then thence there thereafter thereby therefore
    therein thereupon thus together too very well when whence whenever where whereafter whereby wherein whereupon
    wherever whither why
    am are be became become becomes becoming been being is was were ca can cannot could did do does doing done get give
    go had has have having keep made make may might move must put say see seem seemed seeming seems should should've
    show take used will would call
    two three four five six eight nine ten eleven twelve fifteen twenty forty fifty sixty hundred first third
    amount bottom due empty every former front full latter name part serious side top whole
    ain d ll m ma o re s t ve y
    """.split()
)


def clean(line: str, how: How) -> str:
    """One line of text, cleaned. `none` returns it as it is.

    >>> clean("<p>Zażółć  GĘŚLĄ&nbsp;jaźń!!!!!!</p>", "careful")
    'Zażółć GĘŚLĄ jaźń!!!'
    >>> clean("Poszedł Do domu i TO, o czym mówił", "neattext")
    'poszedł domu to, czym mówił'
    """
    if how == "none":
        return line
    if how == "careful":
        return careful(line)
    if how == "neattext":
        return neattext(line)
    raise ValueError(f"cleaning: {how!r} is not one of {', '.join(get_args(How))}")


def careful(line: str) -> str:
    """Unicode NFC; tags, character references, invisible characters and drawn lines gone; white
    space collapsed.

    Case, words, diacritics, punctuation, URLs and e-mail addresses stay.
    """
    if "<" in line:
        line = TAG.sub(" ", line)
    if "&" in line:
        line = ENTITY.sub(lambda match: html.unescape(match[0]), line)
    line = INVISIBLE.sub("", unicodedata.normalize("NFC", line))
    line = SHOUT.sub(r"\1\1\1", RULE.sub(" ", line))
    return WHITE.sub(" ", line).strip()


def neattext(line: str) -> str:
    """What `clean_text(line)` of neattext 0.1.3 returns with its defaults, as DistilHerBERT called
    it.

    A word goes when it equals an English stop word after lowercasing ("to" goes, "to," stays); then
    emoji, then case.
    """
    kept = (word for word in line.split() if word.lower() not in ENGLISH_STOP_WORDS)
    return re.sub(r"\s{2,}", " ", NEATTEXT_EMOJI.sub("", " ".join(kept))).lower()


def damage(lines: Iterable[str], how: How) -> dict:
    """What cleaning does to a text, as shares in [0, 1] (0 for an empty text).

    Returns: `lines` and `words`, counts before cleaning, words between white space;
    `words_removed`; `words_changed` (still there, spelled otherwise: case, diacritics, a character
    less); `characters_lost`, white space not counted; `lines_changed`; `lines_lowercased`, of the
    lines that had a capital; `lines_emptied`; `removed_most`, up to ten pairs of (word, times
    removed).
    """
    total, gone = Counter(), Counter()
    for line in lines:
        cleaned = clean(line, how)
        before, after = line.split(), cleaned.split()
        unmatched = (Counter(before) - Counter(after)).total()
        removed = min(unmatched, max(0, len(before) - len(after)))
        capital = line != line.lower()
        characters, left = sum(map(len, before)), sum(map(len, after))
        total.update(
            lines=1,
            words=len(before),
            words_removed=removed,
            words_changed=unmatched - removed,
            characters=characters,
            characters_lost=max(0, characters - left),
            lines_changed=line != cleaned,
            capitals=capital,
            lines_lowercased=capital and cleaned == cleaned.lower(),
            lines_emptied=bool(before) and not after,
        )
        if removed:
            gone.update(Counter(map(str.lower, before)) - Counter(map(str.lower, after)))

    def share(part: str, whole: str) -> float:
        return total[part] / total[whole] if total[whole] else 0.0

    return {
        "lines": total["lines"],
        "words": total["words"],
        "words_removed": share("words_removed", "words"),
        "words_changed": share("words_changed", "words"),
        "characters_lost": share("characters_lost", "characters"),
        "lines_changed": share("lines_changed", "lines"),
        "lines_lowercased": share("lines_lowercased", "capitals"),
        "lines_emptied": share("lines_emptied", "lines"),
        "removed_most": sorted(gone.items(), key=lambda pair: (-pair[1], pair[0]))[:10],
    }

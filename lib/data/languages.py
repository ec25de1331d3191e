"""Several languages in one corpus: sources by language, and how often each language is sampled
(004, section 3.1)."""

import math
import re
from typing import Annotated, Iterable, Mapping, Sequence

import numpy as np
from pydantic import Field

from lib.common.errors import InputError

CODE = r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*"
Language = Annotated[str, Field(pattern=f"^({CODE})?$")]
"""A short code: en, zh-yue, toy-en; empty where a source does not say."""
PLACE = "{language}"
TARGET = re.compile(rf"(?P<one>{CODE})\s*=\s*(?P<factor>\d+(\.\d+)?)\s+(?P<other>{CODE})")


# ------------------------------------------------------------------------------------------ sources


def expanded(entries) -> list:
    """Source entries with one of `languages: [en, is]` replaced by a source a language, in that
    order.

    `{language}` in any text of the entry becomes the language, which is the source's `language`
    too, unless the entry gives another pattern ("toy-{language}"). `lines` may be a mapping with a
    number for each. Entries without `languages`, and whatever is no list of mappings, come back as
    they are. Raises: ValueError that names the key, and the language where it is about one.
    """
    if not isinstance(entries, list):
        return entries
    found = []
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping) and "languages" in entry:
            found += of_each_language(f"sources.{number}", dict(entry))
        else:
            found.append(entry)
    return found


def of_each_language(where: str, entry: dict) -> list[dict]:
    """The sources that one entry with `languages` stands for; see expanded."""
    codes, lines = entry.pop("languages"), entry.get("lines")
    if not isinstance(codes, (list, tuple)) or not codes:
        raise ValueError(f"{where}.languages = {codes!r}; allowed: a list of language codes")
    for code in codes:
        if not isinstance(code, str) or not re.fullmatch(CODE, code):
            quoted = (
                "; YAML reads no, yes, on and off as truth values: quote them"
                if isinstance(code, bool)
                else ""
            )
            raise ValueError(
                f"{where}.languages: {code!r} is no language code; allowed: short codes such as "
                f"en{quoted}"
            )
    if len(set(codes)) < len(codes):
        raise ValueError(
            f"{where}.languages names {max(codes, key=codes.count)} twice; allowed: once each"
        )
    if isinstance(lines, Mapping):
        for code in codes:
            if type(lines.get(code)) is not int or lines[code] < 1:
                raise ValueError(
                    f"{where}.lines of {code} = {lines.get(code)!r}; allowed: a whole number of 1 "
                    f"and more"
                )
        if more := [code for code in lines if code not in codes]:
            raise ValueError(
                f"{where}.lines of {more[0]}: not among languages; allowed: {', '.join(codes)}"
            )
    if len(codes) > 1 and entry.get("language") and PLACE not in str(entry["language"]):
        raise ValueError(
            f"{where}.language = {entry['language']!r} beside {len(codes)} languages; allowed: "
            f"none, or {PLACE} in it"
        )
    told_by = [key for key in entry if key != "language" and PLACE in str(entry[key])]
    if entry.get("kind") != "toy" and not told_by and len(codes) > 1:
        raise ValueError(
            f"{where}: {codes[0]} and {codes[1]} would be the same text; allowed: {PLACE} in path "
            f"or config"
        )
    found = []
    for code in codes:
        source = {
            key: value.replace(PLACE, code) if isinstance(value, str) else value
            for key, value in entry.items()
        }
        source["language"] = source.get("language") or code
        if isinstance(lines, Mapping):
            source["lines"] = lines[code]
        found.append(source)
    return found


def grouped(sources: Sequence) -> tuple[list[str], np.ndarray]:
    """The languages of the sources, each once, in the order in which they first come, and the place
    of each source's among them, int64 [sources]. Where a source does not say its language, all are
    of one, "".
    """
    codes = [source.language for source in sources]
    codes = codes if all(codes) else [""] * len(codes)
    names = list(dict.fromkeys(codes))
    return names, np.array([names.index(code) for code in codes])


# ----------------------------------------------------------------------------------------- sampling


def target(text: str, known: Iterable[str]) -> tuple[str, float, str]:
    """What a sampling target says: "en = 100 is" is ("en", 100, "is"), P'(en) = 100 · P'(is).

    Raises: ValueError if it is not understood, or names a language that is not among the `known`.
    """
    found = TARGET.fullmatch(text.strip())
    if not found or float(found["factor"]) <= 0 or found["one"] == found["other"]:
        raise ValueError(
            f'sampling_target = {text!r}; allowed: two languages and a factor, as in "en = 100 is"'
        )
    known = list(known)
    for code in (found["one"], found["other"]):
        if code not in known:
            raise ValueError(
                f"sampling_target names {code}, of which there is no source; allowed: "
                f"{', '.join(known)}"
            )
    return found["one"], float(found["factor"]), found["other"]


def exponent(
    one: float, factor: float, other: float, names: tuple[str, str] = ("the one", "the other")
) -> float:
    """S for which P'(one) = factor · P'(other): S = ln(factor) / ln(one / other), of two sizes
    (004, eq. 1, 2).

    Raises: InputError if both are of one size, or if S would be negative.
    """
    if one == other:
        raise InputError(
            f"sampling_target: {names[0]} and {names[1]} are both {one:,} bytes, so no exponent "
            f"makes them differ; "
            "allowed: languages of different size"
        )
    found = math.log(factor) / math.log(one / other)
    if found < 0:
        raise InputError(
            f"sampling_target: {names[0]} has {one:,} bytes and {names[1]} {other:,}, so a factor "
            f"of {factor:g} needs the "
            f"exponent {found:.3g}; allowed: 0 and more"
        )
    return abs(found)  # of factor 1 and a ratio below 1 comes -0.0


def probabilities(sizes: np.ndarray, power: float) -> np.ndarray:
    """P' of each language: P^S / Σ P^S, where P = size / Σ size (004, eq. 1, 2). [languages]"""
    weights = (
        np.asarray(sizes, dtype=np.float64) / np.max(sizes)
    ) ** power  # by the largest: a large S underflows less
    return weights / weights.sum()


def apportioned(total: int, shares: np.ndarray) -> np.ndarray:
    """`total` lines by `shares` that sum to 1, by the largest remainder: each less than one line
    off. int64 [shares]"""
    exact = total * np.asarray(shares, dtype=np.float64)
    lines = np.floor(exact).astype(np.int64)
    rest = total - int(lines.sum())
    lines[np.argsort(lines - exact, kind="stable")[:rest]] += 1
    return lines


def quotas(
    params, names: list[str], lines: np.ndarray, sizes: np.ndarray
) -> tuple[float | None, np.ndarray, np.ndarray]:
    """How often each language is drawn: S (None: no sampling), P' and the number of lines,
    [languages].

    Args: params, with `sampling_exponent`, `sampling_target`, `sampling_unit`, `sampled_lines`, see
    prepare.prepare; names,
        lines and sizes of what there is, sizes in bytes. By `lines` the shares of lines are P', by
        `bytes` those of bytes are, as far as the lines drawn are as long as the others. Raises:
        InputError.
    """
    if params.sampling_exponent is None and not params.sampling_target:
        return None, sizes / sizes.sum(), lines
    if not lines.all():
        gone = names[int(np.argmin(lines))]
        raise InputError(
            f"sources: no line of {gone} is left to sample; allowed: text in every language"
        )
    power = params.sampling_exponent
    if power is None:
        one, factor, other = target(params.sampling_target, names)
        power = exponent(
            int(sizes[names.index(one)]), factor, int(sizes[names.index(other)]), (one, other)
        )
    shares = probabilities(sizes, power)
    of_lines = shares if params.sampling_unit == "lines" else shares * lines / sizes
    return (
        power,
        shares,
        apportioned(params.sampled_lines or int(lines.sum()), of_lines / of_lines.sum()),
    )


def figures(
    names: list[str], *, bytes, lines, target, lines_drawn, bytes_drawn, tokens
) -> list[dict]:
    """A mapping per language: what there was before sampling, what was aimed at, what was drawn.
    Each argument [languages].

    Shares are percent: `share` of the bytes before, P; `target`, P'; of the lines drawn, their
    bytes, and the tokens.
    """

    def percent(values) -> np.ndarray:
        return 100 * np.asarray(values, dtype=np.float64) / max(np.sum(values), 1e-300)

    columns = {
        "language": names,
        "bytes": bytes,
        "lines": lines,
        "share": percent(bytes),
        "target": percent(target),
        "lines_drawn": lines_drawn,
        "share_drawn": percent(lines_drawn),
        "bytes_drawn": bytes_drawn,
        "share_bytes_drawn": percent(bytes_drawn),
        "tokens": tokens,
        "share_tokens": percent(tokens),
    }
    columns = {
        name: values if name == "language" else np.asarray(values).tolist()
        for name, values in columns.items()
    }
    return [dict(zip(columns, row)) for row in zip(*columns.values())]

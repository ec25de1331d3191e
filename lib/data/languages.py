"""Corpora of several languages: declaring their sources, and how much of each language to sample
(004, section 3.1)."""

import math
import re
from typing import Annotated, Iterable, Mapping, Sequence

import numpy as np
from pydantic import Field

from lib.common.errors import InputError

CODE = r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*"
Language = Annotated[str, Field(pattern=f"^({CODE})?$")]
"""A short code such as en, zh-yue or toy-en; empty if a source does not name its language."""
PLACEHOLDER = "{language}"
TARGET = re.compile(rf"(?P<one>{CODE})\s*=\s*(?P<factor>\d+(\.\d+)?)\s+(?P<other>{CODE})")


# ----------------------------------------------------------------------------------------- sources


def expand_languages(entries) -> list:
    """Source entries; one that has `languages: [en, is]` becomes one source per language.

    `{language}` in any string of the entry becomes the language. So does the key `language`, unless
    the entry has a pattern for it ("toy-{language}"). `lines` may map languages to numbers. Other
    entries, and values that are no list, are returned unchanged.

    Raises: ValueError that names the key.
    """
    if not isinstance(entries, list):
        return entries
    sources = []
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping) and "languages" in entry:
            sources += _source_per_language(f"sources.{number}", dict(entry))
        else:
            sources.append(entry)
    return sources


def _source_per_language(where: str, entry: dict) -> list[dict]:
    codes, lines = entry.pop("languages"), entry.get("lines")
    _check_codes(where, codes)
    if isinstance(lines, Mapping):
        _check_lines(where, lines, codes)
    if len(codes) > 1:
        pattern = entry.get("language")
        if pattern and PLACEHOLDER not in str(pattern):
            problem = f"{pattern!r} beside {len(codes)} languages; allowed: none, or {PLACEHOLDER}"
            raise ValueError(f"{where}.language = {problem} in it")
        differ = any(PLACEHOLDER in str(entry[key]) for key in entry if key != "language")
        if entry.get("kind") != "toy" and not differ:
            problem = f"{codes[0]} and {codes[1]} would be the same text"
            raise ValueError(f"{where}: {problem}; allowed: {PLACEHOLDER} in path or config")
    sources = []
    for code in codes:
        source = {
            key: value.replace(PLACEHOLDER, code) if isinstance(value, str) else value
            for key, value in entry.items()
        }
        source["language"] = source.get("language") or code
        if isinstance(lines, Mapping):
            source["lines"] = lines[code]
        sources.append(source)
    return sources


def _check_codes(where: str, codes) -> None:
    if not isinstance(codes, (list, tuple)) or not codes:
        raise ValueError(f"{where}.languages = {codes!r}; allowed: a list of language codes")
    for code in codes:
        if not isinstance(code, str) or not re.fullmatch(CODE, code):
            hint = ""
            if isinstance(code, bool):
                hint = "; YAML reads no, yes, on and off as truth values: quote them"
            problem = f"{code!r} is no language code; allowed: short codes such as en{hint}"
            raise ValueError(f"{where}.languages: {problem}")
    if len(set(codes)) < len(codes):
        repeated = max(codes, key=codes.count)
        raise ValueError(f"{where}.languages names {repeated} twice; allowed: once each")


def _check_lines(where: str, lines: Mapping, codes: Sequence[str]) -> None:
    for code in codes:
        if type(lines.get(code)) is not int or lines[code] < 1:
            problem = f"{lines.get(code)!r}; allowed: a whole number of 1 and more"
            raise ValueError(f"{where}.lines of {code} = {problem}")
    for code in lines:
        if code not in codes:
            problem = f"not among languages; allowed: {', '.join(codes)}"
            raise ValueError(f"{where}.lines of {code}: {problem}")


def group_by_language(sources: Sequence) -> tuple[list[str], np.ndarray]:
    """The distinct languages of the sources, in order of appearance, and the index of each source's
    language, int64 [sources]. If a source does not name its language, all count as one, ""."""
    codes = [source.language for source in sources]
    codes = codes if all(codes) else [""] * len(codes)
    names = list(dict.fromkeys(codes))
    return names, np.array([names.index(code) for code in codes])


# ---------------------------------------------------------------------------------------- sampling


def parse_target(text: str, languages: Iterable[str]) -> tuple[str, float, str]:
    """A sampling target: "en = 100 is", meaning P'(en) = 100 · P'(is), is ("en", 100.0, "is").

    Raises: ValueError if it cannot be parsed, or names a language that is not in `languages`.
    """
    match = TARGET.fullmatch(text.strip())
    if not match or float(match["factor"]) <= 0 or match["one"] == match["other"]:
        allowed = 'two languages and a factor, as in "en = 100 is"'
        raise ValueError(f"sampling_target = {text!r}; allowed: {allowed}")
    languages = list(languages)
    for code in (match["one"], match["other"]):
        if code not in languages:
            problem = f"of which there is no source; allowed: {', '.join(languages)}"
            raise ValueError(f"sampling_target names {code}, {problem}")
    return match["one"], float(match["factor"]), match["other"]


def solve_exponent(
    one: float, factor: float, other: float, names: tuple[str, str] = ("the one", "the other")
) -> float:
    """S for which P'(one) = factor · P'(other): S = ln(factor) / ln(one / other), for two sizes in
    bytes (004, eq. 1, 2).

    Raises: InputError if the sizes are equal, or S would be negative.
    """
    if one == other:
        raise InputError(
            f"sampling_target: {names[0]} and {names[1]} are both {one:,} bytes, so no exponent "
            "makes them differ; allowed: languages of different size"
        )
    exponent = math.log(factor) / math.log(one / other)
    if exponent < 0:
        raise InputError(
            f"sampling_target: {names[0]} has {one:,} bytes and {names[1]} {other:,}, so a factor "
            f"of {factor:g} needs the exponent {exponent:.3g}; allowed: 0 and more"
        )
    return abs(exponent)  # factor 1 and a ratio below 1 give -0.0


def sampling_probabilities(sizes: np.ndarray, exponent: float) -> np.ndarray:
    """P' of each language: P^S / Σ P^S, where P = size / Σ size (004, eq. 1, 2). [languages]"""
    # Divided by the largest, a large exponent underflows less.
    weights = (np.asarray(sizes, dtype=np.float64) / np.max(sizes)) ** exponent
    return weights / weights.sum()


def apportion(total: int, shares: np.ndarray) -> np.ndarray:
    """`total` lines divided by shares that sum to 1, by the largest remainder, so that each is less
    than one line off. int64 [shares]"""
    exact = total * np.asarray(shares, dtype=np.float64)
    lines = np.floor(exact).astype(np.int64)
    rest = total - int(lines.sum())
    lines[np.argsort(lines - exact, kind="stable")[:rest]] += 1
    return lines


def lines_to_draw(
    params, names: list[str], lines: np.ndarray, sizes: np.ndarray
) -> tuple[float | None, np.ndarray, np.ndarray]:
    """How much of each language to draw: the exponent S (None: no sampling), P' and the number of
    lines, [languages] each.

    With `sampling_unit` lines, P' are the shares of lines; with bytes, the shares of bytes, as far
    as the lines drawn have the average length of their language.

    Args: params, with the `sampling_…` parameters and `sampled_lines`; lines and sizes, the lines
        and bytes of each language.
    Raises: InputError.
    """
    if params.sampling_exponent is None and not params.sampling_target:
        return None, sizes / sizes.sum(), lines
    if not lines.all():
        empty = names[int(np.argmin(lines))]
        problem = f"no line of {empty} is left to sample; allowed: text in every language"
        raise InputError(f"sources: {problem}")
    exponent = params.sampling_exponent
    if exponent is None:
        one, factor, other = parse_target(params.sampling_target, names)
        size_of = dict(zip(names, sizes.tolist()))
        exponent = solve_exponent(size_of[one], factor, size_of[other], (one, other))
    probabilities = sampling_probabilities(sizes, exponent)
    of_lines = probabilities
    if params.sampling_unit == "bytes":
        of_lines = probabilities * lines / sizes
    total = params.sampled_lines or int(lines.sum())
    return exponent, probabilities, apportion(total, of_lines / of_lines.sum())


def language_table(
    names: list[str], *, bytes, lines, target, lines_drawn, bytes_drawn, tokens
) -> list[dict]:
    """A row for each language: its text before sampling, the target, and what was drawn.

    Each argument has one value a language. Shares are percent: `share` of the bytes before sampling
    (P), `target` (P'), and those of the lines drawn, their bytes and their tokens.
    """

    def percent(values) -> np.ndarray:
        return 100 * np.asarray(values, dtype=np.float64) / max(np.sum(values), 1e-300)

    columns = {
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
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()))
    return [{"language": name, **dict(zip(columns, row))} for name, row in zip(names, rows)]

"""Tables and the figure of notebook 1: what the text was, what was done to it, and what came out."""

from itertools import islice

import numpy as np
import pandas as pd

from lib import derived, tokenizer
from lib.cleaning import clean, damage
from lib.corpus import read
from lib.sequences import batches


def samples(p, folder, count: int = 4, width: int = 160) -> pd.DataFrame:
    """The first passages of the first source, as they are and as `p.cleaning` leaves them; of a transfer set, the first
    sequences of its parent that are in the sample, and the first of what became of them in the prepared `folder`."""
    if p.sample_of:
        words = tokenizer.load(str(folder / "tokenizer"))
        before, after = next(derived.sample(p)), next(batches(folder))
        cut = [
            tuple(words.decode(ids, skip_special_tokens=True)[:width] for ids in pair)
            for pair in zip(*(rows.slice(0, count)["input_ids"].to_pylist() for rows in (before, after)))
        ]
        return pd.DataFrame(cut, columns=["in the parent", f"here: {p.composition}"])
    lines = list(islice(read(p.sources[0], p.seed), count))
    cut = [(line[:width], clean(line, p.cleaning)[:width]) for line in lines]
    return pd.DataFrame(cut, columns=["as it is", f"cleaned: {p.cleaning}"])


def effect(p, found: dict) -> pd.DataFrame:
    """What preparing did: to a text, what each kind of cleaning would do; to a parent, how much of it a transfer set has."""
    return beside_parent(found) if p.sample_of else cleaning_damage(p)


def beside_parent(found: dict) -> pd.DataFrame:
    """The sequences and tokens of a transfer set beside those of its parent. Words and bytes would not compare: a text's
    are counted between white space, a transfer set's by where tokens start words."""
    rows = {
        name: {
            "parent": f"{found['parent'][name]:,}",
            "here": f"{found[name]:,}",
            "share, %": f"{100 * found[name] / found['parent'][name]:.3g}",
        }
        for name in ("sequences", "tokens")
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("number of")


def cleaning_damage(p, count: int = 2000) -> pd.DataFrame:
    """What each kind of cleaning would do to the first passages: percent of words removed and changed, of characters lost."""
    lines = list(islice(read(p.sources[0], p.seed), count))
    rows = {}
    for how in ("none", "careful", "neattext"):
        did = damage(lines, how)
        rows[how] = {
            "words removed, %": 100 * did["words_removed"],
            "words changed, %": 100 * did["words_changed"],
            "characters lost, %": 100 * did["characters_lost"],
            "lines lowercased, %": 100 * did["lines_lowercased"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("cleaning")


def statistics(found: dict) -> pd.DataFrame:
    """The statistics of a prepared corpus, or of a transfer set derived from one, as one column."""
    rows = {"made of": made_of(found)}
    if "lines_in" in found:
        rows |= {
            "lines read": found["lines_in"],
            **{f"dropped: {reason.replace('_', ' ')}": count for reason, count in found["dropped"].items()},
        }
    rows |= {
        "lines held out": found["held_out"]["lines"],
        "lines kept": found["lines"],
        "sequences": found["sequences"],
        **sections(found),
        "words": found["words"],
        "tokens": found["tokens"],
        "bytes of text": found["bytes"],
        "tokens a word": round(found["tokens_per_word"], 2),
        "unknown tokens, %": round(100 * found["unknown_share"], 3),
        "tokens a sequence, mean": round(found["tokens_per_sequence"]["mean"], 1),
        "tokens a sequence, median": found["tokens_per_sequence"]["median"],
        "tokens a sequence, most": found["tokens_per_sequence"]["max"],
        "words a line, mean": round(found["words_per_line"]["mean"], 1),
        "words a line, median": found["words_per_line"]["median"],
        "vocabulary": found["vocabulary"],
        "tokens prepared a second": round(found["tokens_per_second"]),
    }
    shown = [value if isinstance(value, str) else f"{value:,}" for value in rows.values()]
    return pd.DataFrame({"value": shown}, index=pd.Index(rows, name="statistic"))


def sections(found: dict) -> dict:
    """The sequences of each section, and the exponent that languages were sampled with, where there were such."""
    parts, sampled = found.get("sections", []), found.get("sampling")
    rows = {"sequences of its sections": ", ".join(f"{part:,}" for part in parts)} if len(parts) > 1 else {}
    if sampled:
        asked = f", from {sampled['target']}" if sampled["target"] else ""
        rows["sampling exponent"] = f"{sampled['exponent']:.3f}{asked}"
    return rows


def made_of(found: dict) -> str:
    """In a few words, what a prepared corpus was made of."""
    if "parent" in found:
        return f"{100 * found['share']:g} % of a corpus, {found['composition']}"
    names = [source["name"] for source in found.get("sources", [])]
    if len(names) > 12:
        return f"{len(names)} sources, {names[0]} to {names[-1]}"
    return " + ".join(names) or "text"


def by_source(found: dict) -> pd.DataFrame:
    """001's Table 4 of a corpus: size, lines, words and words a line of each source and of all, before tokenising.

    A transfer set has one row, its own figures.
    """
    rows = {source["name"]: source for source in found.get("sources", [])} | {"all": found.get("text", found)}
    return pd.DataFrame.from_dict(
        {
            name: {
                "MB": f"{row['bytes'] / 1e6:,.2f}",
                "lines": f"{row['lines']:,}",
                "words": f"{row['words']:,}",
                "words a line, mean": f"{row['words_per_line']['mean']:.1f}",
                "words a line, median": f"{row['words_per_line']['median']:g}",
            }
            for name, row in rows.items()
        },
        orient="index",
    ).rename_axis("source")


def languages(found: dict) -> pd.DataFrame:
    """004's Table 1 of a corpus: the share of each language before sampling (of bytes, P) and after (of lines, P').

    `repeated` is how often a line was drawn in the mean. One row, `all`, where sources do not name their languages.
    """
    whole = {"language": "all", "share": 100.0, "share_drawn": 100.0, "share_bytes_drawn": 100.0, "share_tokens": 100.0}
    whole |= {"lines": found["lines"], "lines_drawn": found["lines"], "tokens": found["tokens"]}
    rows = {
        row["language"]: {
            "before, % of bytes": f"{row['share']:.3g}",
            "after, % of lines": f"{row['share_drawn']:.3g}",
            "after, % of bytes": f"{row['share_bytes_drawn']:.3g}",
            "after, % of tokens": f"{row['share_tokens']:.3g}",
            "lines there": f"{row['lines']:,}",
            "lines drawn": f"{row['lines_drawn']:,}",
            "repeated": f"{row['lines_drawn'] / max(row['lines'], 1):.3g} ×",
            "tokens": f"{row['tokens']:,}",
        }
        for row in found.get("languages", [whole])
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")


def lengths(found: dict):
    """Histogram of sequence lengths in tokens."""
    from matplotlib.figure import Figure

    edges, counts = np.asarray(found["length_histogram"]["edges"]), np.asarray(found["length_histogram"]["counts"])
    figure = Figure(figsize=(6.2, 2.4), layout="constrained")
    axis = figure.subplots()
    axis.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color="#0072B2", edgecolor="none")
    axis.set(xlabel="tokens in a sequence, special tokens included", ylabel="sequences")
    axis.spines[["top", "right"]].set_visible(False)
    return figure

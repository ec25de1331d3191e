"""The papers' own numbers, from params/papers.yaml.

>>> table("000", "results").loc["S4", "nkjp-ner"]
82.2
"""

from functools import lru_cache

import pandas as pd
import yaml

from lib.common import places
from lib.common.errors import InputError

FILE = "params/papers.yaml"


@lru_cache(maxsize=1)
def sources() -> dict:
    """Everything in the file, by source id ("000", "001", "002", "004"). Read only: the value is
    shared."""
    return yaml.safe_load((places.ROOT / FILE).read_text(encoding="utf-8"))["sources"]


def table(source: str, name: str) -> pd.DataFrame:
    """One printed table: a row per model or scenario, columns as in the file. Scores are
    percent."""
    entry = _entry(source, "tables", name)
    return pd.DataFrame.from_dict(entry["rows"], orient="index", columns=entry["columns"])


def flags(source: str, name: str) -> list[str]:
    """Cautions that belong under the table; often none."""
    return list(_entry(source, "tables", name).get("flags", []))


def fact(source: str, name: str) -> float:
    """One printed number outside the tables; its unit stands in the file."""
    return _entry(source, "facts", name)["value"]


def _entry(source: str, kind: str, name: str) -> dict:
    entries = sources().get(source, {}).get(kind, {})
    if name not in entries:
        raise InputError(
            f"papers.yaml: sources.{source}.{kind} has no {name!r}; it has "
            f"{', '.join(entries) or 'none'}"
        )
    return entries[name]

"""What the plan knows without computing or asking anyone: params/hub.yaml, params/estimates.yaml, the volumes a scale file expects,
and the results that are there already."""

import json
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from lib import ROOT, study
from lib.errors import InputError
from lib.step import Step
from lib.yamls import read_yaml

PARAMS = ROOT / "params"


@dataclass(frozen=True)
class Volume:
    """How much text a corpus holds: sequences, tokens without special ones, bytes (None: not known), the vocabulary of its
    tokenizer, and how this is known: measured, expected (the paper's own numbers), assumed, or at most."""

    sequences: float | None = None
    tokens: float | None = None
    bytes: float | None = None
    vocabulary: int | None = None
    basis: str = ""


@dataclass(frozen=True)
class Card:
    """A GPU: its dense peaks in TFLOP/s by number format, 0 where it has none, and the assumed share of them that is reached."""

    name: str
    memory_gib: float
    peak: dict[str, float]
    utilisation: dict[str, float]
    least_ms: float

    def hours(self, flops: float, layer_passes: float, precision: str) -> float | None:
        """How long so many operations take in a number format, or the starting of so many passes through a layer if that is
        longer; None where the card does not have the format."""
        if precision == "auto":
            precision = "bf16" if self.peak["bf16"] else "fp16"
        precision = "fp32" if precision == "no" else precision
        rate = self.peak[precision] * self.utilisation[precision] * 1e12
        return max(flops / rate, layer_passes * self.least_ms / 1000) / 3600 if rate else None


@lru_cache(maxsize=1)
def hub() -> dict:
    """params/hub.yaml: `models`, `data_sets` and `tasks`."""
    return read_yaml(PARAMS / "hub.yaml")


@lru_cache(maxsize=1)
def reckoning() -> dict:
    """params/estimates.yaml."""
    return read_yaml(PARAMS / "estimates.yaml")


def card(name: str = "") -> Card:
    """A GPU of params/estimates.yaml; its default without a name. Raises InputError."""
    every, chosen = reckoning()["gpus"], name or reckoning()["gpu"]
    if chosen not in every:
        raise InputError(f"GPU: {chosen!r} is not in params/estimates.yaml; there are {', '.join(every)}")
    entry = every[chosen]
    peak = {precision: float(entry[precision]) for precision in ("fp32", "bf16", "fp16")}
    return Card(entry["name"], entry["memory_gib"], peak, reckoning()["utilisation"], reckoning()["least_ms"])


def reported_hours() -> float:
    """What 000 says that a pretraining took on a Titan V."""
    return read_yaml(PARAMS / "papers.yaml")["sources"]["000"]["facts"]["pretraining_hours"]["value"]


def number(text: int | float | str) -> float:
    """A number of params/hub.yaml, which may say `about` before it."""
    return float(str(text).removeprefix("about "))


# ------------------------------------------------------------------------------------------------------- volumes


def expected(step: Step) -> Volume | None:
    """What the section `expected` of the scale file says of a corpus. A value is a number, or where it stands in papers.yaml:
    source and fact, or source, table, row and column. Raises InputError."""
    file = Path("params") / step.study / f"{step.folder.split('/')[1]}.yaml"
    section = read_yaml(study.PARAMS.parent / file).get("expected") or {}
    if unknown := sorted(
        set(section) - {entry for entry in read_yaml(study.PARAMS.parent / file).get("corpora") or {}}
    ):
        raise InputError(f"{file}: expected: there is no corpus {unknown[0]!r}")
    given = section.get(step.scenario.removeprefix("corpus_"))
    if not given:
        return None
    allowed = [field.name for field in fields(Volume) if field.name != "basis"]
    if unknown := sorted(set(given) - set(allowed)):
        raise InputError(
            f"{file}: expected.{step.scenario}: unknown key {unknown[0]!r}; allowed are {', '.join(allowed)}"
        )
    values = {key: _printed(value, f"{file}: expected.{step.scenario}.{key}") for key, value in given.items()}
    return Volume(**values, basis="expected")


def _printed(value, where: str) -> float:
    """A number, given or printed in a paper."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    sources = read_yaml(PARAMS / "papers.yaml")["sources"]
    try:
        if len(value) == 2:
            return float(sources[value[0]]["facts"][value[1]]["value"])
        table = sources[value[0]]["tables"][value[1]]
        return float(table["rows"][value[2]][table["columns"].index(value[3])])
    except (KeyError, IndexError, TypeError, ValueError):
        raise InputError(f"{where} = {value!r}: allowed are a number, or where it stands in params/papers.yaml: "
                         "[source, fact] or [source, table, row, column]") from None  # fmt: skip


def measured(step: Step) -> dict | None:
    """The result of a stage that has run with these very parameters."""
    path = ROOT / step.result
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found["parameters"] == step.parameters else None


def counted(step: Step) -> Volume | None:
    """The volume of a corpus that is prepared already."""
    found = measured(step)
    if not found:
        return None
    told = found["statistics"]
    return Volume(told["sequences"], told["tokens"], told["bytes"], told["vocabulary"], "measured")


def text_bytes(sources: list[dict]) -> float | None:
    """About how many bytes of text the sources hold, if all of them tell: by params/hub.yaml, or by the size of plain files."""
    from lib.corpus import size
    from lib.parameters_data import DataPrep

    total = 0.0
    if (
        len({source.get("dataset") for source in sources}) == 1 and len(sources) > 50
    ):  # all of its configurations, nearly
        known = hub()["data_sets"].get(sources[0]["dataset"], {}).get("text_gb", {})
        return number(known["*"]) * 1e9 if "*" in known else None
    for source in DataPrep(sources=sources, tokenizer="none").sources:
        if source.kind == "hub":
            known = hub()["data_sets"].get(source.dataset, {}).get("text_gb", {})
            if (source.config or "") not in known:
                return None
            total += number(known[source.config or ""]) * 1e9
        elif (found := size(source)) and found[0] == "bytes":
            total += found[1]
        else:
            return None
    return total


def is_hub(name: str) -> bool:
    """Whether a model is named by its id on the hub, not by a folder."""
    return (
        bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name))
        and not (ROOT / name).is_dir()
        and not name.startswith("outputs/")
    )

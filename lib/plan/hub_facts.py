"""What the plan knows without computing or asking anyone: params/hub.yaml, params/estimates.yaml,
the volumes a scale file expects, and the results that are there already.

What a plan needs from the hub before it can run offline: models and data sets, each with its
revision.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from lib.common import hub, places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.plan import files
from lib.plan.stages import Stage
from lib.tasks import registry


@dataclass(frozen=True)
class Volume:
    """How much text a corpus holds: sequences, tokens without special ones, bytes (None: not
    known), the vocabulary of its tokenizer, and how this is known: measured, expected (the paper's
    own numbers), assumed, or at most."""

    sequences: float | None = None
    tokens: float | None = None
    bytes: float | None = None
    vocabulary: int | None = None
    basis: str = ""


@dataclass(frozen=True)
class Card:
    """A GPU: its dense peaks in TFLOP/s by number format, 0 where it has none, and the assumed
    share of them that is reached."""

    name: str
    memory_gib: float
    peak: dict[str, float]
    utilisation: dict[str, float]
    least_ms: float

    def hours(self, flops: float, layer_passes: float, precision: str) -> float | None:
        """How long so many operations take in a number format, or the starting of so many passes
        through a layer if that is longer; None where the card does not have the format."""
        if precision == "auto":
            precision = "bf16" if self.peak["bf16"] else "fp16"
        precision = "fp32" if precision == "no" else precision
        rate = self.peak[precision] * self.utilisation[precision] * 1e12
        return max(flops / rate, layer_passes * self.least_ms / 1000) / 3600 if rate else None


@lru_cache(maxsize=1)
def hub_yaml() -> dict:
    """params/hub.yaml: `models`, `data_sets` and `tasks`."""
    return read_yaml(places.ROOT / "params" / "hub.yaml")


@lru_cache(maxsize=1)
def reckoning() -> dict:
    """params/estimates.yaml."""
    return read_yaml(places.ROOT / "params" / "estimates.yaml")


def card(name: str = "") -> Card:
    """A GPU of params/estimates.yaml; its default without a name. Raises InputError."""
    every, chosen = reckoning()["gpus"], name or reckoning()["gpu"]
    if chosen not in every:
        raise InputError(
            f"GPU: {chosen!r} is not in params/estimates.yaml; there are {', '.join(every)}"
        )
    entry = every[chosen]
    peak = {precision: float(entry[precision]) for precision in ("fp32", "bf16", "fp16")}
    return Card(
        entry["name"],
        entry["memory_gib"],
        peak,
        reckoning()["utilisation"],
        reckoning()["least_ms"],
    )


def reported_hours() -> float:
    """What 000 says that a pretraining took on a Titan V."""
    return read_yaml(places.ROOT / "params" / "papers.yaml")["sources"]["000"]["facts"][
        "pretraining_hours"
    ]["value"]


def number(text: int | float | str) -> float:
    """A number of params/hub.yaml, which may say `about` before it."""
    return float(str(text).removeprefix("about "))


# ------------------------------------------------------------------------------------------ volumes


def expected(step: Stage) -> Volume | None:
    """What the section `expected` of the scale file says of a corpus. A value is a number, or where
    it stands in papers.yaml: source and fact, or source, table, row and column. Raises
    InputError."""
    expected = files.read_scale(step.study, step.path.scale).expected.get(step.path.corpus)
    if not expected:
        return None
    file = f"params/{step.study}/{step.path.scale}.yaml: expected.{step.path.corpus}"
    values = expected.model_dump(exclude_none=True)
    numbers = {key: _printed(value, f"{file}.{key}") for key, value in values.items()}
    return Volume(**numbers, basis="expected")


def _printed(value, where: str) -> float:
    """A number, given or printed in a paper."""
    if not isinstance(value, list):
        return float(value)
    sources = read_yaml(places.ROOT / "params" / "papers.yaml")["sources"]
    try:
        if len(value) == 2:
            return float(sources[value[0]]["facts"][value[1]]["value"])
        table = sources[value[0]]["tables"][value[1]]
        return float(table["rows"][value[2]][table["columns"].index(value[3])])
    except (KeyError, IndexError, TypeError, ValueError):
        raise InputError(
            f"{where} = {value!r}: params/papers.yaml has no such number; give [source, fact] or "
            f"[source, table, row, column]"
        ) from None


def measured(step: Stage) -> dict | None:
    """The result of a stage that has run with these very parameters."""
    path = places.ROOT / step.result
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found["parameters"] == step.parameters else None


def counted(step: Stage) -> Volume | None:
    """The volume of a corpus that is prepared already."""
    found = measured(step)
    if not found:
        return None
    told = found["statistics"]
    return Volume(told["sequences"], told["tokens"], told["bytes"], told["vocabulary"], "measured")


def text_bytes(sources: list[dict]) -> float | None:
    """About how many bytes of text the sources hold, if all of them tell: by params/hub.yaml, or by
    the size of plain files."""
    from lib.data.parameters import DataPrep
    from lib.data.sources import expected_size

    total = 0.0
    if (
        len({source.get("dataset") for source in sources}) == 1 and len(sources) > 50
    ):  # all of its configurations, nearly
        known = hub_yaml()["data_sets"].get(sources[0]["dataset"], {}).get("text_gb", {})
        return number(known["*"]) * 1e9 if "*" in known else None
    for source in DataPrep(sources=sources, tokenizer="none").sources:
        if source.kind == "hub":
            known = hub_yaml()["data_sets"].get(source.dataset, {}).get("text_gb", {})
            if (source.config or "") not in known:
                return None
            total += number(known[source.config or ""]) * 1e9
        elif (found := expected_size(source)) and found[0] == "bytes":
            total += found[1]
        else:
            return None
    return total


FILES = [
    "config.json",
    "*.safetensors",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
]
"""What is read of a model: no other formats of its weights."""


@dataclass
class Need:
    """A model, or a data set with those of its configurations that are read (one is all there is:
    ""), and by which studies.

    `streamed`: it is read over the network while it is used, and cannot be downloaded.
    """

    kind: str  # model | data set
    id: str
    revision: str | None
    configs: list[str] = field(default_factory=list)
    streamed: bool = False
    studies: list[str] = field(default_factory=list)


def needs(steps: Sequence[Stage]) -> list[Need]:
    """Everything the stages of a plan read from the hub, models first."""
    found: dict[tuple, Need] = {}

    def note(
        step: Stage,
        kind: str,
        name: str,
        revision: str | None,
        config: str | None = None,
        streamed: bool = False,
    ) -> None:
        need = found.setdefault(
            (kind, name, revision, streamed), Need(kind, name, revision, streamed=streamed)
        )
        for value, values in ((config or "", need.configs), (step.study, need.studies)):
            if value not in values:
                values.append(value)

    for step in steps:
        p = step.parameters
        for key in ("teacher", "model", "tokenizer"):
            name = p.get(key) or ""
            if hub.ModelRef(name).on_hub:
                note(step, "model", name, p.get(f"{key}_revision"))
        for source in p.get("sources", []):
            if source["kind"] == "hub" and hub.ModelRef(source["dataset"]).on_hub:
                note(
                    step,
                    "data set",
                    source["dataset"],
                    source["revision"],
                    source["config"],
                    source["streaming"],
                )
        if p.get("task_source") == "hub":
            for name, config, owner in task_parts(p):
                note(step, "data set", name, p["task_revisions"].get(owner), config)
    return sorted(found.values(), key=lambda need: need.kind != "model")


def task_parts(p: dict) -> list[tuple[str, str, str]]:
    """Data set, configuration, and the task whose revision is taken, of all that a fine-tuning
    reads."""
    parts = []
    for name in p["tasks"]:
        task, owner = registry.TASKS[name], registry.TASKS[name].trains_on or name
        parts.append((registry.TASKS[owner].hub, registry.TASKS[owner].config, owner))
        parts += [
            (task.hub, config, name)
            for config in (p["languages"] if task.languages else [task.config])
        ]
    return list(dict.fromkeys(parts))


def megabytes(need: Need) -> tuple[float, bool] | None:
    """What is downloaded, by params/hub.yaml: MB, and whether that is rounded or reckoned; None
    where it does not say."""
    entry = (
        hub_yaml()["models" if need.kind == "model" else "data_sets"]
        .get(need.id, {})
        .get("download_mb")
    )
    if entry is None:
        return None
    if not isinstance(entry, dict):
        return number(entry), str(entry).startswith("about")
    if "*" in entry and len(need.configs) > 50:
        return number(entry["*"]), True
    sizes = [entry.get(config, entry.get("*")) for config in need.configs]
    if None in sizes:
        return None
    return sum(map(number, sizes)), any(str(size).startswith("about") for size in sizes)


def fetch(need: Need, say: Callable[[str], None] = print) -> None:
    """Download into the hub library's cache what a stage would read. Raises InputError."""
    what = f"{need.kind}  {need.id}  {need.revision or 'main'}"
    if need.streamed:
        say(f"{what}  is streamed: read while it is used; with streaming: false it is downloaded")
        return
    if need.kind == "model":
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(need.id, revision=need.revision, allow_patterns=FILES)
        except Exception as error:  # the library raises many kinds
            raise hub.unavailable(hub.ModelRef(need.id, need.revision), error) from error
    else:
        for config in need.configs:
            hub.rows(need.id, config or None, split=None, revision=need.revision)
    say(f"{what}  is in the cache")

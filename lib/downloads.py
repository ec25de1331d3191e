"""What a plan needs from the hub before it can run offline: models and data sets, each with its revision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lib import hub, known, tasks
from lib.step import Step

FILES = ["config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"]
"""What is read of a model: no other formats of its weights."""


@dataclass
class Need:
    """A model, or a data set with those of its configurations that are read (one is all there is: ""), and by which studies.

    `streamed`: it is read over the network while it is used, and cannot be downloaded.
    """

    kind: str  # model | data set
    id: str
    revision: str | None
    configs: list[str] = field(default_factory=list)
    streamed: bool = False
    studies: list[str] = field(default_factory=list)


def needs(steps: Sequence[Step]) -> list[Need]:
    """Everything the stages of a plan read from the hub, models first."""
    found: dict[tuple, Need] = {}

    def note(
        step: Step, kind: str, name: str, revision: str | None, config: str | None = None, streamed: bool = False
    ) -> None:
        need = found.setdefault((kind, name, revision, streamed), Need(kind, name, revision, streamed=streamed))
        for value, values in ((config or "", need.configs), (step.study, need.studies)):
            if value not in values:
                values.append(value)

    for step in steps:
        p = step.parameters
        for key in ("teacher", "model", "tokenizer"):
            name = p.get(key) or ""
            if known.is_hub(name):
                note(step, "model", name, p.get(f"{key}_revision"))
        for source in p.get("sources", []):
            if source["kind"] == "hub" and known.is_hub(source["dataset"]):
                note(step, "data set", source["dataset"], source["revision"], source["config"], source["streaming"])
        if p.get("task_source") == "hub":
            for name, config, owner in task_parts(p):
                note(step, "data set", name, p["task_revisions"].get(owner), config)
    return sorted(found.values(), key=lambda need: need.kind != "model")


def task_parts(p: dict) -> list[tuple[str, str, str]]:
    """Data set, configuration, and the task whose revision is taken, of all that a fine-tuning reads."""
    parts = []
    for name in p["tasks"]:
        task, owner = tasks.TASKS[name], tasks.TASKS[name].trains_on or name
        parts.append((tasks.TASKS[owner].hub, tasks.TASKS[owner].config, owner))
        parts += [(task.hub, config, name) for config in (p["languages"] if task.languages else [task.config])]
    return list(dict.fromkeys(parts))


def megabytes(need: Need) -> tuple[float, bool] | None:
    """What is downloaded, by params/hub.yaml: MB, and whether that is rounded or reckoned; None where it does not say."""
    entry = known.hub()["models" if need.kind == "model" else "data_sets"].get(need.id, {}).get("download_mb")
    if entry is None:
        return None
    if not isinstance(entry, dict):
        return known.number(entry), str(entry).startswith("about")
    if "*" in entry and len(need.configs) > 50:
        return known.number(entry["*"]), True
    sizes = [entry.get(config, entry.get("*")) for config in need.configs]
    if None in sizes:
        return None
    return sum(map(known.number, sizes)), any(str(size).startswith("about") for size in sizes)


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
            raise hub.unavailable(f"model {need.id!r}", need.id, need.revision, error) from error
    else:
        for config in need.configs:
            hub.rows(need.id, config or None, split=None, revision=need.revision)
    say(f"{what}  is in the cache")

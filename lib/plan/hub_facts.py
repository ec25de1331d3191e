"""What a plan downloads from the hub, and what params/hub.yaml says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from lib.common import hub, places
from lib.common.files import read_yaml
from lib.common.hub import ModelRef
from lib.common.parameters import ModelName, TokenizerName, naming
from lib.plan.stages import KINDS, Stage
from lib.tasks.registry import TASKS

MODEL_FILES = [
    "config.json",
    "*.safetensors",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
]
"""The files of a model that are downloaded: no other formats of its weights."""


@cache
def hub_yaml() -> dict:
    """params/hub.yaml: `models`, `data_sets` and `tasks`."""
    return read_yaml(places.ROOT / "params" / "hub.yaml")


def known_config(model: ModelRef) -> dict | None:
    """What is known of a model's config.json without asking the hub: that of a folder or of a
    downloaded model, or what params/hub.yaml says; None for another id. Raises InputError."""
    if facts := hub_yaml()["models"].get(model.name):
        return {
            "model_type": facts["kind"],
            "num_hidden_layers": facts["layers"],
            "max_position_embeddings": facts["positions"],
            "hidden_size": facts["hidden"],
            "num_attention_heads": facts["heads"],
        }
    return model.config() if model.is_folder or model.is_downloaded else None


@dataclass
class Download:
    """A model or a data set that stages read: which configurations of it ("": there is one only),
    and for which studies. `streamed`: it is read over the network, and not stored."""

    kind: str  # model | data set
    id: str
    revision: str | None
    streamed: bool = False
    configs: list[str] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict:
        """Its entry in params/hub.yaml."""
        return hub_yaml()["models" if self.kind == "model" else "data_sets"].get(self.id, {})

    @property
    def megabytes(self) -> tuple[float, bool] | None:
        """Its size, and whether that is exact; None if params/hub.yaml does not say."""
        sizes = self.facts.get("download_mb")
        if not isinstance(sizes, dict):
            sizes = [sizes]
        elif "*" in sizes and len(self.configs) > 50:  # nearly all configurations
            sizes = [f"about {sizes['*']}"]
        else:
            sizes = [sizes.get(config, sizes.get("*")) for config in self.configs]
        if None in sizes:
            return None
        exact = not any(str(size).startswith("about") for size in sizes)
        return sum(float(str(size).split()[-1]) for size in sizes), exact


def downloads(stages: Sequence[Stage]) -> list[Download]:
    """Everything that stages read from the hub, models first."""
    by_key: dict[tuple, Download] = {}
    for stage in stages:
        for kind, id, revision, streamed, config in _read_by(stage):
            key = (kind, id, revision, streamed)
            download = by_key.setdefault(key, Download(*key))
            for value, values in ((config, download.configs), (stage.study, download.studies)):
                if value not in values:
                    values.append(value)
    return sorted(by_key.values(), key=lambda download: download.kind != "model")


def _read_by(stage: Stage) -> list[tuple]:
    """What a stage reads from the hub: kind, id, revision, streamed, configuration."""
    p, read = stage.parameters, []
    for key in naming(KINDS[stage.kind].parameters, ModelName, TokenizerName):
        if p.get(key) and ModelRef(p[key]).on_hub:
            read.append(("model", p[key], p.get(f"{key}_revision"), False, ""))
    for source in p.get("sources", []):
        if source["kind"] == "hub" and ModelRef(source["dataset"]).on_hub:
            values = [source[key] for key in ("dataset", "revision", "streaming")]
            read.append(("data set", *values, source["config"] or ""))
    for own in p.get("own_tasks", {}).values():
        if own["hub"] and ModelRef(own["hub"]).on_hub:
            read.append(("data set", own["hub"], own["revision"], False, own["config"]))
    if p.get("task_source") == "hub":
        for name in (name for name in p["tasks"] if name not in p["own_tasks"]):
            task, trains_on = TASKS[name], TASKS[name].trains_on or name
            configs = p["languages"] if task.languages else [task.config]
            parts = [(trains_on, TASKS[trains_on].config), *((name, config) for config in configs)]
            for owner, config in parts:
                revision = p["task_revisions"].get(owner)
                read.append(("data set", TASKS[owner].hub, revision, False, config))
    return read


def fetch(download: Download) -> None:
    """Download to the hub library's cache what stages would read. Raises InputError."""
    name = f"{download.kind}  {download.id}  {download.revision or 'main'}"
    if download.streamed:
        print(f"{name}  is streamed while it is used; with streaming: false it is downloaded")
        return
    if download.kind == "model":
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(download.id, revision=download.revision, allow_patterns=MODEL_FILES)
        except Exception as error:  # the library raises many kinds
            raise hub.unavailable(ModelRef(download.id, download.revision), error) from error
    else:
        for config in download.configs:
            hub.rows(download.id, config or None, split=None, revision=download.revision)
    print(f"{name}  is in the cache")

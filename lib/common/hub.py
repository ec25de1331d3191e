"""The Hugging Face hub: settings, references to models, data sets, and one-line errors.

A scale file may have a section `hub` with `endpoint` (a mirror), `cache_dir` (where downloads are
kept) and `offline` (nothing is requested). They become the hub library's environment variables,
which it reads when it is imported. Variables that the user has set take precedence.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lib.common import places
from lib.common.errors import InputError

PARQUET = "refs/convert/parquet"
"""The branch with the hub's own conversion of a data set. Each configuration is a folder there."""
HOST = r"^https?://[^\s/?#]+(/[^\s?#]*)?$"
UNTELLING = ("model", "teacher", "distillation", "cascade_ta", "teacher_continuation")
"""Names of folders that do not say which model is in them: those of the stages, mostly."""
HUB_ID = re.compile(r"(?!outputs/)\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class ModelRef:
    """A model, tokenizer or data set, by its folder (relative to the checkout) or its id on the
    hub, where it has a revision (None: main)."""

    name: str
    revision: str | None = None

    @classmethod
    def of(cls, model: ModelRef | str | Path) -> ModelRef:
        """`model` itself, or the reference to a folder or hub id."""
        return model if isinstance(model, ModelRef) else cls(str(model))

    @property
    def folder(self) -> Path:
        """The absolute folder of that name, whether it exists or not."""
        return places.on_disk(self.name)

    @property
    def is_folder(self) -> bool:
        return self.folder.is_dir()

    @property
    def on_hub(self) -> bool:
        """Whether this is an id on the hub: it has the form of one, and there is no such folder,
        nor one in the checkout that it begins with, where it would be a misspelt path."""
        owner, _, name = self.name.partition("/")
        begins_with_folder = bool(name) and (places.ROOT / owner).is_dir()
        is_id = HUB_ID.fullmatch(self.name) is not None
        return is_id and not self.is_folder and not begins_with_folder

    @property
    def is_downloaded(self) -> bool:
        """Whether the hub library's cache holds the config.json of this id."""
        if not self.on_hub:
            return False
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(self.name, "config.json", revision=self.revision)
        return isinstance(path, str)

    @property
    def path(self) -> str:
        """What `from_pretrained` takes, for the model and for its tokenizer: the absolute folder,
        or the hub id."""
        return str(self.folder) if self.is_folder else self.name

    @property
    def label(self) -> str:
        """What to call it in a text: the hub id, or the last part of the folder's name that is not
        one of UNTELLING."""
        if self.on_hub:
            return self.name
        parts = reversed(Path(self.name).parts)
        return next((part for part in parts if part not in UNTELLING), self.name)

    @property
    def exists(self) -> bool:
        """Whether the folder holds a model. Every hub id counts as existing."""
        return self.on_hub or (self.folder / "config.json").is_file()

    def require_place(self) -> None:
        """Raise InputError unless this is a folder that is there, or an id on the hub."""
        if self.is_folder or self.on_hub:
            return
        allowed = "allowed: a folder, or an id on the hub"
        if places.is_address(self.name):
            raise InputError(f"{self.name} is in a store; {allowed}")
        if self.folder.exists():
            raise InputError(f"{self.name} is a file; allowed: the folder that it is in")
        raise InputError(f"there is no folder {self.folder}; {allowed}")

    def require(self) -> ModelRef:
        """This reference. Raises InputError if the folder holds no model."""
        if not self.exists:
            raise InputError(
                f"{self.name}: no model there; run the stage that makes it first (make report runs "
                f"them all)"
            )
        return self

    def config(self) -> dict:
        """The model's config.json. Raises InputError."""
        path = self.folder / "config.json"
        if self.is_folder and not path.is_file():
            below = sorted(self.folder.glob(f"*/{path.name}"))
            hint = f"; there is one in {below[-1].parent}" if below else ""
            raise InputError(f"{self.name} is no model: it has no {path.name}{hint}")
        try:
            if not self.is_folder:
                from huggingface_hub import hf_hub_download

                stored = self.is_downloaded
                path = Path(
                    hf_hub_download(
                        self.name, path.name, revision=self.revision, local_files_only=stored
                    )
                )
            if is_lfs_pointer(path):
                raise ValueError("config.json is a pointer of Git LFS; git lfs pull fetches it")
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except Exception as error:  # the library raises many kinds; here they all mean the same
            raise unavailable(self, error) from error


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file only says which file Git LFS would put in its place."""
    with path.open("rb") as file:
        return file.read(24) == b"version https://git-lfs."


# ----------------------------------------------------------------------------------------- settings


class Hub(BaseModel):
    """The section `hub` of a scale file. None stands for the library's default."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str | None = Field(None, pattern=HOST)
    cache_dir: str | None = Field(None, min_length=1)
    offline: bool | None = None

    @field_validator("cache_dir")
    @classmethod
    def _not_a_file(cls, value):
        if value and _cache_folder(value).is_file():
            raise ValueError("give a folder")
        return value


def _cache_folder(cache_dir: str) -> Path:
    return places.on_disk(cache_dir)


def environment(sections: Iterable[tuple[str, Hub]]) -> dict[str, str]:
    """The environment variables for the sections (file, section) of a run's scale files, without
    those that are set already. Raises InputError where two sections differ: the library knows one
    hub."""
    values: dict[str, tuple[str, str | bool]] = {}
    for file, section in sections:
        for key, value in section.model_dump(exclude_none=True).items():
            other_file, other = values.setdefault(key, (file, value))
            if other != value:
                raise InputError(
                    f"{file}: hub.{key} = {value!r}, but {other_file} has {other!r}; studies that "
                    f"run together share one"
                )
    variables = {}
    if "endpoint" in values:
        variables["HF_ENDPOINT"] = values["endpoint"][1]
    if "cache_dir" in values:
        folder = _cache_folder(values["cache_dir"][1])
        variables |= {
            "HF_HUB_CACHE": str(folder / "hub"),
            "HF_DATASETS_CACHE": str(folder / "datasets"),
        }
    if "offline" in values:
        variables["HF_HUB_OFFLINE"] = str(int(values["offline"][1]))
    return {name: value for name, value in variables.items() if name not in os.environ}


# ------------------------------------------------------------------------------------------ reading


def offline() -> bool:
    """Whether the hub library makes no requests."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def rows(
    dataset: str,
    config: str | None,
    *,
    split: str | None,
    revision: str | None,
    streaming: bool = False,
):
    """A split (None: all) of a data set on the hub, or in a folder in the hub's format. Offline it
    comes from the cache, which must hold the pinned commit. Raises InputError with the data set,
    its revision and what to do."""
    from datasets import load_dataset

    ref = ModelRef(dataset, revision)
    description = f"data set {dataset!r}" + (f" ({config})" if config else "")
    if streaming and not ref.is_folder and offline():
        raise InputError(
            f"{description} at revision {revision or 'main'}: streaming reads over the network, "
            f"and the hub is offline here; allowed: streaming: false, with the data set in the "
            f"cache, or a folder that holds it"
        )
    options: dict = {"streaming": True} if streaming else {}
    if revision == PARQUET and config:
        config, options["data_dir"] = None, config
    try:
        data = load_dataset(dataset, config, split=split, revision=revision, **options)
    except Exception as error:  # dozens of kinds: no network, no such split, a broken file, …
        raise unavailable(ref, error, description) from error
    _check_cached(data, description, revision)
    return data


def _check_cached(data, description: str, revision: str | None) -> None:
    """Offline, the library takes any commit of a data set that is in the cache. Raises InputError
    if that is not the pinned one."""
    files = getattr(data, "cache_files", None)
    if not (files and isinstance(files, list) and offline() and revision and len(revision) == 40):
        return
    cached = Path(files[0]["filename"]).parent.name
    if len(cached) == 40 and cached != revision:
        raise InputError(
            f"{description}: the cache holds revision {cached}, not {revision}, and the hub is "
            f"offline here; download the one that is pinned, or pin the one that is in the cache"
        )


def unavailable(
    ref: ModelRef, error: Exception, description: str = "", purpose: str = ""
) -> InputError:
    """The error to raise when a model (or what `description` says) cannot be loaded. It says what
    to do where the reason is that the hub is offline."""
    description = description or f"model {ref.name!r}"
    message = " ".join(" ".join(str(error).strip().splitlines()[:3]).split())
    reason = f"{type(error).__name__}: {message[:240]}{' …' if len(message) > 240 else ''}"
    if ref.is_folder:
        return InputError(f"{description} cannot be loaded{purpose} ({reason})")
    description += f" at revision {ref.revision or 'main'} cannot be loaded{purpose}"
    if not offline():
        return InputError(f"{description} ({reason})")
    from huggingface_hub import constants

    return InputError(
        f"{description}: the hub is offline here (HF_HUB_OFFLINE), and the cache "
        f"{constants.HF_HUB_CACHE} does not have it; download it where there is a network "
        f"(make plan says how), or name a folder that holds it ({reason})"
    )

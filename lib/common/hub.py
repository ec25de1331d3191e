"""The Hugging Face hub: how it is reached, data sets read from it, and the one line that says what
is not there.

A scale file may have a section `hub`: `endpoint`, a mirror; `cache_dir`, where downloads are kept;
`offline`, nobody is asked. They become the hub library's own variables, which it reads when it is
imported. A variable that a person has set stays as it is.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lib.common import places
from lib.common.errors import InputError

PARQUET = "refs/convert/parquet"
"""The hub's own conversion of a data set, on a branch: no card, and each configuration is a
folder."""
VARIABLES = {
    "endpoint": ("HF_ENDPOINT",),
    "cache_dir": ("HF_HUB_CACHE", "HF_DATASETS_CACHE"),
    "offline": ("HF_HUB_OFFLINE",),
}
SUBFOLDERS = {"HF_HUB_CACHE": "hub", "HF_DATASETS_CACHE": "datasets"}
HOST = r"^https?://[^\s/?#]+(/[^\s?#]*)?$"


class Hub(BaseModel):
    """The section `hub` of a scale file; None: the library's default."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str | None = Field(None, pattern=HOST)
    cache_dir: str | None = Field(None, min_length=1)
    offline: bool | None = None


def settings(given: dict | None, file: str) -> Hub:
    """The section of a scale file, checked. Raises InputError."""
    try:
        found = Hub(**(given or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"{file}: hub: unknown key {key!r}; allowed are {', '.join(VARIABLES)}"
            ) from None
        allowed = {
            "endpoint": "the address of a mirror, from http:// or https:// on",
            "offline": "true and false",
        }
        raise InputError(
            f"{file}: hub.{key} = {first['input']!r}; allowed: {allowed.get(key, 'a folder')}"
        ) from None
    if (
        found.cache_dir
        and (folder := cache_folder(found.cache_dir)).exists()
        and not folder.is_dir()
    ):
        raise InputError(f"{file}: hub.cache_dir = {found.cache_dir!r} is no folder")
    return found


def cache_folder(given: str) -> Path:
    """Where a cache_dir is; a relative one starts at the checkout."""
    return places.ROOT / Path(given).expanduser()


def environment(sections: Iterable[tuple[str, Hub]]) -> dict[str, str]:
    """The variables that the sections of a run's scale files (file, section) stand for, but for
    those set already.

    Raises InputError where two of them differ: the library knows one hub.
    """
    found: dict[str, tuple[str, str]] = {}
    for file, section in sections:
        for key, value in section.model_dump(exclude_none=True).items():
            other, before = found.setdefault(key, (file, value))
            if before != value:
                raise InputError(
                    f"{file}: hub.{key} = {value!r}, but {other} has {before!r}; studies that run "
                    f"together share one"
                )
    variables = {}
    for key, (_, value) in found.items():
        for name in VARIABLES[key]:
            text = str(int(value)) if key == "offline" else str(value)
            variables[name] = (
                str(cache_folder(text) / SUBFOLDERS[name]) if key == "cache_dir" else text
            )
    return {name: value for name, value in variables.items() if name not in os.environ}


# ------------------------------------------------------------------------------------------ reading


def offline() -> bool:
    """Whether the hub library asks nobody."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def is_local(name: str | Path) -> bool:
    """Whether a model or data set is named by a folder."""
    return (places.ROOT / Path(name).expanduser()).is_dir()


def rows(
    dataset: str,
    config: str | None,
    *,
    split: str | None,
    revision: str | None,
    streaming: bool = False,
):
    """A split (None: all) of a data set on the hub, or in a folder in the hub's form. Offline it
    comes from the cache, which must hold the pinned commit. Raises InputError naming data set,
    revision and what to do."""
    from datasets import load_dataset

    what = f"data set {dataset!r}" + (f" ({config})" if config else "")
    if streaming and not is_local(dataset) and offline():
        raise InputError(
            f"{what} at revision {revision or 'main'}: streaming reads over the network, and the "
            f"hub is offline here; "
            "allowed: streaming: false, with the data set in the cache, or a folder that holds it"
        )
    options: dict = {"streaming": True} if streaming else {}
    if revision == PARQUET and config:
        config, options["data_dir"] = None, config
    try:
        found = load_dataset(dataset, config, split=split, revision=revision, **options)
    except (
        Exception
    ) as error:  # dozens of kinds: no network, no such set, no such split, no rights, a broken file
        raise unavailable(what, dataset, revision, error) from error
    _check_cached(found, what, revision)
    return found


def _check_cached(found, what: str, revision: str | None) -> None:
    """Offline the library takes whatever commit of a data set the cache holds: refuse another one
    than is pinned."""
    files = getattr(found, "cache_files", None)
    if files and isinstance(files, list) and offline() and revision and len(revision) == 40:
        kept = Path(files[0]["filename"]).parent.name
        if len(kept) == 40 and kept != revision:
            raise InputError(
                f"{what}: the cache holds revision {kept}, not {revision}, and the hub is offline "
                f"here; "
                "download the one that is pinned, or pin the one that is there"
            )


def unavailable(
    what: str, name: str | Path, revision: str | None, error: Exception, purpose: str = ""
) -> InputError:
    """The line that says that a model or data set cannot be loaded, and, where it is because nobody
    is asked, what to do."""
    told = " ".join(" ".join(str(error).strip().splitlines()[:3]).split())
    first = told if len(told) < 240 else f"{told[:240]} …"
    why = f"{type(error).__name__}: {first}"
    if "ignore_mismatched_sizes" in str(
        error
    ):  # the library names the weights in a table that it prints
        why = "its configuration and its weights are of different sizes"
    if is_local(name):
        return InputError(f"{what} cannot be loaded{purpose} ({why})")
    what = f"{what} at revision {revision or 'main'} cannot be loaded{purpose}"
    if not offline():
        return InputError(f"{what} ({why})")
    from huggingface_hub import constants

    return InputError(
        f"{what}: the hub is offline here (HF_HUB_OFFLINE), and the cache "
        f"{constants.HF_HUB_CACHE} does not have it; "
        f"download it where there is a network (make plan says how), or name a folder that holds "
        f"it ({why})"
    )


def config(name: str, revision: str | None = None) -> dict:
    """The config.json of a model on the hub or in a folder. Raises InputError."""
    try:
        if is_local(name):
            path = places.ROOT / Path(name).expanduser() / "config.json"
        else:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(name, "config.json", revision=revision))
        return json.loads(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises many kinds; all of them mean the same here
        raise unavailable(f"model {name!r}", name, revision, error) from error


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def on_the_hub(model: dict | str) -> bool:
    """Whether a teacher is named as a model of the hub is, and is no folder here."""
    return (
        isinstance(model, str)
        and bool(HUB_ID.fullmatch(model))
        and not (places.ROOT / model).exists()
    )


# ---------------------------------------------------------------------------------------- any model


def local(name: str) -> str:
    """A model folder relative to the checkout as an absolute path; a hub id as it is."""
    from lib.common import places

    return str(places.ROOT / name) if (places.ROOT / name).is_dir() else name


def beside(model: str) -> str:
    """Where a model's tokenizer is: in its folder. Raises InputError for a path that looks local
    and is not there."""
    from lib.common import places

    if (
        model.startswith(("outputs/", "/", "./", "../"))
        and not (places.ROOT / model / "config.json").is_file()
    ):
        raise InputError(
            f"{model}: no model there; run the stage that makes it first (make report runs them "
            f"all)"
        )
    return local(model)

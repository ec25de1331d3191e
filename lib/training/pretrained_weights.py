"""What the files of a checkpoint hold, by their names and headers: no weight is read.

A model is only loaded from files that are whole, and only if each of its weights comes from them
and none that its encoder may need is left over: the library would make up the one and drop the
other.
"""

import json

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from lib.common.errors import InputError
from lib.common.hub import ModelRef, is_lfs_pointer

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
CONVERSION = (
    "python -c 'import glob, torch; from safetensors.torch import save_file; "
    'save_file({k: v.contiguous().clone() for file in glob.glob("pytorch_model*.bin") '
    "for k, v in torch.load(file, weights_only=True).items()}, "
    '"model.safetensors", {"format": "pt"})\''
)
FORMATS = ("F64", "F32", "F16", "BF16")
# Tables that older versions of the library stored with the weights; they follow from the config.
STORED_TABLES = ("position_ids", "token_type_ids", "inv_freq")


def require_files(ref: ModelRef) -> None:
    """Raise InputError unless the files of weights in a folder are there and whole."""
    if not ref.is_folder:
        return
    names = [WHOLE]
    if not (ref.folder / WHOLE).is_file():
        if not (ref.folder / INDEX).is_file():
            raise InputError(f"model {ref.name!r} has no {WHOLE}{_instead(ref)}")
        try:
            index = json.loads((ref.folder / INDEX).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise InputError(f"model {ref.name!r}: {INDEX} cannot be read ({error!r})") from None
    for name in names:
        path = ref.folder / name
        if not path.is_file():
            raise InputError(f"model {ref.name!r} has no {name}, which its {INDEX} names")
        if is_lfs_pointer(path):
            raise InputError(
                f"model {ref.name!r}: {name} is a pointer of Git LFS and holds no weights; "
                f"git lfs pull, in its folder, fetches them"
            )
        try:
            with safe_open(path, framework="np") as file:
                formats = {key: file.get_slice(key).get_dtype() for key in file.keys()}
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"model {ref.name!r}: {name} is cut short or no safetensors file ({error})"
            ) from None
        weights = [key for key in formats if not key.endswith(STORED_TABLES)]
        if wrong := [key for key in weights if formats[key] not in FORMATS]:
            raise InputError(
                f"model {ref.name!r}: the weight {_first(wrong)} is stored as "
                f"{formats[wrong[0]]}; allowed are {', '.join(FORMATS)}"
            )


def _instead(ref: ModelRef) -> str:
    """What a folder without weights holds in their place, and what to do."""
    found = sorted(path.name for path in ref.folder.iterdir())
    other = [name for name in found if name.endswith((".bin", ".h5", ".msgpack", ".ckpt", ".pt"))]
    if "pytorch_model.bin" in found or "pytorch_model.bin.index.json" in found:
        return (
            f": its pytorch_model.bin, which could run code, is not read; convert it, in its "
            f"folder: {CONVERSION}"
        )
    if "adapter_config.json" in found:
        return ": it holds an adapter; merge it into its model and save that"
    if named := [name for name in found if name.endswith(".safetensors")]:
        return f", but {named[0]}; rename it if it holds the model's weights"
    if other:
        return f", but {other[0]}; save the model with transformers' save_pretrained"
    below = sorted(ref.folder.glob(f"*/{WHOLE}"))
    return f"; there is one in {below[0].parent}" if below else " and no other weights"


def _first(keys: list[str]) -> str:
    """The first of some weights, and how many there are besides."""
    return keys[0] + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def require_all_weights(
    ref: ModelRef, model: PreTrainedModel, report: dict, *, head: bool
) -> list[str]:
    """The names of the weights that a checkpoint lacks, which are in the MLM head, by the library's
    report of loading it.

    Raises InputError for a weight of another shape than the config says, for one that would be made
    up, in the encoder or, if the `head` is needed, in that, and for one that would be dropped.
    """
    name, prefix = f"model {ref.name!r}", f"{model.base_model_prefix}."
    if mismatched := sorted(report["mismatched_keys"]):
        _, stored, expected = mismatched[0]
        raise InputError(
            f"{name}: the weight {_first([key for key, *_ in mismatched])} is of the shape "
            f"{list(stored)}, and by its config.json it is {list(expected)}"
        )
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    in_encoder = [key for key in missing if key.startswith(prefix)]
    if in_encoder or (head and missing):
        lacking = in_encoder + [key for key in missing if key not in in_encoder]
        needed = "an encoder" + " and a masked-language-model head" * head
        renamed = [key for key in unexpected if key.endswith(f".{lacking[0]}")]
        raise InputError(
            f"{name}: the checkpoint lacks {_first(lacking)}; it needs {needed}"
            + "".join(f"; it has {key}, which is named otherwise" for key in renamed[:1])
            + "; without the head, hidden states, attention maps and relations can be matched"
            * (not in_encoder)
        )
    parts = tuple(f"{part}." for part, _ in model.base_model.named_children())
    dropped = [
        key
        for key in unexpected
        if key.removeprefix(prefix).startswith(parts) and not key.endswith(STORED_TABLES)
    ]
    if dropped:
        raise InputError(
            f"{name}: the checkpoint has {_first(dropped)}, which a {model.config.model_type} "
            f"with its config.json does not have and would be dropped: it is another model"
        )
    return missing

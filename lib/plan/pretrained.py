"""What the files of a checkpoint say, held against what a plan does with it, before anything is
computed. A checkpoint is a model that no stage of the plan makes."""

from collections.abc import Iterator
from typing import Any

from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.parameters import ModelName, naming
from lib.data.tokenizer import load_tokenizer
from lib.plan.hub_facts import known_config
from lib.plan.stages import KINDS, Stage, StagePath, validate
from lib.plan.study import Study
from lib.training.architectures import (
    longest_sequence,
    require_first_layer,
    require_supported,
    sizes,
)

FEW, MANY = 0.01, 1000
"""The share of a vocabulary that may have capitals although the tokenizer lowercases, and the size
of one that has some if it keeps them."""


def check_configs(study: Study, online: bool) -> None:
    """Raise InputError for a checkpoint that by its config.json is not supported, or has other
    layers or fewer positions than the study uses, and for a student that its teacher cannot have.
    Known are the models of params/hub.yaml, those in folders and, if `online`, those of the hub."""
    for where, model, used_by in _checkpoints(study):
        try:
            config = known_config(model) or (model.config() if online else None)
            if config is not None:
                require_supported(config, model.name)
                _check_layers(study, model, config, used_by)
                _check_positions(study, config, model)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    for stage in study.stages.values():
        if stage.kind == "distillation" and (config := _teacher_config(study, stage, online)):
            p = validate(stage.kind, stage.parameters)
            try:
                p.require_fit(config, p.teacher)
            except InputError as error:
                raise InputError(f"scenarios.{stage.scenario}: {error}") from None


def _teacher_config(study: Study, stage: Stage, online: bool) -> dict[str, Any] | None:
    """What is known of the config.json of a stage's teacher, which a stage before may train."""
    p = stage.parameters
    while path := StagePath.parse(p["teacher"]):
        p = study.stages[str(path)].parameters
        if not p["teacher"]:
            shape = {"num_hidden_layers": "layers", "hidden_size": "hidden"}
            shape |= {"num_attention_heads": "heads"}
            return {key: p[name] for key, name in shape.items()}
    model = ModelRef(p["teacher"], p["teacher_revision"])
    return known_config(model) or (model.config() if online else None)


def check_files(study: Study) -> None:
    """Raise InputError for a checkpoint in a folder whose weights or tokenizer do not fit its
    config.json or what the study does with it. No weight is read, only their names."""
    for where, model, used_by in _checkpoints(study):
        if not model.is_folder:
            continue
        from lib.training import models  # which takes seconds

        try:
            head = any(_uses_head(stage) for stage in used_by)
            loaded, tokenizer = models.load(model, head=head, device="meta"), load_tokenizer(model)
            _check_tokenizer(model, loaded.config, tokenizer)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    for place in dict.fromkeys(_tokenizers(study)):
        if place.is_folder:
            load_tokenizer(place)


def _checkpoints(study: Study) -> Iterator[tuple[str, ModelRef, list[Stage]]]:
    """The checkpoints of a study: where each is named, and the stages that read it."""
    used_by: dict[ModelRef, list[Stage]] = {}
    for stage in study.stages.values():
        for key in naming(KINDS[stage.kind].parameters, ModelName):
            if (stage.kind, key) == ("finetune", "teacher"):
                continue  # no checkpoint but a folder of them, which a fine-tuning checks itself
            name, revision = stage.parameters.get(key), stage.parameters.get(f"{key}_revision")
            if name and not StagePath.parse(name):
                used_by.setdefault(ModelRef(name, revision), []).append(stage)
    named = {entry.hub: f"teachers.{name}" for name, entry in study.teachers().items()}
    for model, stages in used_by.items():
        yield named.get(model.name, f"teachers.{stages[0].scenario}"), model, stages


def _uses_head(stage: Stage) -> bool:
    """Whether a stage uses its teacher's MLM head: a fine-tuning does not, nor do losses that
    compare no logits."""
    if stage.kind == "finetune":
        return False
    return getattr(validate(stage.kind, stage.parameters), "uses_head", True)


def _tokenizers(study: Study) -> Iterator[ModelRef]:
    """The tokenizers of a study that no stage makes."""
    for stage in study.stages.values():
        name = stage.parameters.get("tokenizer", "")
        if name and not name.startswith("train:") and not StagePath.parse(name):
            yield ModelRef(name, stage.parameters.get("tokenizer_revision"))


def _check_layers(study: Study, model: ModelRef, config: dict, used_by: list[Stage]) -> None:
    layers = sizes(config)["layers"]
    for name, entry in study.teachers().items():
        if entry.hub == model.name and layers and entry.layers not in (None, layers):
            raise InputError(f"layers = {entry.layers}: {model.name!r} has {layers!r}")
    for stage in used_by:
        chosen = stage.parameters.get("student_layers")
        if not isinstance(chosen, list):
            continue
        require_first_layer(config["model_type"], chosen)
        if layers and max(chosen) >= layers:
            raise InputError(
                f"student_layers of {stage.scenario} = {chosen}: {model.name!r} has layers 0 … "
                f"{layers - 1}"
            )


def _check_positions(study: Study, config: dict, model: ModelRef) -> None:
    """Raise InputError if a stage gives the checkpoint, or a model made from it, longer sequences
    than it has positions for."""
    most = longest_sequence(config)
    for stage in study.stages.values():
        p = stage.parameters
        if not most or _origin(study, p.get("model") or p.get("teacher")) != model.name:
            continue
        lengths = {}
        if stage.kind == "finetune":
            lengths["finetune.max_length"] = p["max_length"]
            for task, own in p["per_task"].items():
                lengths[f"finetune.per_task.{task}.max_length"] = own.get("max_length", 0)
        else:
            corpus = study.stages[p["corpus"]]
            while parent := corpus.parameters["sample_of"]:
                corpus = study.stages[parent]
            lengths[f"corpora.{corpus.path.corpus}.max_length"] = corpus.parameters["max_length"]
        for key, length in lengths.items():
            if length > most:
                raise InputError(
                    f"by its config.json (max_position_embeddings = "
                    f"{config['max_position_embeddings']}) {model.name!r} reads {most} tokens; "
                    f"{key} = {length}; allowed: at most {most}"
                )


def _origin(study: Study, name: str | None) -> str | None:
    """The checkpoint that a model was made from, or None."""
    while name and (path := StagePath.parse(name)):
        name = study.stages[str(path)].parameters.get("teacher")
    return name


def _check_tokenizer(model: ModelRef, config: Any, tokenizer: Any) -> None:
    """Raise InputError if a tokenizer and its model's config.json do not fit."""
    needed = max(tokenizer.get_vocab().values()) + 1
    if needed > config.vocab_size:
        raise InputError(
            f"the tokenizer of {model.name!r} has {needed:,} tokens, and its config.json "
            f"vocab_size = {config.vocab_size}: embeddings for {needed - config.vocab_size} are "
            f"missing; resize_token_embeddings makes them"
        )
    if config.pad_token_id not in (None, tokenizer.pad_token_id):
        raise InputError(
            f"the config.json of {model.name!r} has pad_token_id = {config.pad_token_id}, and its "
            f"tokenizer pads with {tokenizer.pad_token_id} ({tokenizer.pad_token}); allowed: the "
            f"same"
        )
    if problem := casing_problem(tokenizer):
        raise InputError(f"the tokenizer of {model.name!r} {problem}")


def casing_problem(tokenizer: Any) -> str:
    """How a tokenizer's lowercasing contradicts its vocabulary, in words; empty if it does not.

    Looked at are tokens of two and more letters: vocabularies of bytes and of characters hold all
    letters.
    """
    words = [
        word
        for word in tokenizer.get_vocab()
        if word not in tokenizer.all_special_tokens
        and sum(letter.isascii() and letter.isalpha() for letter in word) > 1
    ]
    capitals = sum(any("A" <= letter <= "Z" for letter in word) for word in words)
    normalizer = tokenizer.backend_tokenizer.normalizer
    keeps_case = normalizer is None or "A" in normalizer.normalize_str("A")
    if keeps_case and len(words) >= MANY and not capitals:
        return (
            f"keeps capitals (do_lower_case false), and none of its {len(words):,} tokens of "
            f"several letters has one; allowed is do_lower_case true"
        )
    if not keeps_case and capitals > FEW * len(words):
        return (
            f"lowercases (do_lower_case true), and {capitals:,} of its {len(words):,} tokens of "
            f"several letters have capitals; allowed is do_lower_case false"
        )
    return ""

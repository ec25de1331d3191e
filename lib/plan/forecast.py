"""What a plan would download, read and compute, and for how long: `make plan`. Estimated from the
parameters, params/hub.yaml, params/estimates.yaml and the results that are there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.common.hub import ModelRef
from lib.common.progress import short
from lib.data.sources import expected_size, source_name
from lib.plan import schema
from lib.plan.hub_facts import downloads, hub_yaml
from lib.plan.stages import KINDS, Stage, StagePath, validate
from lib.tasks.registry import TASKS
from lib.training.architectures import sizes
from lib.training.parameters import loss_weights

GIB = 2**30
SPECIALS = 2
"""Special tokens of a sequence."""
LOGITS = 2**25
"""lib.fast.head holds so many logits at a time on a GPU."""
BASE_WIDTH = 512
"""Narrower models reach a smaller share of a GPU's peak than params/estimates.yaml assumes; not of
a processor's."""


# ------------------------------------------------------------------------------- models, arithmetic


@dataclass(frozen=True)
class Shape:
    """An encoder of a `kind` in lib.training.architectures, with tied weights. `embedding`: the
    width of its embeddings, where that is not `hidden`."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int = 512
    segments: int = 2
    kind: str = "bert"
    embedding: int | None = None

    @classmethod
    def of(cls, config: dict) -> "Shape | None":
        """The shape of the model with this config.json; None if that does not say."""
        known = {size: value for size, value in sizes(config).items() if value is not None}
        needed = {"layers", "hidden", "heads", "intermediate", "vocabulary"}
        if not needed <= set(known):
            return None
        return cls(**{"segments": 0, **known, "kind": config.get("model_type", "bert")})

    @property
    def parameters(self) -> int:
        """As lib.training.models.parameter_count counts them."""
        wide, inner, narrow = self.hidden, self.intermediate, self.embedding or self.hidden
        if self.kind == "modernbert":  # no biases, and no table of positions
            return (self.vocabulary + 1 + self.layers * (4 * wide + 3 * inner + 2)) * wide
        embeddings = (self.vocabulary + self.positions + self.segments + 2) * narrow
        projection = (narrow + 1) * wide if narrow != wide else 0
        layer = 4 * (wide**2 + wide) + 2 * wide * inner + inner + wide + 4 * wide
        return embeddings + projection + self.layers * layer

    @property
    def with_head(self) -> int:
        """Parameters with those of the head, which training holds too."""
        wide, narrow = self.hidden, self.embedding or self.hidden
        vectors = 1 if self.kind == "modernbert" else 3
        return self.parameters + wide * narrow + vectors * narrow + self.vocabulary


def student_shape(teacher: Shape, layers: list[int] | str, hidden: int = 0) -> Shape:
    """A student of some of its teacher's layers, by a rule of half of them, and of another width if
    `hidden` is not 0."""
    count = max(1, teacher.layers // 2) if isinstance(layers, str) else len(layers)
    wide = hidden or teacher.hidden
    inner = teacher.intermediate * wide // teacher.hidden
    return replace(teacher, layers=count, hidden=wide, intermediate=inner)


def trunk_flops(
    tokens: float, length: float, layers: int, hidden: int, intermediate: float
) -> float:
    """Floating-point operations of an encoder's forward pass over `tokens` positions in sequences
    of `length`: matrix products, a multiply-add being two.

    Each layer has four projections of the attention, two of the feed-forward part, and the two
    products of every query with every key and value of its sequence.
    """
    products = 4 * hidden**2 + 2 * hidden * intermediate
    return 2 * layers * tokens * (products + 2 * length * hidden)


def relation_flops(positions: float, length: float, student: Shape, teacher: Shape) -> float:
    """Operations of the loss on relations: the products of all queries, keys and values with their
    own kind in a sequence, of the student forward and twice backward, of the teacher forward."""
    return 2 * 3 * positions * length * (3 * student.hidden + teacher.hidden)


def read_layers(teacher: Shape, p: dict) -> int:
    """How many of a teacher's layers the losses in `p` read: none, those up to the one whose
    relations alone are matched, or all."""
    weights = loss_weights(p)
    if any(weights[name] for name in weights if name not in ("mlm", "relations")):
        return teacher.layers
    return (p["teacher_layer"] or teacher.layers) if weights["relations"] else 0


def head_flops(rows: float, hidden: int, vocab: int) -> float:
    """Operations of the MLM head's forward pass over `rows` positions."""
    return 2 * rows * (hidden**2 + hidden * vocab)


def forward(shape: Shape, tokens: float, length: float) -> float:
    """Operations of a forward pass of a model's trunk. The feed-forward part of a ModernBERT is
    gated: a product more."""
    inner = shape.intermediate * (1.5 if shape.kind == "modernbert" else 1)
    return trunk_flops(tokens, length, shape.layers, shape.hidden, inner)


def training_memory(
    trained: int, largest: Shape, teacher: Shape | None, positions: int, precision: str
) -> float:
    """GiB of a GPU that a training takes, about: weights, gradients and both moments of `trained`
    parameters (16 bytes each), the teacher's weights, what the backward pass needs of the `largest`
    student for a micro-batch of `positions`, and a block of logits."""
    per_unit = 50 if precision != "no" else 80  # bytes kept of a position per layer and hidden unit
    kept = positions * largest.layers * largest.hidden * per_unit
    teacher_bytes = (6 if precision != "no" else 4) * (teacher.with_head if teacher else 0)
    logits = 32 * min(LOGITS, positions * largest.vocabulary)
    return (16 * trained + teacher_bytes + kept + logits) / GIB + 0.7  # for the driver


@cache
def assumptions() -> dict:
    """params/estimates.yaml."""
    return read_yaml(places.ROOT / "params" / "estimates.yaml")


Hours = tuple[float, float]
"""At the least and at the most."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of params/estimates.yaml, or `cores` of a processor: its peaks in TFLOP/s by number
    format, 0 where it has none."""

    name: str
    memory_gib: float
    fp32: float
    bf16: float
    fp16: float
    cores: int = 0

    @classmethod
    def named(cls, name: str = "", scale: str = "") -> "Gpu":
        """Without a name: that of the scale, or the default. Raises InputError."""
        known, defaults = assumptions()["gpus"], assumptions()["gpu"]
        name = name or defaults.get(scale, defaults["other"])
        if name not in known:
            raise InputError(
                f"GPU: {name!r} is not in params/estimates.yaml; there are {', '.join(known)}"
            )
        return cls(**known[name])

    def hours(self, flops: float, layer_passes: float, precision: str) -> Hours | None:
        """How long operations take in a precision, or to start so many passes of a micro-batch
        through a layer, if that is longer: at the least and at the most by params/estimates.yaml;
        None if the GPU does not have the format."""
        if precision == "auto":
            precision = "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"
        precision = "fp32" if precision == "no" else precision
        peak = getattr(self, precision) * 1e12
        if not peak:
            return None
        shares, starts = assumptions()["utilisation"][precision], assumptions()["least_ms"]
        least, most = (
            max(flops / (peak * share), layer_passes * milliseconds / 1000) / 3600
            for share, milliseconds in zip(sorted(shares, reverse=True), sorted(starts))
        )
        return least, most


# ------------------------------------------------------------------------------------------ corpora


@dataclass(frozen=True)
class Volume:
    """How much text a corpus holds. `tokens` are without special ones; None: not known. `basis`:
    measured, expected (the paper's own numbers), assumed, or at most."""

    sequences: float | None = None
    tokens: float | None = None
    vocabulary: int | None = None
    basis: str = ""


def result_of(stage: Stage) -> dict | None:
    """The result of a stage that has run with these very parameters, whatever else it read was."""
    path = places.ROOT / stage.result
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    return result if result["parameters"] == stage.parameters else None


def expected_volume(stage: Stage) -> Volume | None:
    """What the section `expected` of the scale file says of a corpus. Raises InputError."""
    study, scale, corpus = stage.study, stage.path.scale, stage.path.corpus
    expected = schema.read_scale(study, scale).expected.get(corpus)
    if not expected:
        return None
    where = f"params/{study}/{scale}.yaml: expected.{corpus}"
    numbers = {}
    for key, value in expected.model_dump(exclude_none=True).items():
        numbers[key] = _printed(value, f"{where}.{key}") if isinstance(value, list) else value
    return Volume(**numbers, basis="expected")


def _printed(path: list, where: str) -> float:
    """A number of params/papers.yaml: source and fact, or source, table, row and column."""
    source, *path = path
    try:
        paper = read_yaml(places.ROOT / "params" / "papers.yaml")["sources"][source]
        if len(path) == 1:
            return float(paper["facts"][path[0]]["value"])
        table, row, column = path
        columns = paper["tables"][table]["columns"]
        return float(paper["tables"][table]["rows"][row][columns.index(column)])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{where} = {[source, *path]!r}: params/papers.yaml has no such number; give [source, "
            f"fact] or [source, table, row, column]"
        ) from None


def text_bytes(sources: list[dict]) -> float | None:
    """About how many bytes of text there are in plain files; None for other sources."""
    expected = [expected_size(source) for source in validate_sources(sources)]
    if any(size is None or size[0] != "bytes" for size in expected):
        return None
    return sum(number for _, number in expected)


def validate_sources(sources: list[dict]) -> list:
    """Sources as models, from a stage's parameters."""
    return validate("data_prep", {"sources": sources, "tokenizer": "none"}).sources


# --------------------------------------------------------------------------------------- estimates


@dataclass(frozen=True)
class Estimate:
    """What a stage computes; None where it cannot be known.

    `volume`: of the corpus that it makes or reads. `sequences` and `tokens` that it reads in
    training, over all epochs and seeds. `layer_passes`: micro-batches times layers, those that are
    not trained a third. `gpu_gib`: memory of a GPU.
    """

    shapes: tuple[Shape, ...] = ()
    volume: Volume = Volume()
    sequences: float | None = None
    tokens: float | None = None
    flops: float | None = None
    layer_passes: float = 0.0
    gpu_gib: float | None = None


class Estimates:
    """Estimates the stages of a plan in order: each knows the models and corpora of those
    before."""

    def __init__(self):
        self.shapes: dict[str, Shape | None] = {}  # of models, by folder
        self.volumes: dict[str, Volume] = {}
        self.lengths: dict[str, int] = {}  # the longest sequence of a corpus

    def estimate(self, stage: Stage) -> Estimate:
        """Of the next stage."""
        return getattr(self, f"_{stage.kind}")(stage, stage.parameters)

    def shape(self, name: str) -> Shape | None:
        """Of a model that a stage before makes, of one in a folder, or of one that params/hub.yaml
        knows."""
        if name in self.shapes:
            return self.shapes[name]
        facts = hub_yaml()["models"].get(name)
        if facts:
            return Shape(**{key: facts[key] for key in Shape.__annotations__ if key in facts})
        if not ModelRef(name).is_folder:
            return None
        return Shape.of(ModelRef(name).config())

    # ------------------------------------------------------------------------------------- corpora

    def _data_prep(self, stage: Stage, p: dict) -> Estimate:
        if result := result_of(stage):
            numbers = {
                key: result["statistics"][key] for key in ("sequences", "tokens", "vocabulary")
            }
            volume = Volume(**numbers, basis="measured")
        else:
            volume = expected_volume(stage) or self._assumed(p)
        volume = replace(volume, vocabulary=volume.vocabulary or self._vocabulary(p))
        self.volumes[stage.folder] = volume
        self.lengths[stage.folder] = self.lengths.get(p["sample_of"]) or p["max_length"]
        return Estimate(volume=volume)

    def _assumed(self, p: dict) -> Volume:
        """What the parameters tell of a corpus."""
        if p["sample_of"]:
            whole = self.volumes[p["sample_of"]]
            if whole.tokens is None or whole.sequences is None:
                return Volume()
            share = p["share"]
            return replace(whole, sequences=share * whole.sequences, tokens=share * whole.tokens)
        per_sequence = p["max_length"] - SPECIALS
        if p["sampled_lines"] and p["long_lines"] == "truncate":
            lines = p["sampled_lines"]
            return Volume(lines, lines * per_sequence, basis="at most")
        if p["sentences"] or p["subset_unit"] == "lines":
            return Volume()
        if p["subset_unit"] == "tokens":
            tokens = p["subset_size"]
        else:
            size = p["subset_size"] or text_bytes(p["sources"])
            tokens = (size or 0) / assumptions()["bytes_per_token"]
        return Volume(tokens / per_sequence, tokens, basis="assumed") if tokens else Volume()

    def _vocabulary(self, p: dict) -> int | None:
        """The size of a corpus's tokenizer; one that is trained is as large as it may be."""
        if p["sample_of"]:
            return self.volumes[p["sample_of"]].vocabulary
        if p["tokenizer"].startswith("train:"):
            return p["vocab_size"]
        corpus = StagePath.parse(p["tokenizer"])
        if corpus:
            return self.volumes[str(corpus)].vocabulary
        shape = self.shape(p["tokenizer"])
        return shape.vocabulary if shape else None

    # ------------------------------------------------------------------------------------ training

    def _reads(self, p: dict, steps: int) -> tuple[Estimate, float, float]:
        """What a training reads of its corpus; the positions it computes, special tokens included
        (0: not known), and their mean number in a sequence."""
        volume = self.volumes[p["corpus"]]
        if volume.tokens is None or not volume.sequences:
            return Estimate(volume=volume, sequences=steps * p["batch_size"] or None), 0, 0
        sequences = steps * p["batch_size"] if steps else p["epochs"] * volume.sequences
        length = volume.tokens / volume.sequences
        estimate = Estimate(volume=volume, sequences=sequences, tokens=sequences * length)
        return estimate, sequences * (length + SPECIALS), length + SPECIALS

    def _micro_batch(self, p: dict) -> int:
        """Positions of the largest micro-batch."""
        return min(p["micro_batch_size"], p["batch_size"]) * self.lengths[p["corpus"]]

    def _maps_memory(self, p: dict, layers: int, teacher: Shape) -> float:
        """GiB of the attention maps of a teacher and of a student with so many layers."""
        maps = self._micro_batch(p) * self.lengths[p["corpus"]] * teacher.heads
        return 16 * maps * (layers + teacher.layers / 4) / GIB

    def _layer_passes(self, p: dict, sequences: float, trained: int, read: int = 0) -> float:
        """Passes of micro-batches through layers that are trained, and that only read."""
        return sequences / min(p["micro_batch_size"], p["batch_size"]) * (trained + read / 3)

    def _teacher_continuation(self, stage: Stage, p: dict) -> Estimate:
        estimate, positions, length = self._reads(p, p["steps"])
        shape = self.shape(p["teacher"]) if p["teacher"] else self._new_teacher(p, estimate.volume)
        self.shapes[stage.path.model] = shape
        if not shape or not positions:
            return replace(estimate, shapes=(shape,) if shape else ())
        estimate = replace(estimate, shapes=(shape,))
        parts = [(shape, positions)]
        if p["grow_from_layers"] and not p["teacher"]:
            growth, more, _ = self._reads(p, p["grow_steps"])
            parts.append((replace(shape, layers=p["grow_from_layers"]), more))
            estimate = replace(
                estimate,
                sequences=estimate.sequences + growth.sequences,
                tokens=estimate.tokens + growth.tokens,
            )
        flops = 0.0
        for trained, count in parts:
            heads = head_flops(p["mask_probability"] * count, shape.hidden, shape.vocabulary)
            flops += 3 * (forward(trained, count, length) + heads)
        return replace(
            estimate,
            flops=flops,
            layer_passes=self._layer_passes(p, estimate.sequences, shape.layers),
            gpu_gib=training_memory(
                shape.with_head, shape, None, self._micro_batch(p), p["precision"]
            ),
        )

    def _new_teacher(self, p: dict, volume: Volume) -> Shape | None:
        if not volume.vocabulary:
            return None
        shape = (p[key] for key in ("layers", "hidden", "heads", "intermediate"))
        return Shape(*shape, volume.vocabulary, max(512, self.lengths[p["corpus"]]))

    def _distillation(self, stage: Stage, p: dict) -> Estimate:
        teacher = self.shape(p["teacher"])
        estimate, positions, length = self._reads(p, p["steps"])
        if not teacher:
            self.shapes[stage.path.model] = None
            return estimate
        students = [{**p, **own} for own in ({}, *p["beside"].values())]
        shapes = [
            student_shape(teacher, own["student_layers"], own["hidden_size"]) for own in students
        ]
        self.shapes[stage.path.model] = shapes[0]
        if p["trained_in"] or not any(loss_weights(p).values()):
            return Estimate((teacher, shapes[0]), tokens=0.0, flops=0.0)
        estimate = replace(estimate, shapes=(teacher, shapes[0]))
        if not positions:
            return estimate
        read = max(read_layers(teacher, own) for own in students)
        flops = forward(replace(teacher, layers=read), positions, length)
        for own, shape in zip(students, shapes):
            cosine = own["weight_cosine"] and own["cosine_of"] == "logits"
            everywhere = (own["weight_soft"] or cosine) and own["positions"] == "all"
            rows = positions if everywhere else p["mask_probability"] * positions
            # the student's head forward and backward, and with soft targets the teacher's
            heads = 4 if own["weight_soft"] else 3 * bool(own["weight_mlm"])
            heads += 4 * bool(cosine)  # these logits are computed apart
            flops += 3 * forward(shape, positions, length)
            flops += heads * head_flops(rows, shape.hidden, shape.vocabulary)
            if own["weight_relations"]:
                flops += relation_flops(positions, length, shape, teacher)
        trained_layers = sum(shape.layers for shape in shapes)
        memory = training_memory(
            sum(shape.with_head for shape in shapes),
            max(shapes, key=lambda shape: shape.layers),
            teacher if read else None,
            self._micro_batch(p),
            p["precision"],
        )
        if any(own["weight_attention"] for own in students):
            memory += self._maps_memory(p, max(shape.layers for shape in shapes), teacher)
        return replace(
            estimate,
            flops=flops,
            layer_passes=self._layer_passes(p, estimate.sequences, trained_layers, read),
            gpu_gib=memory,
        )

    def _cascade_ta(self, stage: Stage, p: dict) -> Estimate:
        teacher = self.shape(p["teacher"])
        estimate, positions, length = self._reads(p, p["steps"])
        if not teacher:
            self.shapes[stage.path.model] = None
            return estimate
        shape = replace(teacher, layers=p["layers"])
        self.shapes[stage.path.model] = shape
        if not any(loss_weights(p).values()):
            return Estimate((teacher, shape), tokens=0.0, flops=0.0)
        estimate = replace(estimate, shapes=(teacher, shape))
        if not positions:
            return estimate
        flops = forward(teacher, positions, length) + 3 * forward(shape, positions, length)
        if p["weight_soft"]:
            flops += 4 * head_flops(positions, shape.hidden, shape.vocabulary)
        frozen = shape.vocabulary * shape.hidden * p["freeze_embeddings"]
        micro, trunk = self._micro_batch(p), replace(shape, vocabulary=0)  # no logits
        memory = training_memory(shape.with_head - frozen, trunk, teacher, micro, p["precision"])
        if p["weight_attention"]:
            memory += self._maps_memory(p, shape.layers, teacher)
        return replace(
            estimate,
            flops=flops,
            layer_passes=self._layer_passes(p, estimate.sequences, shape.layers, teacher.layers),
            gpu_gib=memory + 4 * frozen / GIB,
        )

    # --------------------------------------------------------------------------------- fine-tuning

    def _finetune(self, stage: Stage, p: dict) -> Estimate:
        shape, facts = self.shape(p["model"]), hub_yaml()["tasks"]
        self.shapes[stage.folder] = shape  # of the models that it keeps, for others to learn from
        teacher = self.shapes.get(p["teacher"])
        if not shape or p["task_source"] != "hub" or not set(p["tasks"]) <= set(facts):
            return Estimate((shape,) if shape else ())
        trained, tokens, flops, passes, largest = set(), 0.0, 0.0, 0.0, 0
        for name in p["tasks"]:
            own, trains_on = {**p, **p["per_task"].get(name, {})}, TASKS[name].trains_on or name
            length = min(facts[name]["tokens"], own["max_length"])
            largest = max(largest, own["batch_size"] * own["max_length"])
            evaluations = len(p["seeds"]) * len(p["languages"] or [""])
            evaluations *= own["epochs"] if p["evaluate"] == "every_epoch" else 1
            examples = min(facts[name]["validation"], p["validation_examples"] or 10**9)
            flops += forward(shape, evaluations * examples * length, length)
            key = (trains_on, str(p["per_task"].get(name)))
            if key in trained:  # tasks that share a training set are trained once
                continue
            trained.add(key)
            limit = p["train_examples"]
            limit = limit.get(trains_on, 0) if isinstance(limit, dict) else limit
            examples = min(facts[name]["train"], limit or 10**9)
            read = len(p["seeds"]) * own["epochs"] * examples
            tokens, flops = (
                tokens + read * length,
                flops + 3 * forward(shape, read * length, length),
            )
            passes += read / own["batch_size"] * shape.layers
            if teacher:
                flops += forward(teacher, read * length, length)
                passes += read / own["batch_size"] * teacher.layers / 3
        trunk = replace(shape, vocabulary=0)  # no logits
        memory = training_memory(shape.parameters, trunk, teacher, largest, p["precision"])
        return Estimate((shape,), Volume(), None, tokens, flops, passes, memory)


# ------------------------------------------------------------------------------------ what is shown


def report(stages: Sequence[Stage], gpu: str = "") -> str:
    """The whole forecast: downloads, every stage, sums. Raises InputError for an unknown GPU."""
    card, estimates = Gpu.named(gpu, stages[0].path.scale), Estimates()
    rows = [(stage, estimates.estimate(stage)) for stage in stages]
    hours = {stage.folder: stage_hours(stage, estimate, card) for stage, estimate in rows}
    parts = [downloads_lines(stages), stage_lines(rows, hours, card)]
    parts += [sum_lines(stages, hours), note_lines(rows, hours, card)]
    return "\n\n".join("\n".join(lines) for lines in parts)


def stage_hours(stage: Stage, estimate: Estimate, card: Gpu) -> tuple[Hours | None, str]:
    """The hours of a stage, and how they are known: measured, if it has run with these parameters,
    or estimated for a GPU; None and the reason if they are not known."""
    if result := result_of(stage):
        hours = result["stage_seconds"] / 3600
        return (hours, hours), "measured"
    if estimate.flops is None or not card.cores and estimate.shapes[0].hidden < BASE_WIDTH:
        return None, ""
    precision = stage.parameters["precision"]
    hours = card.hours(estimate.flops, estimate.layer_passes, precision)
    return hours, "estimated" if hours is not None else f"no {precision}"


def downloads_lines(stages: Sequence[Stage]) -> list[str]:
    """What is read from the hub, with sizes and terms."""
    needed = downloads(stages)
    if not needed:
        return ["Before it runs: nothing to download."]
    rows, notes, total = [], [], {False: 0.0, True: 0.0}
    for download in needed:
        configs = [config for config in download.configs if config]
        if len(configs) > 3:
            configs = [f"{configs[0]} … {configs[-1]}, {len(configs)} parts"]
        name = f"{download.kind} {download.id}" + f" ({', '.join(configs)})" * bool(configs)
        revision = download.revision or "main, not pinned"
        revision = revision[:12] if len(revision) == 40 else revision
        size = "size unknown"
        if download.megabytes:
            megabytes, exact = download.megabytes
            bound = "at most " if download.streamed else "about " * (not exact)
            size = bound + format_bytes(megabytes)
            total[download.streamed] += megabytes
        terms = download.facts.get("terms", "see the hub")
        size = f"streamed, {size}" if download.streamed else size
        rows.append((name, f"@ {revision}", size, terms, " ".join(download.studies)))
        if "note" in download.facts:
            notes.append(f"  {download.id}: {download.facts['note']}")
    names = " ".join(dict.fromkeys(stage.study for stage in stages))
    return [
        f"Before it runs: {len(needed)} downloads, with the terms that their pages on the hub give",
        *(f"  {line}" for line in aligned(rows)),
        f"  together about {format_bytes(total[False])} in the hub library's cache, and at most "
        f"{format_bytes(total[True])} that are streamed and not kept",
        *notes,
        f'  to fetch all that is not streamed: make plan SCALE={stages[0].path.scale} STUDIES="'
        f'{names}" DOWNLOAD=yes; then HF_HUB_OFFLINE=1 works',
    ]


def stage_lines(
    rows: Sequence[tuple[Stage, Estimate]], hours: dict[str, tuple[Hours | None, str]], card: Gpu
) -> list[str]:
    """Two lines a stage: its numbers, and what it does."""
    table = [
        ("stage", "models", "text", "tokens read", "hours", "GiB" if card.cores else "GPU GiB")
    ]
    for stage, estimate in rows:
        shapes = [f"{shape.layers}L {shape.parameters / 1e6:,.3g}M" for shape in estimate.shapes]
        mark = {"assumed": "~ ", "at most": "≤ "}.get(estimate.volume.basis, "")
        text = "" if estimate.volume.tokens is None else f"{mark}{short(estimate.volume.tokens)}"
        tokens = "" if estimate.tokens is None else f"{mark}{short(estimate.tokens)}"
        spent, how = hours[stage.folder]
        time = how if spent is None else format_range(spent) + " measured" * (how == "measured")
        memory = "" if estimate.gpu_gib is None else f"{estimate.gpu_gib:.0f}"
        memory += " !" * ((estimate.gpu_gib or 0) > card.memory_gib)
        table.append((stage.path.name, " → ".join(shapes), text, tokens, time, memory))
    lines = aligned(table)
    shown = [lines[0]]
    for line, (stage, _) in zip(lines[1:], rows):
        shown += [line, f"    {KINDS[stage.kind].notebook}: {describe(stage)}"]
    return [*shown, f"{len(rows)} stages, and the analysis"]


def sum_lines(stages: Sequence[Stage], hours: dict[str, tuple[Hours | None, str]]) -> list[str]:
    """The hours of every study; a stage that two studies share counts once. Ends of ranges add up:
    what one stage's GPU does not reach, the others' do not either."""
    studies = list(dict.fromkeys(stage.study for stage in stages))
    rows = [("study", "stages", "hours", "")]
    for study in [*studies, *["all"] * (len(studies) > 1)]:
        own = [stage for stage in stages if study in (stage.study, "all")]
        spent = [hours[stage.folder][0] for stage in own]
        known = [number for number in spent if number is not None]
        unknown = len(spent) - len(known)
        missing = f"without {unknown} stage{'s' * (unknown > 1)}" if unknown else ""
        total = format_range(tuple(map(sum, zip(*known)))) if known else ""
        rows.append((study, str(len(own)), total, missing))
    return aligned(rows)


def note_lines(
    rows: Sequence[tuple[Stage, Estimate]], hours: dict[str, tuple[Hours | None, str]], card: Gpu
) -> list[str]:
    """What the numbers rest on."""
    bases = {estimate.volume.basis for _, estimate in rows}
    lines = []
    if "estimated" in {how for _, how in hours.values()}:
        shares = ", ".join(
            f"{100 * max(ends):.0f} to {100 * min(ends):.0f} % of {getattr(card, precision):g} "
            f"TFLOP/s in {precision}"
            for precision, ends in assumptions()["utilisation"].items()
            if getattr(card, precision)
        )
        lines += [
            f"hours: assumed, on {'one ' * (not card.cores)}{card.name}, at {shares}.",
            f"       GPU=… takes another of {', '.join(assumptions()['gpus'])}.",
        ]
    if any((estimate.gpu_gib or 0) > card.memory_gib for _, estimate in rows):
        lines.append(
            f"!: more than the {card.memory_gib:g} GiB of the GPU; a smaller micro_batch_size "
            f"computes the same in less"
        )
    if "at most" in bases:
        lines.append("≤: as if every line were as long as it may be")
    if "assumed" in bases:
        lines.append(f"~: with {assumptions()['bytes_per_token']} bytes a token")
    lines.append("text: tokens of the corpus; tokens read: over all epochs and seeds")
    return lines


def describe(stage: Stage) -> str:
    """A stage in a few words: its text, its losses and steps, or its tasks."""
    p = stage.parameters
    if stage.kind == "data_prep":
        if p["sample_of"]:
            corpus = StagePath.parse(p["sample_of"]).corpus
            return f"{100 * p['share']:g} % of {corpus}, {p['composition']}"
        sources = validate_sources(p["sources"])
        names = " + ".join(map(source_name, sources))
        languages = list(dict.fromkeys(source.language for source in sources if source.language))
        if len(languages) > 3:
            names = f"{len(languages)} languages, {languages[0]} to {languages[-1]}"
        size = "" if p["subset_unit"] == "none" else f", {p['subset_size']:,} {p['subset_unit']}"
        return f"{names}{size}; tokenizer {p['tokenizer']}"
    if stage.kind == "teacher_continuation":
        start = p["teacher"] or f"nothing, {p['layers']} layers of {p['hidden']}"
        return f"MLM from {start}; {_length(p)}"
    if stage.kind == "finetune":
        languages = f" in {', '.join(p['languages'])}" if p["languages"] else ""
        made = StagePath.parse(p["teacher"])
        teacher = f"; learns from {made.name if made else p['teacher']}" if p["teacher"] else ""
        runs = f"{len(p['seeds'])} seeds × {p['epochs']} epochs"
        return f"{', '.join(p['tasks'])}{languages}; {runs}{teacher}"
    losses = " + ".join(f"{weight:g} {name}" for name, weight in loss_weights(p).items() if weight)
    trained = f"{losses}; {_length(p)}" if losses else "not trained"
    if stage.kind == "distillation":
        if p["trained_in"]:
            trained = f"{losses}, trained in {StagePath.parse(p['trained_in']).scenario}"
        beside = f", and {len(p['beside'])} more beside it" if p["beside"] else ""
        wide = f", {p['hidden_size']} wide" if p["hidden_size"] else ""
        return f"{p['init']}, layers {p['student_layers']}{wide}; {trained}{beside}"
    if stage.kind == "cascade_ta":
        section = f", section {p['section']}" if p["section"] else ""
        mapping = f"{p['mapping']} layers, " if losses else ""
        return f"the lowest {p['layers']} layers; {mapping}{trained}{section}"
    raise ValueError(f"no description of {stage.kind}")


def _length(p: dict) -> str:
    length = f"{p['steps']:,} steps" if p["steps"] else f"{p['epochs']:g} epochs"
    if p.get("grow_steps"):
        length = f"{p['grow_steps']:,} + {length}"
    return f"{length} of {p['batch_size']} sequences, {p['precision']} mixed precision"


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of words as lines with columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths)) for row in rows]
    return [line.rstrip() for line in lines]


def format_hours(hours: float) -> str:
    """Hours, or minutes if it is few."""
    if 0 < hours < 0.1:
        return f"{60 * hours:.1f} min"
    return f"{hours:,.0f} h" if hours >= 10 or not hours else f"{hours:.1f} h"


def format_range(hours: Hours) -> str:
    """From the least to the most, or one number if they are as good as equal: 2.4 – 12 h."""
    least, most = map(format_hours, hours)
    if least == most:
        return most
    number, unit = least.split(" ")
    return f"{number if most.endswith(f' {unit}') else least} – {most}"


def format_bytes(megabytes: float) -> str:
    """Megabytes, or gigabytes."""
    return f"{megabytes:,.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:,.1f} GB"

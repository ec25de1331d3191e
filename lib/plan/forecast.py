"""Shapes of encoders, and the arithmetic on them: parameters, floating-point operations, memory.

Operations are those of the matrix products, a multiply-add being two; a backward pass is twice a
forward pass.

What the stages of a plan compute, reckoned from the plan alone: tokens, floating-point operations,
memory, disk.

What a plan would run, on what and for how long: `make plan`. Printed from the parameters, from what
params/ knows of the hub, and from the results that are there; nothing is loaded and no network
touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lib.data.sources import source_name
from lib.plan import hub_facts
from lib.plan.hub_facts import Volume
from lib.plan.stages import Stage, StagePath, validate
from lib.tasks.registry import TASKS

HEAD_LOGITS = 2**25
"""lib.fast.head holds so many logits of a network at a time on a GPU, in bf16; with what it makes
of them 32 bytes each."""
GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """An encoder: `kind` bert, with its tied masked-language-model head, or distilbert, without."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int = 512
    segments: int = 2
    kind: str = "bert"

    @property
    def parameters(self) -> int:
        """As lib.training.models.parameter_count counts them."""
        wide, inner = self.hidden, self.intermediate
        embeddings = (self.vocabulary + self.positions + self.segments + 2) * wide
        layer = 4 * (wide**2 + wide) + 2 * wide * inner + inner + wide + 4 * wide
        head = wide**2 + 3 * wide + self.vocabulary if self.kind == "bert" else 0
        return embeddings + self.layers * layer + head


def student_shape(teacher: Shape, layers: list[int] | str) -> Shape:
    """A student of some of its teacher's layers."""
    return replace(
        teacher, layers=max(1, teacher.layers // 2) if isinstance(layers, str) else len(layers)
    )


# --------------------------------------------------------------------------------------- operations


def trunk_flops(tokens: float, length: float, layers: int, hidden: int, intermediate: int) -> float:
    """Forward pass of an encoder over `tokens` positions in sequences of `length`, padding
    included.

    Each layer: four projections of the attention, two of the feed-forward part, and the two
    products of every query with every key and value of its sequence.
    """
    products = 4 * hidden**2 + 2 * hidden * intermediate
    return 2 * layers * tokens * (products + 2 * length * hidden)


def head_flops(rows: float, hidden: int, vocab: int) -> float:
    """Forward pass of the MLM head over `rows` positions: its transform and the vocabulary."""
    return 2 * rows * (hidden**2 + hidden * vocab)


def forward(shape: Shape, tokens: float, length: float) -> float:
    """Forward pass of a model's trunk."""
    return trunk_flops(tokens, length, shape.layers, shape.hidden, shape.intermediate)


# ------------------------------------------------------------------------------------------- memory


def training_memory(
    trained: int,
    largest: Shape,
    teacher: Shape | None,
    positions: int,
    precision: str,
    maps: float = 0.0,
) -> float:
    """GiB of a GPU: weights, gradients and both moments of `trained` parameters (16 bytes each),
    the teacher's weights, what the backward pass needs of the `largest` student for a micro-batch
    of `positions`, and blocks of logits. About, and not less."""
    each = (
        50 if precision != "no" else 80
    )  # bytes kept of a position, for each layer and each hidden unit
    kept = positions * largest.layers * largest.hidden * each
    weights = 16 * trained + (6 if precision != "no" else 4) * (
        teacher.parameters if teacher else 0
    )
    logits = 32 * min(HEAD_LOGITS, positions * largest.vocabulary)
    return (weights + kept + logits + maps) / GIB + 0.7  # what the driver takes


SPECIALS = 2  # tokens at the ends of a sequence


@dataclass(frozen=True)
class Estimate:
    """Of a stage; None where it cannot be known. `volume`: of the corpus it makes or reads;
    `sequences` and `tokens` are read in training, epochs and seeds counted, special tokens and
    evaluation left out; `layer_passes`: micro-batches times layers that they are trained in, a
    third of it for layers that only read; `gpu` and `memory` are GiB; `disk` and `scratch`, bytes
    that stay and that it needs while it runs; `at_most`: the tokens are a bound."""

    shapes: tuple[Shape, ...] = ()
    volume: Volume | None = None
    sequences: float | None = None
    tokens: float | None = None
    flops: float | None = None
    layer_passes: float = 0.0
    gpu: float | None = None
    memory: float | None = None
    disk: float = 0.0
    scratch: float = 0.0

    @property
    def at_most(self) -> bool:
        return bool(self.volume and self.volume.basis == "at most")


# ------------------------------------------------------------------------------------------- stages


class Reckoner:
    """Goes through the stages of a plan in order; each knows the models and corpora of those before
    it."""

    def __init__(self):
        self.models: dict[str, Shape | None] = {}  # by folder
        self.volumes: dict[str, Volume] = {}
        self.lengths: dict[str, int] = {}  # the longest sequence of a corpus

    def estimate(self, step: Stage) -> Estimate:
        """Of the next stage."""
        return getattr(self, f"_{step.kind}")(step, step.parameters)

    def shape(self, name: str) -> Shape | None:
        """Of a folder that a stage before has made, or of a hub model that params/hub.yaml
        knows."""
        if name in self.models:
            return self.models[name]
        entry = hub_facts.hub_yaml()["models"].get(name)
        return (
            Shape(**{key: value for key, value in entry.items() if key in Shape.__annotations__})
            if entry
            else None
        )

    # -------------------------------------------------------------------------------------- corpora

    def _data_prep(self, step: Stage, p: dict) -> Estimate:
        volume = hub_facts.counted(step) or hub_facts.expected(step) or self._assumed(p)
        parent = self.volumes.get(p["sample_of"], Volume())
        vocabulary = volume.vocabulary or parent.vocabulary or self._vocabulary(p)
        self.volumes[step.folder] = volume = replace(volume, vocabulary=vocabulary)
        self.lengths[step.folder] = self.lengths.get(p["sample_of"]) or p["max_length"]
        if volume.tokens is None or volume.sequences is None:
            return Estimate(volume=volume)
        stored = (volume.tokens + SPECIALS * volume.sequences) * (4 + 1 / 8) + 8 * volume.sequences
        text = (
            (volume.bytes or volume.tokens * hub_facts.reckoning()["bytes_per_token"])
            if not p["sample_of"]
            else 0.0
        )
        pool = (hub_facts.text_bytes(p["sources"]) if p["sources"] else 0.0) or text
        mixing = 2 * text if p["sampled_lines"] or p["sections"] > 1 else 0.0
        scratch = (pool + mixing) * 1.1 + stored
        return Estimate(
            volume=volume,
            memory=1 + 0.3 * p["processes"] + 64 * volume.sequences / GIB,
            disk=stored,
            scratch=scratch,
        )

    def _assumed(self, p: dict) -> Volume:
        """What can be said of a corpus from its parameters."""
        if p["sample_of"]:
            parent = self.volumes[p["sample_of"]]
            if parent.tokens is None or parent.sequences is None:
                return Volume()
            return Volume(
                parent.sequences * p["share"],
                parent.tokens * p["share"],
                None,
                parent.vocabulary,
                parent.basis,
            )
        if p["sampled_lines"] and p["long_lines"] == "truncate":
            return Volume(
                p["sampled_lines"],
                p["sampled_lines"] * (p["max_length"] - SPECIALS),
                basis="at most",
            )
        if p["sentences"] or p["subset_unit"] == "lines":
            return Volume()  # how long they are, nobody can tell
        size = (
            p["subset_size"] if p["subset_unit"] == "bytes" else hub_facts.text_bytes(p["sources"])
        )
        tokens = (
            p["subset_size"]
            if p["subset_unit"] == "tokens"
            else size and size / hub_facts.reckoning()["bytes_per_token"]
        )
        return (
            Volume(tokens / (p["max_length"] - SPECIALS), tokens, size, basis="assumed")
            if tokens
            else Volume()
        )

    def _vocabulary(self, p: dict) -> int | None:
        """Of the tokenizer of a corpus: one that is trained is as large as it may be, if the text
        has enough words."""
        if p["tokenizer"].startswith("train:"):
            return p["vocab_size"]
        other = p["tokenizer"].removesuffix("/tokenizer")
        if other in self.volumes:
            return self.volumes[other].vocabulary
        found = self.shape(p["tokenizer"])
        return found.vocabulary if found else None

    # ------------------------------------------------------------------------------------- training

    def _read(self, p: dict, steps: int | None = None) -> tuple[dict, float | None, float | None]:
        """What a training reads of its corpus, as an Estimate has it; its positions (special tokens
        too); their mean length."""
        volume = self.volumes[p["corpus"]]
        steps = p["steps"] if steps is None else steps
        if volume.tokens is None or not volume.sequences:
            return {"volume": volume, "sequences": steps * p["batch_size"] or None}, None, None
        sequences = steps * p["batch_size"] if steps else p["epochs"] * volume.sequences
        mean = volume.tokens / volume.sequences
        read = {"volume": volume, "sequences": sequences, "tokens": sequences * mean}
        return read, sequences * (mean + SPECIALS), mean + SPECIALS

    def _micro(self, p: dict) -> int:
        """Positions of the largest micro-batch."""
        return min(p["micro_batch_size"], p["batch_size"]) * self.lengths[p["corpus"]]

    def _published(self, step: Stage, shape: Shape | None, trained: int) -> dict:
        """Notes the model a stage makes: what it takes on disk, and while it runs, two checkpoints
        of all that is trained, and a third one while it takes their place."""
        self.models[f"{step.folder}/model"] = shape
        return {"disk": 4 * shape.parameters, "scratch": 3 * 12 * trained} if shape else {}

    def _passes(self, p: dict, sequences: float, trained: int, read: int = 0) -> float:
        """Of so many sequences, through so many layers that are trained and so many that only
        read."""
        return sequences / min(p["micro_batch_size"], p["batch_size"]) * (trained + read / 3)

    def _teacher_continuation(self, step: Stage, p: dict) -> Estimate:
        read, positions, length = self._read(p)
        vocabulary = read["volume"].vocabulary
        shape = (
            self.shape(p["teacher"])
            if p["teacher"]
            else vocabulary
            and Shape(
                p["layers"],
                p["hidden"],
                p["heads"],
                p["intermediate"],
                vocabulary,
                max(512, self.lengths[p["corpus"]]),
            )
        )
        told = Estimate(
            (shape,) if shape else (),
            **read,
            **self._published(step, shape, shape.parameters if shape else 0),
        )
        if not shape or not positions:
            return told
        flops = 3 * (
            forward(shape, positions, length)
            + head_flops(p["mask_probability"] * positions, shape.hidden, shape.vocabulary)
        )
        if p["grow_from_layers"] and not p["teacher"]:
            more, seen, _ = self._read(p, p["grow_steps"])
            shallow = replace(shape, layers=p["grow_from_layers"])
            flops += 3 * (
                forward(shallow, seen, length)
                + head_flops(p["mask_probability"] * seen, shape.hidden, shape.vocabulary)
            )
            told = replace(
                told,
                sequences=told.sequences + more["sequences"],
                tokens=told.tokens + more["tokens"],
            )
        return replace(
            told,
            flops=flops,
            layer_passes=self._passes(p, told.sequences, shape.layers),
            gpu=training_memory(shape.parameters, shape, None, self._micro(p), p["precision"]),
        )

    def _distillation(self, step: Stage, p: dict) -> Estimate:
        teacher = self.shape(p["teacher"])
        read, positions, length = self._read(p)
        if not teacher:
            return Estimate(**read, **self._published(step, None, 0))
        students = [{**p, **own} for own in ({}, *p["beside"].values())]
        shapes = [student_shape(teacher, own["student_layers"]) for own in students]
        trained = sum(one.parameters for one in shapes)
        told = Estimate((teacher, shapes[0]), **self._published(step, shapes[0], trained))
        if p["trained_in"] or not (p["weight_mlm"] or p["weight_soft"] or p["weight_cosine"]):
            return replace(told, tokens=0.0, flops=0.0, scratch=0.0)
        told = replace(told, **read, disk=4.0 * trained)
        if not positions:
            return told
        taught = any(own["weight_soft"] or own["weight_cosine"] for own in students)
        flops = forward(teacher, positions, length) if taught else 0.0
        for own, one in zip(students, shapes):
            everywhere = own["weight_soft"] and own["positions"] == "all"
            rows = positions if everywhere else p["mask_probability"] * positions
            heads = (
                4 if own["weight_soft"] else 3 * bool(own["weight_mlm"])
            )  # the teacher's once, the student's three times
            flops += 3 * forward(one, positions, length) + heads * head_flops(
                rows, one.hidden, one.vocabulary
            )
        largest = max(shapes, key=lambda one: one.layers)
        memory = training_memory(
            trained, largest, teacher if taught else None, self._micro(p), p["precision"]
        )
        passes = self._passes(
            p, told.sequences, sum(one.layers for one in shapes), teacher.layers * taught
        )
        return replace(told, flops=flops, layer_passes=passes, gpu=memory)

    def _cascade_ta(self, step: Stage, p: dict) -> Estimate:
        teacher = self.shape(p["teacher"])
        read, positions, length = self._read(p)
        if not teacher:
            return Estimate(**read, **self._published(step, None, 0))
        shape = replace(teacher, layers=p["layers"])
        words = shape.vocabulary * shape.hidden * bool(p["freeze_embeddings"])
        told = Estimate(
            (teacher, shape), **self._published(step, shape, shape.parameters - 2 * words // 3)
        )
        if not (p["weight_hidden"] or p["weight_attention"] or p["weight_soft"]):
            return replace(told, tokens=0.0, flops=0.0, scratch=0.0)
        told = replace(told, **read)
        if not positions:
            return told
        flops = forward(teacher, positions, length) + 3 * forward(shape, positions, length)
        flops += (
            4 * head_flops(positions, shape.hidden, shape.vocabulary) if p["weight_soft"] else 0.0
        )
        longest, micro = self.lengths[p["corpus"]], self._micro(p)
        maps = (
            bool(p["weight_attention"])
            * 16
            * micro
            * longest
            * shape.heads
            * (shape.layers + teacher.layers / 4)
        )
        memory = training_memory(
            shape.parameters - words,
            replace(shape, vocabulary=0),
            teacher,
            micro,
            p["precision"],
            maps,
        )
        passes = self._passes(p, told.sequences, shape.layers, teacher.layers)
        return replace(told, flops=flops, layer_passes=passes, gpu=memory + 4 * words / GIB)

    # ---------------------------------------------------------------------------------- fine-tuning

    def _finetune(self, step: Stage, p: dict) -> Estimate:
        shape = self.shape(p["model"])
        if not shape or p["task_source"] != "hub":
            return Estimate((shape,) if shape else ())
        if any(name not in hub_facts.hub_yaml()["tasks"] for name in p["tasks"]):
            return Estimate((shape,))
        learnt, tokens, flops, longest, passes = set(), 0.0, 0.0, 0, 0.0
        for name in p["tasks"]:
            own, about = {**p, **p["per_task"].get(name, {})}, hub_facts.hub_yaml()["tasks"][name]
            owner = TASKS[name].trains_on or name
            given = (
                p["train_examples"]
                if isinstance(p["train_examples"], int)
                else p["train_examples"].get(owner, 0)
            )
            length = min(about["tokens"], own["max_length"])
            longest = max(longest, own["batch_size"] * own["max_length"])
            seeds = len(p["seeds"])
            checks = (
                seeds
                * (own["epochs"] if p["evaluate"] == "every_epoch" else 1)
                * len(p["languages"] or [""])
            )
            flops += forward(
                shape,
                checks * min(about["validation"], p["validation_examples"] or 10**9) * length,
                length,
            )
            if (owner, str(p["per_task"].get(name))) not in learnt:
                learnt.add((owner, str(p["per_task"].get(name))))
                read = seeds * own["epochs"] * min(about["train"], given or 10**9) * length
                tokens, flops = tokens + read, flops + 3 * forward(shape, read, length)
                passes += read / length / own["batch_size"] * shape.layers
        bare = replace(shape, vocabulary=0)  # no logits
        memory = training_memory(shape.parameters, bare, None, longest, p["precision"])
        return Estimate((shape,), tokens=tokens, flops=flops, layer_passes=passes, gpu=memory)


BASE = 512  # hidden units: of narrower models the share of a GPU's peak is another
COLUMNS = (
    "stage",
    "models",
    "data",
    "tokens",
    "PFLOP",
    "hours",
    "GPU GiB",
    "RAM GiB",
    "GB kept",
    "GB more while it runs",
)


def report(steps: Sequence[Stage], gpu: str = "") -> str:
    """The whole forecast: what is needed first, every stage, sums, and what was assumed. Raises
    InputError for an unknown GPU."""
    card, reckoner = hub_facts.card(gpu), Reckoner()
    estimates = {step.folder: reckoner.estimate(step) for step in steps}
    hours = Hours(card, steps, estimates)
    return "\n".join(
        [
            *first(steps),
            "",
            *table(steps, estimates, hours),
            "",
            *sums(steps, estimates, hours),
            disk(estimates),
            "",
            *assumptions(card, hours, estimates),
        ]
    )


# ----------------------------------------------------------------------------------- before it runs


def first(steps: Sequence[Stage]) -> list[str]:
    """What has to be there, or agreed to, before anything can run."""
    found, scale = hub_facts.needs(steps), steps[0].path.scale
    if not found:
        return ["Before it runs: nothing to download."]
    lines = [
        f"Before it runs (terms as the hub's pages give them; read them there; {len(found)} "
        f"downloads)"
    ]
    rows, notes = [], []
    for need in found:
        entry = hub_facts.hub_yaml()["models" if need.kind == "model" else "data_sets"].get(
            need.id, {}
        )
        configs = [config for config in need.configs if config]
        shown = (
            ", ".join(configs)
            if len(configs) < 4
            else f"{configs[0]} … {configs[-1]}, {len(configs)} parts"
        )
        revision = need.revision or "main, not pinned"
        revision = revision[:12] if len(revision) == 40 else revision
        what, terms = (
            f"{need.kind} {need.id}" + f" ({shown})" * bool(configs),
            entry.get("terms", "see the hub"),
        )
        rows.append((what, f"@ {revision}", download(need), terms, " ".join(need.studies)))
        notes += [f"  {need.id}: {entry['note']}"] if "note" in entry else []
    lines += ["  " + line for line in aligned(rows)]
    known_sizes = [(need.streamed, *(hub_facts.megabytes(need) or (0.0, True))) for need in found]
    kept, passing = (
        sum(size for streamed, size, _ in known_sizes if streamed is way) * 1e6
        for way in (False, True)
    )
    lines.append(f"  together about {_bytes(kept)} in the hub library's cache")
    if passing:
        lines.append(f"  about {_bytes(passing)} are streamed: read over the network, and not kept")
    lines += notes
    lines.append(
        "  none is gated, as far as is known; no package is needed beyond constraints.txt, but a "
        "PyTorch built for the GPU"
    )
    names = " ".join(dict.fromkeys(step.study for step in steps))
    lines.append(
        f'  to fetch it all now: make plan SCALE={scale} STUDIES="{names}" DOWNLOAD=yes; then '
        f"HF_HUB_OFFLINE=1 asks nobody"
    )
    lines.append("  (what is streamed needs streaming: false for that)")
    return lines


def download(need: hub_facts.Need) -> str:
    """What is downloaded, in MB or GB."""
    found = hub_facts.megabytes(need)
    size = "size unknown" if found is None else f"{'about ' * found[1]}{_bytes(found[0] * 1e6)}"
    return f"streamed, {size}" if need.streamed else size


# ------------------------------------------------------------------------------------------- stages


class Hours:
    """The hours of every stage: measured where it has run with these parameters; else, on this
    machine, by the rate of the stages of its kind that have; else on the GPU, at the assumed share
    of its peak, which is that of models of about base size."""

    def __init__(
        self, card: hub_facts.Card, steps: Sequence[Stage], estimates: dict[str, Estimate]
    ):
        self.card = card
        self.known: dict[str, tuple[float | None, str]] = {}
        measured = {step.folder: found for step in steps if (found := hub_facts.measured(step))}
        work: dict[str, list[float]] = {}
        for step in steps:
            spent = measured.get(step.folder, {}).get("summary", {}).get("train_seconds", 0.0)
            if spent and (flops := estimates[step.folder].flops):
                work.setdefault(step.kind, []).append(flops / spent)
        self.rates = {kind: sum(rates) / len(rates) for kind, rates in work.items()}
        for step in steps:
            flops = estimates[step.folder].flops
            if step.folder in measured:
                self.known[step.folder] = measured[step.folder]["stage_seconds"] / 3600, "measured"
            elif flops and step.kind in self.rates:
                self.known[step.folder] = flops / self.rates[step.kind] / 3600, "here"
            elif flops is not None and estimates[step.folder].shapes[0].hidden >= BASE:
                self.known[step.folder] = (
                    card.hours(
                        flops, estimates[step.folder].layer_passes, step.parameters["precision"]
                    ),
                    "GPU",
                )
            else:
                self.known[step.folder] = None, ""

    def text(self, step: Stage) -> str:
        hours, how = self.known[step.folder]
        if how == "GPU" and hours is None:
            return f"no {step.parameters['precision']}"
        return (
            ""
            if hours is None
            else f"{_hours(hours)} {how}"
            if how in ("measured", "here")
            else _hours(hours)
        )


def table(steps: Sequence[Stage], estimates: dict[str, Estimate], hours: Hours) -> list[str]:
    """Two lines a stage: its numbers, and what it does."""
    rows = [COLUMNS]
    for step in steps:
        found = estimates[step.folder]
        flops = "" if found.flops is None else f"{'≤ ' * found.at_most}{_petas(found.flops)}"
        gpu = (
            ""
            if found.gpu is None
            else f"{found.gpu:.0f}{' !' * (found.gpu > hours.card.memory_gib)}"
        )
        memory = "" if found.memory is None else f"{found.memory:.0f}"
        told = (
            step.path.name,
            _models(found),
            _data(found),
            _tokens(found),
            flops,
            hours.text(step),
        )
        rows.append((*told, gpu, memory, _gigabytes(found.disk), _gigabytes(found.scratch)))
    lines = aligned(rows)
    out = [lines[0]]
    for line, step in zip(lines[1:], steps):
        out += [line, f"    {step.notebook.split('/')[1].removesuffix('.ipynb')}: {does(step)}"]
    return [*out, f"{len(steps)} stages, and the analysis"]


def sums(steps: Sequence[Stage], estimates: dict[str, Estimate], hours: Hours) -> list[str]:
    """Operations and hours of every study, what two of them share counted once."""
    rows = [("study", "stages", "PFLOP", "hours", "")]
    studies = list(dict.fromkeys(step.study for step in steps))
    for label, within in [
        (study, [step for step in steps if step.study == study]) for study in studies
    ] + [("all", list(steps))]:
        told = [hours.known[step.folder][0] for step in within]
        flops = [estimates[step.folder].flops for step in within]
        on_cpu = sum(
            spent is None and step.kind == "data_prep" for spent, step in zip(told, within)
        )
        other = told.count(None) - on_cpu
        unknown = [
            f"{number} {what}"
            for number, what in ((on_cpu, "of data preparation"), (other, "not known"))
            if number
        ]
        rows.append(
            (
                label,
                f"{len(within)}",
                _petas(sum(filter(None, flops))) if any(flops) else "",
                _hours(sum(filter(None, told))) if any(told) else "",
                f"without {' and '.join(unknown)}" if unknown else "",
            )
        )
    return aligned(rows[:-1] if len(studies) == 1 else rows)


def disk(estimates: dict[str, Estimate]) -> str:
    """Of the outputs, those that are known."""
    kept, more = (
        sum(found.disk for found in estimates.values()),
        max(found.scratch for found in estimates.values()),
    )
    return (
        f"disk: {_bytes(kept)} of outputs that stay, and up to {_bytes(more)} more while a "
        f"stage runs"
    )


def assumptions(card: hub_facts.Card, hours: Hours, estimates: dict[str, Estimate]) -> list[str]:
    """What the numbers hang on, and the words of the table."""
    how, found = {kind for _, kind in hours.known.values()}, list(estimates.values())
    shares = [
        f"{100 * card.utilisation[key]:.0f} % of {peak:g} in {key}"
        for key, peak in card.peak.items()
        if peak
    ]
    reached = (
        f"{', '.join(shares)}, and to need {card.least_ms:g} ms for each layer of a micro-batch"
    )
    told = [
        (
            "GPU" in how,
            f"""hours: at the least, on one {card.name}. It is assumed to reach of its TFLOP/s
       {reached}.
       000 says {hub_facts.reported_hours():g} hours for each of its trainings on a Titan V, several times what GPU=TitanV gives.
       GPU=… takes any card of params/estimates.yaml. Data preparation, on the CPU, is not in them.""",
        ),
        (
            any((one.gpu or 0) > card.memory_gib for one in found),
            f"!: more than the {card.memory_gib:g} GiB of the card; a smaller micro_batch_size "
            f"computes the same in less",
        ),
        (
            "measured" in how,
            "measured: the stage has run here with these parameters; here: by the rate of its "
            "kind here",
        ),
        (
            any(one.at_most for one in found),
            "≤: every line taken to be as long as it may be; real ones are shorter",
        ),
        (
            any(one.volume and one.volume.basis == "assumed" for one in found),
            f"~: tokens from bytes, {hub_facts.reckoning()['bytes_per_token']} bytes a token "
            f"assumed",
        ),
        (
            any(one.flops for one in found),
            """PFLOP: 10^15 operations of matrix products in trunk and head, without padding.
       A step is a forward and a backward pass (twice the forward) of the student, and a forward pass of its teacher.""",
        ),
        (
            True,
            """5 soft + 2 mlm + 1 cosine: losses and their weights. truncated: a student that starts with layers of its teacher.
trained in, beside it: students of one stage, on one pass of their teacher. section: the part of its text that a hop reads.
kept: what stays on disk; more while it runs: checkpoints, and text on its way, which do not.""",
        ),
    ]
    return [line for holds, lines in told if holds for line in lines.splitlines()]


def does(step: Stage) -> str:
    """A stage in a few words: its text, its optimizer steps, its tasks."""
    p = step.parameters
    if step.kind == "data_prep" and p["sample_of"]:
        return (
            f"{100 * p['share']:g} % of "
            f"{StagePath.parse(p['sample_of']).corpus}, {p['composition']}"
        )
    if step.kind == "data_prep":
        sources = " + ".join(map(source_name, validate(step.kind, p).sources))
        languages = list(
            dict.fromkeys(
                source.language for source in validate(step.kind, p).sources if source.language
            )
        )
        if len(languages) > 3:
            sources = f"{len(languages)} languages, {languages[0]} to {languages[-1]}"
        size = "" if p["subset_unit"] == "none" else f", {p['subset_size']:,} {p['subset_unit']}"
        return f"{sources}{size}; tokenizer {p['tokenizer']}"
    if step.kind == "teacher_continuation":
        start = p["teacher"] or f"nothing, {p['layers']} layers of {p['hidden']}"
        return f"MLM from {start}; {_length(p)}"
    if step.kind == "distillation":
        weights = {name: p[f"weight_{name}"] for name in ("soft", "mlm", "cosine")}
        losses = " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
        trained = f"{losses}; {_length(p)}" if losses else "not trained"
        if p["trained_in"]:
            trained = f"{losses}, trained in {StagePath.parse(p['trained_in']).scenario}"
        beside = f", and {len(p['beside'])} more beside it" if p["beside"] else ""
        return f"{p['init']}, layers {p['student_layers']}; {trained}{beside}"
    if step.kind == "cascade_ta":
        weights = {name: p[f"weight_{name}"] for name in ("hidden", "attention", "soft")}
        losses = " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
        read = f", section {p['section']}" if p["section"] else ""
        trained = (
            f"{losses}, {p['mapping']} layers; {_length(p)}{read}" if losses else "not trained"
        )
        return f"the lowest {p['layers']} layers; {trained}"
    tasks = ", ".join(p["tasks"]) + (f" in {', '.join(p['languages'])}" if p["languages"] else "")
    return f"{tasks}; {len(p['seeds'])} seeds × {p['epochs']} epochs"


def _length(p: dict) -> str:
    much = f"{p['steps']:,} steps" if p["steps"] else f"{p['epochs']:g} epochs"
    if p.get("grow_steps"):
        much = f"{p['grow_steps']:,} + {much}"
    return f"{much} of {p['batch_size']} sequences, {p['precision']} mixed precision"


# -------------------------------------------------------------------------------------------- words


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of words as lines with columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows
    ]


def _models(found: Estimate) -> str:
    return " → ".join(f"{shape.layers}L {shape.parameters / 1e6:,.3g}M" for shape in found.shapes)


def _data(found: Estimate) -> str:
    """The volume of a corpus that a stage prepares; of one it reads, what it reads of it, and how
    much there is."""
    volume = found.volume
    if volume is None or volume.sequences is None:
        return f"{_count(found.sequences)} sequences" if found.sequences else ""
    whole = f"{'~' * (volume.basis == 'assumed')}{_count(volume.sequences)}"
    if found.sequences:
        return f"{_count(found.sequences)} of {whole} sequences"
    return f"{whole} sequences, {'≤ ' * found.at_most}{_count(volume.tokens)} tokens"


def _tokens(found: Estimate) -> str:
    return (
        ""
        if found.tokens is None
        else "0"
        if not found.tokens
        else f"{'≤ ' * found.at_most}{_count(found.tokens)}"
    )


def _count(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number:.0f}"


def _petas(flops: float) -> str:
    return f"{flops / 1e15:,.0f}" if flops >= 1e16 else f"{flops / 1e15:.2g}"


def _hours(hours: float) -> str:
    if not hours:
        return "0"
    return (
        f"{hours:,.0f} h"
        if hours >= 10
        else f"{hours:.1f} h"
        if hours >= 0.1
        else f"{60 * hours:.1f} min"
    )


def _bytes(number: float) -> str:
    return (
        f"{number / 1e6:,.0f} MB"
        if number < 1e9
        else f"{number / 1e9:,.1f} GB"
        if number < 1e10
        else f"{number / 1e9:,.0f} GB"
    )


def _gigabytes(number: float) -> str:
    return "" if not number else f"{number / 1e9:,.2g}" if number < 1e10 else f"{number / 1e9:,.0f}"

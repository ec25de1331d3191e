"""What the stages of a plan compute, reckoned from the plan alone: tokens, floating-point operations, memory, disk."""

from dataclasses import dataclass, replace

from lib import known
from lib.known import Volume
from lib.shapes import GIB, Shape, forward, head_flops, student_shape, training_memory
from lib.step import Step
from lib.tasks import TASKS

SPECIALS = 2  # tokens at the ends of a sequence


@dataclass(frozen=True)
class Estimate:
    """Of a stage; None where it cannot be known. `volume`: of the corpus it makes or reads; `sequences` and `tokens` are read in
    training, epochs and seeds counted, special tokens and evaluation left out; `layer_passes`: micro-batches times layers that
    they are trained in, a third of it for layers that only read; `gpu` and `memory` are GiB; `disk` and `scratch`, bytes that
    stay and that it needs while it runs; `at_most`: the tokens are a bound."""

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


# -------------------------------------------------------------------------------------------------------- stages


class Reckoner:
    """Goes through the stages of a plan in order; each knows the models and corpora of those before it."""

    def __init__(self):
        self.models: dict[str, Shape | None] = {}  # by folder
        self.volumes: dict[str, Volume] = {}
        self.lengths: dict[str, int] = {}  # the longest sequence of a corpus

    def estimate(self, step: Step) -> Estimate:
        """Of the next stage."""
        return getattr(self, f"_{step.kind}")(step, step.parameters)

    def shape(self, name: str) -> Shape | None:
        """Of a folder that a stage before has made, or of a hub model that params/hub.yaml knows."""
        if name in self.models:
            return self.models[name]
        entry = known.hub()["models"].get(name)
        return Shape(**{key: value for key, value in entry.items() if key in Shape.__annotations__}) if entry else None

    # ------------------------------------------------------------------------------------------------ corpora

    def _data_prep(self, step: Step, p: dict) -> Estimate:
        volume = known.counted(step) or known.expected(step) or self._assumed(p)
        parent = self.volumes.get(p["sample_of"], Volume())
        vocabulary = volume.vocabulary or parent.vocabulary or self._vocabulary(p)
        self.volumes[step.folder] = volume = replace(volume, vocabulary=vocabulary)
        self.lengths[step.folder] = self.lengths.get(p["sample_of"]) or p["max_length"]
        if volume.tokens is None or volume.sequences is None:
            return Estimate(volume=volume)
        stored = (volume.tokens + SPECIALS * volume.sequences) * (4 + 1 / 8) + 8 * volume.sequences
        text = (volume.bytes or volume.tokens * known.reckoning()["bytes_per_token"]) if not p["sample_of"] else 0.0
        pool = (known.text_bytes(p["sources"]) if p["sources"] else 0.0) or text
        mixing = 2 * text if p["sampled_lines"] or p["sections"] > 1 else 0.0
        scratch = (pool + mixing) * 1.1 + stored
        return Estimate(
            volume=volume, memory=1 + 0.3 * p["processes"] + 64 * volume.sequences / GIB, disk=stored, scratch=scratch
        )

    def _assumed(self, p: dict) -> Volume:
        """What can be said of a corpus from its parameters."""
        if p["sample_of"]:
            parent = self.volumes[p["sample_of"]]
            if parent.tokens is None or parent.sequences is None:
                return Volume()
            return Volume(
                parent.sequences * p["share"], parent.tokens * p["share"], None, parent.vocabulary, parent.basis
            )
        if p["sampled_lines"] and p["long_lines"] == "truncate":
            return Volume(p["sampled_lines"], p["sampled_lines"] * (p["max_length"] - SPECIALS), basis="at most")
        if p["sentences"] or p["subset_unit"] == "lines":
            return Volume()  # how long they are, nobody can tell
        size = p["subset_size"] if p["subset_unit"] == "bytes" else known.text_bytes(p["sources"])
        tokens = (
            p["subset_size"] if p["subset_unit"] == "tokens" else size and size / known.reckoning()["bytes_per_token"]
        )
        return Volume(tokens / (p["max_length"] - SPECIALS), tokens, size, basis="assumed") if tokens else Volume()

    def _vocabulary(self, p: dict) -> int | None:
        """Of the tokenizer of a corpus: one that is trained is as large as it may be, if the text has enough words."""
        if p["tokenizer"].startswith("train:"):
            return p["vocab_size"]
        other = p["tokenizer"].removesuffix("/tokenizer")
        if other in self.volumes:
            return self.volumes[other].vocabulary
        found = self.shape(p["tokenizer"])
        return found.vocabulary if found else None

    # ----------------------------------------------------------------------------------------------- training

    def _read(self, p: dict, steps: int | None = None) -> tuple[dict, float | None, float | None]:
        """What a training reads of its corpus, as an Estimate has it; its positions (special tokens too); their mean length."""
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

    def _published(self, step: Step, shape: Shape | None, trained: int) -> dict:
        """Notes the model a stage makes: what it takes on disk, and while it runs, two checkpoints of all that is trained, and a
        third one while it takes their place."""
        self.models[f"{step.folder}/model"] = shape
        return {"disk": 4 * shape.parameters, "scratch": 3 * 12 * trained} if shape else {}

    def _passes(self, p: dict, sequences: float, trained: int, read: int = 0) -> float:
        """Of so many sequences, through so many layers that are trained and so many that only read."""
        return sequences / min(p["micro_batch_size"], p["batch_size"]) * (trained + read / 3)

    def _teacher_continuation(self, step: Step, p: dict) -> Estimate:
        read, positions, length = self._read(p)
        vocabulary = read["volume"].vocabulary
        shape = self.shape(p["teacher"]) if p["teacher"] else vocabulary and Shape(
            p["layers"], p["hidden"], p["heads"], p["intermediate"], vocabulary, max(512, self.lengths[p["corpus"]]))  # fmt: skip
        told = Estimate(
            (shape,) if shape else (), **read, **self._published(step, shape, shape.parameters if shape else 0)
        )
        if not shape or not positions:
            return told
        flops = 3 * (forward(shape, positions, length)
                     + head_flops(p["mask_probability"] * positions, shape.hidden, shape.vocabulary))  # fmt: skip
        if p["grow_from_layers"] and not p["teacher"]:
            more, seen, _ = self._read(p, p["grow_steps"])
            shallow = replace(shape, layers=p["grow_from_layers"])
            flops += 3 * (
                forward(shallow, seen, length)
                + head_flops(p["mask_probability"] * seen, shape.hidden, shape.vocabulary)
            )
            told = replace(told, sequences=told.sequences + more["sequences"], tokens=told.tokens + more["tokens"])
        return replace(told, flops=flops, layer_passes=self._passes(p, told.sequences, shape.layers),
                       gpu=training_memory(shape.parameters, shape, None, self._micro(p), p["precision"]))  # fmt: skip

    def _distillation(self, step: Step, p: dict) -> Estimate:
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
            flops += 3 * forward(one, positions, length) + heads * head_flops(rows, one.hidden, one.vocabulary)
        largest = max(shapes, key=lambda one: one.layers)
        memory = training_memory(trained, largest, teacher if taught else None, self._micro(p), p["precision"])
        passes = self._passes(p, told.sequences, sum(one.layers for one in shapes), teacher.layers * taught)
        return replace(told, flops=flops, layer_passes=passes, gpu=memory)

    def _cascade_ta(self, step: Step, p: dict) -> Estimate:
        teacher = self.shape(p["teacher"])
        read, positions, length = self._read(p)
        if not teacher:
            return Estimate(**read, **self._published(step, None, 0))
        shape = replace(teacher, layers=p["layers"])
        words = shape.vocabulary * shape.hidden * bool(p["freeze_embeddings"])
        told = Estimate((teacher, shape), **self._published(step, shape, shape.parameters - 2 * words // 3))
        if not (p["weight_hidden"] or p["weight_attention"] or p["weight_soft"]):
            return replace(told, tokens=0.0, flops=0.0, scratch=0.0)
        told = replace(told, **read)
        if not positions:
            return told
        flops = forward(teacher, positions, length) + 3 * forward(shape, positions, length)
        flops += 4 * head_flops(positions, shape.hidden, shape.vocabulary) if p["weight_soft"] else 0.0
        longest, micro = self.lengths[p["corpus"]], self._micro(p)
        maps = bool(p["weight_attention"]) * 16 * micro * longest * shape.heads * (shape.layers + teacher.layers / 4)
        memory = training_memory(
            shape.parameters - words, replace(shape, vocabulary=0), teacher, micro, p["precision"], maps
        )
        passes = self._passes(p, told.sequences, shape.layers, teacher.layers)
        return replace(told, flops=flops, layer_passes=passes, gpu=memory + 4 * words / GIB)

    # -------------------------------------------------------------------------------------------- fine-tuning

    def _finetune(self, step: Step, p: dict) -> Estimate:
        shape = self.shape(p["model"])
        if not shape or p["task_source"] != "hub":
            return Estimate((shape,) if shape else ())
        if any(name not in known.hub()["tasks"] for name in p["tasks"]):
            return Estimate((shape,))
        learnt, tokens, flops, longest, passes = set(), 0.0, 0.0, 0, 0.0
        for name in p["tasks"]:
            own, about = {**p, **p["per_task"].get(name, {})}, known.hub()["tasks"][name]
            owner = TASKS[name].trains_on or name
            given = p["train_examples"] if isinstance(p["train_examples"], int) else p["train_examples"].get(owner, 0)
            length = min(about["tokens"], own["max_length"])
            longest = max(longest, own["batch_size"] * own["max_length"])
            seeds = len(p["seeds"])
            checks = seeds * (own["epochs"] if p["evaluate"] == "every_epoch" else 1) * len(p["languages"] or [""])
            flops += forward(
                shape, checks * min(about["validation"], p["validation_examples"] or 10**9) * length, length
            )
            if (owner, str(p["per_task"].get(name))) not in learnt:
                learnt.add((owner, str(p["per_task"].get(name))))
                read = seeds * own["epochs"] * min(about["train"], given or 10**9) * length
                tokens, flops = tokens + read, flops + 3 * forward(shape, read, length)
                passes += read / length / own["batch_size"] * shape.layers
        bare = replace(shape, vocabulary=0)  # no logits
        memory = training_memory(shape.parameters, bare, None, longest, p["precision"])
        return Estimate((shape,), tokens=tokens, flops=flops, layer_passes=passes, gpu=memory)

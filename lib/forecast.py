"""What a plan would run, on what and for how long: `make plan`. Printed from the parameters, from what params/ knows of the hub,
and from the results that are there; nothing is loaded and no network touched."""

from collections.abc import Sequence

from lib import downloads, known
from lib.corpus import name
from lib.estimates import Estimate, Reckoner
from lib.parameters import validate
from lib.study import Step

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


def report(steps: Sequence[Step], gpu: str = "") -> str:
    """The whole forecast: what is needed first, every stage, sums, and what was assumed. Raises InputError for an unknown GPU."""
    card, reckoner = known.card(gpu), Reckoner()
    estimates = {step.folder: reckoner.estimate(step) for step in steps}
    hours = Hours(card, steps, estimates)
    return "\n".join([*first(steps), "", *table(steps, estimates, hours), "", *sums(steps, estimates, hours), disk(estimates),
                      "", *assumptions(card, hours, estimates)])  # fmt: skip


# ------------------------------------------------------------------------------------------------ before it runs


def first(steps: Sequence[Step]) -> list[str]:
    """What has to be there, or agreed to, before anything can run."""
    found, scale = downloads.needs(steps), steps[0].folder.split("/")[1]
    if not found:
        return ["Before it runs: nothing to download."]
    lines = [f"Before it runs (terms as the hub's pages give them; read them there; {len(found)} downloads)"]
    rows, notes = [], []
    for need in found:
        entry = known.hub()["models" if need.kind == "model" else "data_sets"].get(need.id, {})
        configs = [config for config in need.configs if config]
        shown = ", ".join(configs) if len(configs) < 4 else f"{configs[0]} … {configs[-1]}, {len(configs)} parts"
        revision = need.revision or "main, not pinned"
        revision = revision[:12] if len(revision) == 40 else revision
        what, terms = f"{need.kind} {need.id}" + f" ({shown})" * bool(configs), entry.get("terms", "see the hub")
        rows.append((what, f"@ {revision}", download(need), terms, " ".join(need.studies)))
        notes += [f"  {need.id}: {entry['note']}"] if "note" in entry else []
    lines += ["  " + line for line in aligned(rows)]
    known_sizes = [(need.streamed, *(downloads.megabytes(need) or (0.0, True))) for need in found]
    kept, passing = (sum(size for streamed, size, _ in known_sizes if streamed is way) * 1e6 for way in (False, True))
    lines.append(f"  together about {_bytes(kept)} in the hub library's cache")
    if passing:
        lines.append(f"  about {_bytes(passing)} are streamed: read over the network, and not kept")
    lines += notes
    lines.append(
        "  none is gated, as far as is known; no package is needed beyond constraints.txt, but a PyTorch built for the GPU"
    )
    names = " ".join(dict.fromkeys(step.study for step in steps))
    lines.append(
        f'  to fetch it all now: make plan SCALE={scale} STUDIES="{names}" DOWNLOAD=yes; then HF_HUB_OFFLINE=1 asks nobody'
    )
    lines.append("  (what is streamed needs streaming: false for that)")
    return lines


def download(need: downloads.Need) -> str:
    """What is downloaded, in MB or GB."""
    found = downloads.megabytes(need)
    size = "size unknown" if found is None else f"{'about ' * found[1]}{_bytes(found[0] * 1e6)}"
    return f"streamed, {size}" if need.streamed else size


# ------------------------------------------------------------------------------------------------------- stages


class Hours:
    """The hours of every stage: measured where it has run with these parameters; else, on this machine, by the rate of the stages
    of its kind that have; else on the GPU, at the assumed share of its peak, which is that of models of about base size."""

    def __init__(self, card: known.Card, steps: Sequence[Step], estimates: dict[str, Estimate]):
        self.card = card
        self.known: dict[str, tuple[float | None, str]] = {}
        measured = {step.folder: found for step in steps if (found := known.measured(step))}
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
                    card.hours(flops, estimates[step.folder].layer_passes, step.parameters["precision"]),
                    "GPU",
                )
            else:
                self.known[step.folder] = None, ""

    def text(self, step: Step) -> str:
        hours, how = self.known[step.folder]
        if how == "GPU" and hours is None:
            return f"no {step.parameters['precision']}"
        return "" if hours is None else f"{_hours(hours)} {how}" if how in ("measured", "here") else _hours(hours)


def table(steps: Sequence[Step], estimates: dict[str, Estimate], hours: Hours) -> list[str]:
    """Two lines a stage: its numbers, and what it does."""
    rows = [COLUMNS]
    for step in steps:
        found = estimates[step.folder]
        flops = "" if found.flops is None else f"{'≤ ' * found.at_most}{_petas(found.flops)}"
        gpu = "" if found.gpu is None else f"{found.gpu:.0f}{' !' * (found.gpu > hours.card.memory_gib)}"
        memory = "" if found.memory is None else f"{found.memory:.0f}"
        told = step.folder.split("/", 2)[2], _models(found), _data(found), _tokens(found), flops, hours.text(step)
        rows.append((*told, gpu, memory, _gigabytes(found.disk), _gigabytes(found.scratch)))
    lines = aligned(rows)
    out = [lines[0]]
    for line, step in zip(lines[1:], steps):
        out += [line, f"    {step.notebook.split('/')[1].removesuffix('.ipynb')}: {does(step)}"]
    return [*out, f"{len(steps)} stages, and the analysis"]


def sums(steps: Sequence[Step], estimates: dict[str, Estimate], hours: Hours) -> list[str]:
    """Operations and hours of every study, what two of them share counted once."""
    rows = [("study", "stages", "PFLOP", "hours", "")]
    studies = list(dict.fromkeys(step.study for step in steps))
    for label, within in [(study, [step for step in steps if step.study == study]) for study in studies] + [
        ("all", list(steps))
    ]:
        told = [hours.known[step.folder][0] for step in within]
        flops = [estimates[step.folder].flops for step in within]
        on_cpu = sum(spent is None and step.kind == "data_prep" for spent, step in zip(told, within))
        other = told.count(None) - on_cpu
        unknown = [
            f"{number} {what}" for number, what in ((on_cpu, "of data preparation"), (other, "not known")) if number
        ]
        rows.append((label, f"{len(within)}", _petas(sum(filter(None, flops))) if any(flops) else "",
                     _hours(sum(filter(None, told))) if any(told) else "",
                     f"without {' and '.join(unknown)}" if unknown else ""))  # fmt: skip
    return aligned(rows[:-1] if len(studies) == 1 else rows)


def disk(estimates: dict[str, Estimate]) -> str:
    """Of the outputs, those that are known."""
    kept, more = sum(found.disk for found in estimates.values()), max(found.scratch for found in estimates.values())
    return f"disk: {_bytes(kept)} of outputs that stay, and up to {_bytes(more)} more while a stage runs"


def assumptions(card: known.Card, hours: Hours, estimates: dict[str, Estimate]) -> list[str]:
    """What the numbers hang on, and the words of the table."""
    how, found = {kind for _, kind in hours.known.values()}, list(estimates.values())
    shares = [f"{100 * card.utilisation[key]:.0f} % of {peak:g} in {key}" for key, peak in card.peak.items() if peak]
    reached = f"{', '.join(shares)}, and to need {card.least_ms:g} ms for each layer of a micro-batch"
    told = [
        ("GPU" in how, f"""hours: at the least, on one {card.name}. It is assumed to reach of its TFLOP/s
       {reached}.
       000 says {known.reported_hours():g} hours for each of its trainings on a Titan V, several times what GPU=TitanV gives.
       GPU=… takes any card of params/estimates.yaml. Data preparation, on the CPU, is not in them."""),
        (any((one.gpu or 0) > card.memory_gib for one in found),
         f"!: more than the {card.memory_gib:g} GiB of the card; a smaller micro_batch_size computes the same in less"),
        ("measured" in how, "measured: the stage has run here with these parameters; here: by the rate of its kind here"),
        (any(one.at_most for one in found), "≤: every line taken to be as long as it may be; real ones are shorter"),
        (any(one.volume and one.volume.basis == "assumed" for one in found),
         f"~: tokens from bytes, {known.reckoning()['bytes_per_token']} bytes a token assumed"),
        (any(one.flops for one in found), """PFLOP: 10^15 operations of matrix products in trunk and head, without padding.
       A step is a forward and a backward pass (twice the forward) of the student, and a forward pass of its teacher."""),
        (True, """5 soft + 2 mlm + 1 cosine: losses and their weights. truncated: a student that starts with layers of its teacher.
trained in, beside it: students of one stage, on one pass of their teacher. section: the part of its text that a hop reads.
kept: what stays on disk; more while it runs: checkpoints, and text on its way, which do not."""),
    ]  # fmt: skip
    return [line for holds, lines in told if holds for line in lines.splitlines()]


def does(step: Step) -> str:
    """A stage in a few words: its text, its optimizer steps, its tasks."""
    p = step.parameters
    if step.kind == "data_prep" and p["sample_of"]:
        return f"{100 * p['share']:g} % of {p['sample_of'].split('/')[-2].removeprefix('corpus_')}, {p['composition']}"
    if step.kind == "data_prep":
        sources = " + ".join(map(name, validate(step.kind, p).sources))
        languages = list(dict.fromkeys(source.language for source in validate(step.kind, p).sources if source.language))
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
            trained = f"{losses}, trained in {p['trained_in'].split('/')[-4]}"
        beside = f", and {len(p['beside'])} more beside it" if p["beside"] else ""
        return f"{p['init']}, layers {p['student_layers']}; {trained}{beside}"
    if step.kind == "cascade_ta":
        weights = {name: p[f"weight_{name}"] for name in ("hidden", "attention", "soft")}
        losses = " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
        read = f", section {p['section']}" if p["section"] else ""
        trained = f"{losses}, {p['mapping']} layers; {_length(p)}{read}" if losses else "not trained"
        return f"the lowest {p['layers']} layers; {trained}"
    tasks = ", ".join(p["tasks"]) + (f" in {', '.join(p['languages'])}" if p["languages"] else "")
    return f"{tasks}; {len(p['seeds'])} seeds × {p['epochs']} epochs"


def _length(p: dict) -> str:
    much = f"{p['steps']:,} steps" if p["steps"] else f"{p['epochs']:g} epochs"
    if p.get("grow_steps"):
        much = f"{p['grow_steps']:,} + {much}"
    return f"{much} of {p['batch_size']} sequences, {p['precision']} mixed precision"


# -------------------------------------------------------------------------------------------------------- words


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of words as lines with columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows]


def _models(found: Estimate) -> str:
    return " → ".join(f"{shape.layers}L {shape.parameters / 1e6:,.3g}M" for shape in found.shapes)


def _data(found: Estimate) -> str:
    """The volume of a corpus that a stage prepares; of one it reads, what it reads of it, and how much there is."""
    volume = found.volume
    if volume is None or volume.sequences is None:
        return f"{_count(found.sequences)} sequences" if found.sequences else ""
    whole = f"{'~' * (volume.basis == 'assumed')}{_count(volume.sequences)}"
    if found.sequences:
        return f"{_count(found.sequences)} of {whole} sequences"
    return f"{whole} sequences, {'≤ ' * found.at_most}{_count(volume.tokens)} tokens"


def _tokens(found: Estimate) -> str:
    return "" if found.tokens is None else "0" if not found.tokens else f"{'≤ ' * found.at_most}{_count(found.tokens)}"


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
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 0.1 else f"{60 * hours:.1f} min"


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

"""The one training loop: teachers, students and fine-tuning all run through it."""

import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from lib.common import interrupts
from lib.common.errors import Diverged, InputError, Stopped
from lib.common.parameters import Optimised
from lib.common.progress import LiveChart, Progress
from lib.fast.linear import onednn_pays
from lib.fast.quicken import keep_freed_memory
from lib.training import checkpoints, ranks, tracking
from lib.training.batches import IGNORE, Batch, seed_at
from lib.training.parameters import LOSSES

COST = ("tokens", "positions", "seconds", "waited")
"""The columns of a history that count from the first step on: tokens without padding, positions
computed (padding included), seconds, and the seconds spent waiting for batches."""
DROPOUT = 0x5BD1E995
"""XORed with the seed of a micro-batch's masks, it gives the seed of its dropout. It has 32
bits, since a processor's generator looks at no more."""
EXPLODED = 1e4
"""Training has diverged when the loss exceeds its initial value by this factor (initial values
below 1 count as 1)."""
ROUNDS, GAIN = 3, 0.9
"""To choose a precision: timed rounds, and the share of fp32's time that bf16 must stay below."""


@dataclass(frozen=True)
class Recipe:
    """How to optimise. Rates and ε as in AdamW."""

    learning_rate: float
    schedule: str = "cosine"  # cosine | linear | constant
    cycles: float = 0.5  # periods of the cosine: half of one goes down to 0
    warmup: float = 0.02  # share of all steps with a linearly rising rate
    weight_decay: float = 0.01
    epsilon: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0  # largest norm of the gradient; 0: no clipping
    precision: str = "no"  # no | bf16 | fp16 | auto: see `fastest`
    seed: int = 0
    checkpoint_seconds: float = 120.0
    tracker: str = "none"  # none | tensorboard


def recipe(p: Optimised, seed: int | None = None) -> Recipe:
    """The recipe in the parameters of a stage; `seed` overrides theirs."""
    return Recipe(
        learning_rate=p.learning_rate,
        schedule=p.schedule,
        cycles=p.cosine_cycles,
        warmup=p.warmup,
        weight_decay=p.weight_decay,
        epsilon=p.adam_epsilon,
        betas=(p.adam_beta1, p.adam_beta2),
        clip=p.clip_norm,
        precision=p.precision,
        seed=p.seed if seed is None else seed,
        checkpoint_seconds=p.checkpoint_seconds,
        tracker=p.tracker,
    )


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of `step` (0-based) as a share of the peak."""
    rising = round(recipe.warmup * steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    wave = 0.5 * (1 + math.cos(2 * math.pi * recipe.cycles * done))
    return {"cosine": wave, "linear": 1 - done, "constant": 1.0}[recipe.schedule]


def expense(cost: dict[str, float]) -> dict[str, float]:
    """What a training cost, in the columns of efficiency.csv, from the figures of `COST`; missing
    ones are 0."""
    tokens, positions, seconds, waited = (cost.get(name, 0) for name in COST)
    return {
        "tokens_seen": int(tokens),
        "train_seconds": seconds,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "padding_share": 1 - tokens / positions if positions else 0.0,
        "waiting_share": waited / seconds if seconds else 0.0,
    }


def fastest(objective: torch.nn.Module, micro_batches: Sequence[Batch]) -> str:
    """The precision in which loss and gradient of the largest of these micro-batches are computed
    faster here, `no` (fp32) or `bf16`; on a GPU bf16, or fp16 if it has no bf16. The weights stay
    as they are, and no gradient is left.

    A processor with AVX512-BF16 or AMX multiplies in bf16 several times faster than in fp32, but
    casts cost a narrow model more than that saves. One without them is far slower in bf16.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    largest = max(micro_batches, key=lambda batch: batch.inputs.numel())
    times: dict[str, list[float]] = {"no": [], "bf16": []}
    for number in range(ROUNDS + 1):
        for precision in times:
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = objective(largest, objective.counts(largest))["loss"]
            loss.backward()
            if number:  # the first round only warms up
                times[precision].append(time.perf_counter() - start)
            for parameter in objective.parameters():
                parameter.grad = None
    fp32, bf16 = (sorted(times[precision])[ROUNDS // 2] for precision in ("no", "bf16"))
    precision = "bf16" if bf16 < GAIN * fp32 else "no"
    print(f"precision {precision}: a step takes {fp32:.3f} s in fp32, {bf16:.3f} s in bf16")
    return precision


def train(objective: torch.nn.Module, batches, recipe: Recipe, **options) -> list[dict]:
    """Minimise `objective` over `batches.steps` steps; returns the history, one dict per logged
    step: `step`, the mean of each component of the loss since the last row, the learning `rate`,
    and the columns of COST.

    Args:
        objective: a module with `counts(batch) -> dict[str, int]`, of which `kept` are the tokens
            without padding (`positions` is counted here), and `forward(batch, totals) -> dict`
            with `loss`, differentiable; `reaches_all`, if it has it, says whether every parameter
            has a gradient.
        batches: has `steps`; `at(step, share=slice(None)) -> list` of micro-batches, whose
            gradients accumulate into one step; and `named(step, micro=None)`, their sequences in
            words, for errors.
        options: see `training_steps`.

    An interrupted run resumes from its newest checkpoint and ends with the same weights bit for
    bit: batches, masks, dropout and rate depend on the step number alone. If one of several
    processes is asked to stop, all stop after the same step.

    Raises Diverged when loss, gradient or weights are not finite or the loss explodes, naming step,
    batch and last good checkpoint. Raises Stopped when a signal has asked for it, after the step
    under way, with a checkpoint.
    """
    training = training_steps(objective, batches, recipe, **options)
    with interrupts.deferred() as asked:
        for _, history in training:
            if ranks.any_of(asked):
                training.throw(KeyboardInterrupt())
        if ranks.any_of(asked):
            raise Stopped("after the last step; start it again to go on from the checkpoint")
    return history


def training_steps(
    objective: torch.nn.Module,
    batches,
    recipe: Recipe,
    *,
    name: str = "training",
    folder: Path | None = None,
    after_step: Callable[[int], None] | None = None,
    log_every: int = 0,
    quiet: bool = False,
    keep_last: bool = True,
) -> Generator[tuple[int, list[dict]]]:
    """A training step by step. Yields the number of steps done (at first 0, or that of a
    checkpoint) and the history so far. Other trainings may run in between: neither their random
    numbers nor their time affect this one.

    Args, besides those of `train`:
        name: what progress and errors call the training; quiet: show no progress.
        folder: where checkpoints go; None: none are kept.
        after_step: called with the number of steps done, for evaluation.
        log_every: steps per row of the history; 0: about 200 rows in all.
        keep_last: keep a checkpoint of the last step, so that nothing that fails later costs the
            training.

    A KeyboardInterrupt thrown in between two steps keeps a checkpoint and is raised as Stopped.
    """
    saved_state = checkpoints.newest(folder) if folder else None
    accelerator = _accelerator(objective, batches, recipe, saved_state)
    steps, log_every = batches.steps, log_every or max(1, batches.steps // 200)
    if not saved_state or saved_state["step"] < steps:  # otherwise there is nothing to compute
        objective.to(accelerator.device)
    model = accelerator.prepare_model(objective) if ranks.count() > 1 else objective
    optimizer = torch.optim.AdamW(
        _parameter_groups(objective, recipe.weight_decay),
        lr=recipe.learning_rate,
        eps=recipe.epsilon,
        betas=recipe.betas,
        fused=True,
    )
    # Listed once: in a small step, walking through the modules takes as long as clipping.
    parameters, clip_norm = list(objective.parameters()), torch.nn.utils.clip_grad_norm_
    if accelerator.scaler:  # without one, Accelerate's own would take a tenth of a small step
        optimizer, clip_norm = accelerator.prepare(optimizer), accelerator.clip_grad_norm_
    keep_freed_memory()
    onednn_pays()  # measured now rather than within the first step
    history, first, cost, window = _resume(accelerator, objective, optimizer, saved_state, folder)
    if first != ranks.of_the_leader(first):
        raise InputError(
            f"{folder}: another host has a checkpoint there that this one lacks; the hosts must "
            f"share the disk"
        )
    seconds_before = cost["seconds"]
    written = folder if ranks.leads() else None  # one process writes for all
    progress, chart = Progress(steps, name, start=first), LiveChart(["loss", *LOSSES])
    tracking.write_progress(written, history, steps, restart=True)
    writer = tracking.open_writer(recipe.tracker, written, first) if first < steps else None

    def save_checkpoint(done: int) -> None:
        if written:
            _require_finite(objective, name, done, folder)
            state = _state(accelerator, objective, optimizer, history, cost, window)
            checkpoints.save(written, done, state)

    objective.train()
    try:
        yield first, history
    except KeyboardInterrupt:  # nothing was done since the checkpoint
        raise Stopped(f"{name} after step {first} of {steps}; start it again to go on") from None
    start = saved = time.perf_counter()
    for step, micro_batches, waited in prefetched(batches, first):
        micro_batches = [batch.to(accelerator.device) for batch in micro_batches]
        totals = _totals(objective, micro_batches)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate_at(step, steps, recipe)
        components, culprit = _accumulate(
            model, micro_batches, totals, accelerator, recipe.seed, step, _ceiling(history)
        )
        if not components["loss"] <= _ceiling(history):  # true of a NaN as well
            where = batches.named(step, ranks.least(culprit))
            message = f"{name}: the loss is {components['loss']:g}"
            raise _diverged(message, step, where, folder)
        if recipe.clip:
            norm = clip_norm(parameters, recipe.clip)
            # A scaler skips such a step by itself, and tries a smaller scale.
            if not accelerator.scaler and not math.isfinite(norm):
                where = batches.named(step)
                raise _diverged(f"{name}: the gradient's norm is {norm:g}", step, where, folder)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        done = step + 1
        cost["tokens"] += totals.get("kept", 0)
        cost["positions"] += totals["positions"]
        cost["waited"] += waited
        cost["seconds"] = seconds_before + time.perf_counter() - start
        for key, value in components.items():
            window[key] = window.get(key, 0.0) + value
        if done % log_every == 0 or done == steps:
            since = done - (history[-1]["step"] if history else 0)
            means = {key: value / since for key, value in window.items()}
            rate = optimizer.param_groups[0]["lr"]
            history.append({"step": done, **means, "rate": rate, **cost})
            window.clear()
        if not quiet:
            speed = cost["tokens"] / max(cost["seconds"], 1e-9)
            progress.at(done, f"loss {components['loss']:.3f}  {speed:,.0f} tokens/s")
            chart.draw(history, final=done == steps)
        paused = time.perf_counter()  # logging and evaluation are not training time
        if history and history[-1]["step"] == done:
            tracking.write_progress(written, history[-1:], steps)
            tracking.log(writer, history[-1])
        if after_step:
            after_step(done)
        start += time.perf_counter() - paused
        due = time.perf_counter() - saved > recipe.checkpoint_seconds
        due = due or (keep_last and done == steps)
        if due:
            save_checkpoint(done)
            saved = time.perf_counter()
        paused = time.perf_counter()
        try:
            yield done, history
        except KeyboardInterrupt:  # here weights and optimizer agree
            if not due:
                save_checkpoint(done)
            ranks.of_the_leader(None)  # wait until it is written: a process that ends early failed
            then = "start it again to go on from there" if folder else "no checkpoint was kept"
            raise Stopped(f"{name} after step {done} of {steps}; {then}") from None
        start += time.perf_counter() - paused
    _require_finite(objective, name, steps, folder)
    if writer:
        writer.close()
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    objective.eval()


def _accelerator(objective, batches, recipe: Recipe, saved_state: dict | None) -> Accelerator:
    """Accelerate's settings for this training. `auto` is measured, and stays what it was when a run
    is resumed."""
    precision = recipe.precision
    if precision == "fp16" and not torch.cuda.is_available():
        raise InputError("precision: fp16 needs a GPU, and there is none; allowed are no and bf16")
    if precision == "auto" and saved_state:
        precision = saved_state["precision"]
    elif precision == "auto":
        precision = fastest(objective.train(), batches.at(0))
    unused = not getattr(objective, "reaches_all", False)
    options = DistributedDataParallelKwargs(find_unused_parameters=unused, broadcast_buffers=False)
    AcceleratorState._reset_state()  # otherwise a kernel would keep its first precision
    return Accelerator(
        mixed_precision=ranks.of_the_leader(precision),
        cpu=ranks.on_cpu(),
        kwargs_handlers=[options],
    )


def _parameter_groups(module: torch.nn.Module, decay: float) -> list[dict]:
    """Biases and LayerNorm weights do not decay (Devlin et al. 2018)."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _totals(objective, micro_batches: list[Batch]) -> dict[str, int]:
    """What the means of a step are divided by: counts over its micro-batches in all processes."""
    totals = {"positions": sum(batch.inputs.numel() for batch in micro_batches)}
    for batch in micro_batches:
        for key, count in objective.counts(batch).items():
            totals[key] = totals.get(key, 0) + count
    return ranks.summed(totals)


def _accumulate(
    model: torch.nn.Module,
    micro_batches: list[Batch],
    totals: dict[str, int],
    accelerator: Accelerator,
    seed: int,
    step: int,
    ceiling: float,
) -> tuple[dict[str, float], int | None]:
    """Accumulate the gradient of a step, over the micro-batches of all processes. Returns the
    components of its loss, and the number of this process's first micro-batch with which the loss
    rose above `ceiling`, if any."""
    processes, device = ranks.count(), accelerator.device
    components: dict[str, float] = {}
    culprit = None
    # The others wait for the gradient of a process without micro-batches: it computes one of 0.
    for number, batch in enumerate(micro_batches or [_single_token().to(device)], 1):
        # Dropout is the same in a resumed run and in any process.
        _seed(seed_at(seed, step, batch.place) ^ DROPOUT)
        # Processes exchange the gradient once a step, after the last micro-batch.
        more_to_come = number < len(micro_batches)
        with model.no_sync() if more_to_come and processes > 1 else nullcontext():
            with accelerator.autocast():
                parts = model(batch, totals)
            loss = parts["loss"]
            if processes > 1:  # DistributedDataParallel averages over processes
                loss = loss * (processes if micro_batches else 0)
            # Accelerate's own `backward` looks for packages on disk in every step.
            (accelerator.scaler.scale(loss) if accelerator.scaler else loss).backward()
        if micro_batches:
            for key, value in parts.items():
                components[key] = components.get(key, 0.0) + float(value.detach())
            if culprit is None and not components["loss"] <= ceiling:
                culprit = batch.place
    return ranks.summed(components), culprit


def _single_token() -> Batch:
    """The smallest batch that a model can read: one token, not masked."""
    ids = torch.zeros((1, 1), dtype=torch.long)
    return Batch(ids, torch.ones_like(ids, dtype=torch.bool), torch.full_like(ids, IGNORE))


def _seed(seed: int) -> None:
    """torch.manual_seed, which without a GPU takes a millisecond to note where it was called."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def _state(accelerator, objective, optimizer, history, cost, window) -> dict:
    """What a checkpoint holds besides the number of steps done, from which batches, masks, dropout
    and learning rate follow."""
    return {
        "model": objective.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "cost": cost,
        "window": window,
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler else {},
        "precision": accelerator.mixed_precision,
    }


def _resume(
    accelerator, objective, optimizer, state: dict | None, folder
) -> tuple[list[dict], int, dict, dict]:
    """Load a checkpoint, if there is one. Returns the history, the number of steps done, their
    cost, and the sums of the loss's components since the last row of the history."""
    if state is None:
        return [], 0, dict.fromkeys(COST, 0), {}
    with checkpoints.fitting(folder):
        objective.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.scaler and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        print(f"resumed after step {state['step']}", flush=True)
        return state["history"], state["step"], state["cost"], state["window"]


def prefetched(batches, first: int) -> Iterator[tuple[int, list[Batch], float]]:
    """Every step from `first` on, its micro-batches (of several processes: this one's), and the
    seconds spent waiting for them: a thread reads and masks the next step during each step."""
    share = (ranks.share(),) if ranks.count() > 1 else ()
    with ThreadPoolExecutor(1, "batches") as reader:
        pending = reader.submit(batches.at, first, *share) if first < batches.steps else None
        for step in range(first, batches.steps):
            start = time.perf_counter()
            micro_batches = pending.result()
            waited = time.perf_counter() - start
            if step + 1 < batches.steps:
                pending = reader.submit(batches.at, step + 1, *share)
            yield step, micro_batches, waited


def _ceiling(history: list[dict]) -> float:
    """The loss above which a training has diverged; before the first row of its history, none that
    is finite."""
    return EXPLODED * max(1.0, history[0]["loss"]) if history else sys.float_info.max


def _require_finite(model, name: str, step: int, folder: Path | None) -> None:
    """Raise Diverged if a weight is not finite: such a model is neither kept nor published."""
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise Diverged(
            f"{name}: a weight is not finite after step {step}; {_last_checkpoint(folder)}"
        )


def _diverged(message: str, step: int, where: str, folder: Path | None) -> Diverged:
    """The error to raise: what happened, on which sequences (`where`), and what may help."""
    return Diverged(
        f"{message} at step {step + 1} ({where}); {_last_checkpoint(folder)}; what may help is a "
        f"lower learning_rate, a longer warmup or clip_norm"
    )


def _last_checkpoint(folder: Path | None) -> str:
    """Where the newest checkpoint is, in words, for an error."""
    paths = checkpoints.every(folder)
    if not paths:
        return "no checkpoint had been written yet"
    return f"the last good checkpoint is {paths[-1]}"

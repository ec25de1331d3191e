"""What a training cost, in the terms of efficiency.csv.

The one training loop: teachers, students and fine-tuning all run through it.
"""

import math
import sys
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from lib.common import interrupts
from lib.common.errors import Diverged, InputError, Stopped
from lib.common.parameters import Optimised
from lib.common.progress import LiveChart, Progress
from lib.fast.linear import onednn_pays
from lib.fast.quicken import keep_freed_memory
from lib.training import checkpoints, ranks, tracking
from lib.training.batches import Batch, stream
from lib.training.precision import fastest

COST = ("tokens", "positions", "seconds", "waited")
"""What a row of a training's history says of all its steps so far: tokens that are no padding,
positions computed, padding included, seconds, and those of them in which the step waited for its
batches."""


def expense(cost: dict[str, float]) -> dict[str, float]:
    """Tokens, seconds, tokens a second, padding as a share of the positions computed, and waiting
    for batches as a share of the time, from the figures of `COST`; absent ones are 0, where nothing
    was trained."""
    tokens, positions, seconds, waited = (cost.get(name, 0) for name in COST)
    return {
        "tokens_seen": int(tokens),
        "train_seconds": seconds,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "padding_share": 1 - tokens / positions if positions else 0.0,
        "waiting_share": waited / seconds if seconds else 0.0,
    }


@dataclass(frozen=True)
class Recipe:
    """How to optimise. Rates and ε as in AdamW; `warmup` is the share of all steps with a linearly
    rising rate."""

    learning_rate: float
    schedule: str = (
        "cosine"  # cosine | linear | constant, after the warmup; cosine falls to 0 in half a period
    )
    warmup: float = 0.02
    weight_decay: float = 0.01
    epsilon: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0  # largest norm of the gradient; 0 leaves it alone
    precision: str = "no"  # no | bf16 | fp16, or auto: the fastest here, see lib.training.precision
    seed: int = 0
    checkpoint_seconds: float = 120.0
    tracker: str = "none"  # where the history goes as well, see lib.training.tracking


DROPOUT = 0x5BD1E995  # within the 32 bits that a processor's generator looks at

EXPLODED = 1e4
"""A loss of so many times its first is no training any more; a first below 1 counts as 1."""


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of `step` (0-based) as a share of the peak."""
    rising = round(recipe.warmup * steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[
        recipe.schedule
    ]


def _groups(module: torch.nn.Module, decay: float) -> list[dict]:
    """Biases and LayerNorm weights do not decay (Devlin et al. 2018)."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(objective: torch.nn.Module, batches, recipe: Recipe, **how) -> list[dict]:
    """Minimise `objective` over `batches.steps` steps and return the history, one dict per logged
    step.

    Args:
        objective: module with `counts(batch) -> dict[str, int]` and `forward(batch, totals) ->
        dict` holding `loss`. batches: has `steps` and `at(step) -> list` of micro-batches; their
        gradients accumulate into one step. folder: where checkpoints go; None keeps none. A run
        that was stopped goes on from the newest one, and ends with
            the same weights bit for bit: batches, masks, dropout and rate all hang on the step
            number alone.
        name, after_step, log_every, quiet, keep_last: see `steps_of`.

    Of several processes, one that is asked to stop stops all, after the same step.
    Raises Diverged when loss, gradient or weights are no longer finite or the loss explodes, naming
    step, batch and last good checkpoint; Stopped when a signal has asked for it: the step is
    finished first, and a checkpoint kept.
    """
    training = steps_of(objective, batches, recipe, **how)
    with interrupts.deferred() as asked:
        for _, history in training:
            if ranks.any_of(asked):
                training.throw(KeyboardInterrupt())
        if ranks.any_of(asked):
            raise Stopped("after the last step; started again, it goes on from what was kept")
    return history


def steps_of(
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
    """A training step by step: first what is done already (0, or what a checkpoint holds), then
    after each optimizer step the steps done and the history so far. Between two of them others may
    run: neither their random numbers nor their time enter.

    Args: as of `train`, and
        name: what it is called where progress is shown; quiet: it is shown nowhere.
        after_step: called with the number of steps done (evaluation).
        log_every: steps of one row of the history; 0: about 200 rows in all.
        keep_last: also the last step is kept; what follows a training (probes, saving) may fail,
        and must not cost it.

    A KeyboardInterrupt thrown in between two steps keeps a checkpoint, and comes back as Stopped.
    """
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise InputError(
            "precision: fp16 needs a GPU, and there is none; allowed here are no and bf16"
        )
    kept = checkpoints.newest(folder) if folder else None
    precision = recipe.precision if recipe.precision != "auto" else kept and kept["precision"]
    precision = precision or fastest(
        objective.train(), batches.at(0)
    )  # one that is resumed goes on as it began
    precision = ranks.of_the_leader(precision)
    AcceleratorState._reset_state()  # else the first precision of a kernel would be its only one
    accelerator = Accelerator(
        mixed_precision=precision,
        **tracking.options(recipe.tracker, folder if ranks.leads() else None),
    )
    if not kept or kept["step"] < batches.steps:  # else nothing is left to compute
        objective.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        _groups(objective, recipe.weight_decay),
        lr=recipe.learning_rate,
        eps=recipe.epsilon,
        betas=recipe.betas,
        fused=True,
    )
    clip = torch.nn.utils.clip_grad_norm_
    if (
        accelerator.scaler
    ):  # what they do beyond the plain ones is for it; of a small model's step it would be a tenth
        optimizer, clip = accelerator.prepare(optimizer), accelerator.clip_grad_norm_
    keep_freed_memory()
    onednn_pays()  # measured now, not within the first step
    history, first, before, window = _resume(accelerator, objective, optimizer, kept, folder)
    if first != ranks.of_the_leader(first):
        raise InputError(
            f"{folder}: another host has a checkpoint there that this one does not see; they must "
            f"share the disk"
        )
    written = folder if ranks.leads() else None  # of several processes one writes, for all
    cost = dict(before)
    steps, log_every = batches.steps, log_every or max(1, batches.steps // 200)
    progress, chart = Progress(steps, name, start=first), LiveChart()
    tracking.tell(written, history, steps, anew=True)

    def keep(done: int) -> None:
        if written:
            _require_finite(objective, name, done, folder)
            checkpoints.save(
                written, done, _state(accelerator, objective, optimizer, history, cost, window)
            )

    if first < steps:
        tracking.begin(accelerator, written, name, first)
    objective.train()
    try:
        yield first, history
    except KeyboardInterrupt:  # nothing was done since the checkpoint
        raise Stopped(
            f"{name} after step {first} of {steps}; started again, it goes on from there"
        ) from None
    began = saved = time.perf_counter()
    for step, micros, waited in ahead(batches, first):
        micros = [batch.to(accelerator.device) for batch in micros]
        totals = {"positions": sum(batch.inputs.numel() for batch in micros), "micros": len(micros)}
        for batch in micros:
            for key, count in objective.counts(batch).items():
                totals[key] = totals.get(key, 0) + count
        totals = ranks.summed(totals)  # means are over the whole step, whoever does it
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate_at(step, steps, recipe)
        row: dict[str, float] = {}
        wrong = None  # the first micro-batch with which the loss was no loss any more
        for batch in micros:
            # Dropout: the same in a resumed run and in any process; and not the masks' own stream.
            _seed(stream(recipe.seed, step, batch.place) ^ DROPOUT)
            with accelerator.autocast():
                parts = objective(batch, totals)
            # accelerate's own `backward` looks for packages on disk in every step
            (
                accelerator.scaler.scale(parts["loss"]) if accelerator.scaler else parts["loss"]
            ).backward()
            for key, value in parts.items():
                row[key] = row.get(key, 0.0) + float(value.detach())
            if wrong is None and not row["loss"] <= _ceiling(
                history
            ):  # nor is it below if it is no number
                wrong = batch.place
        ranks.keep_pace(objective, len(micros), totals["micros"])
        row = ranks.summed(row)
        if not row["loss"] <= _ceiling(history):
            raise Diverged(
                _diverged(
                    f"{name}: the loss is {row['loss']:g}",
                    step,
                    batches,
                    ranks.least(wrong),
                    folder,
                )
            )
        ranks.sum_gradients(objective.parameters())
        if recipe.clip:
            norm = clip(objective.parameters(), recipe.clip)
            # A scaler skips such a step by itself, and tries a smaller scale.
            if not accelerator.scaler and not math.isfinite(norm):
                raise Diverged(
                    _diverged(
                        f"{name}: the gradient's norm is {norm:g}", step, batches, None, folder
                    )
                )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        cost["tokens"] += totals.get("kept", 0)
        cost["positions"] += totals["positions"]
        cost["waited"] += waited
        cost["seconds"] = before["seconds"] + time.perf_counter() - began
        for key, value in row.items():
            window[key] = window.get(key, 0.0) + value
        done = step + 1
        if done % log_every == 0 or done == steps:
            since = done - (history[-1]["step"] if history else 0)
            history.append(
                {
                    "step": done,
                    **{key: value / since for key, value in window.items()},
                    "rate": optimizer.param_groups[0]["lr"],
                    **cost,
                }
            )
            window = {}
        if not quiet:
            progress.at(
                done,
                f"loss {row['loss']:.3f}  {cost['tokens'] / max(cost['seconds'], 1e-9):,.0f} "
                f"tokens/s",
            )
            chart.draw(history, final=done == steps)
        away = time.perf_counter()  # to log and to evaluate is not to train
        if history and history[-1]["step"] == done:
            tracking.tell(written, history[-1:], steps)
            tracking.log(accelerator, history[-1])
        if after_step:
            after_step(done)
        began += time.perf_counter() - away
        if (
            due := done == steps
            and keep_last
            or time.perf_counter() - saved > recipe.checkpoint_seconds
        ):
            keep(done)
            saved = time.perf_counter()
        away = time.perf_counter()
        try:
            yield done, history
        except KeyboardInterrupt:  # here weights and optimizer agree
            if not due:
                keep(done)
            ranks.of_the_leader(
                None
            )  # others leave when it is written: who leaves is taken for one that has failed
            then = "it goes on from there" if folder else "it begins anew"
            raise Stopped(f"{name} after step {done} of {steps}; started again, {then}") from None
        began += time.perf_counter() - away
    _require_finite(objective, name, steps, folder)
    tracking.end(accelerator)
    objective.eval()


def _seed(seed: int) -> None:
    """torch.manual_seed, which on a machine without GPU spends a millisecond on noting where it was
    called from."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def _state(accelerator, model, optimizer, history, cost, window) -> dict:
    """What a checkpoint holds beside the number of steps done, which all the rest follows from."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "cost": cost,
        "window": window,
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler else {},
        "precision": accelerator.mixed_precision,
    }


def _resume(
    accelerator, model, optimizer, state: dict | None, folder
) -> tuple[list[dict], int, dict, dict]:
    """Load a checkpoint: history, steps done, what they cost, and sums not yet in the history. The
    place in the data, the schedule and all that is random follow from the steps done."""
    if state is None:
        return [], 0, dict.fromkeys(COST, 0), {}
    with checkpoints.fitting(folder):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.scaler and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        found = state["history"], state["step"], state["cost"], state["window"]
    print(f"resumed after step {state['step']}", flush=True)
    return found


def ahead(batches, first: int) -> Iterator[tuple[int, list[Batch], float]]:
    """Every step from `first` on, its micro-batches (of several processes, those that are this
    one's), and the seconds they were waited for: while a step is computed, a thread reads and masks
    the batches of the next one."""
    share = (ranks.mine(),) if ranks.count() > 1 else ()
    with ThreadPoolExecutor(1, "batches") as reader:
        coming = reader.submit(batches.at, first, *share) if first < batches.steps else None
        for step in range(first, batches.steps):
            began = time.perf_counter()
            micros = coming.result()
            waited = time.perf_counter() - began
            if step + 1 < batches.steps:
                coming = reader.submit(batches.at, step + 1, *share)
            yield step, micros, waited


def _ceiling(history: list[dict]) -> float:
    """The loss above which a training has exploded; before the first row of its history, any that
    is finite is below."""
    return EXPLODED * max(1.0, history[0]["loss"]) if history else sys.float_info.max


def _require_finite(model, name: str, step: int, folder: Path | None) -> None:
    """Raise Diverged if a weight is not finite: such a model is neither kept nor published."""
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise Diverged(f"{name}: a weight is not finite after step {step}; {_last(folder)}")


def _diverged(what: str, step: int, batches, micro: int | None, folder: Path | None) -> str:
    where = f"at step {step + 1} ({batches.named(step, micro)})"
    return (
        f"{what} {where}; {_last(folder)}; what may help is a lower learning_rate, a longer "
        f"warmup or clip_norm"
    )


def _last(folder: Path | None) -> str:
    found = checkpoints.every(folder)
    return (
        f"the last good checkpoint is {found[-1]}"
        if found
        else "no checkpoint had been written yet"
    )


def recipe(p: Optimised, seed: int | None = None) -> Recipe:
    """How the parameters of a stage say to optimise; `seed` overrides theirs."""
    return Recipe(
        learning_rate=p.learning_rate,
        schedule=p.schedule,
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

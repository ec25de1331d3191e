"""Time and peak memory of steps, each measured in a process of its own; the machine's own rate
beside them."""

import ctypes
import gc
import os
import statistics
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Callable

from lib.common import machine as common_machine
from lib.fast.quicken import keep_freed_memory
from tests.benchmarks.cases import Case

MIB = 2**20
SECONDS = 45.0
"""About how long the rounds of one case may take together."""


def alone(call: Callable, *args) -> Any:
    """What `call(*args)` returns in a fresh process, which holds nothing of any earlier one; None
    if it was killed.

    Processes are forked from a server that has loaded the libraries and computed nothing.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.benchmarks.steps", "tests.benchmarks.__main__", "textbrewer"]
    )
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(call, *args).result()
        except BrokenProcessPool:
            return None


def prepare(threads: int) -> None:
    """Set up a fresh process: as many threads, and no words of the libraries."""
    import torch

    warnings.filterwarnings("ignore")
    # what came with the libraries stays: a collection would touch, and so copy, all of the server's
    # pages
    gc.freeze()
    torch.set_num_threads(threads)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Callable, *args) -> float:
    synchronize()
    began = time.perf_counter()
    call(*args)
    synchronize()
    return time.perf_counter() - began


# -------------------------------------------------------------------------------------- the machine


def square_products(
    precision: str, sizes: tuple[int, ...], default: bool = False
) -> dict[tuple, Callable]:
    """Products of square matrices of these sizes, by PyTorch's own choice of library (`default`) or
    by each of the two; the first of a key is the floating-point operations of one."""
    import torch

    from lib.fast.linear import linear
    from tests.benchmarks.steps import device

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    found = {}
    for size in sizes:
        left, right = torch.randn(2, size, size, device=device()).to(dtype)
        for product in (torch.mm,) if default else (torch.mm, linear):
            found[2 * size**3, product.__name__] = lambda a=left, b=right, call=product: call(a, b)
    return found


def matmul_rate(
    precision: str, sizes: tuple[int, ...], budget: float = 0.3, default: bool = False
) -> float:
    """The most floating-point operations a second that such products reach."""
    best = 0.0
    for (flops, _), call in square_products(precision, sizes, default).items():
        seconds(call)
        until = time.perf_counter() + budget
        while True:
            best = max(best, flops / seconds(call))
            if time.perf_counter() > until:
                break
    return best


def machine(threads: int, sizes: tuple[int, ...]) -> dict:
    """What ran this: processor, threads, versions, and its rates in GFLOP/s."""
    prepare(threads)
    rates = {name: matmul_rate(name, sizes) / 1e9 for name in ("fp32", "bf16")}
    rates["fp32_default"] = matmul_rate("fp32", sizes, default=True) / 1e9
    return (
        common_machine.machine()
        | common_machine.versions()
        | {"threads": threads, "gflops": rates, "load_before": os.getloadavg()[0]}
    )


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readlines()
    except OSError:
        return []


# --------------------------------------------------------------------------------------------- time


def disagreement(steps: dict, tolerance: float) -> dict[str, float]:
    """The loss of each implementation on one batch, which must agree with the plain one's.

    Trunks alone have another loss, and TextBrewer's soft loss is a cross-entropy: they are reported
    only. Raises AssertionError.
    """
    from tests.benchmarks.steps import cut

    batch = steps["ours"].batches[0]
    losses = {}
    for name, step in steps.items():
        wide = (
            step.batches[0].inputs.shape[1]
            if name.startswith(("plain", "textbrewer"))
            else batch.inputs.shape[1]
        )
        losses[name] = float(step(cut(batch, wide)))
    if "plain" in losses:
        plain, ours = losses["plain"], losses["ours"]
        assert abs(ours - plain) <= tolerance * abs(plain), (
            f"ours gives a loss of {ours}, the plain step {plain}"
        )
    return losses


def interleaved(
    steps: dict[Any, list[Callable]], rounds: int, budget: float
) -> dict[Any, list[float]]:
    """Mean seconds of a step, per implementation and round.

    In a round every implementation goes through all its batches in turn, so that what else the
    machine does falls on all alike. `rounds` 0: as many as the budget of seconds allows after a
    first step that does not count, at least 2.
    """
    found: dict[Any, list[float]] = {name: [] for name in steps}
    began = time.perf_counter()
    for calls in steps.values():
        seconds(calls[0])
    if not rounds:
        mean = sum(seconds(calls[0]) * len(calls) for calls in steps.values())
        rounds = max(2, min(50, int((budget - (time.perf_counter() - began)) / mean)))
    for _ in range(rounds):
        for name, calls in steps.items():
            found[name].append(statistics.fmean(seconds(call) for call in calls))
    return found


def times(
    case: Case, names: list[str] | None, rounds: int, threads: int, sizes: tuple[int, ...]
) -> dict:
    """Median seconds of a step of each implementation, their losses, and the share of the machine's
    rate they reach.

    The rate is that of products of square matrices, of the best size, in the case's precision: a
    median like the steps', out of the same rounds, for what a machine reaches changes from minute
    to minute.
    """
    from tests.benchmarks.flops import step_flops
    from tests.benchmarks.steps import TOLERANCE, build, implementations

    prepare(threads)
    if case.keep:
        keep_freed_memory()
    steps = {name: build(case, name) for name in names or implementations(case)}
    losses = disagreement(steps, TOLERANCE[case.precision])
    calls = {
        name: [lambda step=step, batch=batch: step(batch) for batch in step.batches]
        for name, step in steps.items()
    }
    products = square_products(case.precision, sizes)
    rounds_of = interleaved(
        calls | {key: [call] for key, call in products.items()}, rounds, SECONDS
    )
    rate = max(key[0] / statistics.median(rounds_of[key]) for key in products)
    result = {}
    for name, step in steps.items():
        median = statistics.median(rounds_of[name])
        shapes, rows = (
            [tuple(batch.inputs.shape) for batch in step.batches],
            sum(map(step.rows, step.batches)),
        )
        flops = step_flops(case, shapes, rows) / len(step.batches)
        result[name] = {
            "median_s": median,
            "rounds": len(rounds_of[name]),
            "loss": losses[name],
            "gflop": flops / 1e9,
            "share_of_rate": flops / median / rate,
        }
    kept = sum(int(batch.kept.sum()) for batch in steps["ours"].batches) / (case.pool * case.batch)
    return {"gflops": rate / 1e9, "tokens_per_sequence": kept, "implementations": result}


# ------------------------------------------------------------------------------------------- memory


def anonymous() -> int:
    """Bytes of memory this process holds that are no files mapped in; where the system does not
    tell, all of them."""
    for line in _lines("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    import psutil

    return psutil.Process().memory_info().rss


class Peak(threading.Thread):
    """The most that `anonymous` shows while a block runs, looked at about a thousand times a
    second."""

    def __enter__(self) -> "Peak":
        self.done, self.bytes = threading.Event(), anonymous()
        self.start()
        return self

    def run(self) -> None:
        while not self.done.wait(0.001):
            self.bytes = max(self.bytes, anonymous())

    def __exit__(self, *_) -> None:
        self.done.set()
        self.join()
        self.bytes = max(self.bytes, anonymous())


def give_back_at_once() -> None:
    """Let the C library return every larger block to the system when it is freed: then what a
    process holds is what is in use. (It makes steps slower: times are measured in other
    processes.)"""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 16)  # M_TRIM_THRESHOLD
        libc.malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another C library: peaks may then hold freed memory too


def peak_memory(case: Case, implementation: str, threads: int) -> float:
    """MiB that a step takes at most, on the largest batches, beyond its models and their gradients.

    A step on a few tokens comes first: it leaves the gradients there, and what the libraries keep.
    That is the base.
    """
    import torch

    from lib.fast import head
    from tests.benchmarks.steps import build, cut

    prepare(threads)
    give_back_at_once()
    step = build(case, implementation)
    step(cut(step.batches[0], 8))
    head.free_buffers()  # the head's working memory belongs to the step
    gc.collect()
    largest = sorted(step.batches, key=lambda batch: (batch.inputs.numel(), int(batch.kept.sum())))[
        -2:
    ]
    if torch.cuda.is_available():
        base = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        for batch in largest:
            step(batch)
        return (torch.cuda.max_memory_allocated() - base) / MIB
    give_back_at_once()
    base = anonymous()
    with Peak() as peak:
        for batch in largest:
            step(batch)
    return (peak.bytes - base) / MIB

"""Stages that are killed: small ones of every kind that trains, run as `make report` runs them, and
what became of them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

from tests.helpers.project import MAKE, environment

TIMES = {
    "seconds",
    "waited",
    "train_seconds",
    "tokens_per_second",
    "waiting_share",
    "stage_seconds",
    "peak_memory_mib",
    "latency_s",
    "_fingerprint",
}
"""What of a result may differ from run to run."""

TRAINED = {
    "learning_rate": 1e-3,
    "batch_size": 8,
    "micro_batch_size": 4,
    "checkpoint_seconds": 0.05,
    "threads": 1,
}
CORPUS, TEACHER = "outputs/kill/corpus/data_prep", "outputs/kill/teacher/teacher_continuation"
STAGES = {
    CORPUS: {
        "sources": [{"kind": "toy", "language": "toy-pl", "corpus": "web", "lines": 600}],
        "vocab_size": 400,
        "tokenizer": "train:wordpiece",
        "held_out_lines": 40,
        "max_length": 48,
    },
    TEACHER: {
        "teacher": "",
        "corpus": CORPUS,
        "layers": 4,
        "hidden": 48,
        "heads": 2,
        "intermediate": 96,
        "dropout": 0.1,
        "grow_from_layers": 2,
        "grow_steps": 40,
        "steps": 60,
        **TRAINED,
    },
    "outputs/kill/student/distillation": {
        "teacher": f"{TEACHER}/model",
        "corpus": CORPUS,
        "student_layers": [0, 2],
        "steps": 80,
        "weight_soft": 5,
        "weight_mlm": 2,
        "weight_cosine": 1,
        **TRAINED,
    },
    "outputs/kill/assistant/cascade_ta": {
        "teacher": f"{TEACHER}/model",
        "corpus": CORPUS,
        "layers": 3,
        "steps": 80,
        "section": 0,
        **TRAINED,
    },
    "outputs/kill/student/finetune": {
        "model": f"{TEACHER}/model",
        "tasks": ["nkjp-ner", "polemo2-in"],
        "task_source": "toy",
        "task_language": "toy-pl",
        "train_examples": 120,
        "validation_examples": 40,
        "seeds": [1, 2],
        "epochs": 2,
        "max_length": 48,
        "learning_rate": 1e-3,
        "batch_size": 8,
        "checkpoint_seconds": 0.05,
        "threads": 1,
    },
}
"""Folder of a stage -> its parameters: one of each kind, with dropout, micro-batches and many
checkpoints."""

WHO = {
    "kernel": lambda stage, kernel: [kernel],
    "papermill": lambda stage, kernel: [stage],
    "both": lambda stage, kernel: [stage, kernel],
}
"""Who of a stage's two processes is killed."""


def write_parameters(project: Path) -> None:
    """The parameter files of all STAGES."""
    for folder, values in STAGES.items():
        (project / folder).mkdir(parents=True)
        (project / folder / "parameters.yaml").write_text(
            yaml.safe_dump(values | {"output_dir": folder}), encoding="utf-8"
        )


def start(project: Path, folder: str, warm: str = "") -> subprocess.Popen:
    """Start a stage as the rule of the Snakefile does, in a process group of its own; warm: the
    socket of the warm process."""
    command = [sys.executable, "-m", "lib.runner.warm", "--stage", f"{folder}/parameters.yaml"]
    return subprocess.Popen(
        command,
        cwd=project,
        env=environment(project, WARM_KERNELS=warm),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_as_in_a_terminal,
    )


def _as_in_a_terminal() -> None:
    """A process group of its own, which hears signals also if the tests run in the background."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(running: subprocess.Popen) -> str:
    """Wait for a stage that is to succeed; what it said."""
    said, _ = running.communicate()
    assert running.returncode == 0, said
    return said


def holder(lock: Path) -> int:
    """The process that holds a lock, or held it last; 0 if nobody has yet."""
    found = (
        re.search(r"process (\d+)", lock.read_text(encoding="utf-8")) if lock.is_file() else None
    )
    return int(found[1]) if found else 0


def state(folder: Path) -> dict[str, object]:
    """What a stage has published: bytes of its weights and token ids, results and other JSON but
    for times and machine."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".safetensors", ".arrow"):
            found[name] = path.read_bytes()
        elif path.suffix == ".json":
            found[name] = _without_times(json.loads(path.read_text(encoding="utf-8")))
    return found


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def differences(a: dict, b: dict) -> list[str]:
    """The files that are not the same."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def clear(folder: Path) -> None:
    """Leave only a stage's parameters."""
    for path in folder.iterdir():
        if path.name != "parameters.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def killed(project: Path, folder: str, who: str, after: float, warm: str) -> dict | None:
    """Start a stage and kill a part of it `after` so many seconds; what was there then, or None if
    it was done before.

    Start it again and let it finish: what it went on from.
    """
    place = project / folder
    running = start(project, folder, warm)
    began = time.monotonic()
    stage, kernel = place / "lock", place / "scratch.lock"
    while time.monotonic() - began < after and running.poll() is None:
        time.sleep(0.002)
    alive = {"papermill": holder(stage), "kernel": holder(kernel) if kernel.is_file() else 0}
    if running.poll() is not None or (place / "result.json").is_file() or not alive["papermill"]:
        running.communicate()
        return None
    victims = [pid for pid in WHO[who](alive["papermill"], alive["kernel"]) if pid] or [
        alive["papermill"]
    ]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    running.communicate()
    assert running.returncode != 0 and not (place / "result.json").is_file()
    steps = sorted(place.glob("scratch/checkpoints/**/step-*.pt"))
    finish(start(project, folder, warm))
    log = set(
        re.findall(r"resumed after step (\d+)", (place / "log.txt").read_text(encoding="utf-8"))
    )
    return {
        "stage": folder.split("/")[-1],
        "killed": who,
        "after_s": round(after, 2),
        "checkpoints": len(steps),
        "resumed": ", ".join(sorted(log)) or "–",
    }


def undisturbed(project: Path, warm: str, folders: list[str]) -> dict[str, tuple[dict, float]]:
    """Run each stage; the state it ends in, and the seconds it took."""
    found = {}
    for folder in folders:
        began = time.monotonic()
        finish(start(project, folder, warm))
        found[folder] = state(project / folder), time.monotonic() - began
    return found


def kill_all(
    project: Path,
    warm: str,
    whole: dict[str, tuple[dict, float]],
    kills: int,
    seed: int,
    say: Callable = print,
):
    """Kill the stages, one after the other, at random moments of their time, `kills` in all; a row
    for each kill, with `same`: whether weights and results are those of the undisturbed run."""
    rng, rows = random.Random(seed), []
    while len(rows) < kills:
        folder = list(whole)[len(rows) % len(whole)]
        expected, seconds = whole[folder]
        clear(project / folder)
        found = killed(
            project, folder, rng.choice(list(WHO)), rng.uniform(0.1, 0.95) * seconds, warm
        )
        if found is None:  # it was faster this time
            continue
        wrong = differences(expected, state(project / folder))
        rows.append({**found, "same": not wrong, "differs": ", ".join(wrong)})
        say(rows[-1])
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------ whole reports


def start_report(project: Path) -> subprocess.Popen:
    """`make report` at scale smoke, in a process group of its own, as a terminal gives it."""
    command = [*MAKE, "report", "SCALE=smoke", "STUDIES=herbert", "CORES=2"]
    return subprocess.Popen(
        command,
        cwd=project,
        env=environment(project),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_as_in_a_terminal,
    )


def report_state(project: Path) -> dict[str, object]:
    """What all stages have published, and the report's tables."""
    smoke = project / "outputs" / "smoke"
    found = {f"{name}": value for name, value in state(smoke).items() if "/scratch/" not in name}
    return found | {
        path.name: path.read_bytes()
        for path in smoke.glob("*.csv")
        if path.name != "efficiency.csv"
    }


def wait_until_alone(project: Path, seconds: float = 20) -> None:
    """Until no process works in the project any more."""
    for _ in range(int(seconds * 10)):
        if not (left := _at_work(project)):
            return
        time.sleep(0.1)
    raise AssertionError(f"still at work: {left}")


def _at_work(project: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_text().replace("\0", " ")[:100])
        except OSError:  # it has ended
            pass
    return [line for line in found if line]

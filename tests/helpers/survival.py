"""Kill small stages, one of each kind that trains, and read what they have written when they were
resumed. They run as `make report` runs them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import yaml

from tests.helpers.project import MAKE, environment

VARYING = {
    "seconds",
    "waited",
    "train_seconds",
    "tokens_per_second",
    "waiting_share",
    "stage_seconds",
    "peak_memory_mib",
    "latency_s",
    "latency_low",
    "latency_high",
    "_fingerprint",
}
"""Keys of a result that may differ from run to run."""

TRAINING = {
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
        **TRAINING,
    },
    "outputs/kill/student/distillation": {
        "teacher": f"{TEACHER}/model",
        "corpus": CORPUS,
        "student_layers": [0, 2],
        "steps": 80,
        "weight_soft": 5,
        "weight_mlm": 2,
        "weight_cosine": 1,
        **TRAINING,
    },
    "outputs/kill/assistant/cascade_ta": {
        "teacher": f"{TEACHER}/model",
        "corpus": CORPUS,
        "layers": 3,
        "steps": 80,
        "section": 0,
        **TRAINING,
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

VICTIMS = {
    "kernel": lambda stage, kernel: [kernel],
    "papermill": lambda stage, kernel: [stage],
    "both": lambda stage, kernel: [stage, kernel],
}
"""Which of a stage's two processes to kill: the one of papermill, its kernel, or both."""


def write_parameters(project: Path) -> None:
    """Write the parameter files of all STAGES."""
    for folder, values in STAGES.items():
        (project / folder).mkdir(parents=True)
        (project / folder / "parameters.yaml").write_text(
            yaml.safe_dump(values | {"output_dir": folder}), encoding="utf-8"
        )


def start_stage(project: Path, folder: str, warm: str = "") -> subprocess.Popen:
    """Start a stage as the rule of the Snakefile does; warm: the socket of the warm process."""
    command = [sys.executable, "-m", "lib.runner.warm", "--stage", f"{folder}/parameters.yaml"]
    return start(command, project, environment(project, WARM_KERNELS=warm))


def start(
    command: list[str], project: Path, env: dict[str, str], ignores_sigint: bool = False
) -> subprocess.Popen:
    """Start a command in a process group of its own, as a terminal does. It receives signals even
    if the tests run in the background of a script, where a shell ignores SIGINT."""

    def prepare() -> None:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if ignores_sigint:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return subprocess.Popen(
        command,
        cwd=project,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=prepare,
    )


def wait_for_success(process: subprocess.Popen) -> str:
    """Wait for a stage or report, which must succeed; returns its output."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def read_holder(lock: Path) -> int:
    """The id of the process that holds a lock or held it last; 0 if none has yet."""
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    holder = re.search(r"process (\d+)", text)
    return int(holder[1]) if holder else 0


def read_outputs(folder: Path) -> dict[str, object]:
    """The files that a stage has published, by name: bytes of weights and token ids, and JSON
    without times."""
    outputs: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".safetensors", ".arrow"):
            outputs[name] = path.read_bytes()
        elif path.suffix == ".json":
            outputs[name] = _without_times(json.loads(path.read_text(encoding="utf-8")))
    return outputs


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in VARYING}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def differing_files(a: dict, b: dict) -> list[str]:
    """Names of the files that are missing on one side or not the same."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def clear_stage(folder: Path) -> None:
    """Remove all files of a stage but its parameters."""
    for path in folder.iterdir():
        if path.name != "parameters.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def kill_and_resume(
    project: Path, folder: str, victims: str, after: float, warm: str
) -> dict | None:
    """Start a stage, kill `victims` (a key of VICTIMS) `after` so many seconds, and start it
    again until it ends. Returns a row of what happened, or None if it ended before the kill."""
    stage_folder = project / folder
    process = start_stage(project, folder, warm)
    began = time.monotonic()
    while time.monotonic() - began < after and process.poll() is None:
        time.sleep(0.002)
    papermill, kernel = (read_holder(stage_folder / name) for name in ("lock", "scratch.lock"))
    if process.poll() is not None or (stage_folder / "result.json").is_file() or not papermill:
        process.communicate()
        return None
    # Until the kernel has started there is only papermill to kill.
    for pid in [pid for pid in VICTIMS[victims](papermill, kernel) if pid] or [papermill]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.communicate()
    if (stage_folder / "result.json").is_file():  # it was publishing
        return None
    assert process.returncode != 0
    steps = sorted(stage_folder.glob("scratch/checkpoints/**/step-*.pt"))
    wait_for_success(start_stage(project, folder, warm))
    log = (stage_folder / "log.txt").read_text(encoding="utf-8")
    resumed = set(re.findall(r"resumed after step (\d+)", log))
    return {
        "stage": folder.split("/")[-1],
        "killed": victims,
        "after_s": round(after, 2),
        "checkpoints": len(steps),
        "resumed": ", ".join(sorted(resumed)) or "–",
    }


def run_undisturbed(project: Path, warm: str, folders: list[str]) -> dict[str, tuple[dict, float]]:
    """Run each stage without a kill; returns the files it published and the seconds it took."""
    runs = {}
    for folder in folders:
        began = time.monotonic()
        wait_for_success(start_stage(project, folder, warm))
        runs[folder] = read_outputs(project / folder), time.monotonic() - began
    return runs


def kill_all(
    project: Path,
    warm: str,
    undisturbed: dict[str, tuple[dict, float]],
    kills: int,
    seed: int,
    say: Callable = print,
):
    """Kill the stages in turn, each time at a random moment, until there are `kills`. Returns a
    table with a row for each; its column `same` says whether the stage, resumed, published the
    same files as the undisturbed run."""
    rng, rows = random.Random(seed), []
    while len(rows) < kills:
        folder = list(undisturbed)[len(rows) % len(undisturbed)]
        expected, seconds = undisturbed[folder]
        clear_stage(project / folder)
        row = kill_and_resume(
            project, folder, rng.choice(list(VICTIMS)), rng.uniform(0.1, 0.95) * seconds, warm
        )
        if row is None:  # it ended before the kill, being faster this time
            continue
        differing = differing_files(expected, read_outputs(project / folder))
        rows.append({**row, "same": not differing, "differs": ", ".join(differing)})
        say(rows[-1])
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------ whole reports


def start_report(project: Path, *before: str, ignores_sigint: bool = False) -> subprocess.Popen:
    """Start `make report` at scale smoke, in a process group of its own, as a terminal does.

    before: a command that runs make, such as timeout; ignores_sigint: as in the background of a
    script.
    """
    report = [*MAKE, "report", "SCALE=smoke", "STUDIES=herbert", "CORES=2"]
    return start([*before, *report], project, environment(project), ignores_sigint)


def read_report_outputs(project: Path) -> dict[str, object]:
    """The files that all stages have published, and the report's tables, by name."""
    smoke = project / "outputs" / "smoke"
    published = {name: v for name, v in read_outputs(smoke).items() if "/scratch/" not in name}
    return published | {
        path.name: path.read_bytes()
        for path in smoke.glob("*.csv")
        if path.name != "efficiency.csv"
    }


def wait_for_stages(project: Path, process: subprocess.Popen, share: float, of: int) -> int:
    """Wait until this share of the stages of a report is done; returns how many are. However busy
    the machine is, the report is then under way."""
    while (done := len(list(project.glob("outputs/smoke/**/result.json")))) < share * of:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    return done


def wait_for_processes(project: Path, others: Sequence[str] = (), seconds: float = 20) -> None:
    """Wait until no process but `others` has the project as its working folder."""
    for _ in range(int(seconds * 10)):
        if (left := processes_in(project)) == sorted(others):
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {left}")


def processes_in(project: Path) -> list[str]:
    """The commands of all processes that have the project as their working folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project and int(process.name) != os.getpid():
                commands.append((process / "cmdline").read_text().replace("\0", " ")[:100])
        except OSError:  # the process has ended
            pass
    return sorted(line for line in commands if line)

"""What `make report` is told about the machine, checked before anything is computed.

From params/ to a list of stages: what runs, in which order, with which parameters.

A study is a folder in params/: `scenarios.yaml` says what differs between its scenarios,
`<scale>.yaml` how big they are. A stage is one notebook with one flat parameter file. Two scenarios
that need the same thing need the same stage.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import yaml

from lib.common import files, hub, places
from lib.common.errors import InputError
from lib.data.sources import check_source
from lib.plan import hub_facts
from lib.plan.stages import Stage, StagePath, validate
from lib.plan.study import Study, studies
from lib.tasks import examples


def check_machine(scale: str, cores: str, gpus: str) -> None:
    """Raise InputError for numbers that are none, and for a folder of results that nothing can be
    written into."""
    for name, given, least in (("CORES", cores, 1), ("GPUS", gpus, 0)):
        if not (given.isascii() and given.isdigit() and int(given) >= least):
            raise InputError(f"{name} = {given!r}; allowed is a whole number, {least} or more")
    files.require_writable(places.ROOT / "outputs" / scale)


def resolve(scale: str, names: list[str], data_dir: str = "", online: bool = False) -> list[Stage]:
    """The whole plan of a scale, in an order that can run. Nothing is computed, nothing written,
    and unless `online` no network touched."""
    steps: dict[str, Stage] = {}  # by folder: what two studies share is one stage
    for name in names or studies():
        study = Study(name, scale, data_dir)
        steps |= {step.folder: step for step in study.resolve()}
        try:
            check_models(study, online)
            check(list(study.stages.values()), online)
        except InputError as error:
            raise InputError(f"{study.scale_file}: {error}") from None
    return list(steps.values())


def hub_variables(scale: str, names: list[str]) -> dict[str, str]:
    """The hub library's variables that the sections `hub` of a run's scale files stand for. Raises
    InputError."""
    found: dict[str, hub.Hub] = {}
    for name in names or studies():
        study: Study | None = Study(name, scale, data_dir=None)
        while study:
            found[study.scale_file] = study.sizes.hub
            study = study.used
    return hub.environment(found.items())


def check_models(study: Study, online: bool) -> None:
    """The hub's teachers have the kind their use asks for, and the layers they are said to have: by
    params/hub.yaml, and where that does not know one, by its config.json if `online`. Raises
    InputError."""
    taught = {
        step.parameters["teacher"]
        for step in study.stages.values()
        if step.parameters.get("teacher")
    }
    for name, entry in study.teachers().items():
        model = entry.hub
        if not model:
            continue
        about = hub_facts.hub_yaml()["models"].get(model)
        ref = hub.ModelRef(model, entry.revision)
        if about is None and (online or ref.is_folder):
            found = ref.config()
            about = {
                "kind": found.get("model_type"),
                "layers": found.get("num_hidden_layers", found.get("n_layers")),
            }
        if about is None:
            continue
        allowed = ("bert",) if model in taught else ("bert", "distilbert")
        if about["kind"] not in allowed:
            use = "of students: they are cut from it" if model in taught else "to fine-tune"
            raise InputError(
                f"teachers.{name}: {model!r} is of the kind {about['kind']!r}; allowed {use}: "
                f"{' and '.join(allowed)}"
            )
        if about["layers"] and entry.layers not in (None, about["layers"]):
            raise InputError(
                f"teachers.{name}.layers = {entry.layers!r}: {model!r} has {about['layers']}"
            )


def check(steps: list[Stage], online: bool) -> None:
    """What can be known of a study's steps before any compute: text and task files exist and read
    well; if `online`, so does text on the hub that is not prepared yet. Raises InputError."""
    for step in steps:
        if step.kind == "data_prep":
            sources = validate(step.kind, step.parameters).sources
            on_hub = (
                [source for source in sources if source.kind == "hub"]
                if online and not hub_facts.measured(step)
                else []
            )
            if len(on_hub) > 10:
                print(
                    f"looking at {len(on_hub)} parts of {on_hub[0].dataset} on the hub",
                    file=sys.stderr,
                    flush=True,
                )
            for source in sources:
                if source.kind != "hub" or source in on_hub:
                    check_source(source)
    finetunings = [step.parameters for step in steps if step.kind == "finetune"]
    for p in finetunings[:1]:  # the same tasks for all models
        for task in p["tasks"]:
            source = examples.TaskSource(p["task_source"], p["task_folder"], p["task_language"])
            examples.check(task, source, p["languages"])


def analysis(scale: str, names: list[str]) -> Stage:
    """The last step: tables, figures and the report of everything at this scale."""
    path = StagePath(scale, study="", scenario="", kind="analysis")
    values = {"scale": scale, "studies": names or studies(), "output_dir": str(path)}
    return Stage(path, validate("analysis", values).model_dump(mode="json"))


def write_parameters(step: Stage) -> str:
    """The step's parameter file, rewritten only when it would change: its date is what makes a
    stage run again.

    The first line names the notebook's own state, so that an edited notebook counts as a change and
    a touched one does not.
    """
    path = places.ROOT / step.folder / "parameters.yaml"
    text = f"# {step.notebook} {_notebook_state(places.ROOT / step.notebook)}\n"
    text += yaml.safe_dump(step.parameters, allow_unicode=True, sort_keys=False)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(path.relative_to(places.ROOT))


def _notebook_state(path: Path) -> str:
    from hashlib import sha256

    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return sha256(json.dumps(code).encode()).hexdigest()[:12]


def main(arguments: list[str] | None = None) -> int:
    """Print the plan, or one line that says what is wrong with it."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.plan.plan", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--studies", default="", help="names between spaces; all if empty")
    parser.add_argument("--data-dir", default="")
    parser.add_argument("--gpu", default="", help="a name from params/estimates.yaml")
    parser.add_argument(
        "--check", action="store_true", help="say nothing unless something is wrong"
    )
    parser.add_argument("--cores", default="1", help="how many make report may use; only checked")
    parser.add_argument("--gpus", default="0", help="the same")
    parser.add_argument(
        "--download", action="store_true", help="fetch what the plan needs from the hub"
    )
    given = parser.parse_args(arguments)
    try:
        names = given.studies.split()
        os.environ.update(hub_variables(given.scale, names))  # before the hub library is imported
        steps = resolve(given.scale, names, given.data_dir, online=given.check)
        if given.download:
            from lib.plan import hub_facts

            for need in hub_facts.needs(steps):
                hub_facts.fetch(need)
        elif given.check:
            check_machine(given.scale, given.cores, given.gpus)
        else:
            from lib.plan.forecast import report

            print(report(steps, given.gpu))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

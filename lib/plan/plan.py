"""The plan of a run: from params/ to a list of stages, checked before anything is computed.

A study is a folder in params/: `scenarios.yaml` says what differs between its scenarios,
`<scale>.yaml` how big they are. A stage is one notebook with one flat parameter file. Scenarios
that need the same stage share it.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from itertools import chain

import yaml

from lib.common import files, hub, places
from lib.common.errors import InputError
from lib.data.sources import check_source, reading_notes
from lib.plan import pretrained
from lib.plan.forecast import report, result_of
from lib.plan.hub_facts import downloads, fetch
from lib.plan.reads import header, is_up_to_date, reads
from lib.plan.schema import read_scenarios
from lib.plan.stages import KINDS, Stage, StagePath, validate
from lib.plan.study import Study, scales, studies, studies_with
from lib.tasks import examples

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Four times as fast, where PyYAML was built with it: there are hundreds of stages."""


def resolve(
    scale: str,
    names: list[str],
    data_dir: str = "",
    online: bool = False,
    thorough: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> list[Stage]:
    """The stages of some studies (if none is named, of all that have the scale), in an order that
    can run.

    Nothing is computed or written, and unless `online` no network is used. `thorough`: look into
    the files of checkpoints too, which takes seconds. `note` gets what the user's own tasks were
    found to be, a line each. Raises InputError.
    """
    stages: dict[str, Stage] = {}  # by folder: a stage that two studies share is there once
    for name in names or studies_with(scale):
        study = Study(name, scale, data_dir)
        stages |= {stage.folder: stage for stage in study.resolve()}
        try:
            pretrained.check_configs(study, online)
            if thorough:
                pretrained.check_files(study)
            check_data(list(study.stages.values()), online, note)
        except InputError as error:
            raise InputError(f"{study.scale_file}: {error}") from None
    return list(stages.values())


def analysis(scale: str, names: list[str]) -> Stage:
    """The last stage: tables, figures and the report of everything at this scale."""
    path = StagePath(scale, study="", scenario="", kind="analysis")
    values = {"scale": scale, "studies": names or studies_with(scale), "output_dir": str(path)}
    return Stage(path, validate("analysis", values).model_dump(mode="json"))


def title(names: list[str]) -> str:
    """What a report of these studies is called: by their titles, unless one reruns a source
    document's."""
    described = [read_scenarios(name) for name in names]
    if any(study.source for study in described):
        return "Distilling BERT: a reproducible report"
    return f"{', '.join(study.title or study.name for study in described)}: a distillation report"


def write_parameters(stages: list[Stage]) -> None:
    """Write the parameter file of each stage, with what the stage reads at its head, unless it
    would not change: its date is what makes a stage run again. Says which of those that have a
    result will run again, and why."""
    seen: dict = {}
    again: dict[str, list[str]] = defaultdict(list)
    for stage in stages:
        found = reads(stage.kind, stage.parameters, stage.needs, seen)
        path = places.ROOT / stage.parameter_file
        text = header(found) + yaml.dump(
            stage.parameters, Dumper=DUMPER, allow_unicode=True, sort_keys=False
        )
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if reason := _settle(stage, found):
            again[reason].append(stage.folder.split("/", 2)[2])
    for reason, names in again.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        print(f"runs again: {shown}: {reason}", file=sys.stderr, flush=True)


def _settle(stage: Stage, found: dict[str, str]) -> str:
    """Why a stage that has a result will run again; empty if it will not. A result without what the
    stage has published is removed. Where all is again as it was for the result, the parameter file
    gets its date."""
    result, published = places.ROOT / stage.result, KINDS[stage.kind].publishes
    if not result.is_file():
        return ""
    if not (result.parent / published).exists():
        result.unlink()
        return f"{published} is gone"
    if is_up_to_date(result.parent):
        return ""
    done = json.loads(result.read_text(encoding="utf-8"))
    if "reads" not in done:
        return "made by a version that did not note what it read"
    before, now = done["parameters"] | done["reads"], stage.parameters | found
    changed = [key for key in {**now, **before} if before.get(key) != now.get(key)]
    if changed:
        return f"{', '.join(changed)} changed"
    date = result.stat().st_mtime_ns
    os.utime(places.ROOT / stage.parameter_file, ns=(date, date))
    return ""


def hub_variables(scale: str, names: list[str]) -> dict[str, str]:
    """The environment variables for the sections `hub` of a run's scale files. Raises
    InputError."""
    sections: dict[str, hub.Hub] = {}
    for name in names or studies_with(scale):
        study: Study | None = Study(name, scale, data_dir=None)
        while study:
            sections[study.scale_file] = study.settings.hub
            study = study.used
    return hub.environment(sections.items())


# ----------------------------------------------------------------------------------------- checks


def check_machine(scale: str, cores: str, gpus: str) -> None:
    """Raise InputError for wrong numbers, or if nothing can be written to the scale's outputs."""
    for name, value, least in (("CORES", cores, 1), ("GPUS", gpus, 0)):
        if not (value.isascii() and value.isdigit() and int(value) >= least):
            raise InputError(f"{name} = {value!r}; allowed is a whole number, {least} or more")
    files.require_writable(places.ROOT / "outputs" / scale)


def text_notes(stages: list[Stage]) -> list[str]:
    """What of the text in folders is not read, or is read twice, a line each."""
    prepared = [stage.parameters for stage in stages if stage.kind == "data_prep"]
    notes = [reading_notes(validate("data_prep", p).sources) for p in prepared]
    return list(dict.fromkeys(chain.from_iterable(notes)))  # corpora may share a folder


def check_data(stages: list[Stage], online: bool, note: Callable[[str], None]) -> None:
    """Raise InputError for text or task files that are missing or cannot be read; if `online`, also
    for text on the hub that is not prepared yet. `note`: as of `resolve`."""
    for stage in stages:
        if stage.kind == "data_prep":
            sources = validate(stage.kind, stage.parameters).sources
            on_hub = [source for source in sources if source.kind == "hub"]
            if not online or result_of(stage):
                sources, on_hub = [source for source in sources if source not in on_hub], []
            if len(on_hub) > 10:
                message = f"checking {len(on_hub)} parts of {on_hub[0].dataset} on the hub"
                print(message, file=sys.stderr, flush=True)
            for source in sources:
                check_source(source)
    checked = set()  # most models are fine-tuned on the same tasks
    for p in (stage.parameters for stage in stages if stage.kind == "finetune"):
        source = examples.TaskSource.of(validate("finetune", p))
        for task in p["tasks"]:
            own = str(p["own_tasks"].get(task))
            key = (task, source.kind, source.folder, source.language, own, *p["languages"])
            if key not in checked and (found := examples.check(task, source, p["languages"])):
                note(found)
            checked.add(key)


# ------------------------------------------------------------------------------------ command line


def main(arguments: list[str] | None = None) -> int:
    """Print the plan, or one line that says what is wrong with it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.plan.plan", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--scale", default="tiny")
    parser.add_argument(
        "--studies", default="", help="separated by spaces; if empty, all that have the scale"
    )
    parser.add_argument("--data-dir", default="")
    parser.add_argument("--gpu", default="", help="a name from params/estimates.yaml")
    parser.add_argument(
        "--check", action="store_true", help="print no plan: only notes, and what is wrong"
    )
    parser.add_argument(
        "--online", action="store_true", help="also check models and text on the hub"
    )
    parser.add_argument("--cores", default="1", help="those make report may use; only checked")
    parser.add_argument("--gpus", default="0", help="the same")
    parser.add_argument(
        "--download", action="store_true", help="fetch what the plan needs from the hub"
    )
    options = parser.parse_args(arguments)

    def note(line: str) -> None:
        print(f"note: {line}", file=sys.stderr)

    try:
        names = options.studies.split() or studies_with(options.scale)
        # before the hub library is imported
        os.environ.update(hub_variables(options.scale, names))
        stages = resolve(
            options.scale, names, options.data_dir, options.online, thorough=True, note=note
        )
        others = [study for study in studies() if options.scale not in scales(study)]
        if others and not options.studies.split():
            note(f"skipped, no scale {options.scale!r}: {', '.join(others)}")
        for name in names:
            for line in Study(name, options.scale, options.data_dir).ignored:
                note(line)
        for line in text_notes(stages):
            note(line)
        if options.download:
            for download in downloads(stages):
                fetch(download)
        elif options.check:
            check_machine(options.scale, options.cores, options.gpus)
        else:
            print(report(stages, options.gpu))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

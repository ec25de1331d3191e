# One rule for each kind of stage: a stage is one papermill call with one flat parameter file. Snakemake owns order,
# parallelism and resume. `make report` runs it; by hand: SCALE=tiny STUDIES=herbert snakemake --cores 2.
# On a cluster every stage is a job: params/profiles/.

import os
import sys

from lib.common.errors import InputError
from lib.plan import plan
from lib.plan.stages import KINDS

os.environ.setdefault("SCALE", "tiny")
os.environ.setdefault("STUDIES", "")
os.environ.setdefault("DATA_DIR", "")


envvars:  # jobs of a cluster read this file again
    "SCALE",
    "STUDIES",
    "DATA_DIR",


SCALE, DATA_DIR = os.environ["SCALE"], os.environ["DATA_DIR"]
STUDIES = os.environ["STUDIES"].split()
GPUS = int(config.get("gpus", 0))
CORES = int(config.get("cores", 0)) or os.cpu_count()  # for a job that takes all there are

try:
    os.environ.update(plan.hub_variables(SCALE, STUDIES))  # the section `hub` of the scale files
    STAGES = {stage.result: stage for stage in plan.resolve(SCALE, STUDIES, DATA_DIR)}
    ANALYSIS = plan.analysis(SCALE, STUDIES)
    TITLE = plan.title(ANALYSIS.parameters["studies"])
    if not workflow.remote_exec:  # a job of a cluster runs what was planned when it was sent
        plan.write_parameters([*STAGES.values(), ANALYSIS])
except InputError as error:  # Snakemake, told to be quiet, would not show it
    sys.exit(f"error: {error}")


def stage_of(wildcards):
    """The stage that a job runs."""
    return STAGES[f"outputs/{SCALE}/{wildcards.stage}/result.json"]


def cores(stage):
    """The CPU cores that a job books. A stage that takes all there are leaves their share to the
    stages that use the machine's other GPUs."""
    if stage.threads:
        return stage.threads
    if GPUS and stage.gpus:
        return max(1, CORES * stage.gpus // GPUS)
    return workflow.cores or CORES


def gpus(wildcards):
    """The GPUs that a job books: one for each process of its stage. The limit comes with
    --resources gpu=<number>."""
    return min(GPUS, stage_of(wildcards).gpus)


RUN = "python -m lib.runner.warm --stage outputs/{SCALE}/{wildcards.stage}/parameters.yaml"
# Stages on one machine divide its GPUs among themselves (lib/common/locks.py). Those of a cluster's job are its own.
if GPUS and not workflow.remote_exec:
    RUN = f"STAGE_GPUS='{{resources.gpu}} of {GPUS}' {RUN}"
# Where Snakemake keeps files in a store (as it has to on Kubernetes), it wants the result where it copies it from.
RUN += " && result=outputs/{SCALE}/{wildcards.stage}/result.json"
RUN += " && (test $result -ef {output:q} || cp $result {output:q})"


onerror:
    print(
        "error: not all stages were done; the lines above say why "
        "(Snakemake's own log is in .snakemake/log)",
        file=sys.stderr,
        flush=True,
    )


localrules:
    report,


rule report:
    input:
        f"outputs/{SCALE}/report.html",
        # Without them, a result that was deleted would not be made again while the report is there.
        list(STAGES),


for kind in KINDS:
    if kind == "analysis":  # has a rule of its own
        continue

    rule:
        name:
            kind
        input:
            parameters=lambda wildcards: stage_of(wildcards).parameter_file,
            needs=lambda wildcards: [f"{folder}/result.json" for folder in stage_of(wildcards).needs],
        output:
            f"outputs/{SCALE}/{{stage}}/result.json",
        wildcard_constraints:
            stage=f".+/{kind}",
        priority:
            # Stages that others wait for go first. Otherwise the longest chain runs at the end, alone.
            KINDS[kind].priority
        threads: lambda wildcards: cores(stage_of(wildcards))
        resources:
            **({"gpu": gpus} if GPUS else {}),
        shell:
            RUN


rule analysis:
    input:
        parameters=ANALYSIS.parameter_file,
        results=list(STAGES),
        # the appendix shows it
        bench=[path for path in ["outputs/bench/bench.json"] if os.path.isfile(path)],
    output:
        f"outputs/{SCALE}/report.html",
    threads: 2
    shell:
        "python -m lib.runner.warm --stage outputs/{SCALE}/analysis/parameters.yaml"
        " && python -m lib.report.page.render outputs/{SCALE}/analysis/notebook.ipynb {output:q} {TITLE:q}"

# One generic rule for every kind of stage: it is one papermill call with one flat parameter file. Snakemake owns order,
# parallelism and resume.
# make report runs it; by hand: snakemake --cores 2 --config scale=tiny studies="herbert". On a cluster every stage is a job:
# params/profiles/.

import os

from lib.plan import plan
from lib.plan.stages import KINDS

SCALE = str(config.get("scale", "tiny"))
STUDIES = str(config.get("studies") or "").split()  # snakemake reads an empty value as None
GPUS = int(config.get("gpus", 0))
CORES = int(config.get("cores", 0)) or os.cpu_count()  # of a job that takes all there are
os.environ.update(plan.hub_variables(SCALE, STUDIES))  # the stages' hub: the section `hub` of the scale files
STEPS = {step.result: step for step in plan.resolve(SCALE, STUDIES, str(config.get("data_dir") or ""))}
PARAMETERS = {result: plan.write_parameters(step) for result, step in STEPS.items()}
ANALYSIS = plan.analysis(SCALE, STUDIES)
ANALYSIS_PARAMETERS = plan.write_parameters(ANALYSIS)


def step(wildcards):
    """The stage that a job is to run."""
    return STEPS[f"outputs/{SCALE}/{wildcards.stage}/result.json"]


def cores(stage):
    """The CPU cores a job books. A stage that takes as many as there are leaves the others' to those that share its machine's
    GPUs with it."""
    if stage.threads:
        return stage.threads
    return max(1, CORES * stage.gpus // GPUS) if GPUS and stage.gpus else workflow.cores or CORES


localrules:
    report,


rule report:
    input:
        f"outputs/{SCALE}/report.html",


# Where Snakemake keeps files in a store (it has to on Kubernetes), it wants the result where it copies it from.
KEEP = " && result=outputs/{SCALE}/{wildcards.stage}/result.json && (test $result -ef {output:q} || cp $result {output:q})"

# Stages on one machine share its GPUs out among themselves (lib/common/locks.py); those of a cluster's job are its own.
TAKE = f"STAGE_GPUS='{{resources.gpu}} of {GPUS}' " if GPUS and not workflow.remote_exec else ""

for kind in list(KINDS)[:-1]:  # the analysis has a rule of its own

    rule:
        name:
            kind
        input:
            parameters=lambda wildcards: PARAMETERS[step(wildcards).result],
            needs=lambda wildcards: [f"{folder}/result.json" for folder in step(wildcards).needs],
        output:
            f"outputs/{SCALE}/{{stage}}/result.json",
        wildcard_constraints:
            stage=f".+/{kind}",
        priority:
            # What others wait for goes first: else the longest chain is left for the end, and one core with it.
            KINDS[kind].priority
        threads: lambda wildcards: cores(step(wildcards))
        resources:
            # Where there are GPUs, one for each process of a stage; the limit comes with --resources gpu=<how many>.
            **({"gpu": lambda wildcards: min(GPUS, step(wildcards).gpus)} if GPUS else {}),
        shell:
            TAKE + "python -m lib.runner.warm --stage outputs/{SCALE}/{wildcards.stage}/parameters.yaml" + KEEP


rule analysis:
    input:
        parameters=ANALYSIS_PARAMETERS,
        results=list(STEPS),
        bench=[path for path in ["outputs/bench/bench.json"] if os.path.isfile(path)],  # the appendix shows it
    output:
        f"outputs/{SCALE}/report.html",
    threads: 2
    shell:
        "python -m lib.runner.warm --stage outputs/{SCALE}/analysis/parameters.yaml && python -m lib.report.page.render outputs/{SCALE}/analysis/notebook.ipynb {output:q} 'Distilling BERT: a reproducible report'"

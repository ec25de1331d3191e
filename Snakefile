# One generic rule for every kind of stage: it is one papermill call with one flat parameter file. Snakemake owns order,
# parallelism and resume.
# make report runs it; by hand: snakemake --cores 2 --config scale=tiny studies="herbert"

import os

from lib import plan

SCALE = str(config.get("scale", "tiny"))
STUDIES = str(config.get("studies") or "").split()  # snakemake reads an empty value as None
GPUS = int(config.get("gpus", 0))
os.environ.update(plan.hub_variables(SCALE, STUDIES))  # the stages' hub: the section `hub` of the scale files
STEPS = {step.result: step for step in plan.resolve(SCALE, STUDIES, str(config.get("data_dir") or ""))}
PARAMETERS = {result: plan.write_parameters(step) for result, step in STEPS.items()}
ANALYSIS = plan.analysis(SCALE, STUDIES)
ANALYSIS_PARAMETERS = plan.write_parameters(ANALYSIS)


rule report:
    input:
        f"outputs/{SCALE}/report.html",


# What others wait for goes first: else the longest chain is left for the end, and one core with it.
FIRST = {"data_prep": 4, "teacher_continuation": 3, "cascade_ta": 2, "distillation": 2, "finetune": 1}

for kind, before_others in FIRST.items():

    rule:
        name:
            kind
        input:
            parameters=lambda wildcards: PARAMETERS[f"outputs/{SCALE}/{wildcards.stage}/result.json"],
            needs=lambda wildcards: [f"{folder}/result.json" for folder in STEPS[f"outputs/{SCALE}/{wildcards.stage}/result.json"].needs],
        output:
            f"outputs/{SCALE}/{{stage}}/result.json",
        wildcard_constraints:
            stage=f".+/{kind}",
        priority:
            before_others
        threads: lambda wildcards: STEPS[f"outputs/{SCALE}/{wildcards.stage}/result.json"].threads or workflow.cores
        resources:
            # One stage a GPU where there are GPUs; the limit comes with --resources gpu=<how many>.
            gpu=lambda wildcards: int(GPUS > 0 and not wildcards.stage.endswith("data_prep")),
        shell:
            "python -m lib.warm --stage {input.parameters:q}"


rule analysis:
    input:
        parameters=ANALYSIS_PARAMETERS,
        results=list(STEPS),
        bench=[path for path in ["outputs/bench/bench.json"] if os.path.isfile(path)],  # the appendix shows it
    output:
        f"outputs/{SCALE}/report.html",
    threads: 2
    shell:
        "python -m lib.warm --stage {input.parameters:q} && python -m lib.render outputs/{SCALE}/analysis/notebook.ipynb {output:q}"

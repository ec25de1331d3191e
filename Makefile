# make report [SCALE=tiny] [STUDIES="herbert"] [DATA_DIR=…] [FORMAT=pdf] · make test · make lab · make plan
# make new STUDY=mine TEACHER=/folder/or/id TEXT=/folder TASKS=/folder [HOURS=1]: a study of your own, written to params/mine
# make report PROFILE=slurm (or kubernetes, or a folder): every stage a job of a cluster; PUBLISH_TO=s3://…: a copy of the results
# make teachers: train the toy teachers of params/ again, which takes half an hour
# make clean [SCALE=tiny] [STUDIES="herbert"]: remove outputs, all of them if neither is given
# make bench [CASES="small hop"] · make export MODEL=outputs/tiny/herbert/S3/distillation [EMBEDDINGS=yes] [INT8=yes] [TASK=…] [TEXT=…] [KEEP="embeddings head"]
# Each sets up its own environment in .venv the first time; it needs Python 3.11 and make, nothing else.

CLEANED := $(if $(SCALE)$(STUDIES),outputs/$(or $(SCALE),tiny),outputs/* .snakemake)
SCALE ?= tiny
STUDIES ?=
DATA_DIR ?=
STUDY ?=
TEACHER ?=
TEXT ?=
TASKS ?=
HOURS ?= 1
CASES ?=
FORMAT = html
MODEL ?=
EMBEDDINGS ?=
INT8 ?=
TASK ?=
KEEP ?=
MAX_LOSS ?=
PROFILE ?=
PUBLISH_TO ?=
GPU ?=
DOWNLOAD ?=
GPUS ?= $(shell nvidia-smi -L 2>/dev/null | wc -l)
CORES ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)
TESTERS := $(shell printf '%s\n' $(CORES) 8 | sort -n | head -n 1)
PYTHON ?= python3.11
PYTHON := $(shell command -v $(PYTHON) 2>/dev/null || echo python3)

BIN := .venv/bin
READY := .venv/ready
RIVALS := .venv/rivals
CLUSTER := .venv/cluster
# Where stages run: here, as forks of a process that has the libraries loaded, or as jobs of a cluster, which can have none.
# Snakemake looks at all waiting jobs again after each timespan, once for every job that has begun or ended so far. With its own
# 1 s it takes a fifth of a core at the end of a run of 200 stages.
HERE := python -m lib.runner.warm python -m snakemake --cores $(CORES) --scheduler greedy --max-jobs-per-timespan 1000/5s --quiet all
JOBS := python -m lib.common.interrupts python -m snakemake --profile $(firstword $(wildcard params/profiles/$(PROFILE)) $(PROFILE))
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
# Of a checkout that was moved, the commands in .venv/bin, and the place where it finds lib, are the old ones. python itself is not.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
# What a user gives reaches the recipes through the environment as it is: no shell, and no YAML of Snakemake's, reads it
override export SCALE := $(value SCALE)
override export STUDIES := $(value STUDIES)
override export DATA_DIR := $(value DATA_DIR)
override export PUBLISH_TO := $(value PUBLISH_TO)
override export STUDY := $(value STUDY)
override export TEACHER := $(value TEACHER)
override export TEXT := $(value TEXT)
override export TASKS := $(value TASKS)
override export TASK := $(value TASK)
override export KEEP := $(value KEEP)
override export MAX_LOSS := $(value MAX_LOSS)
override export EMBEDDINGS := $(value EMBEDDINGS)
override export INT8 := $(value INT8)
override export HOURS := $(value HOURS)
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := true

.PHONY: report new teachers test test-survival test-paper lab plan bench export clean environment

report: $(READY) $(if $(PROFILE),$(CLUSTER))
	@python -m lib.report.page.pdf "$(FORMAT)"
	@python -m lib.plan.plan --check --online --scale "$$SCALE" --studies "$$STUDIES" --data-dir="$$DATA_DIR" --cores "$(CORES)" --gpus "$(GPUS)"
	@exec python -m lib.common.locks "outputs/$$SCALE" $(if $(PROFILE),$(JOBS),$(HERE)) --rerun-triggers mtime input --rerun-incomplete --keep-going --nolock \
	    --resources gpu=$(GPUS) --config gpus="$(GPUS)" cores="$(CORES)"
	@echo "the report: outputs/$$SCALE/report.html"
	@python -m lib.report.page.pdf "$(FORMAT)" "outputs/$$SCALE/report.html"
	$(if $(PUBLISH_TO),@python -m lib.runner.upload "outputs/$$SCALE" "$$PUBLISH_TO")

new: $(READY)
	@python -W ignore -m lib.plan.new --study="$$STUDY" --teacher="$$TEACHER" --text="$$TEXT" --tasks="$$TASKS" --hours="$$HOURS" \
	    --cores "$(CORES)" --gpus "$(GPUS)"

plan: $(READY)
	@python -m lib.plan.plan --scale "$$SCALE" --studies "$$STUDIES" --data-dir="$$DATA_DIR" --gpu "$(GPU)" $(if $(DOWNLOAD),--download)

teachers: $(READY)
	@python -W ignore -m lib.runner.teachers

test: $(READY)
	@python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

test-survival: $(READY)
	@SURVIVAL=1 python -m pytest -s tests/runner/test_survival.py

test-paper: $(READY)
	@TEST_PAPER=1 python -m pytest tests/paper

bench: $(RIVALS)
	@python -W ignore -m tests.benchmarks --cases "$(CASES)"

export: $(READY)
	@python -W ignore -m lib.runner.export "$(MODEL)" --embeddings="$$EMBEDDINGS" --int8="$$INT8" --task="$$TASK" --text="$$TEXT" \
	    --keep="$$KEEP" --max-loss="$$MAX_LOSS"

lab: $(READY)
	@python -m jupyterlab notebooks/lab.ipynb

clean:
	$(if $(findstring /,$(SCALE)$(STUDIES))$(word 2,$(SCALE)),$(error SCALE and STUDIES are names, not folders, and SCALE is one))
	rm -rf $(if $(STUDIES),$(addprefix $(CLEANED)/,$(STUDIES)),$(CLEANED))

environment: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "setting up the environment in .venv (once; a few minutes)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"error: Python 3.11 or newer is needed, this is {v[0]}.{v[1]}")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

$(CLUSTER): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,cluster]"
	@touch $(CLUSTER)

$(RIVALS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]" \
	    || echo "TextBrewer could not be installed; its rows will say so" >&2
	@touch $(RIVALS)

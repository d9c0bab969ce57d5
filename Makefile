# `make` lists the targets. PYTHON= chooses the interpreter (3.11 to 3.13), NSYS= the nsys program.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := model,inference,datasets,pictures,notebook,test,dev
# Tests run in so many processes, each file in one of them.
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist loadfile \
	--no-loadscope-reorder
# The pages that show what commands print, and what makes that.
SHOWN := README.md $(wildcard docs/*.md)
COG := $(BIN)/cog -I . -p 'from docs.shown import console, goals, module_names, speed'

# What is not given is not passed on: the defaults are those of the options themselves.
FLAGS = $(WORKLOAD) $(if $(SIZE),--size '$(SIZE)') \
	$(if $(MODEL),--model '$(MODEL)') $(if $(RANDOM_INIT),--random-init '$(RANDOM_INIT)') \
	$(if $(TEACHER),--teacher-model '$(TEACHER)') \
	$(if $(TEACHER_RANDOM_INIT),--teacher-random-init '$(TEACHER_RANDOM_INIT)') \
	$(if $(MAX_NEW_TOKENS),--max-new-tokens $(MAX_NEW_TOKENS)) \
	$(if $(MODE),--mode $(MODE)) $(if $(BATCH),--batch $(BATCH)) \
	$(if $(CONTEXT),--context $(CONTEXT)) $(if $(DTYPE),--dtype $(DTYPE)) \
	$(if $(DEVICE),--device $(DEVICE)) $(if $(ATTENTION),--attention $(ATTENTION)) \
	$(if $(AUTOCAST),--autocast $(AUTOCAST)) $(if $(filter-out 0 no false,$(TF32)),--tf32) \
	$(if $(filter-out 0 no false,$(COMPILE)),--compile) \
	$(if $(OPTIMIZER),--optimizer $(OPTIMIZER)) $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) \
	$(if $(RANKS),--ranks $(RANKS)) $(if $(STRATEGY),--strategy $(STRATEGY)) \
	$(if $(BUCKET_MB),--bucket-mb $(BUCKET_MB)) $(if $(TIMEOUT),--timeout $(TIMEOUT)) \
	$(if $(STEPS),--steps $(STEPS)) $(if $(WARMUP),--warmup $(WARMUP)) \
	$(if $(RECORDER),--recorder $(RECORDER)) $(if $(NAME),--name '$(NAME)') \
	$(if $(filter-out 0 no false,$(MEMORY)),--memory) \
	$(if $(REPORTS),--reports '$(REPORTS)') $(if $(filter-out 0 no false,$(OVERWRITE)),--overwrite)

.DEFAULT_GOAL := help
.PHONY: help setup profile test check format bench gpu docs clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment .venv

$(READY): pyproject.toml constraints.txt spanlight/__init__.py
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] < (3, 14) or sys.exit( \
		"error: Python 3.11 to 3.13 is needed; name one: make $@ PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

profile: $(READY) ## record a run and say where the time went: SIZE= MODE= BATCH= CONTEXT= ...
	@$(BIN)/python -m spanlight profile $(FLAGS)

test: $(READY) ## run the tests that take under 3 s each; make check runs these and all others
	$(PYTEST) -m 'not slow'

check: $(READY) ## format check, lint, types, imports, README and docs, examples in docstrings, all tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(COG) --check $(SHOWN)
	$(BIN)/python -m pytest --quiet --doctest-modules analysis benchmarks model profiling spanlight
	$(PYTEST)

format: $(READY) ## format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(READY) ## our speed beside NVIDIA's tools, the cost of spans, timing and starting: NSYS= SYNTHETIC= RECIPE_PYTHON= name the tools
	$(BIN)/python -m benchmarks.speed.analysis_speed $(BENCH)
	$(BIN)/python -m benchmarks.cost.span_cost
	$(BIN)/python -m benchmarks.cost.timing_cost
	$(BIN)/python -m benchmarks.cost.start_cost

# It needs no environment of ours: where PYTHON= names none, .venv is taken if it is there.
GPU_PYTHON = $(if $(filter file,$(origin PYTHON)),$(or $(wildcard $(BIN)/python),$(PYTHON)),$(PYTHON))

gpu: ## measure on a GPU what has no result yet (ONLY= NSYS= PYTHON=); FROM=gpu.tar keeps what was elsewhere
	@$(GPU_PYTHON) -m benchmarks.gpu $(if $(ONLY),--only '$(ONLY)') $(if $(FROM),--from '$(FROM)')

docs: $(READY) ## renew what the README and docs/ show, by running it
	$(COG) -r $(SHOWN)

clean: ## remove the environment and caches; reports stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

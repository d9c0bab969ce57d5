# `make` lists the targets. PYTHON= chooses the interpreter (3.11 to 3.13), NSYS= the nsys program.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := model,inference,datasets,pictures,fleet,perfetto,notebook,test,dev
# The pages that show what commands print, and what makes that.
SHOWN := README.md $(wildcard docs/*.md)
COG := $(BIN)/cog -I . -p 'from docs.shown import console, fleet_speed, goals, large_reports, module_names, predictions, speed'

# The variables of `make profile`, and the options that they are. What is not given is not passed on:
# the defaults are those of the options themselves.
VALUES := WORKLOAD=workload SIZE=size MODEL=model RANDOM_INIT=random-init TEACHER=teacher-model \
	TEACHER_RANDOM_INIT=teacher-random-init MAX_NEW_TOKENS=max-new-tokens MODE=mode BATCH=batch \
	CONTEXT=context DTYPE=dtype DEVICE=device ATTENTION=attention AUTOCAST=autocast \
	OPTIMIZER=optimizer CHECKPOINT=checkpoint RANKS=ranks STRATEGY=strategy BUCKET_MB=bucket-mb \
	TIMEOUT=timeout STEPS=steps WARMUP=warmup RECORDER=recorder NAME=name REPORTS=reports \
	SCRIPT=script
SWITCHES := TF32=tf32 COMPILE=compile MEMORY=memory SHAPES=shapes STACKS=stacks OVERWRITE=overwrite
left = $(word 1,$(subst =, ,$1))
right = $(word 2,$(subst =, ,$1))

# What is given reaches commands through the environment, as it was typed: written into a recipe, the
# shell would run what is in it, and so would make, for which $(...) is a variable or a function.
GIVEN := $(foreach each,$(VALUES) $(SWITCHES),$(call left,$(each))) \
	ARGS NSYS PYTHON WORKERS ONLY FROM BENCH SYNTHETIC RECIPE RECIPE_PYTHON
literal = $(eval override $1 := $$(value $1))$(eval export $1)
$(foreach each,$(GIVEN),$(if $(filter-out undefined,$(origin $(each))),$(call literal,$(each))))

FLAGS = $(strip $(foreach each,$(VALUES),$(if $($(call left,$(each))),"--$(call right,$(each))=$$$(call left,$(each))")) \
	$(foreach each,$(SWITCHES),$(if $(filter-out 0 no false,$($(call left,$(each)))),--$(call right,$(each)))))

# Tests run in so many processes, each file in one of them.
PYTEST := $(BIN)/python -m pytest --numprocesses "$${WORKERS:-logical}" --maxprocesses 8 \
	--dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup profile test check format web bench gpu docs clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment .venv

$(READY): pyproject.toml constraints.txt spanlight/__init__.py
	@"$${PYTHON:-python3}" -c 'import sys; (3, 11) <= sys.version_info[:2] < (3, 14) or sys.exit( \
		"error: Python 3.11 to 3.13 is needed; name one: make $@ PYTHON=python3.12")'
	"$${PYTHON:-python3}" -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

# What a run says names options as they are given here.
profile: export SPANLIGHT_TYPED := make
# ARGS is cut at blanks and is otherwise as it was typed: no quotes, no patterns.
profile: $(READY) ## record a run and say where the time went: SIZE= MODE= BATCH= CONTEXT= ..., or SCRIPT= ARGS=
	@set -f; $(BIN)/python -m spanlight profile $(FLAGS)$(if $(ARGS), -- $$ARGS)

test: $(READY) ## run the tests that take under 3 s each; make check runs these and all others
	$(PYTEST) -m 'not slow'

check: $(READY) ## format check, lint, types, imports, the page's build, README and docs, examples in docstrings, all tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web-check; \
		else echo 'skipped: web/ is not checked, nor the page built again: there is no node'; fi
	$(COG) --check $(SHOWN)
	$(BIN)/python -m pytest --quiet --doctest-modules analysis benchmarks model profiling spanlight
	$(PYTEST)

format: $(READY) ## format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# The page in a browser is built from web/ and committed, so that only who changes it needs node.
web/node_modules/.ready: web/package.json web/package-lock.json
	npm ci --prefix web --no-progress
	@touch $@

web: web/node_modules/.ready ## build the page in a browser, analysis/html/page.html, from web/
	npm run --prefix web --silent build

.PHONY: web-check
web-check: web/node_modules/.ready
	npm run --prefix web --silent check

bench: $(READY) ## our speed beside NVIDIA's tools, predictions beside what came, the cost of spans, timing, starting and the page: NSYS= SYNTHETIC= RECIPE_PYTHON= name the tools
	set -f; $(BIN)/python -m benchmarks.speed.analysis_speed $$BENCH
	@if [ -n "$$RECIPE_PYTHON" ]; then set -x; $(BIN)/python -m benchmarks.speed.fleet_speed; \
		else echo "skipped: many ranks beside NVIDIA's recipes: RECIPE_PYTHON= names no Python"; fi
	$(BIN)/python -m benchmarks.cost.large_reports
	$(BIN)/python -m benchmarks.predictions.cpu_changes
	$(BIN)/python -m benchmarks.cost.span_cost
	$(BIN)/python -m benchmarks.cost.timing_cost
	$(BIN)/python -m benchmarks.cost.start_cost
	$(BIN)/python -m benchmarks.cost.page_cost

gpu: ## measure on a GPU what has no result yet (ONLY= NSYS= PYTHON=); FROM=gpu.tar keeps what was elsewhere
	@# It needs no environment of ours: where PYTHON= names none, .venv is taken if it is there.
	@"$${PYTHON:-$(or $(wildcard $(BIN)/python),python3)}" -m benchmarks.gpu \
		$${ONLY:+"--only=$$ONLY"} $${FROM:+"--from=$$FROM"}

docs: $(READY) ## renew what the README and docs/ show, by running it
	$(COG) -r $(SHOWN)

clean: ## remove the environment and caches; reports stay
	rm -rf $(VENV) web/node_modules build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

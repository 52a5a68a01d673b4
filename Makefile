# `make` lists the targets. Each sets itself up: Python 3.11 or newer, git and make are all that is needed.
#   PYTHON=python3.12   the interpreter that the environment is made with, the first time
#   VENV=.venv          where it is made
#   ARGS=...            is passed on to the command of the target
#   SOAK_SECONDS=600    how long `make soak` keeps the outages coming

VENV ?= .venv
STAMP := $(VENV)/.complete
BIN := $(VENV)/bin
ARGS ?=
SOAK_SECONDS ?= 600
DEMO := $(abspath build/demo)
# Who is not root needs it to install Debian's packages.
SUDO ?= $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# Bytecode that is not cached costs each Python process seconds, and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo demo-scale test quick browser lint format matrix soak soak-scale bench docs site screenshots build clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create the environment in .venv, as uv.lock pins it

$(STAMP): pyproject.toml uv.lock .ci/setup
	@.ci/setup $(VENV)
	@touch $@

demo: $(STAMP) ## run the example applications' tests with their traces captured, print one, and let Langfuse fail
	@echo 'examples/support_bot$$ pytest --langfuse-capture'
	@cd examples/support_bot && $(abspath $(BIN))/python -m pytest --langfuse-capture $(ARGS)
	@echo
	@echo 'examples/support_bot$$ pytest --langfuse-show=all -k streams_an_answer'
	@cd examples/support_bot && $(abspath $(BIN))/python -m pytest --langfuse-show=all -k streams_an_answer
	@echo
	@echo 'One trace over three processes, from a web server over another to a worker:'
	@echo 'examples/shop$$ pytest --langfuse-show=all tests/test_shop.py'
	@mkdir -p $(DEMO)
	@cd examples/shop && $(abspath $(BIN))/python -m pytest --langfuse-show=all --langfuse-json=$(DEMO)/shop.jsonl tests/test_shop.py
	@echo
	@echo 'Another application, which is green as long as Langfuse is well:'
	@echo 'examples/naive_bot$$ pytest --langfuse-capture'
	@cd examples/naive_bot && $(abspath $(BIN))/python -m pytest --langfuse-capture
	@echo
	@echo 'The same while Langfuse hangs, then while it answers 503. What is red from here on is red on purpose:'
	@echo 'examples/naive_bot$$ pytest --langfuse-outage=hang,http_503'
	@cd examples/naive_bot && $(abspath $(BIN))/python -m pytest --langfuse-outage=hang,http_503 --langfuse-json=$(DEMO)/naive_bot.jsonl --tb=line; \
	status=$$?; \
	if [ $$status -ne 1 ]; then echo "expected exit status 1, got $$status"; exit 1; fi
	@echo
	@echo 'Exit status 1, on purpose: this application does not survive an outage of Langfuse, and the report says where.'
	@echo
	@echo 'All of it on one page, with a failed assertion, the outages, and the trace over three processes. Open it in a browser:'
	@$(BIN)/python docs/demo_report.py $(DEMO)/shop.jsonl $(DEMO)/naive_bot.jsonl -o $(DEMO)/report.html

demo-scale: $(STAMP) ## run the example shop with its traces going through Kafka, over an outage of Langfuse
	@$(BIN)/python examples/scale/demo.py $(ARGS)

test: $(STAMP) ## run all tests
	@# Four on two cores: many tests wait for a process, a signal or a timeout.
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m "not exhaustive" $(ARGS)

quick: $(STAMP) ## run the tests that need no server, process or wheel: under a minute
	@$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow and not exhaustive" $(ARGS)

browser: $(STAMP) ## run the tests of the report's page in Chromium, which is installed if it is missing
	@command -v chromium || command -v chromium-browser || command -v google-chrome || $(SUDO) apt-get install -y chromium
	@$(BIN)/python -m pytest -n 2 tests/report/page $(ARGS)

lint: $(STAMP) ## ruff check, ruff format --check, mypy --strict
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	exit $$status

format: $(STAMP) ## let ruff format and fix
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

matrix: $(STAMP) ## run the tests on each Python x langfuse x pytest that is supported (ARGS="--only py3.12")
	@$(BIN)/python .ci/matrix.py $(ARGS)

soak: $(STAMP) ## ten minutes of outages, 10,000 captured tests without growth, the suite five times in random order
	@$(BIN)/python benchmarks/production/soak.py --seconds $(SOAK_SECONDS)
	@$(BIN)/python benchmarks/per_test.py --long
	@for run in 1 2 3 4 5; do \
		echo "random order, run $$run of 5"; $(BIN)/python -m pytest -q -n 2 $(ARGS) || exit 1; \
	done

soak-scale: $(STAMP) ## a million spans through Kafka and forwarders, while applications, broker and forwarders are killed
	@$(BIN)/python benchmarks/production/soak_scale.py $(ARGS)

bench: $(STAMP) ## run the benchmarks and write docs/benchmarks.md
	@$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(STAMP) ## write the pages and pictures of the documentation that come from the code
	@$(BIN)/python docs/generate.py

site: $(STAMP) ## build the documentation as a site, in build/site; a link that leads nowhere is an error
	@$(BIN)/python docs/build_site.py $(ARGS)

screenshots: $(STAMP) ## take the pictures of the report again, of the one that `make demo` has made
	@$(BIN)/python docs/screenshots.py $(DEMO)/report.html

build: $(STAMP) ## build wheel and source distribution into dist/
	@$(BIN)/python -m hatchling build

clean: ## remove what the targets made
	rm -rf $(VENV) .matrix dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis examples/shop/recommendations/node_modules

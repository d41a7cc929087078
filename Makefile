# Every target works on a fresh clone: `setup` is a file target that the others depend on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed
# The pip that Python 3.11 brings takes twice as long in all: most of it reads lists of old releases.
PIP := pip==26.3

# What runs here starts hundreds of processes: each would compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup
setup: $(SETUP)

$(SETUP): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headstart needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# The main job: an embedded cloud, a session on a real repository, its answer. REPO= and PROMPT= choose; what REPO
# brings runs as you.
.PHONY: demo
demo: $(SETUP)
	@PATH="$(AGENTS)/bin:$$PATH" $(BIN)/headstart demo --repo "$(REPO)" --prompt "$(PROMPT)"

# The embedded cloud, until Ctrl-C.
.PHONY: run
run: $(SETUP) page
	@PATH="$(AGENTS)/bin:$$PATH" $(BIN)/headstart up

# What the page draws text with, installed from npm, once; where that can't be, the page shows text as it is.
.PHONY: page
page:
	@if ! command -v npm >/dev/null; then \
	  echo "npm is not there: the page will show Markdown and colours as plain text"; \
	else \
	  web/install.sh .cache/web || echo "npm could not install what web/package.json names: the page will show Markdown and colours as plain text"; \
	fi

# Most tests wait for something, so files run side by side, three more than there are cores; one file
# stays in one process, which has one embedded cloud at most.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(8, 3 + os.cpu_count()))')
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile
# A browser is costly to start, and any may draw any page.
PAGE = $(BIN)/pytest --numprocesses 2 --dist load tests/page
# What blocks a merge is without what is marked `long`, variants of what is in it for the most part.
SHORT := -m "not long"

.PHONY: test
test: $(SETUP)
	$(PYTEST) $(SHORT)

# The page in Chromium, which is on PATH or named by $CHROMIUM.
.PHONY: test-page
test-page: $(SETUP) page
	$(PAGE) $(SHORT)

# Those two with what is `long`.
.PHONY: test-all
test-all: $(SETUP)
	$(PYTEST)

.PHONY: test-page-all
test-page-all: $(SETUP) page
	$(PAGE)
	$(BIN)/pytest tests/flow/test_page.py

# The real agents, which need a core each, against a stub of a model: all of them, or
# AGENT=opencode|kilo|demo. Installed from npm, once; without a network afterwards.
AGENTS := $(CURDIR)/.cache/agents
.PHONY: test-agents
test-agents: $(SETUP) agents
	PATH="$(AGENTS)/bin:$$PATH" $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist load tests/agents

.PHONY: agents
agents:
	@for agent in $(or $(AGENT),opencode kilo); do sandbox/agents/install.sh $$agent "$(AGENTS)" || exit 1; done

# Adds the registry's hashes where an agent's lock has none: look at them, and commit them.
.PHONY: lock
lock:
	@for agent in $(or $(AGENT),opencode kilo); do node sandbox/agents/lock.mjs complete $$agent || exit 1; done

# The sandbox's container image with one agent: AGENT=demo|opencode|kilo. DOCKER_BUILD= adds options,
# such as --platform linux/arm64 or --build-arg BASE=…
IMAGE ?= headstart-sandbox:$(or $(AGENT),demo)
.PHONY: image
image:
	docker build --file sandbox/Dockerfile --build-arg AGENT=$(or $(AGENT),demo) $(DOCKER_BUILD) --tag $(IMAGE) .

# The runner's tests in the image, with the rights and users it has on Fargate, then the image from outside.
RIGHTS := CHOWN DAC_OVERRIDE FOWNER KILL SETGID SETUID
.PHONY: test-image
test-image: $(SETUP)
	@if docker info >/dev/null 2>&1; then \
	  $(MAKE) image && \
	  docker build --file tests/image/Dockerfile --build-arg IMAGE=$(IMAGE) $(DOCKER_BUILD) --tag $(IMAGE)-tests . && \
	  docker run --rm --network=none --read-only --cap-drop=ALL $(RIGHTS:%=--cap-add=%) $(IMAGE)-tests && \
	  HEADSTART_IMAGE=$(IMAGE) AGENT=$(or $(AGENT),demo) $(BIN)/pytest tests/image; \
	else \
	  echo "SKIPPED: there is no Docker engine here, the image was neither built nor tested"; \
	fi

# The functions in Lambda's containers, against an embedded cloud (docs/sam-local.md). SAM_OPTIONS adds to
# `sam local invoke`, such as --skip-pull-image.
.PHONY: sam
sam: $(SETUP)
	@if ! command -v sam >/dev/null; then \
	  echo "SKIPPED: the SAM CLI is not on PATH, the functions were neither built nor invoked"; \
	else \
	  $(BIN)/python -m headstart_local.sam build || exit 1; \
	  if docker info >/dev/null 2>&1; then \
	    HEADSTART_SAM=1 HEADSTART_SAM_OPTIONS="$(SAM_OPTIONS)" $(BIN)/pytest tests/sam; \
	  else \
	    echo "SKIPPED: there is no Docker engine here, the functions were built and not invoked"; \
	  fi; \
	fi

# What CI runs.
.PHONY: check
check: static test

# What needs nothing to run, side by side.
.PHONY: static
static: $(SETUP)
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target lint types imports template collect

# Finds all tests, and compiles them: else each of the processes that share them does.
.PHONY: collect
collect: $(SETUP)
	@found=$$($(BIN)/pytest --collect-only --quiet --quiet) || { echo "$$found"; exit 1; }

.PHONY: lint
lint: $(SETUP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .

.PHONY: types
types: $(SETUP)
	$(BIN)/mypy

.PHONY: imports
imports: $(SETUP)
	$(BIN)/lint-imports --no-cache

.PHONY: template
template: $(SETUP)
	$(BIN)/cfn-lint --append-rules tests/template/rules --template template.yaml

# Figures, never failures: docs/performance.md says what they mean. BENCH="cold --samples 3" or BENCH=clone for less;
# BENCH=soak HOURS=0.05 SEED=1 for what takes long.
.PHONY: bench
bench: $(SETUP)
	PYTHONPATH=tests/client $(BIN)/python -m tests.bench $(BENCH) $(HOURS:%=--hours %) $(SEED:%=--seed %)

# The same of the agents that `make agents` has installed.
.PHONY: bench-agents
bench-agents: $(SETUP) agents
	PATH="$(AGENTS)/bin:$$PATH" PYTHONPATH=.:tests/runner:tests/agents $(BIN)/python tests/agents/figures.py $(AGENT)

# More walks than the tests make, on all cores: EXAMPLES=10000 at most, for SECONDS=1800 at most. They
# are numbered from SEED= on, else from one by chance, which is printed.
.PHONY: soak-rules
soak-rules: $(SETUP)
	$(BIN)/python -m tests.property.soak $(EXAMPLES:%=--examples %) $(SECONDS:%=--seconds %) $(SEED:%=--seed %)

# What is written down about the HTTP API, made from its code; a test says when it is out of date.
.PHONY: docs
docs: $(SETUP)
	$(BIN)/python -m headstart_docs

.PHONY: clean
clean:
	rm -rf $(VENV) .aws-sam .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

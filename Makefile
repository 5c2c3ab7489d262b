# CI runs the same commands as you.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help venv demo up cluster cluster-test test check audit format bench chaos campaign year conform fidelity mutants clean

help: ## What there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.ready ## Build the virtual environment (the others do it by themselves)

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Perennial needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose one with: make PYTHON=python3.12")'
	@echo "building the virtual environment (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: venv ## Renew 100 subscriptions on the built-in sandbox, and show what happened
	@$(RUN) -m flows demo

up: venv ## Keep sandbox, Prefect server, worker and deployments running until Ctrl-C
	@$(RUN) -m flows up

cluster: venv ## What deploy/ runs, as plain processes: two API servers, two workers; needs PostgreSQL and Redis
	@PYTHONPATH=tests $(RUN) -m cluster

cluster-test: venv ## 3,000 renewals on it, while a worker, an API server, PostgreSQL's connections and Redis go
	@PYTHONPATH=tests $(RUN) -m cluster.losses

test: venv ## All tests
	@$(RUN) -m pytest -q -n auto --dist loadgroup

chaos: venv ## Kill, drop, delay and overlap for an hour and more, and count double charges and losses
	@$(RUN) -m pytest -q -m chaos tests
	@$(RUN) tests/chaos/campaign.py

campaign: venv ## A million renewals with faults and kills, and how rare an error is (many hours; RENEWALS=100000: a tenth)
	@$(RUN) tests/chaos/fleet.py --renewals "$(or $(RENEWALS),1000000)"

year: venv ## 365 daily sweeps over 500 subscriptions on a virtual clock (some twenty minutes)
	@$(RUN) tests/year.py --days 365 --subscriptions 500

conform: venv ## Send generated requests to the sandbox, and check the answers against its OpenAPI description (EXAMPLES=1000)
	@$(RUN) tests/conformance.py --examples "$(or $(EXAMPLES),100)"

fidelity: venv ## Renew the same shop under each answer to what nobody outside knows, and under all pairs (some ten minutes)
	@$(RUN) tests/fidelity.py

mutants: venv ## Put small faults into the rules, and count which ones the tests notice (up to an hour; RULES="periods caps": only these)
	@$(RUN) tests/mutants.py $(RULES)

bench: venv ## Perennial beside a naive Prefect project, the official SDK and bare HTTP
	@PYTHONPATH=tests $(RUN) -m bench

check: venv ## Linters, formatter, types, architecture, length of functions
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(RUN) tests/structure.py

$(VENV)/audit/bin/pip-audit: requirements-audit.lock
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

audit: venv $(VENV)/audit/bin/pip-audit ## Known vulnerabilities of the pinned packages (asks the advisory service)
	@$(RUN) tests/audit.py $(VENV)/audit/bin/pip-audit requirements.lock requirements-audit.lock

format: venv ## Let the formatter rewrite the code
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

clean: ## Remove the virtual environment, caches and what `make up` keeps
	@rm -rf $(VENV) .perennial .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache mutants

# Set-up is part of every target: a machine needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from
JOBS ?= 2
# Three more than cores: the tests on a local cloud wait for it much of the time.
WORKERS ?= 5
SOURCES := main.py functions shared local ops tests
# What `make coverage` runs: the fast tests, and those in which an operator's commands and the functions run as processes.
MEASURED := tests/unit tests/simulation tests/incidents tests/chain/test_ops.py tests/chain/test_doctor.py tests/chain/test_dead_letters.py

# What the machine sets for its own tools must not leak into ours.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo send test kills matrix bench test-real simulate mutants dist dist-check coverage licences audit release-check workflows lint types layers picture docs site check lock clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## make the virtual environment from the pinned, hashed packages

$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (a minute, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@touch $@

demo: setup  ## run the story: clusters come, change and go, and Argo CD's list follows (ARGOCD=real: and Argo CD itself)
	@$(if $(filter real,$(KUBE) $(ARGOCD)),$(BIN)/python -m local.real build $(if $(filter real,$(ARGOCD)),,kube-apiserver))
	@$(BIN)/python -m local demo $(if $(KUBE),--kube $(KUBE)) $(if $(ARGOCD),--argocd $(ARGOCD))

send: setup  ## send an event of samples/ into the local cloud: EVENT=audit-create-finished (TO=URL: to one function)
	@$(BIN)/python -m local send $(EVENT) $(if $(TO),--to $(TO))

test: setup  ## run every test that needs nothing to be built
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -rs

kills: setup  ## 200 times kill -9 of a random function while clusters come and go
	@KILLS=200 $(BIN)/python -m pytest tests/chain/test_kills.py

matrix: setup  ## every outside call of every step, gone wrong once in every way, as a table
	@$(BIN)/python -m tests.chain.matrix

bench: setup  ## measure the numbers, print the table, draw the plots in docs/ (some 15 minutes; --quick: two)
	@$(BIN)/python -m tests.bench

test-real: setup  ## the same suites and more on kube-apiserver and Argo CD themselves, built once into a cache
	@$(BIN)/python -m local.real build
	@REAL_PARTS=1 $(BIN)/python -m local.real run $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -rs \
	  tests/real/test_kubernetes_differential.py tests/contract/kubernetes tests/contract/pubsub \
	  tests/chain/test_pubsub_emulator.py
	@REAL_PARTS=1 CHAIN_KUBE=real $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -rs \
	  tests/chain tests/real --ignore tests/real/test_kubernetes_differential.py

simulate: setup  ## 100,000 life cycles of clusters on a simulated world, with all that can go wrong
	@$(BIN)/python -m tests.simulation --lives 100000 --sweeps 10000 --pairs 100000 --jobs $(JOBS)

mutants: setup  ## the share of small faults in functions/, shared/ and ops/ that the fast tests find (MODULES=…: a part)
	@$(BIN)/python -m tests.mutation --jobs $(JOBS) $(if $(MINUTES),--minutes $(MINUTES)) $(MODULES)

lint: setup  ## ruff: rules and format
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

types: setup  ## mypy, strict
	@$(BIN)/mypy $(SOURCES)

layers: setup  ## the core imports no client, the functions know nothing of the local cloud
	@$(BIN)/lint-imports --no-cache

picture: setup  ## the picture of the status page in docs/, made by the Chromium of this machine
	@$(BIN)/python -m tests.browser.picture

docs: setup site  ## the documentation: language, commands, links, tables that repeat the code; and the site
	@$(BIN)/python -m pytest tests/docs --ignore tests/docs/test_walk.py

site: setup  ## build the documentation's site in site/; a broken link fails
	@$(BIN)/python -m mkdocs build --quiet --clean
	@echo "site/index.html"

dist: setup  ## the wheel with the operator's commands, and the functions' bundle, in dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --wheel --outdir dist . >dist.log || { cat dist.log; exit 1; }
	@rm dist.log
	@$(PYTHON) infra/terraform/package.py dist/fleet-registrar-functions-$$($(BIN)/python -c 'from shared.values.version import VERSION; print(VERSION)').zip
	@cd dist && sha256sum * >SHA256SUMS && cat SHA256SUMS

dist-check: dist  ## install the wheel and the bundle in empty environments, and run them (fetches packages)
	@$(BIN)/python -m tests.dist

coverage: setup  ## branches of functions/, shared/ and ops/ that the tests of MEASURED run, processes included; fails below the floor
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist loadfile $(MEASURED)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m tests.branches

licences: setup  ## the licences of the functions' packages, against a list of allowed ones
	@$(BIN)/python -m tests.licences

audit: setup  ## known vulnerabilities of the pinned packages, by pip-audit (asks the package index)
	@$(BIN)/python -m tests.audit

release-check:  ## compare a tag with the version and the change log (TAG=v0.1.0)
	@$(PYTHON) -c 'import re, sys; tag = sys.argv[1]; version = re.search(r"VERSION: Final = \"(.+)\"", open("shared/values/version.py").read())[1]; sys.exit(tag != "v" + version and f"the tag {tag} is not v{version}")' '$(TAG)'
	@grep -q '^## $(TAG:v%=%) (20[0-9][0-9]-[0-9][0-9]-[0-9][0-9])' CHANGELOG.md || { echo 'CHANGELOG.md has no heading with this version and a date: ## $(TAG:v%=%) (2026-12-31)' >&2; exit 1; }

workflows: setup  ## actionlint (needs Go) and zizmor on .github/workflows
	@$(BIN)/python -m tests.workflows

check: lint types layers test  ## all of it

lock: setup  ## pin the packages again, with hashes (needs uv)
	@for file in requirements requirements-dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $$file.in -o $$file.txt; \
	done

clean:  ## remove what was made here
	rm -rf $(VENV) .local dist site .coverage .mypy_cache .ruff_cache .hypothesis

include infra/terraform/targets.mk

# Everything that a developer runs. It needs make and Python 3.11 or later, and puts what else it needs into .venv.

# A stamp a place: a checkout that was moved sets up anew.
READY := .venv/.ready-$(shell pwd | cksum | cut -d ' ' -f 1)
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs reference bench bundle image image-test dist release clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: $(READY) ## play the whole story on the local runtime: worker, handlers, results, an error, a drain
	@$(PYTHON) -m scripts.demo

test: $(READY) ## all tests, with branch coverage; ARGS="-k word" for some
	@scripts/test $(ARGS)

lint: $(READY) ## ruff, mypy, import contracts, shellcheck, hadolint, zizmor, the links of the documentation
	@scripts/lint

docs: $(READY) ## the documentation as a site in build/docs; a link that leads nowhere fails
	@scripts/build-docs

reference: $(READY) ## write anew what is generated from the code: pages, man pages, completions, cm.toml's JSON Schema
	@$(PYTHON) -m scripts.reference

bench: $(READY) ## side by side with the official SDKs, in one run
	@$(PYTHON) -m benchmarks $(ARGS)

bundle: $(READY) ## the self-contained cm-exec, for images of any kind: dist/cm-exec-VERSION-linux-amd64.tar.gz
	@scripts/build-bundle

image: ## the base image that holds it, with docker, podman or buildah
	@scripts/build-image $(ARGS)

image-test: $(READY) ## only the tests of both, in containers
	@scripts/image-test $(ARGS)

dist: $(READY) ## the source distribution and the wheel, built and checked
	@scripts/build-dist

release: $(READY) ## all that a release consists of, built and tested, in dist/; nothing is published
	@scripts/release

clean: ## remove .venv and what the tools left
	rm -rf .venv .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(READY): pyproject.toml scripts/create-venv
	@scripts/create-venv $@

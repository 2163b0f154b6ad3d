# The commands of a developer. They need make and Python 3.11 or later, and install everything else into .venv.

# The name of the stamp depends on the path: a checkout that was moved installs again.
READY := .venv/.ready-$(shell pwd | cksum | cut -d ' ' -f 1)
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint docs reference bench bundle image image-test dist release clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: $(READY) ## end-to-end demo on the local runtime: worker, handlers, results, failures, graceful shutdown
	@$(PYTHON) -m scripts.demo

test: $(READY) ## run all tests; ARGS="-k word" selects some
	@scripts/test $(ARGS)

coverage: $(READY) ## run all tests with branch coverage, and fail if it is lower than pyproject.toml demands
	@scripts/test --coverage $(ARGS)

lint: $(READY) ## run ruff, mypy, import contracts, shellcheck, hadolint, zizmor, and check the links of the documentation
	@scripts/lint

docs: $(READY) ## build the documentation as a site in build/docs; a broken link is an error
	@scripts/build-docs

reference: $(READY) ## regenerate from the code: reference pages, man pages, completions, the JSON Schema of cm.toml
	@$(PYTHON) -m scripts.reference

bench: $(READY) ## measure cm-exec and the official SDKs in one run; ARGS="--quick" for a minute, ARGS="--help" for all options
	@$(PYTHON) -m benchmarks $(ARGS)

bundle: $(READY) ## build the self-contained cm-exec for any image: dist/cm-exec-VERSION-linux-amd64.tar.gz
	@scripts/build-bundle

image: ## build the base image that contains it, with docker, podman or buildah
	@scripts/build-image $(ARGS)

image-test: $(READY) ## run only the tests of both, in containers
	@scripts/image-test $(ARGS)

dist: $(READY) ## build and check the source distribution and the wheel
	@scripts/build-dist

release: $(READY) ## build and test all files of a release in dist/; nothing is published
	@scripts/release

clean: ## remove .venv and the files of the tools
	rm -rf .venv .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(READY): pyproject.toml scripts/create-venv
	@scripts/create-venv $@

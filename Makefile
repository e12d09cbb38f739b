# Two commands do all the set-up on a fresh machine: `make up` and `make test`.
PYTHON ?= python3
STAMP := .venv/.installed
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: install up down image test containers proof lint
install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

up: install
	.venv/bin/saga up --detach

down:
	.venv/bin/saga down

# What docker-compose.yml runs in every container of functions and adapters.
image:
	docker build --build-arg VERSION=$(VERSION) --tag saga-functions:$(VERSION) .

test: install
	.venv/bin/python -m pytest -m "not proof and not docker" -n 2 --dist loadfile

# On a Docker engine that has the images: tests/docker/engine and tests/docker/images see to both.
containers: install
	.venv/bin/python -m pytest -m docker

# Nothing lost, nothing twice: shown by killing processes, on the embedded broker and on Apache Kafka.
proof: install
	.venv/bin/python -m pytest -m proof

lint: install
	mkdir -p .links/saga
	for folder in functions runtime http stacks; do ln -sfn ../../$$folder .links/saga/$$folder; done
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

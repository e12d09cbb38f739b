# Two commands do all the set-up on a fresh machine: `make up` and `make test`.
PYTHON ?= python3
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help install lock jars assets up down image test coverage containers proof seeds kills matrix mutants lint

# Compiled once, not anew in each of the hundreds of processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

# Files that are as a whole for `make proof` or `make containers` are not even imported.
OTHERS = $(shell grep -rlE --include='test_*.py' '^pytestmark = .*mark\.(proof|docker)' tests)
TESTS = -m "not proof and not docker" $(addprefix --ignore=,$(OTHERS)) \
	-n 6 --dist loadfile --no-loadscope-reorder

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/.run ## start everything: a broker, the functions, sagas and adapters; installs what that needs
	.venv/bin/saga up --detach

down: ## drain and stop
	.venv/bin/saga down

test: install ## run the tests; installs what they need
	.venv/bin/python -m pytest $(TESTS)

# Of all processes that the tests start. A floor, not a goal: what no line runs, no test has seen.
coverage: install ## run the tests, and see that few lines are run by none of them
	rm -rf .coverage
	.venv/bin/coverage run -m pytest $(TESTS)
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report --include='runtime/*.py' --fail-under=97
	.venv/bin/coverage report --format=total --fail-under=88

lint: install ## run ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# On a Docker engine that has the images: tests/docker/engine and tests/docker/images see to both.
containers: install ## run the tests on a Docker engine
	.venv/bin/python -m pytest -m docker

# Nothing lost, nothing twice: shown by killing processes, on the embedded broker and on Apache Kafka.
proof: install ## show that nothing is lost or done twice: seeds and kills, side by side
	$(MAKE) --jobs=2 seeds kills

seeds: install ## simulate the orders from a thousand seeds that nobody has tried
	.venv/bin/saga simulate --seeds 1000 --first $$(date +%s)

# Half of their time is waiting, for sessions that run out and for what is due: hence four at a time,
# and what waits beside what computes. What takes long begins first, so that nothing long is left alone
# at the end; to collect all of the other tests, too, would take each of the four as long as one of these.
PROOFS = $(shell grep -rl --include='test_*.py' 'pytest.mark.proof' tests)
LONGEST = $(patsubst %,tests/%.py,integration/test_chaos integration/test_crash_points \
	integration/test_resilience_outages contract/test_transport_faults integration/test_resilience_retries \
	integration/test_poisonous_messages integration/test_kafka_server integration/test_vanished_postgres \
	integration/test_console integration/test_partitions integration/test_healing \
	integration/test_deploying_systems integration/test_kafka_secured saga/test_simulation \
	contract/test_out_of_group unit/http/test_schemathesis contract/test_topics \
	docs/test_performance_docs docs/test_wheel integration/test_deploying_orders \
	docs/test_examples integration/test_odd_environment)
kills: install ## run the tests that kill real processes for minutes
	.venv/bin/python -m pytest -m proof -n 4 --dist loadfile --no-loadscope-reorder \
		$(LONGEST) $(filter-out $(LONGEST),$(PROOFS))

matrix: install ## write docs/failure-matrix.md from what a run of its test sees
	FAILURE_MATRIX=docs/failure-matrix.md .venv/bin/python -m pytest tests/integration/test_crash_points.py

# By hand or by night: an hour for all; FILES=runtime/inbox.py for one.
mutants: install ## change the code a little, and show which changes no test notices; FILES=... for some
	PYTHONPATH=tests .venv/bin/python -m mutants.run $(FILES)

# What docker-compose.yml runs in every container of functions and adapters.
image: ## build the image of the containers
	docker build --build-arg VERSION=$(VERSION) --tag saga-functions:$(VERSION) .

install: .venv/.dev ## install what running, tests and lint need into .venv

# Pins stay as long as pyproject.toml agrees with them.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' .venv/bin/uv pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --annotation-style line $(and $(UPGRADE),--upgrade)
lock: .venv/bin/uv ## pin what pyproject.toml asks for; UPGRADE=1 takes the newest versions
	$(COMPILE) --output-file requirements/run.txt pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --constraint requirements/run.txt --extra dev pyproject.toml
	$(COMPILE) --output-file requirements/peers.txt requirements/peers.in
	echo uv | $(COMPILE) --output-file requirements/uv.txt --constraint requirements/dev.txt -

# Kafka's own version, as docker-compose.yml has it.
jars: install ## pin the jars of a version of Apache Kafka; KAFKA=4.3.1
	.venv/bin/python requirements/kafka_jars.py $(KAFKA) > .venv/kafka_jars
	mv .venv/kafka_jars runtime/kafka/jars.txt

# By hand: with npm, which nothing else needs.
assets: ## fetch the console's script of others, and pin it; HTMX=4.0.1
	requirements/console_assets $(HTMX)

.venv/bin/uv: requirements/uv.txt
	@requirements/install uv $(PYTHON)
	@touch $@

BROKER = $(addprefix runtime/kafka/broker/,main.go go.mod go.sum pyproject.toml build_broker.py)
.venv/.run: .venv/bin/uv requirements/run.txt pyproject.toml $(BROKER)
	@requirements/install run
	@[ -e .venv/saga-functions-broker.failed ] || touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	@requirements/install dev
	@touch $@

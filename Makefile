# The conductor. `make help` lists what it does.
SHELL      := /bin/bash
PG_MAJOR   ?= 15
PG_CONFIG  ?= /usr/lib/postgresql/$(PG_MAJOR)/bin/pg_config
PYTHON     ?= /usr/bin/python3
export PG_MAJOR PG_CONFIG PYTHON

# A private copy of PostgreSQL's tree: `make install` and the tests leave the system's alone.
PG_TREE    := $(shell scripts/pgtree --path)

.PHONY: help all deps build install demo demo-stop psql test test-peers test-majors test-all bench torture release clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

all: build

deps: ## install what is missing (Debian packages)
	@scripts/deps

build: deps ## build the extension and the workers, install both into the private tree
	@$(MAKE) --no-print-directory -s -C extension
	@$(MAKE) --no-print-directory -s -C workers
	@scripts/pgtree
	@$(MAKE) --no-print-directory -s -C extension install DESTDIR=$(PG_TREE) >/dev/null

install: deps ## install the extension into the system's PostgreSQL (as root), and the workers
	$(MAKE) -C extension install
	$(MAKE) -C workers install

demo: build ## a day of a gift-certificate business, from Kafka to Kafka and over HTTP, in a minute
	@$(PYTHON) test/demo/demo.py

demo-stop: ## stop the database server and the gateway that the demo left for looking around
	@$(PYTHON) test/demo/demo.py --end

psql: ## psql in the demo's database
	@$(PYTHON) test/demo/demo.py --psql

test: build ## everything that must hold; ends with "N passed, N failed"
	@$(PYTHON) test/run.py

test-peers: build ## with Keycloak, PostgREST, browsers and clients that nobody here wrote
	@$(PYTHON) test/run.py peers postgrest

test-majors: ## build and test with later majors of PostgreSQL (as root; fetches Debian suites)
	@scripts/majors

test-all: build ## both, as CI does
	@$(PYTHON) test/run.py --all

bench: build ## each figure beside its baseline, as JSON lines
	@$(PYTHON) test/bench/bench.py

torture: build ## kill everything under load; SEED= FAULTS= DURATION= (seconds) choose the run
	@SEED="$(SEED)" FAULTS="$(FAULTS)" DURATION="$(DURATION)" $(PYTHON) test/torture/torture.py

release: build ## freeze this version: scripts, checksums, a filled database for the update tests; AGAIN=yes as long as it has no tag
	@scripts/release $(if $(AGAIN),--again)

clean: ## remove what was built
	-@$(MAKE) --no-print-directory -s -C extension clean
	-@$(MAKE) --no-print-directory -s -C workers clean
	rm -rf build

# conmon: `make help` lists what can be made.
# The work is done by the scripts in tools/; this file names it.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
DESTDIR ?=
WHAT ?= build
MESON_OPTIONS ?=
RUNTIME ?=
PYTEST_ARGS ?=
PEERS ?=
BENCH_ARGS ?=
BENCH_BUSY ?= 6
FUZZ_ARGS ?=
RESULTS ?= bench/results.json
FAULTS_ARGS ?=
SECONDS ?= 600
AREA ?=
AREA_TESTS = tests/core tests/unit tests/contract tests/real_podman tests/ctl tests/watch
SYSTEM ?= debian13
SYSTEMS ?= here debian13 testing vm arm64 arm64-16k
export PYTHON

# Most tests wait for half of their time, and on a busy machine each gets its share of it.
JOBS ?= $(shell n=$$(($$(nproc) * 3)); echo $$((n < 8 ? n : 8)))

BIN = build/venv/bin
# In their own order: the tests of tests/build, which compile for minutes, are not left to the end.
PYTEST = $(BIN)/python -P -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
PEER_CONMON = $(patsubst %,--conmon %,$(wildcard /usr/bin/conmon))
FAULTS = PYTHONPATH=tests $(BIN)/python -P -m faults
PYTHON_CODE = conmon tests tools demo bench
CYTHON_CODE = conmon/*.pyx conmon/*.pxd conmon/core/*.pxd tests/fuzz/*.pyx tests/fuzz/*.pxd
# conmon before it got the image of its interpreter (conmon/_image.pyx); absent without one
ORDINARY = build/meson/conmon-linked

.DEFAULT_GOAL := all
.NOTPARALLEL:
.PHONY: all help deps install podman crio uninstall demo check lint format test test-core \
	test-ordinary test-podman many fuzz faults faults-page soak check-sanitized dev contract \
	bench bench-quick bench-system bench-instructions bench-page bench-dev \
	system check-system check-vm check-everywhere clean clean-systems

all: ## build build/conmon
	@tools/build.sh $(MESON_OPTIONS)

help: ## list the targets and variables
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 20
	@printf '\n'; printf '%s\n' 'Variables: PYTHON (to build with), PREFIX ($(PREFIX)), BINDIR, LIBEXECDIR,' \
	  'DESTDIR, MESON_OPTIONS (-Dlibpython=shared ...), PYTEST_ARGS, AREA, JOBS, RUNTIME (of the demo),' \
	  'PEERS (other conmons for the benchmarks), BENCH_ARGS (--only k8s-file ...),' \
  'SECONDS (of soak, or of fuzz for each target: $(SECONDS)), FUZZ_ARGS (control notify --minimise ...).'

deps: ## install what the distribution must provide: WHAT=build, demo, test, fuzz, system, arm64 ...
	@tools/deps.sh $(WHAT)

# What was built is installed as it is: root, who installs, may find another Python first in its
# PATH than the user who built, and would build all anew with it.
build/conmon:
	@tools/build.sh $(MESON_OPTIONS)

install: build/conmon ## install conmon to BINDIR
	@tools/install.sh '$(DESTDIR)$(BINDIR)'

podman: build/conmon ## install conmon to LIBEXECDIR/podman, where podman looks first
	@tools/install.sh '$(DESTDIR)$(LIBEXECDIR)/podman'

crio: build/conmon ## install conmon to LIBEXECDIR/crio
	@tools/install.sh '$(DESTDIR)$(LIBEXECDIR)/crio'

uninstall: ## remove conmon from these three
	rm -f '$(DESTDIR)$(BINDIR)/conmon' '$(DESTDIR)$(LIBEXECDIR)/podman/conmon' \
	  '$(DESTDIR)$(LIBEXECDIR)/crio/conmon'

demo: ## install what is missing, build, and run a container before your eyes
	@tools/deps.sh demo || echo 'The demo goes on with what is there.'
	@tools/build.sh $(MESON_OPTIONS)
	@$(BIN)/python -m demo build/conmon $(RUNTIME)

check: ## set the tests up, build, lint and run all tests
	@tools/deps.sh test || { test $$? = 3 && echo 'The tests go on with what is there.'; }
	@tools/deps.sh fuzz || echo 'There will be no fuzzing.'
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-ordinary

dev: all
	@$(BIN)/python tools/venv.py build/venv test lint ctl

lint: dev ## check style and types
	$(BIN)/ruff check --quiet $(PYTHON_CODE)
	$(BIN)/ruff format --quiet --check $(PYTHON_CODE)
	PATH=$(BIN):$$PATH cython-lint $(CYTHON_CODE)
	$(BIN)/python tools/unused_cimports.py $(CYTHON_CODE)
	$(BIN)/mypy --no-error-summary $(PYTHON_CODE)

format: dev ## format the Python code
	$(BIN)/ruff format $(PYTHON_CODE)

test: dev ## run all tests, those of an AREA (attach, rotate ...), or what PYTEST_ARGS names
	$(PYTEST) $(if $(AREA),-k '$(AREA)' $(AREA_TESTS)) $(PYTEST_ARGS)

test-core: ## run the tests that call functions, in half a minute; no program is built for them
	@tools/build.sh --package $(MESON_OPTIONS)
	@$(BIN)/python tools/venv.py build/venv test ctl
	$(PYTEST) --dist load tests/core tests/unit $(PYTEST_ARGS)

test-ordinary: dev ## run the contract's tests with a conmon whose interpreter starts the ordinary way
	[ ! -e $(ORDINARY) ] || $(PYTEST) tests/contract --conmon $(ORDINARY) $(PYTEST_ARGS)

test-podman: dev ## run the tests with podman only
	$(PYTEST) tests/real_podman $(PYTEST_ARGS)

many: dev ## run 10,000 containers, 10,000 sessions and 1,000 monitors at one time
	$(BIN)/python -P -m pytest tests/contract/test_many.py --many 10000 -o timeout=3600

fuzz: dev ## feed random bytes to all that reads foreign ones: SECONDS=3600 for each target
	@tools/deps.sh fuzz || { test $$? = 3 && echo 'Perhaps there is another clang.'; }
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) $(FUZZ_ARGS)

soak: dev ## write numbered lines, and look for any that is lost: SECONDS=600 in all
	$(BIN)/python -P -m pytest tests/proof --proof-seconds $(SECONDS) \
	  --timeout $$(($(SECONDS) + 600)) $(PYTEST_ARGS)

faults: dev ## let each system call fail in turn, beside C conmon: FAULTS_ARGS (--session create ...)
	@$(FAULTS) --conmon build/conmon $(PEER_CONMON) --json build/faults.json $(FAULTS_ARGS)

faults-page: ## write the table of build/faults.json into docs/reliability.md
	@$(FAULTS).page build/faults.json docs/reliability.md

check-sanitized: dev ## run the core's and the contract's tests with AddressSanitizer and UBSan
	@tools/build-sanitized.sh
	tools/test-sanitized.sh $(BIN)/python -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

contract: ## write docs/contract.md and docs/differences.md from the tests
	@for page in contract differences; do \
	  python3 tools/$${page}_table.py >docs/$$page.md.new && mv docs/$$page.md.new docs/$$page.md \
	    || exit; done

bench: bench-dev ## measure beside C conmon and PEERS, quiet and beside BENCH_BUSY=6: 20 minutes
	@$(BIN)/python -m bench --busy $(BENCH_BUSY) --json build/bench/results.json $(BENCH_ARGS) \
	  build/conmon /usr/bin/conmon $(PEERS)
	@$(BIN)/python -m bench.page build/bench/results.json build/bench/benchmarks.md

bench-quick: bench-dev ## the same with fewer samples: 2 minutes
	@$(BIN)/python -m bench --quick --json build/bench/quick.json $(BENCH_ARGS) \
	  build/conmon /usr/bin/conmon $(PEERS)

bench-instructions: all ## count instructions beside C conmon; needs valgrind, minds no noise
	@$(BIN)/python -m bench.instructions build/conmon /usr/bin/conmon $(PEERS)

bench-system: ## measure beside the C conmon of another system, for docs/benchmarks.md: SYSTEM=testing
	@tools/lay-system.sh $(SYSTEM)
	@tools/in-system.sh $(SYSTEM) make --no-print-directory bench BENCH_ARGS='$(BENCH_ARGS)'
	@cp build/systems/$(SYSTEM)/src/build/bench/results.json bench/results-$(SYSTEM).json

bench-page: ## make docs/benchmarks.md and README's table; anew from RESULTS=build/bench/results.json
	@$(BIN)/python tools/venv.py build/venv bench
	@[ '$(RESULTS)' = bench/results.json ] || cp '$(RESULTS)' bench/results.json
	@$(BIN)/python -m bench.page bench/results.json docs/benchmarks.md
	@$(BIN)/python -m bench.readme bench/results.json README.md

bench-dev: all
	@tools/deps.sh test || { test $$? = 3 && echo 'What is missing is not measured.'; }
	@$(BIN)/python tools/venv.py build/venv bench

system: ## lay a system to test in, as a folder: SYSTEM=debian13, testing or arm64
	@tools/lay-system.sh $(SYSTEM)

check-system: ## build conmon in that system, and run the tests there; also SYSTEM=arm64-16k
	@tools/check-system.sh $(SYSTEM) $(JOBS) $(PYTEST_ARGS)

check-vm: ## start a whole machine, with systemd and cgroup v2, for the tests that need one
	@tools/check-system.sh vm $(JOBS)

check-everywhere: dev ## the same in all SYSTEMS, and write docs/systems.md: hours
	@for system in $(SYSTEMS); do \
	  $(BIN)/python tools/everywhere.py check $$system $(JOBS) || \
	    failed="$$failed $$system"; \
	done; $(BIN)/python tools/everywhere.py page >docs/systems.md; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

clean: ## remove what was built, but for systems
	[ ! -e build ] || find build -mindepth 1 -maxdepth 1 ! -name systems -exec rm -rf {} +

clean-systems: ## remove the systems
	rm -rf build/systems

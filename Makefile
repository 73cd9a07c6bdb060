# What there is to do, one target each; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The project whose workers are meant, and which of them: make agents-start PROJECT=~/work/app ROLES="builder tester"
PROJECT ?= .
ROLES ?=
# auto, systemd or process
BACKEND ?= auto

# So many runs of the store beside its table: four minutes on two busy cores, nearly all of it waits of the store's.
CASES ?= 2000

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
agentctl = scripts/agentctl -C '$(PROJECT)'

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## The release binaries: agentctl, agent-daemon, agent-sim
	$(CARGO) build --release --locked --bins

.PHONY: demo
demo: ## A simulated sprint of six tasks with five workers, in a scratch project, about 15 seconds
	$(CARGO) build --locked --bins
	@$(TARGET)/debug/agentctl demo

.PHONY: picture
picture: ## docs/demo.svg anew, from a real run of the demo in a terminal
	$(CARGO) build --locked --bins
	scripts/picture.sh

.PHONY: check
check: ## Format, lints, documentation, licences: what needs no running
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --workspace --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc --locked --workspace --no-deps --all-features --document-private-items
	@scripts/install-tools.sh
	$(TARGET)/tools/bin/cargo-deny --log-level error check bans licenses sources

.PHONY: test
test: ## All tests; installs the system packages that they use where it may
	@scripts/install-test-deps.sh
	@scripts/install-agents.sh claude codex || echo 'note: their tests are skipped' >&2
	$(CARGO) test --locked --workspace --features failpoints $(TEST_ARGS)

.PHONY: test-agents
test-agents: ## The tests with all five real agent programs, against a model provider on the loopback, and with package registries; a few minutes
	@scripts/install-test-deps.sh
	@scripts/install-agents.sh
	OODATCAA_NEED_AGENTS='claude codex gemini opencode qwen' \
		$(CARGO) test --locked --test it real_agents -- --include-ignored --test-threads=2
	$(CARGO) test --locked -p oodatcaa-process --test process toolchains -- --include-ignored

.PHONY: torture
torture: ## Crashes, storms and the model at full size, half an hour (SEED=N to repeat a storm, CASES=2000)
	$(CARGO) test --locked --features failpoints --test it -- --ignored --nocapture --test-threads=1 \
		torture_at_full_size storm_at_full_size every_file_at_full_size power_cuts_at_full_size kills_at_every_call failures_of_every_call in_a_long_storm
	PROPTEST_CASES=$(CASES) $(CARGO) test --locked -p oodatcaa-store --features failpoints --test store -- --nocapture machine
	$(CARGO) test --locked --release --test it -- --ignored --nocapture --test-threads=1 model_at_full_size

.PHONY: plant-bugs
plant-bugs: ## Plants three bugs in a scratch copy, one at a time: at least two methods must find each
	scripts/plant-bugs.sh

.PHONY: proof
proof: ## Run everything that shows something and write docs/PROOF.md (STAGES="tests torture plant-bugs fuzz mutants bench")
	scripts/proof.sh $(STAGES)

.PHONY: fuzz
fuzz: ## Hostile bytes for everything that reads what others wrote (FUZZ_SECONDS=60 for each, FUZZ_TARGET="queue lease", SEED=N)
	@scripts/fuzz.sh

.PHONY: mutants
mutants: ## Small bugs planted into lease, claim, settle and rescue: each must be noticed by a unit test; ten minutes
	@scripts/mutants.sh

.PHONY: bench
bench: ## How fast and how small, beside floors and peers (BENCH_QUICK=1, BENCH_ONLY=dispatch,idle, BENCH_OUT=FILE)
	scripts/install-bench-peers.sh
	$(CARGO) bench --locked --bench fleet

.PHONY: agents-start
agents-start: ## Start the workers (PROJECT=DIR ROLES="builder tester" BACKEND=auto|systemd|process)
	@$(agentctl) fleet start --backend $(BACKEND) $(ROLES)

.PHONY: agents-stop
agents-stop: ## Stop the workers; running attempts may end first
	@$(agentctl) fleet stop --backend $(BACKEND) $(ROLES)

.PHONY: agents-restart
agents-restart: ## Stop the workers and start them again
	@$(agentctl) fleet restart --backend $(BACKEND) $(ROLES)

.PHONY: agents-status
agents-status: ## Which workers run, since when, and where their logs are
	@$(agentctl) fleet status --backend $(BACKEND) $(ROLES)

.PHONY: sprint-status
sprint-status: ## How the sprint stands, and SPRINT_STATUS.json (PROJECT=DIR)
	@$(agentctl) sprint status --write

.PHONY: sprint-complete
sprint-complete: ## Complete the sprint: archive, retrospective, log, tag (FORCE=1, DRY_RUN=1)
	@$(agentctl) sprint complete $(if $(FORCE),--force) $(if $(DRY_RUN),--dry-run)

.PHONY: sprint-new
sprint-new: ## Begin the next sprint; open tasks go on (FORCE=1 asks nothing, DRY_RUN=1, GOAL="…")
	@$(agentctl) sprint new --rollover $(if $(FORCE),--yes) $(if $(DRY_RUN),--dry-run) $(if $(GOAL),--goal '$(GOAL)')

.PHONY: log-rotate
log-rotate: ## Move the old part of long logs to the archive (DRY_RUN=1)
	@$(agentctl) sprint rotate $(if $(DRY_RUN),--dry-run)

.PHONY: log-status
log-status: ## How long the logs are, and what would be rotated
	@$(agentctl) sprint rotate --dry-run

.PHONY: install-services
install-services: ## Install the workers as systemd units of this user (PROJECT=DIR)
	@systemd/install-services.sh '$(PROJECT)'

.PHONY: uninstall-services
uninstall-services: ## Stop, disable and remove those units (PROJECT=DIR)
	@systemd/uninstall-services.sh '$(PROJECT)'

.PHONY: schema
schema: ## Write schema/cli.schema.json, what --json prints, from the types that print it
	UPDATE=1 $(CARGO) test --locked --features failpoints --test it cli::schema::the_published_schema

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean

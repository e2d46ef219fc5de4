# GNU make. `make` builds build/bond-broker, `make help` lists the rest.
#
#   CC=clang      another compiler       WERROR=1  warnings are errors (CI=true says so too)
#   BUILD=out     another place          JOBS=4    compile so many files at once

VERSION := $(shell cat VERSION)
BUILD   ?= build
JOBS    ?= $(shell nproc)
PREFIX  ?= /usr/local
IMAGE   ?= bond-broker:$(VERSION)

ifeq ($(origin CC),default)
CC := gcc
endif
FUZZ_CC ?= clang# libFuzzer is Clang's

ifeq ($(CI),true)
WERROR ?= 1
endif
WERROR_FLAG = $(if $(filter 1,$(WERROR)),-Werror)

# One goal is compiled on all processors; several (make clean test) go one after
# the other.
ifeq ($(MAKELEVEL)$(filter-out 0 1,$(words $(MAKECMDGOALS))),0)
MAKEFLAGS += -j$(JOBS)
endif

# ---------------------------------------------------------------- flags

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-qual -Wwrite-strings -Wvla
CPPFLAGS += -D_GNU_SOURCE -DBOND_VERSION='"$(VERSION)"' -Isrc
CFLAGS   ?= -g
STD      := -std=gnu17
LDLIBS   := -lssl -lcrypto -lz -ljansson -lpthread -lm

# A flavour is one way to compile everything: its compiler, its flags for
# compiling and linking, its directory. Objects live in build/obj/<flavour>.
FLAVOURS := release asan tsan fuzz sim simasan

CC_release  = $(CC)
DIR_release = $(BUILD)
CF_release  = -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LF_release  = -pie -Wl,-z,relro,-z,now

CC_asan  = $(CC)
DIR_asan = $(BUILD)/asan
CF_asan  = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LF_asan  = -fsanitize=address,undefined

CC_tsan  = $(CC)
DIR_tsan = $(BUILD)/tsan
CF_tsan  = -O1 -fno-omit-frame-pointer -fsanitize=thread
LF_tsan  = -fsanitize=thread

CC_fuzz  = $(FUZZ_CC)
DIR_fuzz = $(BUILD)/fuzz
CF_fuzz  = -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LF_fuzz  = -fsanitize=fuzzer,address,undefined

# The simulator: its variables are moved (tests/sim/sim.mk), and so must not be addressed as PIE's.
CC_sim  = $(CC)
DIR_sim = $(BUILD)/sim
CF_sim  = -O2 -fno-pie -Itests/sim
LF_sim  = -no-pie

CC_simasan  = $(CC)
DIR_simasan = $(BUILD)/simasan
CF_simasan  = -O1 -fno-omit-frame-pointer -fno-pie -Itests/sim -fsanitize=address,undefined \
              -fno-sanitize-recover=all
LF_simasan  = -no-pie -fsanitize=address,undefined

# ---------------------------------------------------------------- what there is

SOURCES := $(wildcard src/*.c src/*/*.c)
UNITS   := $(wildcard tests/unit/*/test_*.c tests/model/*.c) # each a cmocka program
FUZZERS := $(wildcard tests/fuzz/*/*.c)                      # each a libFuzzer harness
SCRIPTS := $(shell grep -lE '^\#!.*/(ba)?sh' tools/* bench/* .ci/run 2>/dev/null)

all: $(BUILD)/bond-broker ## build/bond-broker (the default)

# $(call flavour,NAME): the rules of one flavour.
define flavour
OBJ_$1 := $(BUILD)/obj/$1

# Rewritten when the command changes: then everything is compiled again.
$$(OBJ_$1)/command: FORCE
	@mkdir -p $$(@D)
	@echo '$$(subst ','\'',$$(COMPILE_$1))' | cmp -s - $$@ || echo '$$(subst ','\'',$$(COMPILE_$1))' > $$@

COMPILE_$1 = $$(CC_$1) $$(STD) $$(CPPFLAGS) $$(WARNINGS) $$(CFLAGS) $$(CF_$1)

$$(OBJ_$1)/%.o: %.c $$(OBJ_$1)/command
	@mkdir -p $$(@D)
	@echo "  cc $1 $$<"
	@$$(COMPILE_$1) $$(WERROR_FLAG) -MMD -MP -c -o $$@ $$<

$$(DIR_$1)/libbond.a: $$(patsubst %.c,$$(OBJ_$1)/%.o,$$(filter-out src/main.c,$$(SOURCES)))
	@rm -f $$@ && mkdir -p $$(@D)
	@ar rcs $$@ $$^

$$(DIR_$1)/bond-broker: $$(OBJ_$1)/src/main.o $$(DIR_$1)/libbond.a
	@echo "  ld $$@"
	@$$(CC_$1) $$(CFLAGS) $$(CF_$1) $$(LDFLAGS) $$(LF_$1) -o $$@ $$^ $$(LDLIBS)

$$(DIR_$1)/unit/%: $$(OBJ_$1)/tests/unit/%.o $$(DIR_$1)/libbond.a
	@mkdir -p $$(@D)
	@$$(CC_$1) $$(CFLAGS) $$(CF_$1) $$(LDFLAGS) $$(LF_$1) -o $$@ $$^ -lcmocka $$(LDLIBS)

$$(DIR_$1)/model/%: $$(OBJ_$1)/tests/model/%.o $$(DIR_$1)/libbond.a
	@mkdir -p $$(@D)
	@$$(CC_$1) $$(CFLAGS) $$(CF_$1) $$(LDFLAGS) $$(LF_$1) -o $$@ $$^ -lcmocka $$(LDLIBS)

# All of a flavour that the tests need.
compile-$1: $$(DIR_$1)/bond-broker $$(UNITS:tests/%.c=$$(DIR_$1)/%)
.PHONY: compile-$1

-include $$(wildcard $$(OBJ_$1)/src/*.d $$(OBJ_$1)/src/*/*.d $$(OBJ_$1)/tests/*/*.d $$(OBJ_$1)/tests/*/*/*.d)
endef
$(foreach f,$(FLAVOURS),$(eval $(call flavour,$f)))

# The fuzz flavour builds harnesses instead of a broker.
compile-harnesses: $(FUZZERS:tests/fuzz/%.c=$(DIR_fuzz)/%)
$(DIR_fuzz)/%: $(OBJ_fuzz)/tests/fuzz/%.o $(DIR_fuzz)/libbond.a
	@mkdir -p $(@D)
	@$(CC_fuzz) $(CFLAGS) $(CF_fuzz) $(LDFLAGS) $(LF_fuzz) -o $@ $^ $(LDLIBS)

# ---------------------------------------------------------------- run and test

run: ## a Redis, the broker on 8080, a sample feed: a stream to watch; Ctrl-C ends it
	@tools/deps build run
	@$(MAKE) --no-print-directory all
	@tools/run

deps: ## install the Debian packages that are missing (DEPS="build run test browser")
	@tools/deps $(or $(DEPS),build run test browser)

test: ## everything: unit, fuzz (short), serve, then ASan+UBSan and TSan
	@tools/deps build run test browser $(if $(CI),metrics)
	@tools/test

unit: ## tests of single files, and of the log against its model
serve: ## end-to-end tests: the real broker with a real Redis
asan: ## unit and serve on an ASan+UBSan build
tsan: ## unit and serve on a TSan build
unit serve asan tsan:
	@tools/test $@

fuzz: ## each fuzz harness for FUZZ_SECONDS (60)
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) tools/test fuzz

soak: $(BUILD)/bond-broker ## the checker for SECONDS (600) from SEED on: kills, floods, trims
	@BOND_BROKER_BIN=$(or $(BOND_BROKER_BIN),$(BUILD)/bond-broker) /usr/bin/python3 \
	    tests/serve/checker.py --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

include tests/sim/sim.mk

# The model of Redis that the simulated world uses (tests/sim/redis), held against a real one.
SIM_REDIS := $(wildcard tests/sim/redis/*.c)
define sim-redis
$$(DIR_$1)/sim/redis-unit: $$(patsubst %.c,$$(OBJ_$1)/%.o,$$(SIM_REDIS) tests/sim/redis/unit/test_model.c) $$(DIR_$1)/libbond.a
	@mkdir -p $$(@D)
	@$$(CC_$1) $$(CFLAGS) $$(CF_$1) $$(LDFLAGS) $$(LF_$1) -o $$@ $$^ -lcmocka $$(LDLIBS)

$$(DIR_$1)/sim/redis-compare: $$(patsubst %.c,$$(OBJ_$1)/%.o,$$(SIM_REDIS) $$(wildcard tests/sim/redis/compare/*.c)) $$(DIR_$1)/libbond.a
	@mkdir -p $$(@D)
	@$$(CC_$1) $$(CFLAGS) $$(CF_$1) $$(LDFLAGS) $$(LF_$1) -o $$@ $$^ $$(LDLIBS)

-include $$(wildcard $$(OBJ_$1)/tests/sim/redis/*.d $$(OBJ_$1)/tests/sim/redis/*/*.d)
endef
$(foreach f,release asan,$(eval $(call sim-redis,$f)))

sim-redis: $(BUILD)/sim/redis-unit $(BUILD)/sim/redis-compare ## the model of Redis against a real one: COMMANDS (20000) from SEED (1) on
	@$(BUILD)/sim/redis-unit
	@$(BUILD)/sim/redis-compare --commands $(or $(COMMANDS),20000) --seed $(or $(SEED),1)

# ---------------------------------------------------------------- bench

$(BUILD)/bond-bench: $(patsubst %.c,$(OBJ_release)/%.o,$(wildcard bench/*.c)) $(BUILD)/libbond.a
	@echo "  ld $@"
	@$(CC) $(CFLAGS) $(CF_release) $(LDFLAGS) $(LF_release) -o $@ $^ $(LDLIBS)

-include $(wildcard $(OBJ_release)/bench/*.d)
compile-release: $(BUILD)/bond-bench

bench: ## measure: all scenarios, or SCENARIOS="fanout-1k latency" (bench/README.md)
	@tools/deps build run
	@$(MAKE) --no-print-directory $(BUILD)/bond-broker $(BUILD)/bond-bench
	@bench/run $(SCENARIOS)

# ---------------------------------------------------------------- code hygiene

C_FILES = $(wildcard src/*.[ch] src/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch] tests/*/*/*/*.[ch] bench/*.[ch])

lint: ## both compilers with -Werror, the house, clang-format, clang-tidy, shellcheck
	@tools/deps build test lint
	tools/check-house
	@$(MAKE) --no-print-directory CC=gcc BUILD=$(BUILD)/lint/gcc WERROR=1 compile-release
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/lint/clang WERROR=1 compile-release
	clang-format --dry-run -Werror $(C_FILES)
	printf '%s\n' $(SOURCES) | xargs -P $(JOBS) -I{} clang-tidy --quiet {} -- $(STD) $(CPPFLAGS)
	shellcheck $(SCRIPTS)

format: ## clang-format all C files
	clang-format -i $(C_FILES)

clean: ## remove build/
	rm -rf $(BUILD)

# ---------------------------------------------------------------- deliver

# The manual page is printed by the program, from the tables that it goes by itself.
$(BUILD)/bond-broker.1: $(BUILD)/bond-broker
	@$< help --man > $@

install: $(BUILD)/bond-broker $(BUILD)/bond-broker.1 ## into PREFIX (/usr/local), below DESTDIR
	install -D -m 755 $(BUILD)/bond-broker $(DESTDIR)$(PREFIX)/bin/bond-broker
	install -D -m 644 $(BUILD)/bond-broker.1 $(DESTDIR)$(PREFIX)/share/man/man1/bond-broker.1
	install -D -m 644 infra/bond-broker.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bond-broker
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/bond-broker/LICENSE
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' infra/bond-broker.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/bond-broker.service

build: ## the container image (IMAGE=bond-broker:VERSION)
	docker build -f infra/Dockerfile.broker -t $(IMAGE) .

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { split($$1, names, " "); \
	    for (i = 1; i in names; i++) printf "make %-9s %s\n", names[i], $$2 }' Makefile

FORCE:
.PHONY: all run deps test soak sim-redis unit serve asan tsan fuzz bench lint format clean install build help compile-harnesses FORCE
.SECONDARY:
.DELETE_ON_ERROR:

# The simulator (tests/sim/README.md): the broker's objects, linked with their variables in
# sections of their own, so that each simulated process has a copy, and with the world in the
# place of the system (-Wl,--wrap).

SIM_SOURCES := $(wildcard tests/sim/*.c) $(wildcard tests/sim/redis/*.c)

SIM_CALLS := epoll_create1 epoll_ctl epoll_wait eventfd read write open close \
             socket bind listen accept4 connect recv send sendmsg shutdown ioctl \
             getsockopt setsockopt getsockname getpeername getaddrinfo freeaddrinfo \
             pthread_create pthread_join pthread_sigmask sigwait sigtimedwait prctl \
             pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_unlock \
             clock_gettime getrandom getrlimit setrlimit getenv \
             malloc calloc realloc free strdup strndup asprintf vasprintf \
             deflateInit2_ inflateInit2_
SIM_WRAPS := $(SIM_CALLS:%=-Wl,--wrap=%)

# $(call simulator,FLAVOUR)
define simulator
$$(DIR_$1)/bond.o: $$(patsubst %.c,$$(OBJ_$1)/%.o,$$(filter-out src/main.c,$$(SOURCES)))
	@mkdir -p $$(@D)
	@ld -r -o $$@.plain $$^
	@objcopy --rename-section .data=bond_data \
	    --rename-section .bss=bond_bss,alloc,load,data,contents $$@.plain $$@

$$(DIR_$1)/simulator: $$(patsubst %.c,$$(OBJ_$1)/%.o,$$(SIM_SOURCES)) $$(DIR_$1)/bond.o
	@echo "  ld $$@"
	@$$(CC_$1) $$(CFLAGS) $$(CF_$1) $$(LDFLAGS) $$(LF_$1) $$(SIM_WRAPS) -o $$@ $$^ $$(LDLIBS)

-include $$(wildcard $$(OBJ_$1)/tests/sim/*.d $$(OBJ_$1)/tests/sim/redis/*.d)
endef
$(foreach f,sim simasan,$(eval $(call simulator,$f)))

SIM_OPTIONS = SEED=$(SEED) WORLDS=$(WORLDS) SECONDS=$(SECONDS) TRACE=$(TRACE) KEEP=$(KEEP) \
              SHRINK=$(SHRINK) TWICE=$(TWICE) SHORT_MEMORY=$(SHORT_MEMORY)

sim: $(DIR_sim)/simulator ## worlds of one seed each: SEED=1 WORLDS= SECONDS=10 TRACE= SHRINK=
	@$< $(SIM_OPTIONS)

sim-asan: $(DIR_simasan)/simulator ## the same under ASan and UBSan
	@$< $(SIM_OPTIONS)

sim-seeds: $(DIR_sim)/simulator ## the seeds that failed once
	@$< SEEDS=tests/sim/seeds

sim-mutants: ## bugs that are planted, each of which the simulator must find
	@tests/sim/mutate

.PHONY: sim sim-asan sim-seeds sim-mutants

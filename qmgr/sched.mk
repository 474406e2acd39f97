# SPDX-License-Identifier: ISC
# The pure scheduler. Link libsched.a before $(LIB_CONF).
noinst_LIBRARIES += libsched.a
libsched_a_SOURCES = \
	qmgr/diagnose.c qmgr/diagnose.h \
	qmgr/sched.c qmgr/sched.h qmgr/sched_private.h \
	qmgr/sched_adapt.c \
	qmgr/sched_bind.c \
	qmgr/sched_check.c \
	qmgr/sched_delay.c \
	qmgr/sched_dest.c \
	qmgr/sched_dispatch.c \
	qmgr/sched_heap.c \
	qmgr/sched_hint.c \
	qmgr/sched_info.c \
	qmgr/sched_ip.c \
	qmgr/sched_prio.c \
	qmgr/sched_limit.c \
	qmgr/sched_msg.c \
	qmgr/sched_pace.c \
	qmgr/sched_queue.c \
	qmgr/sched_rcpt.c \
	qmgr/sched_reply.c \
	qmgr/sched_result.c \
	qmgr/sched_retry.c \
	qmgr/sched_session.c \
	qmgr/sched_site.c \
	qmgr/sched_source.c \
	qmgr/sched_used.c \
	qmgr/sched_wait.c \
	qmgr/sched_warmup.c

# The scheduler in a simulated world: for `pinnace simulate` and scenarios.
noinst_LIBRARIES += libworld.a
libworld_a_SOURCES = \
	qmgr/simulate.c qmgr/simulate.h \
	qmgr/world.c qmgr/world.h

check_PROGRAMS += tests/unit/qmgr/test_sched
TESTS += tests/unit/qmgr/test_sched
tests_unit_qmgr_test_sched_SOURCES = \
	tests/unit/qmgr/fakeworld.c tests/unit/qmgr/fakeworld.h \
	tests/unit/qmgr/test_sched.c tests/unit/qmgr/test_sched_delay.c \
	tests/unit/qmgr/test_sched_random.c
tests_unit_qmgr_test_sched_LDADD = libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_CHECK)

check_PROGRAMS += tests/unit/qmgr/test_routes
TESTS += tests/unit/qmgr/test_routes
tests_unit_qmgr_test_routes_SOURCES = tests/unit/qmgr/test_routes.c
tests_unit_qmgr_test_routes_LDADD = libsched.a $(LIB_CONF) $(LIBS_OS) \
	$(PCRE2_LIBS) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/qmgr/test_sched_nomem
TESTS += tests/unit/qmgr/test_sched_nomem
tests_unit_qmgr_test_sched_nomem_SOURCES = tests/unit/qmgr/test_sched_nomem.c
tests_unit_qmgr_test_sched_nomem_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray
tests_unit_qmgr_test_sched_nomem_LDADD = libsched.a $(LIB_CONF) \
	$(PCRE2_LIBS) $(LIBS_CHECK)

# Scenarios on a virtual clock; without arguments it runs all of them.
check_PROGRAMS += tests/unit/qmgr/scenario
TESTS += tests/unit/qmgr/scenario
tests_unit_qmgr_scenario_SOURCES = tests/unit/qmgr/scenario.c \
	tests/unit/qmgr/scenario.h tests/unit/qmgr/scenario_expect.c
tests_unit_qmgr_scenario_LDADD = libworld.a libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_OS)
EXTRA_DIST += tests/unit/qmgr/scenarios

# Not a test: prints nanoseconds per message.
noinst_PROGRAMS += tests/unit/qmgr/bench_sched
tests_unit_qmgr_bench_sched_SOURCES = tests/unit/qmgr/bench_sched.c
tests_unit_qmgr_bench_sched_LDADD = libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_OS)

check_PROGRAMS += tests/unit/qmgr/test_diagnose
TESTS += tests/unit/qmgr/test_diagnose
tests_unit_qmgr_test_diagnose_SOURCES = tests/unit/qmgr/test_diagnose.c
tests_unit_qmgr_test_diagnose_LDADD = libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_CHECK)

check_PROGRAMS += tests/unit/qmgr/test_simulate
TESTS += tests/unit/qmgr/test_simulate
tests_unit_qmgr_test_simulate_SOURCES = tests/unit/qmgr/test_simulate.c
tests_unit_qmgr_test_simulate_LDADD = libworld.a libsched.a $(LIB_CONF) \
	$(PCRE2_LIBS) $(LIBS_OS) $(LIBS_CHECK)

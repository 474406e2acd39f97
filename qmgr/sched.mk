# SPDX-License-Identifier: ISC
# The pure scheduler. Link libsched.a before $(LIB_CONF).
noinst_LIBRARIES += libsched.a
libsched_a_SOURCES = \
	qmgr/sched.c qmgr/sched.h qmgr/sched_private.h \
	qmgr/sched_check.c \
	qmgr/sched_dispatch.c \
	qmgr/sched_heap.c \
	qmgr/sched_info.c \
	qmgr/sched_limit.c \
	qmgr/sched_msg.c \
	qmgr/sched_queue.c \
	qmgr/sched_rcpt.c \
	qmgr/sched_retry.c \
	qmgr/sched_session.c

check_PROGRAMS += tests/unit/qmgr/test_sched
TESTS += tests/unit/qmgr/test_sched
tests_unit_qmgr_test_sched_SOURCES = tests/unit/qmgr/test_sched.c
tests_unit_qmgr_test_sched_LDADD = libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_CHECK)

# Scenarios on a virtual clock; without arguments it runs all of them.
check_PROGRAMS += tests/unit/qmgr/scenario
TESTS += tests/unit/qmgr/scenario
tests_unit_qmgr_scenario_SOURCES = tests/unit/qmgr/scenario.c \
	tests/unit/qmgr/world.c tests/unit/qmgr/world.h
tests_unit_qmgr_scenario_LDADD = libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_OS)
EXTRA_DIST += tests/unit/qmgr/scenarios

# Not a test: prints nanoseconds per message.
noinst_PROGRAMS += tests/unit/qmgr/bench_sched
tests_unit_qmgr_bench_sched_SOURCES = tests/unit/qmgr/bench_sched.c
tests_unit_qmgr_bench_sched_LDADD = libsched.a $(LIB_CONF) $(PCRE2_LIBS) \
	$(LIBS_OS)

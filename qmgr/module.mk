# SPDX-License-Identifier: ISC
include qmgr/sched.mk
# All but main(), so that a test can have it, too.
noinst_LIBRARIES += libqmgr.a
libqmgr_a_SOURCES = \
	qmgr/act.c \
	qmgr/audit.c \
	qmgr/children.c \
	qmgr/cold.c \
	qmgr/control.c qmgr/control.h \
	qmgr/delays.c \
	qmgr/deliver.c \
	qmgr/diagnose_cmd.c \
	qmgr/explain.c \
	qmgr/holds.c \
	qmgr/intake.c \
	qmgr/ips.c \
	qmgr/jobs.c \
	qmgr/journal.c \
	qmgr/limits.c \
	qmgr/orders.c \
	qmgr/outcome.c \
	qmgr/qmgr.h \
	qmgr/pick.c \
	qmgr/pools.c \
	qmgr/priority.c \
	qmgr/sources.c \
	qmgr/move.c \
	qmgr/mismatch.c \
	qmgr/readers.c \
	qmgr/resolve.c \
	qmgr/recover.c \
	qmgr/routes.c \
	qmgr/select.c \
	qmgr/show.c \
	qmgr/simulate_cmd.c \
	qmgr/skipped.c \
	qmgr/sums.c \
	qmgr/suspects.c \
	qmgr/trace.c \
	qmgr/trash.c \
	qmgr/upkeep.c \
	qmgr/walk.c \
	qmgr/warmup.c \
	qmgr/worker.c
pkglibexec_PROGRAMS += qmgr/pinnace-qmgr
qmgr_pinnace_qmgr_SOURCES = qmgr/main.c
qmgr_pinnace_qmgr_LDADD = libqmgr.a libsched.a $(LIB_CONF) \
	$(LIBS_OS) $(JANSSON_LIBS) $(PCRE2_LIBS)

# The process with a test as its master and all of its peers.
noinst_LIBRARIES += libqmgrmain.a
libqmgrmain_a_SOURCES = qmgr/main.c
libqmgrmain_a_CPPFLAGS = $(AM_CPPFLAGS) -Dmain=qmgr_main
libqmgrmain_a_CFLAGS = $(AM_CFLAGS) -Wno-missing-prototypes
check_PROGRAMS += tests/unit/qmgr/test_qmgr
TESTS += tests/unit/qmgr/test_qmgr
tests_unit_qmgr_test_qmgr_SOURCES = tests/unit/qmgr/qrig.c \
	tests/unit/qmgr/qrig.h tests/unit/qmgr/qrig_log.c \
	tests/unit/qmgr/qrig_peers.c \
	tests/unit/qmgr/qrig_ctl.c tests/unit/qmgr/qrig_ctl.h \
	tests/unit/qmgr/test_qmgr.c tests/unit/qmgr/test_qmgr_act.c \
	tests/unit/qmgr/test_qmgr_control.c \
	tests/unit/qmgr/test_qmgr_shown.c \
	tests/unit/qmgr/test_qmgr_delays.c \
	tests/unit/qmgr/test_qmgr_intake.c \
	tests/unit/qmgr/test_qmgr_journal.c \
	tests/unit/qmgr/test_qmgr_outcome.c \
	tests/unit/qmgr/test_qmgr_recover.c tests/unit/qmgr/test_qmgr_spool.c \
	tests/unit/qmgr/test_qmgr_ask.c \
	tests/unit/qmgr/test_qmgr_move.c \
	tests/unit/qmgr/test_qmgr_priority.c \
	tests/unit/qmgr/test_qmgr_skipped.c \
	tests/unit/qmgr/test_qmgr_warmup.c
# calls on the spool fail when the test says so
tests_unit_qmgr_test_qmgr_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sio_os_new \
	-Wl,--wrap=_exit,--wrap=fork,--wrap=event_add,--wrap=checkpoint_add
tests_unit_qmgr_test_qmgr_LDADD = libqmgrmain.a libqmgr.a libsched.a \
	$(LIB_CONF) $(LIBS_OS) $(JANSSON_LIBS) $(PCRE2_LIBS) $(LIBS_CHECK)

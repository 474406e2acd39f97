# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libspool.a
libspool_a_SOURCES = \
	common/spool/batch.c common/spool/batch.h \
	common/spool/checkpoint.c common/spool/checkpoint.h \
	common/spool/committer.c common/spool/committer.h \
	common/spool/committer_batch.c common/spool/committer_frame.c \
	common/spool/committer_large.c common/spool/committer_private.h \
	common/spool/committer_seg.c \
	common/spool/event.c common/spool/event.def common/spool/event.h \
	common/spool/evframe.c common/spool/evframe.h \
	common/spool/evlog.c common/spool/evlog.h \
	common/spool/evlog_reader.c \
	common/spool/idset.c common/spool/idset.h \
	common/spool/intent.c common/spool/intent.h \
	common/spool/live.c common/spool/live.h \
	common/spool/poison.c common/spool/poison.h \
	common/spool/recover.c common/spool/recover.h \
	common/spool/segment.c common/spool/segment.h \
	common/spool/segtab.c common/spool/segtab.h \
	common/spool/segtab_grant.c common/spool/segtab_large.c \
	common/spool/segtab_private.h \
	common/spool/sio.c common/spool/sio.h \
	common/spool/sio_mem.c common/spool/sio_mem.h \
	common/spool/sio_mem_crash.c common/spool/sio_mem_node.c \
	common/spool/sio_mem_private.h \
	common/spool/sio_os.c \
	common/spool/skipped.c common/spool/skipped.h \
	common/spool/spoolcheck.c common/spool/spoolcheck.h

check_PROGRAMS += tests/unit/spool/test_committer
TESTS += tests/unit/spool/test_committer
tests_unit_spool_test_committer_SOURCES = \
	tests/unit/spool/test_committer.c tests/unit/spool/fakeqmgr.h \
	tests/unit/spool/tmpspool.h
tests_unit_spool_test_committer_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_committer_edges
TESTS += tests/unit/spool/test_committer_edges
tests_unit_spool_test_committer_edges_SOURCES = \
	tests/unit/spool/test_committer_edges.c \
	tests/unit/spool/fakeqmgr.h tests/unit/spool/tmpspool.h
tests_unit_spool_test_committer_edges_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)
tests_unit_spool_test_committer_edges_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=fdatasync,--wrap=clock_mono

check_PROGRAMS += tests/unit/spool/test_crash
TESTS += tests/unit/spool/test_crash
tests_unit_spool_test_crash_SOURCES = tests/unit/spool/test_crash.c \
	tests/unit/spool/crash.h tests/unit/spool/crash_enum.c \
	tests/unit/spool/crash_ledger.c tests/unit/spool/crash_qmgr.c \
	tests/unit/spool/crash_writer.c
EXTRA_DIST += tests/unit/spool/mutants
tests_unit_spool_test_crash_LDADD = $(LIB_SPOOL) $(LIBS_OS)

check_PROGRAMS += tests/unit/spool/test_segment
TESTS += tests/unit/spool/test_segment
tests_unit_spool_test_segment_SOURCES = tests/unit/spool/test_segment.c
tests_unit_spool_test_segment_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_evlog
TESTS += tests/unit/spool/test_evlog
tests_unit_spool_test_evlog_SOURCES = tests/unit/spool/test_evlog.c
tests_unit_spool_test_evlog_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_recover
TESTS += tests/unit/spool/test_recover
tests_unit_spool_test_recover_SOURCES = tests/unit/spool/test_recover.c
tests_unit_spool_test_recover_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_recover_calls
TESTS += tests/unit/spool/test_recover_calls
tests_unit_spool_test_recover_calls_SOURCES = \
	tests/unit/spool/test_recover_calls.c
tests_unit_spool_test_recover_calls_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_poison
TESTS += tests/unit/spool/test_poison
tests_unit_spool_test_poison_SOURCES = \
	tests/unit/spool/test_poison.c tests/unit/spool/tmpspool.h
tests_unit_spool_test_poison_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/spool/test_nomem
TESTS += tests/unit/spool/test_nomem
tests_unit_spool_test_nomem_SOURCES = tests/unit/spool/test_nomem.c \
	tests/unit/spool/tmpspool.h
tests_unit_spool_test_nomem_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)
tests_unit_spool_test_nomem_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

check_PROGRAMS += tests/unit/spool/test_edges
TESTS += tests/unit/spool/test_edges
tests_unit_spool_test_edges_SOURCES = tests/unit/spool/test_edges.c
tests_unit_spool_test_edges_LDADD = $(LIB_SPOOL) $(LIBS_CHECK)

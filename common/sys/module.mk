# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libsys.a
libsys_a_SOURCES = \
	common/sys/clock.c common/sys/clock.h \
	common/sys/conn.c common/sys/conn.h \
	common/sys/evmem.c common/sys/evmem.h \
	common/sys/landlock.c common/sys/landlock.h \
	common/sys/log.c common/sys/log.h \
	common/sys/offload.c common/sys/offload.h \
	common/sys/priv.c common/sys/priv.h \
	common/sys/sandbox.c common/sys/sandbox.h common/sys/sandbox.def \
	common/sys/sockaddr.c common/sys/sockaddr.h

check_PROGRAMS += tests/unit/sys/test_conn
TESTS += tests/unit/sys/test_conn
tests_unit_sys_test_conn_SOURCES = tests/unit/sys/test_conn.c
tests_unit_sys_test_conn_LDADD = $(LIB_SYS) $(LIBS_CHECK)

check_PROGRAMS += tests/unit/sys/test_sandbox
TESTS += tests/unit/sys/test_sandbox
tests_unit_sys_test_sandbox_SOURCES = tests/unit/sys/test_sandbox.c
tests_unit_sys_test_sandbox_LDADD = $(LIB_SYS) $(LIBS_CHECK)

# makes a process of a role do what it must not: for tests/system/test_sandbox
noinst_PROGRAMS += tests/system/inject
tests_system_inject_SOURCES = tests/system/inject.c

EXTRA_DIST += doc/security.md

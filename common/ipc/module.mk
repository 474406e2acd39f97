# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libipc.a
libipc_a_SOURCES = \
	common/ipc/chan.c common/ipc/chan.h \
	common/ipc/fields.c common/ipc/fields.h \
	common/ipc/heartbeat.c common/ipc/heartbeat.h \
	common/ipc/ipc.c common/ipc/ipc.h common/ipc/schema.def \
	common/ipc/role.c common/ipc/role.h

check_PROGRAMS += tests/unit/ipc/test_ipc
TESTS += tests/unit/ipc/test_ipc
tests_unit_ipc_test_ipc_SOURCES = tests/unit/ipc/chanloop.h \
	tests/unit/ipc/test_ipc.c
tests_unit_ipc_test_ipc_LDADD = $(LIB_IPC) $(LIBS_CHECK)
check_PROGRAMS += tests/unit/ipc/test_ipc_edges tests/unit/ipc/test_role
TESTS += tests/unit/ipc/test_ipc_edges tests/unit/ipc/test_role
tests_unit_ipc_test_ipc_edges_SOURCES = tests/unit/ipc/chanloop.h \
	tests/unit/ipc/test_ipc_edges.c
tests_unit_ipc_test_ipc_edges_LDADD = $(LIB_IPC) $(LIBS_CHECK)
tests_unit_ipc_test_role_SOURCES = tests/unit/ipc/test_role.c
tests_unit_ipc_test_role_LDADD = $(LIB_IPC) $(LIBS_CHECK)

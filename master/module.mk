# SPDX-License-Identifier: ISC
sbin_PROGRAMS += master/pinnaced
master_pinnaced_SOURCES = \
	master/child.c master/child.h \
	master/conf.c \
	master/dirs.c \
	master/graph.c \
	master/heat.c master/heat.h \
	master/listen.c \
	master/logfile.c \
	master/main.c \
	master/master.h \
	master/notify.c master/notify.h \
	master/procstat.c master/procstat.h \
	master/orphans.c \
	master/report.c \
	master/watch.c
master_pinnaced_LDADD = $(LIB_CONF) $(LIBS_OS) $(PCRE2_LIBS)

check_PROGRAMS += tests/unit/master/test_heat
TESTS += tests/unit/master/test_heat
tests_unit_master_test_heat_SOURCES = tests/unit/master/test_heat.c \
	master/heat.c master/heat.h
tests_unit_master_test_heat_LDADD = $(LIB_BASE) $(LIBS_CHECK)

# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += acct/pinnace-acct
ACCT_PURE = \
	acct/columns.c acct/columns.h \
	acct/out.c acct/out.h \
	acct/writer.c acct/writer.h
acct_pinnace_acct_SOURCES = acct/main.c $(ACCT_PURE)
acct_pinnace_acct_LDADD = $(LIB_ALL) $(LIBS_OS)

# where acct and bounce stand in the event log
libspool_a_SOURCES += common/spool/offset.c common/spool/offset.h

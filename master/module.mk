# SPDX-License-Identifier: ISC
sbin_PROGRAMS += master/pinnaced
master_pinnaced_SOURCES = \
	master/child.c master/child.h \
	master/conf.c \
	master/dirs.c \
	master/graph.c \
	master/listen.c \
	master/main.c \
	master/master.h \
	master/orphans.c
master_pinnaced_LDADD = $(LIB_CONF) $(LIBS_OS) $(PCRE2_LIBS)

# SPDX-License-Identifier: ISC
bin_PROGRAMS += ctl/pinnace
ctl_pinnace_SOURCES = \
	ctl/client.c \
	ctl/command.c \
	ctl/ctl.h \
	ctl/local.c \
	ctl/main.c \
	ctl/table.c ctl/table.h \
	ctl/view.c
ctl_pinnace_LDADD = $(LIB_CONF) $(LIBS_OS) $(JANSSON_LIBS)

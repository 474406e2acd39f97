# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += bounce/pinnace-bounce
BOUNCE_PURE = bounce/job.c bounce/job.h
bounce_pinnace_bounce_SOURCES = \
	bounce/main.c \
	bounce/engine.c bounce/engine.h \
	$(BOUNCE_PURE)
bounce_pinnace_bounce_LDADD = $(LIB_ALL) $(LIBS_OS)

# SPDX-License-Identifier: ISC
include qmgr/sched.mk
pkglibexec_PROGRAMS += qmgr/pinnace-qmgr
qmgr_pinnace_qmgr_SOURCES = \
	qmgr/act.c \
	qmgr/control.c qmgr/control.h \
	qmgr/deliver.c \
	qmgr/intake.c \
	qmgr/journal.c \
	qmgr/main.c \
	qmgr/outcome.c \
	qmgr/qmgr.h \
	qmgr/readers.c \
	qmgr/recover.c \
	qmgr/routes.c \
	qmgr/select.c \
	qmgr/show.c \
	qmgr/upkeep.c \
	qmgr/walk.c \
	qmgr/worker.c
qmgr_pinnace_qmgr_LDADD = libsched.a $(LIB_CONF) $(LIBS_OS) $(JANSSON_LIBS) \
	$(PCRE2_LIBS)

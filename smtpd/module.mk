# SPDX-License-Identifier: ISC
# A library, so that the tests have all but main().
noinst_LIBRARIES += libsmtpd.a
libsmtpd_a_SOURCES = \
	smtpd/body.c smtpd/body.h \
	smtpd/data.c \
	smtpd/listener.c smtpd/listener.h \
	smtpd/server.c smtpd/server.h \
	smtpd/session.c smtpd/session.h \
	smtpd/verbs.c smtpd/verbs.h \
	smtpd/verb_data.c smtpd/verb_helo.c smtpd/verb_mail.c \
	smtpd/verb_rcpt.c smtpd/verb_simple.c

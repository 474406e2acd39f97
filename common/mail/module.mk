# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libmail.a
libmail_a_SOURCES = \
	common/mail/envelope.c common/mail/envelope.h \
	common/mail/outcome.c common/mail/outcome.h \
	common/mail/priority.h \
	common/mail/route.c common/mail/route.h

check_PROGRAMS += tests/unit/mail/test_envelope
TESTS += tests/unit/mail/test_envelope
tests_unit_mail_test_envelope_SOURCES = tests/unit/mail/test_envelope.c
tests_unit_mail_test_envelope_LDADD = $(LIB_MAIL) $(LIBS_CHECK)

# server side (smtpd), client side (delivery) and DSNs have fragments of
# their own
include common/mail/server.mk
include common/mail/client.mk
include common/mail/dsn.mk

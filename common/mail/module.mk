# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libmail.a
libmail_a_SOURCES = \
	common/mail/envelope.c common/mail/envelope.h \
	common/mail/outcome.c common/mail/outcome.h \
	common/mail/route.c common/mail/route.h

# server side (smtpd), client side (delivery) and DSNs have fragments of
# their own
include common/mail/server.mk
include common/mail/client.mk
include common/mail/dsn.mk

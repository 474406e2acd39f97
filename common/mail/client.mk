# SPDX-License-Identifier: ISC
# The client's side of SMTP.
libmail_a_SOURCES += \
	common/mail/smtp_client.c common/mail/smtp_client.h \
	common/mail/smtp_client_emit.c common/mail/smtp_client_end.c \
	common/mail/smtp_client_private.h \
	common/mail/smtp_reply.c common/mail/smtp_reply.h \
	common/mail/smtp_stuff.c common/mail/smtp_stuff.h

check_PROGRAMS += tests/unit/mail/test_smtp_client \
	tests/unit/mail/test_smtp_reply tests/unit/mail/test_smtp_stuff
TESTS += tests/unit/mail/test_smtp_client \
	tests/unit/mail/test_smtp_reply tests/unit/mail/test_smtp_stuff
tests_unit_mail_test_smtp_client_SOURCES = \
	tests/unit/mail/client_play.c tests/unit/mail/client_play.h \
	tests/unit/mail/test_smtp_client.c
tests_unit_mail_test_smtp_client_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_smtp_reply_SOURCES = tests/unit/mail/test_smtp_reply.c
tests_unit_mail_test_smtp_reply_LDADD = $(LIB_MAIL) $(LIBS_CHECK)
tests_unit_mail_test_smtp_stuff_SOURCES = tests/unit/mail/test_smtp_stuff.c
tests_unit_mail_test_smtp_stuff_LDADD = $(LIB_MAIL) $(LIBS_CHECK)

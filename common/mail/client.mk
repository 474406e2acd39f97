# SPDX-License-Identifier: ISC
# The client's side of SMTP.
libmail_a_SOURCES += \
	common/mail/smtp_client.c common/mail/smtp_client.h \
	common/mail/smtp_reply.c common/mail/smtp_reply.h \
	common/mail/smtp_stuff.c common/mail/smtp_stuff.h

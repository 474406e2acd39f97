/* SPDX-License-Identifier: ISC */
/*
 * smtp_cmd: parser of one SMTP command line (RFC 5321 4.1, without its CR LF)
 * and of mail addresses in commands. Pure: line in, checked struct out. All
 * views in results look into the line.
 *
 * `struct addr` is a checked address: no control byte, no line end; the
 * domain is ASCII lower case or, with SMTPUTF8, valid UTF-8. U-labels are kept
 * as they came; making A-labels of them is for whoever asks the DNS.
 */
#ifndef COMMON_MAIL_SMTP_CMD_H
#define COMMON_MAIL_SMTP_CMD_H

#include "common/mail/envelope.h"

/*
 * RFC 5321 4.5.3.1 gives 64 for a local part and asks for more where possible
 * (bounce addresses that encode a recipient are longer). What the envelope can
 * hold is our limit.
 */
#define ADDR_LOCAL_MAX  255u
#define ADDR_DOMAIN_MAX 255u
#define ADDR_LABEL_MAX  63u   /* RFC 1035 2.3.4 */

#define SMTP_VERBS(V) \
	V(HELO, "HELO") V(EHLO, "EHLO") V(MAIL, "MAIL") V(RCPT, "RCPT") \
	V(DATA, "DATA") V(RSET, "RSET") V(NOOP, "NOOP") V(QUIT, "QUIT") \
	V(VRFY, "VRFY") V(EXPN, "EXPN") V(HELP, "HELP") \
	V(BDAT, "BDAT") V(AUTH, "AUTH") V(STARTTLS, "STARTTLS")

enum smtp_verb {
	SMTP_UNKNOWN,
#define SMTP_VERB_ENUM(name, text) SMTP_##name,
	SMTP_VERBS(SMTP_VERB_ENUM)
#undef SMTP_VERB_ENUM
	SMTP_HTTP,      /* GET, POST, ...: not a mail client at all */
	SMTP_VERB_COUNT
};

enum cmd_result {
	CMD_OK,
	CMD_SYNTAX,       /* no FROM:< or TO:<, or no end of the path */
	CMD_ADDR_BAD,
	CMD_ADDR_LONG,
	CMD_UNQUALIFIED,  /* an address without a domain */
	CMD_UTF8_NEEDED,  /* a UTF-8 address without SMTPUTF8 */
	CMD_PARAM_UNKNOWN,
	CMD_PARAM_TWICE,
	CMD_PARAM_BAD,
};

struct addr {
	char text[ENV_ADDR_MAX + 1]; /* local@domain and a NUL, or "" */
	uint16_t n;                  /* 0: the null sender */
	uint16_t local_n;            /* bytes before the '@' */
	bool utf8;                   /* not only ASCII */
};

struct smtp_mail {
	struct addr from;
	struct sv local;    /* with CMD_UNQUALIFIED: the address */
	uint64_t size;      /* of SIZE=, else 0 */
	uint32_t flags;     /* enum env_flags */
	struct sv envid;    /* xtext as given, or "" */
};

struct smtp_rcpt {
	struct addr to;
	struct sv local;    /* with CMD_UNQUALIFIED: the address */
	bool postmaster;    /* <postmaster> without domain; to is empty */
	uint8_t notify;     /* enum env_notify */
	struct sv orcpt;    /* "type;xtext" as given, or "" */
};

/* The verb and, behind blanks, its argument with trailing blanks removed. */
enum smtp_verb smtp_verb_parse(struct sv line, struct sv *arg_r);
const char *smtp_verb_name(enum smtp_verb verb);
/* Argument of MAIL: "FROM:<...> ...". utf8_ok: we offered SMTPUTF8. */
enum cmd_result smtp_mail_parse(struct sv arg, bool utf8_ok,
    struct smtp_mail *m_r);
/* Argument of RCPT. utf8: this transaction has SMTPUTF8. */
enum cmd_result smtp_rcpt_parse(struct sv arg, bool utf8,
    struct smtp_rcpt *r_r);

/* local@domain (RFC 5321 4.1.2 Mailbox), nothing around it. */
enum cmd_result addr_parse(struct sv v, bool utf8_ok, struct addr *a_r);
/* local@domain from an address without a domain. */
enum cmd_result addr_qualify(struct sv local, struct sv domain, bool utf8_ok,
    struct addr *a_r);
struct sv addr_text(const struct addr *a);
struct sv addr_local(const struct addr *a);
/* RFC 5321 Domain or address literal. */
bool domain_is_valid(struct sv v, bool utf8_ok);
/* RFC 3461 4: printable, every '+' followed by two upper-case hex digits, and
 * decoding to no control byte (with utf8: bytes over 127 are allowed). */
bool xtext_is_valid(struct sv v, bool utf8);
/* Adds v as xtext. */
struct str;
void xtext_add(struct str *out, struct sv v);
/* Well-formed UTF-8 without overlong forms and surrogates. */
bool utf8_is_valid(struct sv v);

#endif

/* SPDX-License-Identifier: ISC */
/*
 * rules: the lines of blocks whose order counts: what they hold when read, and
 * the parser of each. Of the lines of a block the first that matches decides.
 * Expressions are PCRE2 between slashes and ignore case; in them a slash with
 * a blank behind it is written \\/ and a # is written \\x23.
 */
#ifndef COMMON_CONF_RULES_H
#define COMMON_CONF_RULES_H

#include "common/conf/value.h"

#define CONF_REGEX_MAX       2048u   /* bytes, with the slashes */
/* Strangers choose the text: far above what a sane expression needs. PCRE2
 * counts anew from each byte of the text, so texts longer than CONF_REGEX_TEXT
 * get so much less for each, but no less than CONF_REGEX_STEPS_MIN. */
#define CONF_REGEX_STEPS_MAX 20000u
#define CONF_REGEX_STEPS_MIN 1000u   /* a line of a message: RFC 5322 2.1.1 */
#define CONF_REGEX_TEXT      2048u   /* bytes; hardly a reply is longer */
#define CONF_REGEX_DEPTH_MAX 4000u   /* of backtracking; some 100 B each */
#define CONF_RULES_MAX       1000u   /* lines in a block */
/* Of a <pattern-list> with all that it calls: what one message may cost. */
#define CONF_PATTERN_LINES_MAX 10000u
#define CONF_PATTERN_DEEP_MAX  16u

struct conf_regex;

enum conf_match {
	CONF_MATCH_NO,
	CONF_MATCH_YES,
	CONF_MATCH_TOO_HARD  /* took too many steps: counts as no match */
};

/* What a reply line does: bits. */
enum conf_action {
	CONF_ACT_NORMAL = 1,
	CONF_ACT_BACKOFF = 2,
	CONF_ACT_SKIP_MX = 4,
	CONF_ACT_BOUNCE_QUEUE = 8,
	CONF_ACT_BOUNCE_RCPT = 16,
	CONF_ACT_DISABLE_SOURCE_IP = 32,
	CONF_ACT_DEFER_QUEUE = 64,
	CONF_ACT_MAX_SMTP_OUT = 128,  /* to max_smtp_out */
	CONF_ACT_MAX_MSG_RATE = 256,  /* to max_msg_rate */
	CONF_ACT_RETRY_AFTER = 512    /* the recipient, after retry_after_ms */
};

/* reply /REGEX/ ACTION[,ACTION] */
struct conf_reply {
	struct sv regex;              /* as written, with the slashes */
	const struct conf_regex *re;
	uint32_t actions;             /* enum conf_action; at least one */
	int64_t reenable_after_ms;    /* 0: the queue's setting */
	int64_t defer_ms;             /* 0: the queue's retry-after */
	int64_t for_ms;               /* how long mode backoff or a limit
	                               * holds; 0: until something ends it */
	int64_t retry_after_ms;
	uint32_t max_smtp_out;
	struct conf_rate max_msg_rate;
	uint32_t after_n;             /* acts at the Nth match */
	int64_t after_ms;             /* within this time; 0 with N 1 */
	struct sv file;
	uint32_t line;
};

/* What a line of <pattern-list> looks at. */
enum conf_pattern_what {
	CONF_PAT_HEADER,
	CONF_PAT_MAIL_FROM,
	CONF_PAT_RCPT_TO,
	CONF_PAT_ANY,        /* "*" */
	CONF_PAT_BODY,
	CONF_PAT_SIZE
};

/* CONDITION RESULT */
struct conf_pattern {
	uint8_t what;                 /* enum conf_pattern_what */
	bool hold;
	bool nested;                  /* its list stands behind it, */
	bool has_priority;
	uint8_t priority;             /* recipient-priority */
	struct sv header;             /* name */
	struct sv regex;              /* as written, with the slashes */
	const struct conf_regex *re;  /* NULL: none */
	uint64_t size_bytes;          /* matches what is larger */
	struct sv vmta;               /* VMTA or pool; it exists; or "" */
	struct sv reject;             /* text of the 550, or "" */
	struct sv call;               /* or is of this name */
	const struct conf_pattern_list *list; /* nested or called, or NULL */
	struct sv in;                 /* name of the list it stands in */
	struct sv file;
	uint32_t line;
};

/* None of these compiles its expression; row_parse() does, to see. */
const char *conf_parse_pattern(struct sv v, enum conf_pattern_what what,
    struct conf_pattern *r);
const char *conf_parse_reply(struct sv v, struct conf_reply *r);
/* "TEXT" in quotes. */
const char *conf_parse_sample(struct sv v, struct sv *r);

#endif

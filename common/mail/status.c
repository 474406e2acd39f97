/* SPDX-License-Identifier: ISC */
#include "common/mail/status.h"

#define TEXT_LOOK 4096 /* the longest diagnostic of an event */

struct status_row {
	struct sv detail;   /* without the class: "1.1" */
	struct sv words;
	struct sv category; /* "" for "other" */
};

#define ROW(d, w, c) \
	{ { d, sizeof(d) - 1 }, { w, sizeof(w) - 1 }, { c, sizeof(c) - 1 } }

/* RFC 3463, 3886, 4468, 4865, 4954, 5248, 6710, 7293, 7372, 7505. A row ".0"
 * gives its category to details that have none. */
static const struct status_row rows[] = {
	ROW("0.0", "undefined status", ""),
	ROW("1.0", "other address status", ""),
	ROW("1.1", "bad destination mailbox address", "bad-mailbox"),
	ROW("1.2", "bad destination system address", "bad-domain"),
	ROW("1.3", "bad destination mailbox address syntax", "bad-mailbox"),
	ROW("1.4", "destination mailbox address ambiguous", "bad-mailbox"),
	ROW("1.5", "destination address valid", ""),
	ROW("1.6", "destination mailbox has moved", "bad-mailbox"),
	ROW("1.7", "bad sender's mailbox address syntax", "invalid-sender"),
	ROW("1.8", "bad sender's system address", "invalid-sender"),
	ROW("1.9", "relayed to non-compliant mailer", ""),
	ROW("1.10", "recipient address has null MX", "bad-domain"),
	ROW("2.0", "other or undefined mailbox status", "bad-mailbox"),
	ROW("2.1", "mailbox disabled", "inactive-mailbox"),
	ROW("2.2", "mailbox full", "quota-issues"),
	ROW("2.3", "message length exceeds administrative limit", ""),
	ROW("2.4", "mailing list expansion problem", ""),
	ROW("3.0", "other or undefined mail system status", ""),
	ROW("3.1", "mail system full", ""),
	ROW("3.2", "system not accepting network messages", ""),
	ROW("3.3", "system not capable of selected features",
	    "content-related"),
	ROW("3.4", "message too big for system", ""),
	ROW("3.5", "system incorrectly configured", "bad-configuration"),
	ROW("4.0", "other or undefined network or routing status", ""),
	ROW("4.1", "no answer from host", "no-answer-from-host"),
	ROW("4.2", "bad connection", "bad-connection"),
	ROW("4.3", "directory server failure", "routing-errors"),
	ROW("4.4", "unable to route", "routing-errors"),
	ROW("4.5", "mail system congestion", ""),
	ROW("4.6", "routing loop detected", "routing-errors"),
	ROW("4.7", "delivery time expired", "message-expired"),
	ROW("5.0", "other or undefined protocol status", "protocol-errors"),
	ROW("5.1", "invalid command", "protocol-errors"),
	ROW("5.2", "syntax error", "protocol-errors"),
	ROW("5.3", "too many recipients", "policy-related"),
	ROW("5.4", "invalid command arguments", "protocol-errors"),
	ROW("5.5", "wrong protocol version", "protocol-errors"),
	ROW("6.0", "other or undefined media error", "content-related"),
	ROW("6.1", "media not supported", "content-related"),
	ROW("6.2", "conversion required and prohibited", "content-related"),
	ROW("6.3", "conversion required but not supported",
	    "content-related"),
	ROW("6.4", "conversion with loss performed", "content-related"),
	ROW("6.5", "conversion failed", "content-related"),
	ROW("6.7", "non-ASCII addresses not permitted", "content-related"),
	ROW("7.0", "other or undefined security status", "policy-related"),
	ROW("7.1", "delivery not authorized", "policy-related"),
	ROW("7.2", "mailing list expansion prohibited", "policy-related"),
	ROW("7.3", "security conversion required but not possible", ""),
	ROW("7.4", "security features not supported", ""),
	ROW("7.5", "cryptographic failure", ""),
	ROW("7.6", "cryptographic algorithm not supported", ""),
	ROW("7.7", "message integrity failure", "content-related"),
	ROW("7.8", "authentication credentials invalid", ""),
	ROW("7.20", "no passing DKIM signature found", "policy-related"),
	ROW("7.23", "SPF validation failed", "policy-related"),
	ROW("7.25", "reverse DNS validation failed", "policy-related"),
	ROW("7.26", "multiple authentication checks failed",
	    "policy-related"),
	ROW("7.27", "sender address has null MX", "invalid-sender"),
};

struct text_row {
	struct sv needle;   /* lower case */
	struct sv category;
};

#define TEXT(n, c) { { n, sizeof(n) - 1 }, { c, sizeof(c) - 1 } }

/* Said so plainly that the status does not matter. */
static const struct text_row plain_texts[] = {
	TEXT("virus", "virus-related"),
	TEXT("malware", "virus-related"),
	TEXT("spam", "spam-related"),
	TEXT("blacklist", "spam-related"),
	TEXT("blocklist", "spam-related"),
	TEXT("block list", "spam-related"),
	TEXT("relaying denied", "relaying-issues"),
	TEXT("relay access denied", "relaying-issues"),
	TEXT("not permitted to relay", "relaying-issues"),
};

/* For a status that says nothing. */
static const struct text_row hint_texts[] = {
	TEXT("user unknown", "bad-mailbox"),
	TEXT("unknown user", "bad-mailbox"),
	TEXT("no such user", "bad-mailbox"),
	TEXT("no such recipient", "bad-mailbox"),
	TEXT("mailbox unavailable", "bad-mailbox"),
	TEXT("mailbox not found", "bad-mailbox"),
	TEXT("does not exist", "bad-mailbox"),
	TEXT("quota", "quota-issues"),
	TEXT("mailbox full", "quota-issues"),
	TEXT("mailbox is full", "quota-issues"),
	TEXT("disabled", "inactive-mailbox"),
	TEXT("inactive", "inactive-mailbox"),
	TEXT("expired", "message-expired"),
	TEXT("timed out", "no-answer-from-host"),
	TEXT("policy", "policy-related"),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool
status_is_valid(struct sv v)
{
	struct sv rest = v, class = sv_cut(&rest, '.');
	struct sv subject = sv_cut(&rest, '.');
	uint64_t n;

	return class.n == 1 &&
	    (class.p[0] == '2' || class.p[0] == '4' || class.p[0] == '5') &&
	    subject.n <= 3 && rest.n <= 3 && sv_to_u64(subject, 999, &n) &&
	    sv_to_u64(rest, 999, &n);
}

static const struct status_row *
row_find(struct sv detail)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (sv_eq(rows[i].detail, detail))
			return &rows[i];
	}
	return NULL;
}

/* The row of the status, else that of its subject's ".0", else "0.0". */
static const struct status_row *
row_get(struct sv status)
{
	const struct status_row *row;
	char general[3] = "0.0";

	if (!status_is_valid(status))
		return &rows[0];
	row = row_find(sv_from_at(status, 2));
	if (row != NULL)
		return row;
	general[0] = status.p[3] == '.' ? status.p[2] : '0';
	row = row_find(sv_make(general, sizeof(general)));
	return row != NULL ? row : &rows[0];
}

struct sv
status_words(struct sv status)
{
	if (sv_eq(status, SV("2.0.0")))
		return SV("success");
	return row_get(status)->words;
}

static bool
has_word(struct sv text, struct sv needle)
{
	for (size_t i = 0; i + needle.n <= text.n; i++) {
		if (sv_ieq(sv_make(text.p + i, needle.n), needle))
			return true;
	}
	return false;
}

static struct sv
text_category(const struct text_row *list, size_t n, struct sv text)
{
	for (size_t i = 0; i < n; i++) {
		if (has_word(text, list[i].needle))
			return list[i].category;
	}
	return SV("");
}

struct sv
status_category(struct sv status, struct sv text)
{
	const struct status_row *row = row_get(status);
	struct sv c;

	text = sv_head(text, TEXT_LOOK);
	c = text_category(plain_texts, COUNT(plain_texts), text);
	if (c.n == 0)
		c = row->category;
	if (c.n == 0)
		c = text_category(hint_texts, COUNT(hint_texts), text);
	return c.n == 0 ? SV("other") : c;
}

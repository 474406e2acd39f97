/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <string.h>

#include "common/base/str.h"
#include "common/mail/smtp_cmd.h"

/* ---- verbs ---- */

static const struct {
	const char *text;
	enum smtp_verb verb;
} verbs[] = {
#define VERB_ROW(name, text) { text, SMTP_##name },
	SMTP_VERBS(VERB_ROW)
#undef VERB_ROW
	/* browsers tricked into talking to us; HTTP has these in capitals */
	{ "GET", SMTP_HTTP }, { "POST", SMTP_HTTP }, { "PUT", SMTP_HTTP },
	{ "HEAD", SMTP_HTTP }, { "OPTIONS", SMTP_HTTP },
	{ "CONNECT", SMTP_HTTP }, { "DELETE", SMTP_HTTP },
	{ "PATCH", SMTP_HTTP }, { "TRACE", SMTP_HTTP },
	{ "PRI", SMTP_HTTP }, { "HOST:", SMTP_HTTP },
	{ "USER-AGENT:", SMTP_HTTP },
};

const char *
smtp_verb_name(enum smtp_verb verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (verbs[i].verb == verb)
			return verbs[i].text;
	}
	return "unknown";
}

enum smtp_verb
smtp_verb_parse(struct sv line, struct sv *arg_r)
{
	ptrdiff_t blank;
	struct sv word;

	line = sv_trim(line);
	blank = sv_find(line, ' ');
	word = blank < 0 ? line : sv_head(line, (size_t)blank);
	*arg_r = sv_trim(sv_from_at(line, word.n));
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (sv_ieq(word, sv_from(verbs[i].text)))
			return verbs[i].verb;
	}
	return SMTP_UNKNOWN;
}

/* ---- characters ---- */

static bool
is_alpha(char c)
{
	return ascii_is_alnum(c) && !ascii_is_digit(c);
}

/* RFC 5322 3.2.3 */
static bool
is_atext(char c)
{
	return ascii_is_alnum(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_high(char c)
{
	return ((unsigned char)c & 0x80) != 0;
}

static bool
has_high(struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (is_high(v.p[i]))
			return true;
	}
	return false;
}

static unsigned
utf8_length(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

bool
utf8_is_valid(struct sv v)
{
	const unsigned char *p = (const unsigned char *)v.p;

	for (size_t i = 0; i < v.n;) {
		unsigned n = utf8_length(p[i]);

		if (n == 0 || n > v.n - i)
			return false;
		for (unsigned k = 1; k < n; k++) {
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		}
		/* overlong, surrogates, above U+10FFFF, C1 controls */
		if ((p[i] == 0xe0 && p[i + 1] < 0xa0) ||
		    (p[i] == 0xed && p[i + 1] > 0x9f) ||
		    (p[i] == 0xf0 && p[i + 1] < 0x90) ||
		    (p[i] == 0xf4 && p[i + 1] > 0x8f) ||
		    (p[i] == 0xc2 && p[i + 1] < 0xa0))
			return false;
		i += n;
	}
	return true;
}

static int
hex_digit(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void
xtext_add(struct str *out, struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c < '!' || c > '~' || c == '+' || c == '=')
			str_addf(out, "+%02X", c);
		else
			str_addc(out, (char)c);
	}
}

bool
xtext_is_valid(struct sv v, bool utf8)
{
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];
		int hi, lo, byte;

		if (is_high(c) && utf8)
			continue;
		if (c < '!' || c > '~' || c == '=')
			return false;
		if (c != '+')
			continue;
		if (v.n - i < 3)
			return false;
		hi = hex_digit(v.p[i + 1]);
		lo = hex_digit(v.p[i + 2]);
		if (hi < 0 || lo < 0)
			return false;
		byte = hi * 16 + lo;
		if (byte < 0x20 || byte == 0x7f)
			return false;
		i += 2;
	}
	return !utf8 || utf8_is_valid(v);
}

/* ---- addresses ---- */

static bool
label_is_valid(struct sv v)
{
	if (v.n == 0 || v.n > ADDR_LABEL_MAX || v.p[0] == '-' ||
	    v.p[v.n - 1] == '-')
		return false;
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];

		/* the underscore is no host name but is seen in mail */
		if (!ascii_is_alnum(c) && c != '-' && c != '_' && !is_high(c))
			return false;
	}
	return true;
}

static bool
is_all_digits(struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (!ascii_is_digit(v.p[i]))
			return false;
	}
	return true;
}

static bool
name_is_valid(struct sv v)
{
	struct sv label = SV("");

	if (v.n == 0 || v.n > ADDR_DOMAIN_MAX || v.p[v.n - 1] == '.')
		return false;
	while (v.p != NULL) {
		label = sv_cut(&v, '.');
		if (!label_is_valid(label))
			return false;
	}
	/* 192.0.2.1 without brackets is no domain (RFC 3696 2) */
	return !is_all_digits(label);
}

/* RFC 5321 4.1.3; v is what stands between the brackets. */
static bool
literal_is_valid(struct sv v)
{
	unsigned char ip[16];
	char text[64];

	if (sv_istarts(v, SV("IPv6:"))) {
		v = sv_from_at(v, 5);
		return sv_to_cstr(v, text, sizeof(text)) &&
		    inet_pton(AF_INET6, text, ip) == 1;
	}
	return sv_to_cstr(v, text, sizeof(text)) &&
	    inet_pton(AF_INET, text, ip) == 1;
}

bool
domain_is_valid(struct sv v, bool utf8_ok)
{
	if (v.n >= 2 && v.p[0] == '[' && v.p[v.n - 1] == ']')
		return literal_is_valid(sv_make(v.p + 1, v.n - 2));
	if (has_high(v) && (!utf8_ok || !utf8_is_valid(v)))
		return false;
	return name_is_valid(v);
}

/* RFC 5321 4.1.2: bytes of the quoted string at the start of v, or 0. */
static size_t
quoted_length(struct sv v)
{
	for (size_t i = 1; i < v.n; i++) {
		char c = v.p[i];

		if (c == '"')
			return i + 1;
		if (c == '\\' && ++i < v.n)
			c = v.p[i];
		if ((c < ' ' || c > '~') && !is_high(c))
			return 0;
	}
	return 0;
}

/* Bytes of the Dot-string at the start of v; 0 if it is none. */
static size_t
dot_string_length(struct sv v)
{
	size_t i = 0;
	bool want_atom = true;

	for (; i < v.n; i++) {
		char c = v.p[i];

		if (c == '.') {
			if (want_atom)
				return 0;
			want_atom = true;
		} else if (is_atext(c) || is_high(c)) {
			want_atom = false;
		} else {
			break;
		}
	}
	return want_atom ? 0 : i;
}

static size_t
local_length(struct sv v)
{
	if (v.n == 0)
		return 0;
	return v.p[0] == '"' ? quoted_length(v) : dot_string_length(v);
}

/* The address in text has this local part and domain: both checked. */
static void
addr_set(struct addr *a, struct sv v, size_t local_n)
{
	memcpy(a->text, v.p, v.n);
	for (size_t i = local_n + 1; i < v.n; i++)
		a->text[i] = ascii_lower(a->text[i]);
	a->text[v.n] = '\0';
	a->n = (uint16_t)v.n;
	a->local_n = (uint16_t)local_n;
	a->utf8 = has_high(v);
}

static void
addr_clear(struct addr *a)
{
	a->text[0] = '\0';
	a->n = a->local_n = 0;
	a->utf8 = false;
}

enum cmd_result
addr_parse(struct sv v, bool utf8_ok, struct addr *a_r)
{
	size_t local_n = local_length(v);
	struct sv domain;

	addr_clear(a_r);
	if (local_n == 0)
		return CMD_ADDR_BAD;
	if (local_n == v.n)
		return CMD_UNQUALIFIED;
	if (v.p[local_n] != '@')
		return CMD_ADDR_BAD;
	domain = sv_from_at(v, local_n + 1);
	if (local_n > ADDR_LOCAL_MAX || domain.n > ADDR_DOMAIN_MAX ||
	    v.n > ENV_ADDR_MAX)
		return CMD_ADDR_LONG;
	if (has_high(v)) {
		if (!utf8_is_valid(v))
			return CMD_ADDR_BAD;
		if (!utf8_ok)
			return CMD_UTF8_NEEDED;
	}
	if (!domain_is_valid(domain, utf8_ok))
		return CMD_ADDR_BAD;
	addr_set(a_r, v, local_n);
	return CMD_OK;
}

enum cmd_result
addr_qualify(struct sv local, struct sv domain, bool utf8_ok,
    struct addr *a_r)
{
	char text[ENV_ADDR_MAX];

	addr_clear(a_r);
	if (local.n >= sizeof(text) || domain.n > sizeof(text) - local.n - 1)
		return CMD_ADDR_LONG;
	memcpy(text, local.p, local.n);
	text[local.n] = '@';
	memcpy(text + local.n + 1, domain.p, domain.n);
	return addr_parse(sv_make(text, local.n + 1 + domain.n), utf8_ok, a_r);
}

struct sv
addr_text(const struct addr *a)
{
	return sv_make(a->text, a->n);
}

struct sv
addr_local(const struct addr *a)
{
	return sv_make(a->text, a->local_n);
}

/* ---- paths ---- */

/*
 * Cuts "<...>" off the front of *v; the view between the brackets. A '>' in a
 * quoted local part does not end it. False if there is no end.
 */
static bool
path_cut(struct sv *v, struct sv *inside_r)
{
	if (v->n == 0 || v->p[0] != '<')
		return false;
	for (size_t i = 1; i < v->n; i++) {
		if (v->p[i] == '"') {
			size_t n = quoted_length(sv_from_at(*v, i));

			if (n == 0)
				return false;
			i += n - 1;
		} else if (v->p[i] == '>') {
			*inside_r = sv_make(v->p + 1, i - 1);
			*v = sv_from_at(*v, i + 1);
			return true;
		}
	}
	return false;
}

/* RFC 5321 4.1.2, appendix C: source routes are accepted and ignored. */
static bool
source_route_skip(struct sv *v)
{
	while (v->n > 0 && v->p[0] == '@') {
		size_t i = 1;

		while (i < v->n && v->p[i] != ',' && v->p[i] != ':')
			i++;
		if (i == v->n ||
		    !domain_is_valid(sv_make(v->p + 1, i - 1), true))
			return false;
		if (v->p[i] == ',' && (i + 1 == v->n || v->p[i + 1] != '@'))
			return false;
		if (v->p[i] == ':' && i + 1 < v->n && v->p[i + 1] == '@')
			return false;
		*v = sv_from_at(*v, i + 1);
	}
	return true;
}

/* "FROM:" or "TO:", blanks that many clients send, and the path. */
static enum cmd_result
path_parse(struct sv *arg, struct sv key, struct sv *inside_r)
{
	if (!sv_istarts(*arg, key))
		return CMD_SYNTAX;
	*arg = sv_from_at(*arg, key.n);
	while (arg->n > 0 && arg->p[0] == ' ')
		*arg = sv_from_at(*arg, 1);
	if (!path_cut(arg, inside_r))
		return CMD_SYNTAX;
	if (arg->n > 0 && arg->p[0] != ' ')
		return CMD_SYNTAX;
	return source_route_skip(inside_r) ? CMD_OK : CMD_ADDR_BAD;
}

/* ---- parameters ---- */

struct param {
	struct sv key, value;
	bool has_value;
};

/* The next parameter; false at the end. *bad_r: not even the form is right. */
static bool
param_next(struct sv *rest, struct param *p_r, bool *bad_r)
{
	struct sv word = SV("");
	ptrdiff_t eq;

	*bad_r = false;
	while (rest->p != NULL && word.n == 0)
		word = sv_cut(rest, ' ');
	if (word.n == 0)
		return false;
	eq = sv_find(word, '=');
	p_r->has_value = eq >= 0;
	p_r->key = eq < 0 ? word : sv_head(word, (size_t)eq);
	p_r->value = eq < 0 ? SV("") : sv_from_at(word, (size_t)eq + 1);
	if (p_r->key.n == 0 || (!is_alpha(p_r->key.p[0]) &&
	    !ascii_is_digit(p_r->key.p[0])) ||
	    (p_r->has_value && p_r->value.n == 0))
		*bad_r = true;
	for (size_t i = 0; i < word.n; i++) {
		if ((word.p[i] < '!' || word.p[i] > '~') &&
		    !is_high(word.p[i]))
			*bad_r = true;
	}
	return true;
}

typedef enum cmd_result param_set_fn(void *out, const struct param *p,
    bool utf8);

struct param_row {
	const char *key;
	param_set_fn *set;
};

/* utf8: SMTPUTF8 is offered (MAIL) or in force (RCPT). */
static enum cmd_result
params_parse(struct sv rest, const struct param_row *rows, size_t nrows,
    void *out, bool utf8)
{
	unsigned seen = 0;
	struct param p;
	bool bad;

	while (param_next(&rest, &p, &bad)) {
		enum cmd_result res;
		size_t i = 0;

		if (bad)
			return CMD_PARAM_BAD;
		while (i < nrows && !sv_ieq(p.key, sv_from(rows[i].key)))
			i++;
		if (i == nrows)
			return CMD_PARAM_UNKNOWN;
		if ((seen & (1u << i)) != 0)
			return CMD_PARAM_TWICE;
		seen |= 1u << i;
		res = rows[i].set(out, &p, utf8);
		if (res != CMD_OK)
			return res;
	}
	return CMD_OK;
}

/* ---- MAIL ---- */

/* RFC 1870 4: up to 20 digits. */
static enum cmd_result
mail_size(void *out, const struct param *p, bool utf8)
{
	struct smtp_mail *m = out;

	(void)utf8;
	if (p->value.n == 0 || p->value.n > 20 || !is_all_digits(p->value))
		return CMD_PARAM_BAD;
	if (!sv_to_u64(p->value, UINT64_MAX, &m->size))
		m->size = UINT64_MAX;
	return CMD_OK;
}

static enum cmd_result
mail_body(void *out, const struct param *p, bool utf8)
{
	struct smtp_mail *m = out;

	(void)utf8;
	if (sv_ieq(p->value, SV("8BITMIME")))
		m->flags |= ENV_8BITMIME;
	else if (!sv_ieq(p->value, SV("7BIT")))
		return CMD_PARAM_BAD; /* BINARYMIME is not offered */
	return CMD_OK;
}

static enum cmd_result
mail_smtputf8(void *out, const struct param *p, bool utf8)
{
	struct smtp_mail *m = out;

	if (!utf8)
		return CMD_PARAM_UNKNOWN;
	if (p->has_value)
		return CMD_PARAM_BAD; /* RFC 6531 3.4 */
	m->flags |= ENV_SMTPUTF8;
	return CMD_OK;
}

static enum cmd_result
mail_ret(void *out, const struct param *p, bool utf8)
{
	struct smtp_mail *m = out;

	(void)utf8;
	if (sv_ieq(p->value, SV("FULL")))
		m->flags |= ENV_RET_FULL;
	else if (sv_ieq(p->value, SV("HDRS")))
		m->flags |= ENV_RET_HDRS;
	else
		return CMD_PARAM_BAD;
	return CMD_OK;
}

static enum cmd_result
mail_envid(void *out, const struct param *p, bool utf8)
{
	struct smtp_mail *m = out;

	(void)utf8;
	if (p->value.n == 0 || p->value.n > ENV_ENVID_MAX ||
	    !xtext_is_valid(p->value, false))
		return CMD_PARAM_BAD;
	m->envid = p->value;
	return CMD_OK;
}

static const struct param_row mail_params[] = {
	{ "SIZE", mail_size },
	{ "BODY", mail_body },
	{ "SMTPUTF8", mail_smtputf8 },
	{ "RET", mail_ret },
	{ "ENVID", mail_envid },
};

enum cmd_result
smtp_mail_parse(struct sv arg, bool utf8_ok, struct smtp_mail *m_r)
{
	struct sv path;
	enum cmd_result res;

	m_r->local = SV("");
	m_r->size = 0;
	m_r->flags = 0;
	m_r->envid = SV("");
	addr_clear(&m_r->from);
	res = path_parse(&arg, SV("FROM:"), &path);
	if (res != CMD_OK)
		return res;
	res = params_parse(arg, mail_params,
	    sizeof(mail_params) / sizeof(mail_params[0]), m_r, utf8_ok);
	if (res != CMD_OK || path.n == 0)
		return res;
	m_r->local = path;
	return addr_parse(path, (m_r->flags & ENV_SMTPUTF8) != 0, &m_r->from);
}

/* ---- RCPT ---- */

/* RFC 3461 4.1: NEVER alone, or a list of the others. */
static enum cmd_result
rcpt_notify(void *out, const struct param *p, bool utf8)
{
	struct smtp_rcpt *r = out;
	struct sv rest = p->value;

	(void)utf8;
	if (rest.n == 0)
		return CMD_PARAM_BAD;
	while (rest.p != NULL) {
		struct sv word = sv_cut(&rest, ',');
		uint8_t bit;

		if (sv_ieq(word, SV("NEVER")))
			bit = NOTIFY_NEVER;
		else if (sv_ieq(word, SV("SUCCESS")))
			bit = NOTIFY_SUCCESS;
		else if (sv_ieq(word, SV("FAILURE")))
			bit = NOTIFY_FAILURE;
		else if (sv_ieq(word, SV("DELAY")))
			bit = NOTIFY_DELAY;
		else
			return CMD_PARAM_BAD;
		if ((r->notify & bit) != 0)
			return CMD_PARAM_BAD;
		r->notify |= bit;
	}
	if ((r->notify & NOTIFY_NEVER) != 0 && r->notify != NOTIFY_NEVER)
		return CMD_PARAM_BAD;
	return CMD_OK;
}

/* RFC 3461 4.2: addr-type ";" xtext; RFC 6533 3 for utf-8. */
static enum cmd_result
rcpt_orcpt(void *out, const struct param *p, bool utf8)
{
	struct smtp_rcpt *r = out;
	ptrdiff_t semi = sv_find(p->value, ';');

	if (semi <= 0 || p->value.n > ENV_ORCPT_MAX)
		return CMD_PARAM_BAD;
	for (ptrdiff_t i = 0; i < semi; i++) {
		char c = p->value.p[i];

		if (!ascii_is_alnum(c) && c != '-')
			return CMD_PARAM_BAD;
	}
	if ((size_t)semi + 1 == p->value.n ||
	    !xtext_is_valid(sv_from_at(p->value, (size_t)semi + 1), utf8))
		return CMD_PARAM_BAD;
	r->orcpt = p->value;
	return CMD_OK;
}

static const struct param_row rcpt_params[] = {
	{ "NOTIFY", rcpt_notify },
	{ "ORCPT", rcpt_orcpt },
};

enum cmd_result
smtp_rcpt_parse(struct sv arg, bool utf8, struct smtp_rcpt *r_r)
{
	struct sv path;
	enum cmd_result res;

	r_r->local = SV("");
	r_r->postmaster = false;
	r_r->notify = 0;
	r_r->orcpt = SV("");
	addr_clear(&r_r->to);
	res = path_parse(&arg, SV("TO:"), &path);
	if (res != CMD_OK)
		return res;
	res = params_parse(arg, rcpt_params,
	    sizeof(rcpt_params) / sizeof(rcpt_params[0]), r_r, utf8);
	if (res != CMD_OK)
		return res;
	/* RFC 5321 4.1.1.3 */
	r_r->postmaster = sv_ieq(path, SV("postmaster"));
	if (r_r->postmaster)
		return CMD_OK;
	r_r->local = path;
	return addr_parse(path, utf8, &r_r->to);
}

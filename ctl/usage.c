/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/str.h"
#include "ctl/usage.h"

#define WIDTH 76 /* of lines of help */

static const struct {
	const char *name, *help;
} helps[] = {
	{ "connect", "talk to the first host that does" },
	{ "connected", "queues that have sessions, or none" },
	{ "defaults", "also what is not set" },
	{ "diff", "what differs between the daemon and the file" },
	{ "domain", "queues of this domain" },
	{ "envId", "with this envelope ID" },
	{ "errors", "queues with a last error" },
	{ "for", "for so long: 4h" },
	{ "hours", "so many" },
	{ "id", "of one message" },
	{ "interval", "seconds until it is asked again" },
	{ "jobId", "of one job" },
	{ "log-data", "messages as well" },
	{ "match", "queues with this in their name" },
	{ "maxitems", "at most so many" },
	{ "mode", "queues in this mode" },
	{ "no-trash", "for good: there is no undo" },
	{ "older-than", "what has waited longer than that: 4h" },
	{ "order", "what that standing order holds" },
	{ "orig", "of this sender; * is any text" },
	{ "paused", "queues that are paused, or not" },
	{ "priority", "show it" },
	{ "queue", "of these queues: domain/vmta; * is any text" },
	{ "rcpt", "this recipient; * is any text" },
	{ "reason", "why, for those who look later" },
	{ "reenable-after", "enabled again after that: 4h" },
	{ "retry-recipients", "recipients that wait as well" },
	{ "rollup", "as one of this rollup's domains" },
	{ "seed", "the same number gives the same result" },
	{ "sort", "in this order" },
	{ "source", "from this address, under this name" },
	{ "source-ip", "sessions from this address" },
	{ "standing", "also what comes from now on" },
	{ "vmta", "of this VMTA" },
	{ "waiting", "those that queues wait for" },
	{ "yes", "do it without asking" },
};

static const struct usage_option globals[] = {
	{ SV("json"), true, false, SV(""), "the answer as JSON" },
	{ SV("xml"), true, false, SV(""), "the answer as XML" },
	{ SV("dom"), true, false, SV(""), "the answer as lines of paths" },
	{ SV("timeout"), true, true, SV(""),
	    "seconds to wait for the daemon (60)" },
	{ SV("help"), true, false, SV(""), "what may follow" },
};

/* ---- the text ---- */

static const char *
help_of(struct sv name)
{
	for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
		if (sv_eq(name, sv_from(helps[i].name)))
			return helps[i].help;
	}
	return NULL;
}

static bool
is_name_char(char c)
{
	return ascii_is_alnum(c) || c == '-';
}

/* "a|b" of "a|b] ..." or "{a|b} ..."; "" if it is no such list. */
static struct sv
values_of(struct sv v)
{
	size_t n = 0, bars = 0;

	if (sv_starts(v, SV("{")))
		v = sv_from_at(v, 1);
	while (n < v.n && (v.p[n] == '|' ||
	    (v.p[n] >= 'a' && v.p[n] <= 'z')))
		bars += v.p[n++] == '|';
	return bars > 0 ? sv_head(v, n) : SV("");
}

/* A word of the text is one if "--" is before it or "=" behind it. */
bool
usage_option_next(struct sv *rest, struct usage_option *o)
{
	while (rest->n > 0) {
		size_t n = 0;

		while (n < rest->n && is_name_char(rest->p[n]))
			n++;
		*o = (struct usage_option){ .name = sv_head(*rest, n),
			.values = SV("") };
		*rest = sv_from_at(*rest, n > 0 ? n : 1);
		if (sv_starts(o->name, SV("--"))) {
			o->dashes = true;
			o->name = sv_from_at(o->name, 2);
		}
		if (n > 0 && sv_starts(*rest, SV("="))) {
			o->valued = true;
			o->values = values_of(sv_from_at(*rest, 1));
			/* what its value looks like is no option */
			while (rest->n > 0 && rest->p[0] != ' ')
				*rest = sv_from_at(*rest, 1);
		}
		o->help = help_of(o->name);
		if (o->name.n > 0 && (o->dashes || o->valued))
			return true;
	}
	return false;
}

bool
usage_global(size_t i, struct usage_option *o)
{
	if (i >= sizeof(globals) / sizeof(globals[0]))
		return false;
	*o = globals[i];
	return true;
}

bool
usage_has_queues(const struct ctl_command *cmd)
{
	return strstr(cmd->usage, "domain") != NULL;
}

bool
usage_has_files(const struct ctl_command *cmd)
{
	return strstr(cmd->usage, "FILE") != NULL ||
	    strstr(cmd->usage, "DIR") != NULL;
}

/* ---- the check ---- */

/* As the daemon takes them: in any case, and with a value also without
 * dashes. */
static bool
is_known(const struct ctl_command *cmd, struct sv name, bool dashes,
    bool valued)
{
	static const char *const queues[] = { "queue", "domain", "vmta" };
	struct sv rest = sv_from(cmd->usage);
	struct usage_option o;

	while (usage_option_next(&rest, &o)) {
		if (sv_ieq(o.name, name) && o.valued == valued &&
		    (dashes || valued))
			return true;
	}
	for (size_t i = 0; valued && usage_has_queues(cmd) && i < 3; i++) {
		if (sv_ieq(name, sv_from(queues[i])))
			return true;
	}
	return false;
}

/* Is a word with a '=' in it never anything but name=value? */
static bool
has_valued(const struct ctl_command *cmd)
{
	struct sv rest = sv_from(cmd->usage);
	struct usage_option o;

	while (usage_option_next(&rest, &o)) {
		if (o.valued)
			return true;
	}
	return usage_has_queues(cmd);
}

static void
complain(const struct ctl_command *cmd, const char *word)
{
	struct sv rest = sv_from(cmd->usage);
	struct usage_option o;
	char list[1024];
	struct str s;

	STR_ON(&s, list);
	while (usage_option_next(&rest, &o))
		str_addf(&s, "%s%s%.*s%s", s.n > 0 ? ", " : "",
		    o.dashes ? "--" : "", SV_FMT(o.name), o.valued ? "=" : "");
	if (s.n > 0)
		ctl_complain("%s: unknown option %s; it knows %s", cmd->words,
		    word, list);
	else
		ctl_complain("%s: unknown option %s", cmd->words, word);
}

bool
usage_check(const struct ctl *ctl, const struct ctl_command *cmd)
{
	for (unsigned i = ctl_command_nwords(cmd); i < ctl->nwords; i++) {
		struct sv w = sv_from(ctl->words[i]), name = w;
		bool dashes = sv_starts(w, SV("-")) && w.n > 1;
		bool valued = sv_find(w, '=') >= 0;

		if (!dashes && (!valued || !has_valued(cmd)))
			continue;
		if (sv_starts(w, SV("--")))
			name = sv_from_at(w, 2);
		name = sv_cut(&name, '=');
		if (is_known(cmd, name, dashes, valued))
			continue;
		/* simulate takes "--hours 24"; others will refuse it */
		if (dashes && !valued && i + 1 < ctl->nwords &&
		    is_known(cmd, name, dashes, true)) {
			i++;
			continue;
		}
		complain(cmd, ctl->words[i]);
		return false;
	}
	return true;
}

/* ---- help ---- */

/* Broken between words, each line behind so many blanks. */
static void
print_wrapped(FILE *out, const char *text, size_t indent)
{
	struct sv rest = sv_from(text);
	size_t at = 0;

	while (rest.p != NULL) {
		struct sv w = sv_cut(&rest, ' ');

		if (at > 0 && at + 1 + w.n > WIDTH) {
			fputc('\n', out);
			at = 0;
		}
		if (at == 0)
			at = (size_t)fprintf(out, "%*s", (int)indent, "");
		else
			at += (size_t)fprintf(out, " ");
		at += (size_t)fprintf(out, "%.*s", SV_FMT(w));
	}
	fputc('\n', out);
}

static void
option_print(FILE *out, const struct usage_option *o)
{
	char left[128];
	struct str s;

	STR_ON(&s, left);
	str_addf(&s, "%s%.*s%s%.*s", o->dashes ? "--" : "", SV_FMT(o->name),
	    o->valued ? "=" : "", SV_FMT(o->values));
	fprintf(out, "  %-22s %s\n", left, o->help != NULL ? o->help : "");
}

void
usage_print(const struct ctl_command *cmd, FILE *out)
{
	struct sv rest = sv_from(cmd->usage);
	struct usage_option o;

	fprintf(out, "pinnace %s\n", cmd->words);
	if (cmd->usage[0] != '\0')
		print_wrapped(out, cmd->usage, 4);
	fputc('\n', out);
	if (cmd->help != NULL)
		print_wrapped(out, cmd->help, 0);
	if (usage_has_queues(cmd))
		print_wrapped(out, "Queues: domain, domain/vmta, domain=D, "
		    "vmta=V; * stands for any text.", 0);
	fputc('\n', out);
	while (usage_option_next(&rest, &o))
		option_print(out, &o);
	for (size_t i = 0; usage_global(i, &o); i++)
		option_print(out, &o);
}

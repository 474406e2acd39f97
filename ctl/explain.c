/* SPDX-License-Identifier: ISC */
/* Answers of `pinnace explain`, in sentences. */
#include <stdio.h>
#include <string.h>

#include "common/base/str.h"
#include "ctl/ctl.h"
#include "ctl/view.h"

#define TEXT_MAX 2048

static void
add_time(struct str *s, const json_t *row, const char *key)
{
	char mem[32];

	str_adds(s, local_time(text_of(row, key), false, mem));
}

static bool
has_time(const json_t *row, const char *key)
{
	return text_of(row, key).n > 0;
}

/* "  now        text" */
static void
print_line(const char *head, const struct str *s)
{
	printf("  %-9s ", head);
	print_text(str_sv(s));
}

static double
real_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

/* ---- diagnose ---- */

void
view_diagnose(const struct ctl_reply *r)
{
	const json_t *row;
	size_t i;

	json_array_foreach(r->rows, i, row) {
		struct sv evidence = text_of(row, "evidence");
		struct sv command = text_of(row, "command");
		char mem[TEXT_MAX];
		struct str s;

		printf("%s%.*s  ", i > 0 ? "\n" : "",
		    SV_FMT(text_of(row, "pattern")));
		print_safe(text_of(row, "subject"));
		printf(": %.*s\n", SV_FMT(text_of(row, "title")));
		STR_ON(&s, mem);
		str_add(&s, evidence);
		print_line("evidence", &s);
		STR_ON(&s, mem);
		str_add(&s, command);
		print_line("do", &s);
	}
}

/* ---- the head ---- */

static void
add_count(struct str *s, const json_t *row, const char *key, const char *what)
{
	long long n = num_of(row, NULL, key);

	if (n > 0)
		str_addf(s, ", %lld %s", n, what);
}

static void
print_head(const json_t *row)
{
	char mem[TEXT_MAX];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%.*s: %lld ready", SV_FMT(text_of(row, "queue")),
	    num_of(row, NULL, "ready"));
	add_count(&s, row, "retry", "wait for their retry");
	add_count(&s, row, "inflight", "being delivered");
	add_count(&s, row, "hold", "on hold");
	add_count(&s, row, "bounce", "wait for their DSN");
	add_count(&s, row, "conn", "connections");
	if (sv_eq(text_of(row, "mode"), SV("backoff")))
		str_adds(&s, ", mode backoff");
	print_text(str_sv(&s));
}

/* ---- now ---- */

/* "max-msg-rate 10/h (domain gmail.com, /etc/pinnace/config:12)" */
static void
add_rule(struct str *s, const json_t *limit)
{
	static const char *const kinds[] = { "host", "network", "relay" };
	struct sv scope = text_of(limit, "scope"), file = text_of(limit,
	    "file");

	if (text_of(limit, "setting").n == 0) {
		str_adds(s, "what a reply has set for a time");
		return;
	}
	str_add(s, text_of(limit, "setting"));
	if (text_of(limit, "value").n > 0)
		str_addc(s, ' ');
	str_add(s, text_of(limit, "value"));
	str_adds(s, " (");
	if (scope.n > 0)
		str_addf(s, "%.*s, ", SV_FMT(scope));
	if (file.n > 0)
		str_addf(s, "%.*s:%lld)", SV_FMT(file),
		    num_of(limit, NULL, "line"));
	else
		str_adds(s, "default)");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (text_of(limit, kinds[i]).n > 0)
			str_addf(s, ", for the %s %.*s", kinds[i],
			    SV_FMT(text_of(limit, kinds[i])));
	}
	if (text_of(limit, "source").n > 0)
		str_addf(s, ", of the source address %.*s",
		    SV_FMT(text_of(limit, "source")));
	if (text_of(limit, "site").n > 0)
		str_addf(s, ", of all domains that go to %.*s",
		    SV_FMT(text_of(limit, "site")));
}

static void
add_limit(struct str *s, const json_t *row, const json_t *limit)
{
	add_rule(s, limit);
	if (sv_eq(text_of(row, "why"), SV("warmup")))
		str_addf(s, ": a warmup, of whose plan for today %lld of %lld "
		    "are used", num_of(limit, NULL, "used"),
		    num_of(limit, NULL, "most"));
	else if (json_object_get(limit, "most") != NULL)
		str_addf(s, " has no room: %lld of %lld connections",
		    num_of(limit, NULL, "used"), num_of(limit, NULL, "most"));
	else
		str_adds(s, " is used up");
	if (has_time(row, "next")) {
		str_adds(s, "; goes on at ");
		add_time(s, row, "next");
	}
}

/* What each name of sched_wait_name() means where there is no limit. */
static void
add_wait(struct str *s, const json_t *row)
{
	static const struct { const char *name, *text; } waits[] = {
		{ "paused", "it is paused; \"pinnace resume queue\" lets it "
		    "go on" },
		{ "dns", "its route is looked up" },
		{ "connecting", "connections are being opened" },
		{ "remote", "all connections are busy: the receiver's answers "
		    "are waited for" },
		{ "workers", "no delivery process can take more" },
		{ "sources-disabled", "all its source addresses are disabled; "
		    "\"pinnace show disabled sources\" says why" },
		{ "source-connections", "the source addresses that are not "
		    "disabled have source-ip-max-smtp-out connections" },
	};
	struct sv why = text_of(row, "why");

	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		if (sv_eq(why, sv_from(waits[i].name))) {
			str_adds(s, waits[i].text);
			return;
		}
	}
	if (sv_eq(why, SV("nothing"))) {
		str_adds(s, "no mail is due");
		if (has_time(row, "next")) {
			str_adds(s, "; the first retry is at ");
			add_time(s, row, "next");
		}
		return;
	}
	str_add(s, why);
}

static void
print_now(const json_t *row)
{
	const json_t *limit = json_object_get(row, "limit");
	char mem[TEXT_MAX];
	struct str s;

	STR_ON(&s, mem);
	if (sv_eq(text_of(row, "why"), SV("retry"))) {
		str_adds(&s, "the destination failed: ");
		add_rule(&s, limit);
		str_adds(&s, "; tried again at ");
		add_time(&s, row, "next");
	} else if (json_is_object(limit)) {
		add_limit(&s, row, limit);
	} else {
		add_wait(&s, row);
	}
	if (has_time(row, "since")) {
		str_adds(&s, "; so since ");
		add_time(&s, row, "since");
	}
	print_line("now", &s);
}

static void
print_ahead(const json_t *row)
{
	const json_t *limit = json_object_get(row, "limit");
	char mem[TEXT_MAX];
	struct str s;

	if (text_of(limit, "ahead").n == 0)
		return;
	STR_ON(&s, mem);
	str_addf(&s, "%.*s goes first: its queue-priority is %lld, that of "
	    "this queue %lld", SV_FMT(text_of(limit, "ahead")),
	    num_of(limit, NULL, "aheadPriority"),
	    num_of(row, NULL, "priority"));
	print_line("", &s);
}

static void
print_others(const json_t *row)
{
	const json_t *limit = json_object_get(row, "limit"), *name;
	const json_t *others = json_object_get(limit, "others");
	long long n = num_of(limit, NULL, "waiting") - 1;
	char mem[TEXT_MAX];
	struct str s;
	size_t i;

	if (n <= 0)
		return;
	STR_ON(&s, mem);
	str_addf(&s, "%lld other queues wait for the same: ", n);
	json_array_foreach(others, i, name)
		str_addf(&s, "%s%s", i == 0 ? "" : ", ",
		    json_string_value(name));
	if ((long long)json_array_size(others) < n)
		str_adds(&s, ", ...");
	print_line("", &s);
}

/* ---- of late ---- */

static void
print_shares(const json_t *row)
{
	static const char *const windows[] = { "1m", "10m", "1h" };
	const json_t *shares = json_object_get(row, "shares");

	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		json_t *share, *w = json_object_get(shares, windows[i]);
		const char *name, *comma = "";
		char mem[TEXT_MAX];
		struct str s;

		STR_ON(&s, mem);
		str_addf(&s, "%3s: ", windows[i]);
		json_object_foreach(w, name, share) {
			str_addf(&s, "%s%s %.0f %%", comma, name,
			    json_number_value(share) * 100);
			comma = ", ";
		}
		print_line(i == 0 ? "of late" : "", &s);
	}
}

static void
print_error(const json_t *row)
{
	char mem[TEXT_MAX];
	struct str s;

	if (text_of(row, "lastError").n == 0)
		return;
	STR_ON(&s, mem);
	add_time(&s, row, "lastErrorTime");
	str_adds(&s, "  ");
	str_add(&s, text_of(row, "lastError"));
	print_line("last said", &s);
}

/* ---- forecast ---- */

static void
print_forecast(const json_t *row)
{
	struct sv how = text_of(row, "forecast");
	char mem[TEXT_MAX];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%.0f an hour leave, %.0f arrive: ",
	    real_of(row, "leavingPerHour"), real_of(row, "arrivedPerHour"));
	if (sv_eq(how, SV("empty"))) {
		str_adds(&s, "nothing waits");
	} else if (sv_eq(how, SV("paused"))) {
		str_adds(&s, "it stays until it is resumed");
	} else if (sv_eq(how, SV("early"))) {
		str_addf(&s, "seen for %lld s, too early to say",
		    num_of(row, NULL, "seen_s"));
	} else if (sv_eq(how, SV("stands"))) {
		str_adds(&s, "nothing has left in the last hour");
	} else if (sv_eq(how, SV("never"))) {
		str_adds(&s, "never drained like this");
	} else {
		str_adds(&s, "drained about ");
		add_time(&s, row, "drained");
	}
	print_line("forecast", &s);
}

/* ---- a message ---- */

static void
print_rcpt(const json_t *row)
{
	struct sv state = text_of(row, "state");
	char mem[TEXT_MAX];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%.*s %.*s: ", SV_FMT(text_of(row, "id")),
	    SV_FMT(text_of(row, "rcpt")));
	if (sv_eq(state, SV("hold"))) {
		str_adds(&s, "on hold since ");
		add_time(&s, row, "heldAt");
		str_addf(&s, " by %.*s: %.*s", SV_FMT(text_of(row, "heldBy")),
		    SV_FMT(text_of(row, "reason")));
	} else if (sv_eq(state, SV("retry"))) {
		str_adds(&s, "waits for its next try at ");
		add_time(&s, row, "nextTry");
	} else if (sv_eq(state, SV("inflight"))) {
		str_adds(&s, "being delivered");
	} else if (sv_eq(state, SV("bounce"))) {
		str_adds(&s, "failed; its DSN is being made");
	} else {
		str_adds(&s, "ready");
	}
	str_addf(&s, ", %lld tries so far, in %.*s",
	    num_of(row, NULL, "attempts"), SV_FMT(text_of(row, "of")));
	print_text(str_sv(&s));
}

void
view_explain(const struct ctl_reply *r)
{
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		if (text_of(row, "queue").n == 0) {
			print_rcpt(row);
			continue;
		}
		print_head(row);
		print_now(row);
		print_ahead(row);
		print_others(row);
		print_shares(row);
		print_error(row);
		print_forecast(row);
		puts("");
	}
}

/* SPDX-License-Identifier: ISC */
/* How answers look for people. The fields are those of doc/commands.md; one
 * that is missing shows as empty. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/str.h"
#include "ctl/ctl.h"
#include "ctl/form.h"
#include "ctl/table.h"
#include "ctl/view.h"

/* ---- fields ---- */

struct sv
text_of(const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);

	if (!json_is_string(v))
		return SV("");
	return sv_make(json_string_value(v), json_string_length(v));
}

long long
num_of(const json_t *row, const char *outer, const char *key)
{
	if (outer != NULL)
		row = json_object_get(row, outer);
	return (long long)json_integer_value(json_object_get(row, key));
}

static bool
flag_of(const json_t *row, const char *key)
{
	return json_is_true(json_object_get(row, key));
}

static void
cell_num(struct table *t, const json_t *row, const char *key)
{
	table_cellf(t, "%lld", num_of(row, NULL, key));
}

static void
cell_text(struct table *t, const json_t *row, const char *key)
{
	table_cell(t, text_of(row, key));
}

const char *
local_time(struct sv text, bool full, char out[32])
{
	time_t now = time(NULL), at;
	struct tm tm = { 0 }, today;
	char mem[32];

	out[0] = '\0';
	if (!sv_to_cstr(text, mem, sizeof(mem)) ||
	    strptime(mem, "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL)
		return out;
	at = timegm(&tm);
	if (localtime_r(&at, &tm) == NULL ||
	    localtime_r(&now, &today) == NULL)
		return out;
	(void)strftime(out, 32, full ? "%Y-%m-%d %H:%M:%S" :
	    tm.tm_yday == today.tm_yday && tm.tm_year == today.tm_year ?
	    "%H:%M:%S" : "%m-%d %H:%M", &tm);
	return out;
}

static void
cell_time(struct table *t, const json_t *row, const char *key)
{
	char mem[32];

	table_cellf(t, "%s", local_time(text_of(row, key), false, mem));
}

void
add_age(struct str *out, long long s)
{
	if (s >= 86400)
		str_addf(out, "%lldd%02lldh", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		str_addf(out, "%lldh%02lldm", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		str_addf(out, "%lldm%02llds", s / 60, s % 60);
	else
		str_addf(out, "%llds", s);
}

static void
cell_age(struct table *t, long long s)
{
	char mem[32];
	struct str out;

	STR_ON(&out, mem);
	add_age(&out, s);
	table_cell(t, str_sv(&out));
}

static void
table_out(struct table *t)
{
	table_print(t, stdout);
	table_free(&t);
}

/* What may hold anything, within a line. */
void
print_safe(struct sv text)
{
	char mem[4096];
	struct str s;

	STR_ON(&s, mem);
	table_add_safe(&s, text);
	fputs(mem, stdout);
}

void
print_text(struct sv text)
{
	char mem[4096];
	struct str s;

	while (text.p != NULL && text.n > 0) {
		STR_ON(&s, mem);
		table_add_safe(&s, sv_cut(&text, '\n'));
		puts(mem);
	}
}

/* ---- show status ---- */

static void
status_head(const json_t *row)
{
	char now[32], started[32];
	long long up = num_of(row, NULL, "uptime_s");

	printf("Pinnace %.*s status on %.*s on %s\n\n",
	    SV_FMT(text_of(row, "version")), SV_FMT(text_of(row, "hostName")),
	    local_time(text_of(row, "now"), true, now));
	printf("     Status  %.*s    Started  %s    Uptime  "
	    "%lld %02lld:%02lld:%02lld\n\n", SV_FMT(text_of(row, "status")),
	    local_time(text_of(row, "started"), true, started), up / 86400,
	    up % 86400 / 3600, up % 3600 / 60, up % 60);
}

static void
status_traffic(const json_t *row)
{
	const json_t *t = json_object_get(row, "traffic");

	puts("    Traffic  ------------inbound------------  "
	     "------------outbound-----------");
	puts("                 rcpts      msgs      kbytes      "
	     "rcpts      msgs      kbytes");
	printf("      Total %10lld%10lld%12lld %10lld%10lld%12lld\n\n",
	    num_of(t, "in", "rcp"), num_of(t, "in", "msg"),
	    num_of(t, "in", "kb"), num_of(t, "out", "rcp"),
	    num_of(t, "out", "msg"), num_of(t, "out", "kb"));
}

static void
status_queues(const json_t *row)
{
	printf("     Queues  rcpts %lld  messages %lld  queues %lld\n",
	    num_of(row, "queue", "rcp"), num_of(row, "queue", "msg"),
	    num_of(row, "queue", "dom"));
	printf("      Views  submission %lld  delivery %lld  retry %lld  "
	    "bounce %lld  hold %lld\n",
	    num_of(row, "queue", "submission"),
	    num_of(row, "queue", "delivery"), num_of(row, "queue", "retry"),
	    num_of(row, "queue", "bounce"), num_of(row, "queue", "hold"));
	printf("Connections  outbound %lld (%lld being opened)\n",
	    num_of(row, "conn", "smtpOut"),
	    num_of(row, "conn", "smtpOutConnecting"));
	printf("      Spool  segments: writing %lld  sealed %lld  empty %lld "
	    " recycled %lld;  free %lld MB\n",
	    num_of(row, "spool", "segmentsWriting"),
	    num_of(row, "spool", "segmentsSealed"),
	    num_of(row, "spool", "segmentsEmpty"),
	    num_of(row, "spool", "segmentsRecycled"),
	    num_of(row, "spool", "freeKb") / 1024);
	printf("   Outcomes  delivered %lld  deferred %lld  failed %lld  "
	    "bounced %lld  in doubt %lld  corrupt %lld\n",
	    num_of(row, NULL, "delivered"), num_of(row, NULL, "deferred"),
	    num_of(row, NULL, "failed"), num_of(row, NULL, "bounced"),
	    num_of(row, NULL, "inDoubt"), num_of(row, NULL, "corrupt"));
}

/* It looks like a queue that stands, and is the submitter's mistake. */
static void
status_mismatch(const json_t *row)
{
	const json_t *m = json_object_get(row, "unknownVmta"), *n;
	char mem[32];
	size_t i;

	if (json_array_size(json_object_get(m, "names")) == 0)
		return;
	printf("UnknownVMTA  refused %lld  to the default %lld  to the "
	    "fallback %lld\n", num_of(m, NULL, "refused"),
	    num_of(m, NULL, "toDefault"), num_of(m, NULL, "toFallback"));
	json_array_foreach(json_object_get(m, "names"), i, n) {
		fputs("             ", stdout);
		print_safe(text_of(n, "name"));
		printf(": %lld times, last %s by %.*s\n",
		    num_of(n, NULL, "count"),
		    local_time(text_of(n, "last"), true, mem),
		    SV_FMT(text_of(n, "client")));
	}
}

/* Those that had to be started again. */
static void
status_processes(const json_t *row)
{
	const json_t *list = json_object_get(row, "processes"), *p;
	char mem[32];
	size_t i;

	json_array_foreach(list, i, p) {
		if (num_of(p, NULL, "restarts") == 0)
			continue;
		printf("  Restarted  %.*s[%lld] %lld times, %lld crashes; last "
		    "%s by %.*s; now %.*s\n", SV_FMT(text_of(p, "name")),
		    num_of(p, NULL, "index"), num_of(p, NULL, "restarts"),
		    num_of(p, NULL, "crashes"),
		    local_time(text_of(p, "lastEndTime"), true, mem),
		    SV_FMT(text_of(p, "lastEnd")),
		    SV_FMT(text_of(p, "state")));
	}
}

void
view_status(const struct ctl_reply *r)
{
	const json_t *row = json_array_get(r->rows, 0);

	if (row == NULL)
		return;
	status_head(row);
	status_traffic(row);
	status_queues(row);
	status_mismatch(row);
	status_processes(row);
}

/* ---- domains and VMTAs ---- */

static void
cell_rate(struct table *t, const json_t *row, const char *key)
{
	table_cellf(t, "%.0f", json_number_value(json_object_get(row, key)));
}

void
view_sums(const struct ctl_reply *r)
{
	static const char *const counts[] = { "queues", "rcp", "ready",
		"retry", "inflight", "hold", "bounce", "kb", "conn" };
	static const char *const rates[] = { "arrivedPerHour",
		"deliveredPerHour", "deferredPerHour", "failedPerHour" };
	struct table *t = table_new("name|>queues|>#rcpt|>ready|>retry|>out|"
	    ">hold|>bounce|>kbytes|>conn|>oldest|>in/h|>out/h|>defer/h|"
	    ">fail/h");
	const json_t *row;
	size_t i;

	json_array_foreach(r->rows, i, row) {
		table_cell(t, text_of(row, "name"));
		for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
			cell_num(t, row, counts[k]);
		cell_age(t, num_of(row, NULL, "oldest_s"));
		for (size_t k = 0; k < sizeof(rates) / sizeof(rates[0]); k++)
			cell_rate(t, row, rates[k]);
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

/* ---- standing orders ---- */

void
view_orders(const struct ctl_reply *r)
{
	static const char *const keys[] = { "domain", "vmta", "job" };
	const json_t *row;
	char mem[32];
	size_t i;

	json_array_foreach(r->rows, i, row) {
		struct sv reason = text_of(row, "reason");

		printf("%lld: %.*s", num_of(row, NULL, "order"),
		    SV_FMT(text_of(row, "action")));
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			struct sv v = text_of(row, keys[k]);

			if (v.n == 0)
				continue;
			printf(" %s=", keys[k]);
			print_safe(v);
		}
		if (text_of(row, "until").n > 0)
			printf(" until %s", local_time(text_of(row, "until"),
			    true, mem));
		printf(", %lld taken, since %s by %.*s",
		    num_of(row, NULL, "taken"),
		    local_time(text_of(row, "since"), true, mem),
		    SV_FMT(text_of(row, "who")));
		fputs(reason.n > 0 ? ": " : "", stdout);
		print_safe(reason);
		puts("");
	}
}

/* ---- the audit log ---- */

static void
print_user(long long uid)
{
	const struct passwd *pw = getpwuid((uid_t)uid);

	if (pw != NULL)
		printf("%-10s", pw->pw_name);
	else
		printf("%-10lld", uid);
}

void
view_audit(const struct ctl_reply *r)
{
	const json_t *row;
	char mem[32];
	size_t i;

	json_array_foreach(r->rows, i, row) {
		struct sv text = text_of(row, "text");

		printf("%s  ", local_time(text_of(row, "time"), true, mem));
		print_user(num_of(row, NULL, "uid"));
		putchar(' ');
		print_safe(text_of(row, "command"));
		printf(": %.*s%s", SV_FMT(text_of(row, "result")),
		    text.n > 0 ? ", " : "");
		print_safe(text);
		puts("");
	}
}

/* ---- queues and recipients ---- */

static void
queue_cells(struct table *t, const json_t *row)
{
	static const char *const nums[] = { "rcp", "ready", "retry",
		"inflight", "hold", "bounce", "kb", "conn" };
	struct sv mode = text_of(row, "mode");

	cell_text(t, row, "name");
	for (size_t i = 0; i < sizeof(nums) / sizeof(nums[0]); i++)
		cell_num(t, row, nums[i]);
	/* N or B for the mode, P for paused. */
	table_cellf(t, "%c%s", sv_eq(mode, SV("backoff")) ? 'B' : 'N',
	    flag_of(row, "paused") ? "P" : "");
	cell_time(t, row, "retryTime");
	cell_age(t, num_of(row, NULL, "oldest_s"));
	table_cellf(t, "%.0f", json_number_value(json_object_get(row,
	    "rate1m")));
	cell_text(t, row, "why");
	cell_text(t, row, "lastError");
}

void
view_queues(const struct ctl_reply *r)
{
	struct table *t = table_new("queue|>#rcpt|>ready|>retry|>out|>hold|"
	    ">bounce|>kbytes|>conn|st|next|>oldest|>/min|waits for|"
	    "last error");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row)
		queue_cells(t, row);
	if (json_array_size(r->rows) > 0)
		table_out(t);
	else
		table_free(&t);
}

void
view_jobs(const struct ctl_reply *r)
{
	static const char *const nums[] = { "rcp", "ready", "retry",
		"inflight", "hold", "bounce", "kb" };
	struct table *t = table_new("job|>#rcpt|>ready|>retry|>out|>hold|"
	    ">bounce|>kbytes|>oldest|paused");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		cell_text(t, row, "job");
		for (size_t k = 0; k < sizeof(nums) / sizeof(nums[0]); k++)
			cell_num(t, row, nums[k]);
		cell_age(t, num_of(row, NULL, "oldest_s"));
		table_cellf(t, "%s", flag_of(row, "paused") ? "yes" : "no");
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

static void
list_print(const struct ctl_reply *r, bool priority)
{
	struct table *t = table_new(priority ? "id|state|>priority|>tries|"
	    "next|queued|>size|queue|sender|recipient" : "id|state|>tries|"
	    "next|queued|>size|queue|sender|recipient");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		cell_text(t, row, "id");
		cell_text(t, row, "state");
		if (priority)
			cell_num(t, row, "priority");
		cell_num(t, row, "attempts");
		cell_time(t, row, "nextTry");
		cell_time(t, row, "queued");
		cell_num(t, row, "size");
		cell_text(t, row, "queue");
		table_cellf(t, "<%.*s>", SV_FMT(text_of(row, "orig")));
		cell_text(t, row, "rcpt");
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

void
view_list(const struct ctl_reply *r)
{
	list_print(r, false);
}

void
view_list_priority(const struct ctl_reply *r)
{
	list_print(r, true);
}

/* "on hold: REASON (uid 0, 2026-01-31 14:05:09)" */
static void
hold_print(const json_t *row)
{
	char mem[32];

	printf("on hold");
	if (text_of(row, "reason").n > 0)
		printf(": %.*s", SV_FMT(text_of(row, "reason")));
	if (text_of(row, "heldBy").n > 0)
		printf(" (%.*s, %s)", SV_FMT(text_of(row, "heldBy")),
		    local_time(text_of(row, "heldAt"), true, mem));
	printf("\n\n");
}

void
view_message(const struct ctl_reply *r)
{
	const json_t *row = json_array_get(r->rows, 0);
	char mem[32];

	if (row == NULL)
		return;
	print_text(text_of(row, "id"));
	printf("queued %s, %lld bytes, from %.*s\n\n",
	    local_time(text_of(row, "queued"), true, mem),
	    num_of(row, NULL, "size"), SV_FMT(text_of(row, "client")));
	if (sv_eq(text_of(row, "state"), SV("hold")))
		hold_print(row);
	view_list(r);
}

void
view_trash(const struct ctl_reply *r)
{
	struct table *t = table_new(">deletion|>#rcpt|time|until|by|command");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		cell_num(t, row, "deletion");
		cell_num(t, row, "rcp");
		cell_time(t, row, "time");
		cell_time(t, row, "until");
		cell_text(t, row, "by");
		cell_text(t, row, "command");
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

/* What a dry run has found, some of it. */
void
view_deletion(const struct ctl_reply *r)
{
	struct ctl_reply sample = { .rows =
	    json_object_get(json_array_get(r->rows, 0), "sample") };

	if (json_array_size(sample.rows) > 0)
		view_list(&sample);
}

/* ---- configuration ---- */

static void
cell_place(struct table *t, const json_t *row)
{
	struct sv file = text_of(row, "file");
	long long line = num_of(row, NULL, "line");

	if (file.n == 0)
		table_cell(t, SV("(default)"));
	else if (line == 0)
		table_cell(t, file);
	else
		table_cellf(t, "%.*s:%lld", SV_FMT(file), line);
}

/* "12/20" connections, or "600/h". */
static void
cell_limit(struct table *t, const json_t *row)
{
	double per_hour = json_number_value(json_object_get(row, "perHour"));

	if (json_object_get(row, "most") != NULL)
		table_cellf(t, "%lld/%lld", num_of(row, NULL, "used"),
		    num_of(row, NULL, "most"));
	else
		table_cellf(t, "%.0f/h", per_hour);
}

/* "gmail.com/v1 from 192.0.2.1" */
static void
cell_of(struct table *t, const json_t *row)
{
	struct sv source = text_of(row, "source");

	if (source.n == 0)
		cell_text(t, row, "of");
	else
		table_cellf(t, "%.*s from %.*s", SV_FMT(text_of(row, "of")),
		    SV_FMT(source));
}

void
view_limits(const struct ctl_reply *r)
{
	struct table *t = table_new("kind|of|setting|value|>used|>waiting|"
	    "next|block|where");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		bool set = text_of(row, "setting").n > 0;

		cell_text(t, row, "kind");
		cell_of(t, row);
		table_cell(t, set ? text_of(row, "setting") :
		    SV("by a reply"));
		cell_text(t, row, "value");
		cell_limit(t, row);
		cell_num(t, row, "waiting");
		cell_time(t, row, "next");
		cell_text(t, row, "scope");
		if (set)
			cell_place(t, row);
		else
			table_cell(t, SV(""));
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

static void
view_settings(const struct ctl_reply *r, bool diff)
{
	struct table *t = table_new(diff ? " |block|directive|value|where" :
	    "block|directive|value|where");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		if (diff)
			cell_text(t, row, "change");
		cell_text(t, row, "scope");
		cell_text(t, row, "name");
		cell_text(t, row, "value");
		cell_place(t, row);
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

void
view_config(const struct ctl_reply *r)
{
	view_settings(r, false);
}

void
view_diff(const struct ctl_reply *r)
{
	view_settings(r, true);
}

void
view_version(const struct ctl_reply *r)
{
	const json_t *row = json_array_get(r->rows, 0);

	printf("%.*s %.*s\n", SV_FMT(text_of(row, "name")),
	    SV_FMT(text_of(row, "version")));
}

/* ---- disabled sources ---- */

void
view_sources(const struct ctl_reply *r)
{
	struct table *t = table_new("source|domain|vmta|since|until|by|"
	    "reason");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		cell_text(t, row, "source");
		cell_text(t, row, "domain");
		cell_text(t, row, "vmta");
		cell_time(t, row, "since");
		if (text_of(row, "until").n > 0)
			cell_time(t, row, "until");
		else
			table_cell(t, SV("enabled"));
		cell_text(t, row, "disabledBy");
		cell_text(t, row, "reason");
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

/* "12.5" or "". */
static void
cell_percent(struct table *t, const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);

	if (json_is_number(v))
		table_cellf(t, "%.1f", json_number_value(v));
	else
		table_cell(t, SV(""));
}

/* "no", "yes", "until 14:05:09", "for 3". */
static void
cell_disabled(struct table *t, const json_t *row)
{
	long long n = num_of(row, NULL, "disabledFor");
	char mem[32];

	if (text_of(row, "disabledUntil").n > 0)
		table_cellf(t, "until %s",
		    local_time(text_of(row, "disabledUntil"), false, mem));
	else if (flag_of(row, "disabled"))
		table_cell(t, SV("yes"));
	else if (n > 0)
		table_cellf(t, "for %lld", n);
	else
		table_cell(t, SV("no"));
}

void
view_ips(const struct ctl_reply *r)
{
	static const char *const nums[] = { "conn", "opened",
		"connectFailed", "delivered", "deferred", "failed" };
	static const char *const percents[] = { "deferredPercent",
		"othersDeferredPercent", "failedPercent",
		"othersFailedPercent" };
	struct table *t = table_new("source|vmta|>conn|>opened|>no connect|"
	    ">delivered|>deferred|>failed|>deferred %|>of others|>failed %|"
	    ">of others|disabled");
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		cell_text(t, row, "source");
		cell_text(t, row, "vmta");
		for (size_t k = 0; k < sizeof(nums) / sizeof(nums[0]); k++)
			cell_num(t, row, nums[k]);
		for (size_t k = 0; k < sizeof(percents) / sizeof(percents[0]);
		    k++)
			cell_percent(t, row, percents[k]);
		cell_disabled(t, row);
	}
	if (i > 0)
		table_out(t);
	else
		table_free(&t);
}

void
view_problems(const struct ctl_reply *r)
{
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		struct sv kind = text_of(row, "kind");

		/* The closing line tells the counts. */
		if (sv_eq(kind, SV("counts")))
			continue;
		if (kind.n > 0 && !sv_eq(kind, SV("line")))
			printf("%.*s: ", SV_FMT(kind));
		print_text(text_of(row, "text"));
	}
}

/* ---- rotate ---- */

void
view_closed(const struct ctl_reply *r)
{
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row)
		print_text(text_of(row, "closed"));
}

/* ---- all ---- */

static const char *
status_name(unsigned status)
{
	switch (status) {
	case CTL_OK:
		return "success";
	case CTL_MISUSE:
		return "misuse";
	default:
		return "failed";
	}
}

static void
print_json(const struct ctl_reply *r)
{
	json_t *o = json_object();
	struct sv text = sv_from(r->text);

	if (o == NULL || json_object_set(o, "data", r->rows) != 0 ||
	    json_object_set_new(o, "status",
	    json_string(status_name(r->status))) != 0)
		abort();
	/* Not UTF-8: leave it out rather than fail. */
	if (json_object_set_new(o, "message",
	    json_stringn(text.p, text.n)) != 0)
		(void)json_object_set_new(o, "message", json_string(""));
	(void)json_dumpf(o, stdout, JSON_ENSURE_ASCII | JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static void
print_tree(enum ctl_form form, const struct ctl_command *cmd,
    const struct ctl_reply *r)
{
	const char *status = status_name(r->status);
	json_t *tree = form_tree(r->rows, cmd->row != NULL ? cmd->row : "row");

	if (form == FORM_XML)
		form_xml(stdout, tree, status, r->text);
	else
		form_dom(stdout, tree, status, r->text);
	json_decref(tree);
}

int
ctl_print(const struct ctl *ctl, const struct ctl_command *cmd,
    const struct ctl_reply *r)
{
	if (ctl->form == FORM_JSON) {
		print_json(r);
	} else if (ctl->form != FORM_TEXT) {
		print_tree(ctl->form, cmd, r);
	} else if (r->status == CTL_OK || json_array_size(r->rows) > 0) {
		if (cmd->view != NULL)
			cmd->view(r);
		print_text(sv_from(r->text));
	} else {
		ctl_complain("%s", r->text);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		ctl_complain("cannot write the answer");
		return CTL_FAILED;
	}
	return (int)r->status;
}

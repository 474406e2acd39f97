/* SPDX-License-Identifier: ISC */
/*
 * scenario: runs the scheduler in a simulated world by text files and checks
 * what happened when. Without arguments, all scenarios/[a-z]*.scn. A line:
 *
 *   [at TIME] COMMAND
 *
 *   conf <<END ... END       the configuration; a second one is a reload
 *   rules <<END ... END      receiver rules for the next conf
 *   seed N                   before conf
 *   add N to=D[,D...] [vmta=V] [rcpts=N] [every=T] [age=T] [together]
 *       [priority=N]
 *                            D may be d{1..9}.test; messages go to the
 *                            domains by turns, or each to all (together)
 *   remote D [latency=T] [connect-latency=T] [dns-latency=T] [ttl=T]
 *       [reply=CODE] [until=T] [fail-first=N] [limit=N] [max-sessions=N]
 *       [say=WORDS: in its replies, _ for a blank] [drop=N] [doubt=N]
 *       [unread=N: the records of messages 1 to N]
 *       [hosts=N bad-hosts=N: the first ones do so, the others take all]
 *       [site=NAME: of its hosts; a rollup if it ends in .rollup]
 *       [mx=HOST@IP+IP:PREF,...: best first; HOST! is down] [relay]
 *       [connect=ok|fail|4xx|5xx|421|lost|route]
 *       [dns=ok|temp|nodomain|nullmx|unusable|self|again]
 *   backoff|normal|pause|resume|schedule|retry-now|hold|release|delete queue D/V
 *   rebind queue D/V to=V2
 *   prioritize queue D/V to=N
 *   worker add|kill N        there is worker 0
 *   restart [keep]           keep: the workers live on
 *   clock TIME | clock -TIME the wall clock jumps
 *   forget routes
 *   disable|enable source IP D/V [for=T]    D, V may be *
 *   expect WHAT [X] OP N     X: D, D/V, /V, * ; OP: = <= >= < >, or ? without
 *                            N: prints the number
 *                            of what happened also X:N, to messages that were
 *                            added with that priority
 *   expect between T1 T2 WHAT X OP N
 *   expect first|last WHAT X OP TIME
 *   expect try N X between T1 T2    the Nth try of the oldest message of X,
 *                            counted from its 1st
 *   expect gap WHAT X OP TIME       the smallest
 *   expect wait D/V = NAME
 *   expect mode D/V = normal|backoff
 *   expect rule D/V = DIRECTIVE|reply|none  what it is parked on
 *   expect ahead D/V = D/V|none     parked with it, of a higher priority
 *   expect share D/V 1m|10m|1h NAME OP PERCENT
 *   expect rivals|arrive|leave D/V OP N     the latter two: in an hour
 *   expect kept NAME/V N1 N2 PERCENT   days N1 to N2 of the plan (from 1) have
 *                            delivered that much of their plan, and not more
 *   expect plan|actual NAME/V N OP COUNT    of the Nth day since the first
 *   expect behind NAME/V OP DAYS
 *   expect source IP opened|now|max OP N  connections from it
 *   expect peers IP|* HOST|NETWORK|* OP N   the most connections at a time,
 *                            tried or up
 *   expect rate IP X WINDOW OP N   the most recipients dispatched from it (*:
 *                            from any) within any such time
 *   expect disabled OP N     source addresses, each with its queues
 *   expect status|diag = TEXT       of the last one given up (diag: begins)
 *
 * WHAT: dispatched delivers delivered deferred failed given-up opened closed
 * up ended resolved qfail unread, or what is now: queued ready retry
 * inflight held
 * sessions max-sessions max-group done queues.
 */
#include <ctype.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qmgr/sched_private.h"
#include "tests/unit/qmgr/knobs.h"
#include "tests/unit/qmgr/scenario.h"

void
wrong(struct script *sc, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", sc->file, sc->line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	sc->failures++;
}

/* A script that cannot be read is of no use. */
void
syntax(struct script *sc, const char *what)
{
	wrong(sc, "%s", what);
	exit(1);
}

/* ---- words ---- */

int64_t
time_of(struct script *sc, const char *s)
{
	static const struct { const char *unit; int64_t us; } units[] = {
		{ "ms", 1000 }, { "us", 1 }, { "s", US_PER_SEC },
		{ "m", 60 * US_PER_SEC }, { "h", 3600 * US_PER_SEC },
		{ "d", 86400 * US_PER_SEC } };
	int64_t sum = 0;

	while (*s != '\0') {
		char *end;
		long long n = strtoll(s, &end, 10);
		size_t i;

		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			if (strncmp(end, units[i].unit,
			    strlen(units[i].unit)) == 0)
				break;
		}
		if (end == s || i == sizeof(units) / sizeof(units[0]))
			syntax(sc, "want a time such as 1h30m, 100ms");
		sum += n * units[i].us;
		s = end + strlen(units[i].unit);
	}
	return sum;
}

uint32_t
number_of(struct script *sc, const char *s)
{
	uint64_t n;

	if (!sv_to_u64(sv_from(s), UINT32_MAX, &n))
		syntax(sc, "want a number");
	return (uint32_t)n;
}

/* Value of the word "key=..." or NULL. */
static const char *
option(const struct script *sc, const char *key)
{
	size_t n = strlen(key);

	for (int i = 1; i < sc->nwords; i++) {
		if (strncmp(sc->words[i], key, n) == 0 &&
		    sc->words[i][n] == '=')
			return sc->words[i] + n + 1;
	}
	return NULL;
}

static bool
has_word(const struct script *sc, const char *word)
{
	for (int i = 1; i < sc->nwords; i++) {
		if (strcmp(sc->words[i], word) == 0)
			return true;
	}
	return false;
}

const char *
word(struct script *sc, int i)
{
	if (i >= sc->nwords)
		syntax(sc, "a word is missing");
	return sc->words[i];
}

static char *
line_next(struct script *sc)
{
	char *line = sc->at, *end;

	if (line == NULL || *line == '\0')
		return NULL;
	sc->line++;
	end = strchr(line, '\n');
	if (end == NULL) {
		sc->at = NULL;
		return line;
	}
	*end = '\0';
	sc->at = end + 1;
	return line;
}

static void
words_split(struct script *sc, char *line)
{
	char *save = line;

	sc->nwords = 0;
	while (*save != '\0' && *save != '#') {
		while (isspace((unsigned char)*save))
			save++;
		if (*save == '\0' || *save == '#')
			break;
		if (sc->nwords == WORDS_MAX)
			syntax(sc, "too many words");
		sc->words[sc->nwords++] = save;
		while (*save != '\0' && !isspace((unsigned char)*save))
			save++;
		if (*save != '\0')
			*save++ = '\0';
	}
}

/* ---- commands ---- */

/* The lines up to the mark. */
static struct sv
here_document(struct script *sc)
{
	const char *mark = word(sc, 1);
	char *start = sc->at, *line;

	if (strncmp(mark, "<<", 2) != 0)
		syntax(sc, "want <<END");
	mark += 2;
	while ((line = line_next(sc)) != NULL && strcmp(line, mark) != 0) {
		if (sc->at != NULL)
			sc->at[-1] = '\n';
	}
	if (line == NULL)
		syntax(sc, "the end of the configuration is missing");
	return sv_make(start, (size_t)(line - start));
}

static void
do_conf(struct script *sc)
{
	struct sv text = here_document(sc);
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse_with(sc->file, text, "rules", sc->rules, &rep);
	if (c == NULL)
		syntax(sc, rep.nerrors > 0 ? rep.errors[0] : "bad conf");
	conf_report_fini(&rep);
	world_conf(&sc->w, c);
}

/* "a.test,d{1..3}.test" */
static void
spec_domains(struct script *sc, struct spec *sp, const char *list)
{
	struct sv rest = sv_from(list);

	while (rest.p != NULL) {
		struct sv one = sv_cut(&rest, ',');
		unsigned lo = 0, hi = 0;
		ptrdiff_t brace = sv_find(one, '{'), end = sv_find(one, '}');

		if (brace >= 0 && (end < 0 ||
		    sscanf(one.p + brace, "{%u..%u}", &lo, &hi) != 2))
			syntax(sc, "want d{1..9}.test");
		for (unsigned i = lo; i <= hi; i++) {
			char name[128];

			if (brace >= 0)
				snprintf(name, sizeof(name), "%.*s%u%.*s",
				    (int)brace, one.p, i,
				    SV_FMT(sv_from_at(one, (size_t)end + 1)));
			else
				snprintf(name, sizeof(name), "%.*s",
				    SV_FMT(one));
			sp->domains = reallocarray(sp->domains,
			    sp->ndomains + 1, sizeof(*sp->domains));
			if (sp->domains == NULL)
				abort();
			sp->domains[sp->ndomains++] = sv_make(
			    sv_dup(sv_from(name)), strlen(name));
		}
	}
}

static void
do_add(struct script *sc)
{
	struct spec *sp = calloc(1, sizeof(*sp));
	const char *vmta = option(sc, "vmta"), *rcpts = option(sc, "rcpts");
	const char *every = option(sc, "every"), *age = option(sc, "age");
	const char *to = option(sc, "to"), *priority = option(sc, "priority");
	uint32_t n = number_of(sc, word(sc, 1));

	if (sp == NULL || sc->nspecs == SPECS_MAX || to == NULL)
		syntax(sc, "add N to=DOMAIN");
	sc->specs[sc->nspecs++] = sp;
	snprintf(sp->vmta, sizeof(sp->vmta), "%s", vmta ? vmta : "{default}");
	sp->rcpts = rcpts ? number_of(sc, rcpts) : 1;
	sp->priority = priority ? number_of(sc, priority) : PRIORITY_DEFAULT;
	sp->together = has_word(sc, "together");
	spec_domains(sc, sp, to);
	for (uint32_t i = 0; i < n; i++) {
		world_add(&sc->w, sp, age ? time_of(sc, age) : 0);
		if (every != NULL)
			world_until(&sc->w, sc->w.t + time_of(sc, every));
	}
}

static int
choice(struct script *sc, const char *value, const char *const *names)
{
	for (int i = 0; names[i] != NULL; i++) {
		if (strcmp(names[i], value) == 0)
			return i;
	}
	syntax(sc, "unknown value");
	return 0;
}

static int
connect_of(struct script *sc, const char *value)
{
	static const char *const names[] = { "ok", "fail", "4xx", "5xx", "421",
		"lost", "route", NULL };
	static const int ends[] = { -1, END_CONNECT, END_GREETING_TEMP,
		END_GREETING_PERM, END_421, END_LOST, END_ROUTE };

	return ends[choice(sc, value, names)];
}

static void
say_set(struct remote *r, const char *words)
{
	snprintf(r->say, sizeof(r->say), "%s", words);
	for (char *p = r->say; *p != '\0'; p++)
		if (*p == '_')
			*p = ' ';
}

/* "mx1.test@192.0.2.1+192.0.2.2:10,mx2.test!@192.0.2.3:20" */
static void
mx_set(struct script *sc, struct remote *r, const char *list)
{
	struct sv rest = sv_from(list);

	r->nmx = 0;
	while (rest.p != NULL) {
		struct sv pref = sv_cut(&rest, ','), addrs = sv_cut(&pref, ':');
		struct sv name = sv_cut(&addrs, '@');
		struct whost *h = &r->mx[r->nmx++];

		if (r->nmx > 8 || addrs.p == NULL)
			syntax(sc, "want mx=HOST@IP:PREF");
		*h = (struct whost){ .preference = 10 };
		if (pref.p != NULL) {
			uint64_t n = 0;

			(void)sv_to_u64(pref, 65535, &n);
			h->preference = (uint16_t)n;
		}
		h->down = sv_iends(name, SV("!"));
		(void)sv_to_cstr(sv_head(name, name.n - h->down), h->name,
		    sizeof(h->name));
		while (addrs.p != NULL) {
			struct sv ip = sv_cut(&addrs, '+');

			if (h->naddrs == WORLD_HOST_ADDRS ||
			    !route_addr_parse(ip, &h->addrs[h->naddrs++]))
				syntax(sc, "want addresses");
		}
	}
}

static void
do_remote(struct script *sc)
{
	static const char *const dns[] = { "ok", "temp", "nodomain", "nullmx",
		"unusable", "self", "again", NULL };
	struct remote *r = world_remote(&sc->w, word(sc, 1));
	const struct { const char *key; int64_t *to; } times[] = {
		{ "latency", &r->latency },
		{ "connect-latency", &r->connect_latency },
		{ "dns-latency", &r->dns_latency }, { "ttl", &r->ttl },
		{ "until", &r->until } };
	const struct { const char *key; unsigned *to; } numbers[] = {
		{ "reply", &r->reply }, { "fail-first", &r->fail_first },
		{ "limit", &r->limit }, { "max-sessions", &r->max_sessions },
		{ "drop", &r->drop }, { "doubt", &r->doubt },
		{ "unread", &r->unread }, { "hosts", &r->hosts },
		{ "bad-hosts", &r->bad_hosts } };
	const char *v;

	r->until = 0;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if ((v = option(sc, times[i].key)) != NULL)
			*times[i].to = time_of(sc, v);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if ((v = option(sc, numbers[i].key)) != NULL)
			*numbers[i].to = number_of(sc, v);
	}
	if ((v = option(sc, "connect")) != NULL)
		r->connect = connect_of(sc, v);
	if ((v = option(sc, "site")) != NULL)
		snprintf(r->site, sizeof(r->site), "%s", v);
	if ((v = option(sc, "mx")) != NULL)
		mx_set(sc, r, v);
	r->relay = has_word(sc, "relay");
	if ((v = option(sc, "say")) != NULL)
		say_set(r, v);
	if ((v = option(sc, "dns")) != NULL)
		r->dns = (enum dns)choice(sc, v, dns);
}

struct squeue *
queue_named(struct script *sc, const char *name, struct sv *domain,
    struct sv *vmta)
{
	struct sv rest = sv_from(name);

	*domain = sv_cut(&rest, '/');
	*vmta = rest;
	if (rest.p == NULL)
		syntax(sc, "want DOMAIN/VMTA");
	return sched_queue_find(sc->w.s, *domain, *vmta);
}

/* hold, release, delete, rebind, prioritize: all recipients of the queue. */
static void
queue_rcpts(struct script *sc, struct squeue *q, const char *what)
{
	struct { uint64_t id; uint32_t idx; } *all;
	const struct smsg *m;
	const void *at = NULL;
	uint32_t idx;
	size_t n = 0;

	all = calloc(sc->w.nmsgs * 100 + 1, sizeof(*all));
	if (all == NULL)
		abort();
	while (sched_queue_rcpt_next(q, &at, &m, &idx)) {
		all[n].id = m->id;
		all[n++].idx = idx;
	}
	for (size_t i = 0; i < n; i++) {
		struct smsg *sm = sched_msg_find(sc->w.s, all[i].id);

		if (strcmp(what, "delete") == 0)
			sched_final(sc->w.s, world_now(&sc->w), sm,
			    all[i].idx, SR_DONE);
		else if (strcmp(what, "rebind") == 0)
			(void)sched_rcpt_move(sc->w.s, world_now(&sc->w), sm,
			    all[i].idx, sv_from(option(sc, "to")));
		else if (strcmp(what, "prioritize") == 0)
			sched_rcpt_prioritize(sc->w.s, world_now(&sc->w), sm,
			    all[i].idx, number_of(sc, option(sc, "to")));
		else
			sched_rcpt_hold(sc->w.s, world_now(&sc->w), sm,
			    all[i].idx, strcmp(what, "hold") == 0, 0);
	}
	free(all);
}

static void
do_queue(struct script *sc)
{
	const char *what = word(sc, 0);
	struct sv domain, vmta;
	struct squeue *q;

	if (strcmp(word(sc, 1), "queue") != 0)
		syntax(sc, "want queue DOMAIN/VMTA");
	q = queue_named(sc, word(sc, 2), &domain, &vmta);
	if (strcmp(what, "pause") == 0 || strcmp(what, "resume") == 0)
		(void)queue_pause(sc->w.s, world_now(&sc->w), domain, vmta,
		    what[0] == 'p');
	else if (strcmp(what, "backoff") == 0 || strcmp(what, "normal") == 0)
		(void)queue_backoff(sc->w.s, world_now(&sc->w), domain, vmta,
		    what[0] == 'b');
	else if (q == NULL)
		wrong(sc, "no such queue");
	else if (strcmp(what, "schedule") == 0 ||
	    strcmp(what, "retry-now") == 0)
		sched_queue_schedule(sc->w.s, world_now(&sc->w), q,
		    what[0] == 'r');
	else
		queue_rcpts(sc, q, what);
}

/* disable|enable source IP D/V [for=T] */
static void
do_source(struct script *sc)
{
	struct sched_now now = world_now(&sc->w);
	struct sv queue = sv_from(word(sc, 3));
	const char *t = option(sc, "for");
	struct sched_source so = { .since_us = now.wall.us };

	if (strcmp(word(sc, 1), "source") != 0)
		syntax(sc, "want source IP D/V");
	if (strcmp(word(sc, 2), "system") != 0 &&
	    !route_addr_parse(sv_from(word(sc, 2)), &so.ip))
		syntax(sc, "want an address");
	so.domain = sv_cut(&queue, '/');
	so.vmta = queue;
	if (t != NULL)
		so.until_us = now.wall.us + time_of(sc, t);
	if (word(sc, 0)[0] == 'e')
		(void)sched_source_enable(sc->w.s, now, so.domain, so.vmta,
		    &so.ip);
	else if (!sched_source_disable(sc->w.s, now, &so))
		wrong(sc, "it cannot be disabled");
}

static void
do_other(struct script *sc)
{
	const char *what = word(sc, 0);

	if (strcmp(what, "disable") == 0 || strcmp(what, "enable") == 0)
		do_source(sc);
	else if (strcmp(what, "seed") == 0)
		sc->w.seed = number_of(sc, word(sc, 1));
	else if (strcmp(what, "worker") == 0 &&
	    strcmp(word(sc, 1), "add") == 0)
		sched_worker_add(sc->w.s, number_of(sc, word(sc, 2)));
	else if (strcmp(what, "worker") == 0)
		world_worker_kill(&sc->w, number_of(sc, word(sc, 2)));
	else if (strcmp(what, "restart") == 0)
		world_restart(&sc->w, has_word(sc, "keep"));
	else if (strcmp(what, "clock") == 0)
		sc->w.wall_off += word(sc, 1)[0] == '-' ?
		    -time_of(sc, word(sc, 1) + 1) : time_of(sc, word(sc, 1));
	else if (strcmp(what, "forget") == 0)
		sched_routes_forget(sc->w.s);
	else
		syntax(sc, "unknown command");
}

/* ---- the script ---- */

static void
line_run(struct script *sc)
{
	const char *verb;

	if (strcmp(sc->words[0], "at") == 0) {
		int64_t t = time_of(sc, word(sc, 1));

		if (t < sc->w.t)
			syntax(sc, "time goes forward only");
		if (sc->w.s == NULL)
			syntax(sc, "conf comes first");
		world_until(&sc->w, t);
		sched_check(sc->w.s);
		memmove(sc->words, sc->words + 2,
		    (size_t)(sc->nwords - 2) * sizeof(sc->words[0]));
		sc->nwords -= 2;
		if (sc->nwords == 0)
			return;
	}
	verb = sc->words[0];
	if (strcmp(verb, "conf") == 0)
		do_conf(sc);
	else if (strcmp(verb, "rules") == 0)
		sc->rules = here_document(sc);
	else if (strcmp(verb, "add") == 0)
		do_add(sc);
	else if (strcmp(verb, "remote") == 0)
		do_remote(sc);
	else if (strcmp(verb, "expect") == 0)
		do_expect(sc);
	else if (sc->nwords > 1 && strcmp(sc->words[1], "queue") == 0)
		do_queue(sc);
	else
		do_other(sc);
}

static char *
file_read(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 65537);

	if (f == NULL || text == NULL) {
		perror(path);
		exit(1);
	}
	text[fread(text, 1, 65536, f)] = '\0';
	fclose(f);
	return text;
}

static int
scenario_run(const char *path)
{
	struct script sc = { .file = path };
	clock_t start = clock();
	char *line;

	sc.text = sc.at = file_read(path);
	world_init(&sc.w);
	while ((line = line_next(&sc)) != NULL) {
		words_split(&sc, line);
		if (sc.nwords > 0)
			line_run(&sc);
	}
	printf("%s: %s (%.2f s)\n", path, sc.failures == 0 ? "ok" : "FAILED",
	    (double)(clock() - start) / CLOCKS_PER_SEC);
	world_fini(&sc.w);
	for (uint32_t i = 0; i < sc.nspecs; i++) {
		for (uint32_t d = 0; d < sc.specs[i]->ndomains; d++)
			free((char *)(uintptr_t)sc.specs[i]->domains[d].p);
		free(sc.specs[i]->domains);
		free(sc.specs[i]);
	}
	free(sc.text);
	return sc.failures;
}

int
main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	char pattern[1024];
	int failures = 0;
	glob_t g;

	if (argc > 1) {
		for (int i = 1; i < argc; i++)
			failures += scenario_run(argv[i]);
		return failures != 0;
	}
	snprintf(pattern, sizeof(pattern),
	    "%s/tests/unit/qmgr/scenarios/[a-z]*.scn",
	    srcdir != NULL ? srcdir : ".");
	if (glob(pattern, 0, NULL, &g) != 0) {
		fprintf(stderr, "%s: no scenarios\n", pattern);
		return 1;
	}
	for (size_t i = 0; i < g.gl_pathc; i++)
		failures += scenario_run(g.gl_pathv[i]);
	printf("%zu scenarios, %d failures\n", g.gl_pathc, failures);
	globfree(&g);
	return failures != 0;
}

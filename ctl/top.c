/* SPDX-License-Identifier: ISC */
/*
 * show top: what the daemon does, on the whole screen, again and again. It is
 * asked for its status and for the queues that are to be seen, over one
 * connection; if that ends, a new one is tried at each turn. Without a
 * terminal all of it is shown once.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "ctl/ctl.h"
#include "ctl/top.h"
#include "ctl/view.h"

#define INTERVAL_S     2u
#define INTERVAL_MAX_S 3600u
#define ROWS_LEAST     100u  /* asked for, so that one can scroll at once */
#define REST_FACTOR    10    /* the daemon has so much longer rest than work */
#define LATE_S         3     /* no answer for so long is said */
#define ONCE_WIDTH     100u  /* of the lines above a table shown once */
#define OWN_WORDS      3u    /* --sort, --match, --maxitems */

enum asked { ASKED_NOTHING, ASKED_STATUS, ASKED_QUEUES };

struct top {
	const struct ctl *ctl;
	struct event_base *base;
	struct event *turn, *tick, *keys, *winch;
	struct event *ends[3];     /* signals */
	char path[CTL_PATH_MAX];
	struct ctl_link *link;
	const char *words[CTL_WORDS_MAX]; /* of show queues, as given */
	unsigned nwords;
	unsigned interval_s;

	enum asked asked;
	bool again;                /* something is wanted since */
	struct mono asked_at;
	json_t *status, *rows;
	long long matching;
	struct top_rates rates;
	struct top_widths widths;

	enum top_sort sort;
	char filter[TOP_FILTER_MAX + 1];
	size_t nfilter;
	bool typing, still, help;
	size_t scroll;

	char why[256];             /* the daemon is away; "" */
	time_t away_since;
	int rc;
};

static void ask(struct top *t);

/* ---- what is shown ---- */

static const char *
message(const struct top *t, char *mem, size_t size)
{
	int64_t waited = mono_diff_ms(clock_mono(), t->asked_at) / 1000;
	char at[32];
	struct str s;
	struct tm tm;

	str_init(&s, mem, size);
	if (t->why[0] != '\0' && localtime_r(&t->away_since, &tm) != NULL) {
		(void)strftime(at, sizeof(at), "%H:%M:%S", &tm);
		str_addf(&s, "The daemon is away since %s, trying again: %s",
		    at, t->why);
	} else if (t->asked != ASKED_NOTHING && waited >= LATE_S) {
		str_addf(&s, "No answer for %lld s", (long long)waited);
	}
	return mem;
}

static void
draw(struct top *t)
{
	char mem[400];
	size_t n = json_array_size(t->rows);
	struct top_screen s = { .status = t->status, .rows = t->rows,
		.rates = &t->rates, .widths = &t->widths,
		.matching = t->matching, .sort = t->sort,
		.filter = t->filter, .typing = t->typing, .still = t->still,
		.help = t->help, .message = message(t, mem, sizeof(mem)),
		.away = t->why[0] != '\0' };

	if (t->scroll > 0 && t->scroll >= n)
		t->scroll = n == 0 ? 0 : n - 1;
	s.scroll = t->scroll;
	screen_draw(&s);
}

/* ---- asking ---- */

static void
turn_in(struct top *t, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = ms % 1000 * 1000 };

	if (evtimer_add(t->turn, &tv) == -1)
		abort();
}

static void
away(struct top *t, const char *why)
{
	struct str s;

	if (t->why[0] == '\0')
		t->away_since = time(NULL);
	STR_ON(&s, t->why);
	str_adds(&s, why);
	t->rates.n = 0;
	turn_in(t, (int64_t)t->interval_s * 1000);
	draw(t);
}

static void
end(struct top *t, int rc)
{
	t->rc = rc;
	event_base_loopbreak(t->base);
}

static void
take(json_t **to, json_t *from)
{
	json_decref(*to);
	*to = json_incref(from);
}

/* "17 of 5213 matching queues" */
static long long
matching_of(const char *text)
{
	struct sv v = sv_from(text);
	uint64_t n;

	(void)sv_cut(&v, ' ');
	if (!sv_eq(sv_cut(&v, ' '), SV("of")) ||
	    !sv_to_u64(sv_cut(&v, ' '), INT64_MAX, &n))
		return -1;
	return (long long)n;
}

static void
ask_queues(struct top *t)
{
	size_t rows = t->scroll + 2 * screen_page() + 1;
	char sort[32], items[32], match[TOP_FILTER_MAX + 16];
	const char *words[CTL_WORDS_MAX];
	unsigned n = t->nwords;

	memcpy(words, t->words, n * sizeof(words[0]));
	(void)snprintf(sort, sizeof(sort), "--sort=%s",
	    top_sort_name(t->sort));
	(void)snprintf(items, sizeof(items), "--maxitems=%zu",
	    rows < ROWS_LEAST ? ROWS_LEAST : rows);
	words[n++] = sort;
	words[n++] = items;
	if (t->nfilter > 0) {
		(void)snprintf(match, sizeof(match), "--match=%s", t->filter);
		words[n++] = match;
	}
	t->asked = ASKED_QUEUES;
	t->again = false;
	ctl_link_ask(t->link, words, n);
}

/* The daemon is asked for a part of the time only, however long its queues
 * are. */
static void
answered(struct top *t)
{
	int64_t took = mono_diff_ms(clock_mono(), t->asked_at);
	int64_t rest = (int64_t)t->interval_s * 1000 - took;

	t->asked = ASKED_NOTHING;
	if (rest < took * REST_FACTOR)
		rest = took * REST_FACTOR;
	if (t->again)
		ask(t);
	else if (!t->still)
		turn_in(t, rest);
}

static void
on_answer(void *arg, struct ctl_reply *r)
{
	struct top *t = arg;

	if (r->status != CTL_OK) {
		/* the words of the command, as a rule */
		screen_close();
		ctl_complain("%s", r->text);
		end(t, (int)r->status);
		return;
	}
	t->why[0] = '\0';
	if (t->asked == ASKED_STATUS) {
		take(&t->status, json_array_get(r->rows, 0));
		top_rates_add(&t->rates, clock_mono(), t->status);
		ask_queues(t);
		return;
	}
	take(&t->rows, r->rows);
	t->matching = matching_of(r->text);
	top_widths_add(&t->widths, t->rows);
	answered(t);
	draw(t);
}

static void
on_lost(void *arg, const char *why)
{
	struct top *t = arg;
	bool asked = t->asked != ASKED_NOTHING;

	ctl_link_close(&t->link);
	t->asked = ASKED_NOTHING;
	if (asked)
		away(t, why);
	else if (!t->still)
		ask(t); /* to see whether it is there */
}

static const struct ctl_link_ops link_ops = { .answer = on_answer,
	.lost = on_lost };

static bool
link_up(struct top *t)
{
	if (t->link == NULL)
		t->link = ctl_link_open(t->base, t->path, t->ctl->timeout_s,
		    &link_ops, t);
	return t->link != NULL;
}

static void
ask(struct top *t)
{
	static const char *const words[] = { "show", "status" };
	char why[128];

	t->again = t->asked != ASKED_NOTHING;
	if (t->again)
		return;
	if (!link_up(t)) {
		(void)snprintf(why, sizeof(why), "cannot connect: %s",
		    strerror(errno));
		away(t, why);
		return;
	}
	(void)evtimer_del(t->turn);
	t->asked = ASKED_STATUS;
	t->asked_at = clock_mono();
	ctl_link_ask(t->link, words, 2);
}

/* ---- keys ---- */

/* The table is another one. */
static void
table_anew(struct top *t)
{
	t->scroll = 0;
	t->widths = (struct top_widths){ { 0 } };
	top_widths_add(&t->widths, t->rows);
	ask(t);
}

static void
sort_next(struct top *t, int step)
{
	t->sort = (enum top_sort)(((int)t->sort + step + TOP_SORTS) %
	    TOP_SORTS);
	table_anew(t);
}

/* More rows are asked for before they are needed, but for what stands. */
static void
scroll_to(struct top *t, size_t row)
{
	size_t n = json_array_size(t->rows), page = screen_page();

	if (row + page > n)
		row = n > page ? n - page : 0;
	t->scroll = row;
	if (!t->still && row + page >= n && (long long)n < t->matching)
		ask(t);
}

static void
scroll_key(struct top *t, int key)
{
	size_t page = screen_page() > 1 ? screen_page() - 1 : 1;

	switch (key) {
	case TOP_KEY_UP:
	case 'k':
		scroll_to(t, t->scroll > 0 ? t->scroll - 1 : 0);
		break;
	case TOP_KEY_DOWN:
	case 'j':
		scroll_to(t, t->scroll + 1);
		break;
	case TOP_KEY_PAGE_UP:
		scroll_to(t, t->scroll > page ? t->scroll - page : 0);
		break;
	case TOP_KEY_PAGE_DOWN:
		scroll_to(t, t->scroll + page);
		break;
	case TOP_KEY_HOME:
		scroll_to(t, 0);
		break;
	case TOP_KEY_END:
		scroll_to(t, json_array_size(t->rows));
		break;
	default:
		break;
	}
}

static void
still_toggle(struct top *t)
{
	t->still = !t->still;
	if (t->still)
		(void)evtimer_del(t->turn);
	else
		ask(t);
}

static void
typing_key(struct top *t, int key)
{
	if (key == TOP_KEY_ENTER) {
		t->typing = false;
		return;
	}
	if (key == TOP_KEY_ESCAPE) {
		t->typing = false;
		t->nfilter = 0;
	} else if (key == TOP_KEY_BACKSPACE && t->nfilter > 0) {
		t->nfilter--;
	} else if (key > ' ' && key < 0x7f && t->nfilter < TOP_FILTER_MAX) {
		t->filter[t->nfilter++] = (char)key;
	} else {
		return;
	}
	t->filter[t->nfilter] = '\0';
	table_anew(t);
}

static void
on_key(struct top *t, int key)
{
	if (t->help) {
		t->help = false;
		return;
	}
	if (t->typing) {
		typing_key(t, key);
		return;
	}
	switch (key) {
	case 'q':
	case 'Q':
		end(t, CTL_OK);
		break;
	case 's':
	case TOP_KEY_RIGHT:
		sort_next(t, 1);
		break;
	case TOP_KEY_LEFT:
		sort_next(t, -1);
		break;
	case '/':
		t->typing = true;
		break;
	case ' ':
		still_toggle(t);
		break;
	case 'h':
	case '?':
		t->help = true;
		break;
	case TOP_KEY_ESCAPE:
		if (t->nfilter > 0)
			typing_key(t, key);
		break;
	default:
		scroll_key(t, key);
		break;
	}
}

static bool
terminal_is_gone(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void
on_keys(evutil_socket_t fd, short what, void *arg)
{
	struct top *t = arg;
	int key;

	(void)fd;
	(void)what;
	while ((key = screen_key()) != TOP_KEY_NONE &&
	    !event_base_got_break(t->base))
		on_key(t, key);
	if (terminal_is_gone())
		end(t, CTL_FAILED);
	else
		draw(t);
}

/* ---- other events ---- */

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ask(arg);
}

/* What is late, is later by a second. */
static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct top *t = arg;

	(void)fd;
	(void)what;
	if (t->asked != ASKED_NOTHING)
		draw(t);
}

static void
on_winch(evutil_socket_t fd, short what, void *arg)
{
	struct top *t = arg;

	(void)fd;
	(void)what;
	screen_resize();
	draw(t);
	if (!t->still)
		ask(t);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	end(arg, CTL_OK);
}

static struct event *
event_make(struct top *t, int fd, short what, event_callback_fn fn)
{
	struct event *e = event_new(t->base, fd, what, fn, t);

	if (e == NULL)
		abort();
	return e;
}

static void
events_start(struct top *t)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct timeval second = { .tv_sec = 1 };

	t->turn = event_make(t, -1, 0, on_turn);
	t->tick = event_make(t, -1, EV_PERSIST, on_tick);
	t->keys = event_make(t, STDIN_FILENO, EV_READ | EV_PERSIST, on_keys);
	t->winch = event_make(t, SIGWINCH, EV_SIGNAL | EV_PERSIST, on_winch);
	(void)event_add(t->tick, &second);
	(void)event_add(t->keys, NULL);
	(void)event_add(t->winch, NULL);
	for (size_t i = 0; i < 3; i++) {
		t->ends[i] = event_make(t, signals[i], EV_SIGNAL, on_end);
		(void)event_add(t->ends[i], NULL);
	}
}

static void
top_fini(struct top *t)
{
	struct event *all[] = { t->turn, t->tick, t->keys, t->winch,
		t->ends[0], t->ends[1], t->ends[2] };

	ctl_link_close(&t->link);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i] != NULL)
			event_free(all[i]);
	}
	if (t->base != NULL)
		event_base_free(t->base);
	json_decref(t->status);
	json_decref(t->rows);
}

/* ---- the command ---- */

static bool
option(const char *word, const char *name, struct sv *v_r)
{
	struct sv w = sv_from(word), n = sv_from(name);

	if (!sv_starts(w, n))
		return false;
	*v_r = sv_from_at(w, n.n);
	return true;
}

/* Takes the words that are ours; the others are those of show queues. */
static bool
words_parse(struct top *t)
{
	uint64_t n;
	struct sv v;

	t->words[t->nwords++] = "show";
	t->words[t->nwords++] = "queues";
	for (unsigned i = 2; i < t->ctl->nwords; i++) {
		const char *w = t->ctl->words[i];

		if (option(w, "--interval=", &v)) {
			if (!sv_to_u64(v, INTERVAL_MAX_S, &n) || n == 0) {
				ctl_complain("--interval needs seconds, 1 to "
				    "%u", INTERVAL_MAX_S);
				return false;
			}
			t->interval_s = (unsigned)n;
		} else if (option(w, "--sort=", &v)) {
			if (!top_sort_find(v, &t->sort)) {
				ctl_complain("--sort is rcpt, rate, oldest, "
				    "conn or name");
				return false;
			}
		} else if (t->nwords + OWN_WORDS == CTL_WORDS_MAX) {
			ctl_complain("too many words");
			return false;
		} else {
			t->words[t->nwords++] = w;
		}
	}
	return true;
}

/* One answer of the status and of the queues behind it. */
static int
run_once(struct top *t, const struct ctl_command *cmd)
{
	static const char *const status[] = { "show", "status" };
	struct ctl_reply r, queues;
	char sort[32];
	int rc;

	(void)snprintf(sort, sizeof(sort), "--sort=%s",
	    top_sort_name(t->sort));
	t->words[t->nwords++] = sort;
	if (ctl_ask(t->ctl, status, 2, &r) == -1)
		return CTL_UNREACHABLE;
	if (ctl_ask(t->ctl, t->words, t->nwords, &queues) == -1) {
		ctl_reply_fini(&r);
		return CTL_UNREACHABLE;
	}
	if (json_array_extend(r.rows, queues.rows) != 0)
		abort();
	r.status = queues.status;
	ctl_reply_text(&r, "%s", queues.text);
	rc = ctl_print(t->ctl, cmd, &r);
	ctl_reply_fini(&queues);
	ctl_reply_fini(&r);
	return rc;
}

void
view_top(const struct ctl_reply *r)
{
	struct ctl_reply queues = { .rows = json_copy(r->rows) };
	struct top_head h;

	top_head_format(json_array_get(r->rows, 0), NULL, ONCE_WIDTH, &h);
	/* without the rates, which one answer does not tell */
	for (unsigned i = 0; i + 1 < TOP_HEAD_LINES; i++)
		puts(h.line[i]);
	puts("");
	(void)json_array_remove(queues.rows, 0);
	view_queues(&queues);
	json_decref(queues.rows);
}

static int
run_live(struct top *t)
{
	if (!ctl_socket_path(t->ctl, t->path, sizeof(t->path))) {
		ctl_complain("the name of the daemon's socket is too long");
		return CTL_UNREACHABLE;
	}
	t->base = event_base_new();
	if (t->base == NULL)
		abort();
	/* the first time it is an error as with any other command */
	if (!link_up(t)) {
		ctl_complain("cannot reach the daemon at %s: %s", t->path,
		    strerror(errno));
		return CTL_UNREACHABLE;
	}
	if (!screen_open()) {
		ctl_complain("this terminal cannot show it; \"pinnace show "
		    "top | cat\" can");
		return CTL_FAILED;
	}
	events_start(t);
	top_widths_add(&t->widths, NULL);
	draw(t);
	ask(t);
	event_base_dispatch(t->base);
	screen_close();
	return t->rc;
}

int
run_top(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct top t = { .ctl = ctl, .interval_s = INTERVAL_S,
		.matching = -1 };
	int rc;

	if (!words_parse(&t))
		return CTL_MISUSE;
	if (ctl->form != FORM_TEXT || !isatty(STDOUT_FILENO) ||
	    !isatty(STDIN_FILENO))
		return run_once(&t, cmd);
	rc = run_live(&t);
	top_fini(&t);
	return rc;
}

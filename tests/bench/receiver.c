/* SPDX-License-Identifier: ISC */
/*
 * receiver: an SMTP server that takes every message, checks it, counts it and
 * throws it away; or answers by a script. It is the sink of the benchmark, of
 * the system tests and of the quick start. One process, one epoll loop: per
 * connection and turn one read, and one write for all replies. What it counts
 * is written to the ledger (--ids) before the 250 leaves.
 *
 * README.md has the options and the rules of the script.
 */
#include <arpa/inet.h>
#include <bsd/string.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/sv.h"
#include "common/base/timeval.h"
#include "tests/bench/idset.h"
#include "tests/bench/script.h"

#define READ_BYTES    (512 * 1024) /* one read takes at most this */
#define LINE_BYTES    4096         /* longest command line taken */
#define HEADER_BYTES  (64 * 1024)  /* of a header that is looked into */
#define PENDING_BYTES (READ_BYTES + LINE_BYTES)
#define REPLY_BYTES   (1024 * 1024)
#define EVENTS        256
#define LISTENERS     64

enum mode {
	MODE_COMMAND,
	MODE_DATA
};

struct session {
	int fd;
	uint32_t watched; /* epoll events asked for */
	enum mode mode;
	bool greeted, has_sender;
	bool closing;      /* close when `out` is empty */
	bool broken;       /* close now */
	bool dirty;        /* on the list of this turn */
	bool at_line_start; /* in DATA: the last bytes were CRLF */
	bool in_header;    /* in DATA: blank line not seen yet */
	size_t nrcpts;
	struct buf sender; /* text and NUL */
	struct buf rcpts;  /* accepted ones, each with a NUL */
	struct buf args;   /* for --mbox-dir: MAIL's and RCPTs' parameters */
	struct buf in;     /* read and not yet consumed */
	struct buf out;    /* replies */
	struct buf held;   /* replies that wait for held_until */
	bool held_close;   /* close behind the held replies */
	bool is_held;
	int64_t held_until; /* monotonic, us */
	int64_t dribble_us;
	struct buf header;
	struct buf whole;  /* for --mbox-dir */
	uint32_t crc;      /* of the body so far */
	uint64_t bytes;    /* of the message so far */
	char peer[INET6_ADDRSTRLEN + 1];
	TAILQ_ENTRY(session) all_next, held_next;
	STAILQ_ENTRY(session) dirty_next;
};

struct totals {
	uint64_t messages, recipients, bytes, duplicates;
	uint64_t bad_checksum, no_checksum, no_id;
	uint64_t connections, open, max_open, dropped;
	uint64_t replies_4xx, replies_5xx;
	uint64_t early; /* commands sent ahead without leave */
	struct wall first, last;
};

static struct options {
	const char *ids, *script, *mbox_dir, *hostname;
	uint64_t expect, quit_after, size, seed;
	bool pipelining, eightbit, offer_size, enhanced, dsn;
	char offers[512]; /* further EHLO lines, each "250-X\r\n" */
} opt = { .hostname = "receiver.test", .size = 64 * 1024 * 1024, .seed = 1,
	.pipelining = true, .eightbit = true, .offer_size = true,
	.enhanced = true, .dsn = true };

static struct totals totals;
static struct script *script;
static struct idset ids, pairs;
static struct buf ledger;
static int ledger_fd = -1, epoll_fd;
static uint64_t mbox_number;
static struct mono started, now;
static struct wall now_wall;
static unsigned char read_buffer[PENDING_BYTES];
static TAILQ_HEAD(, session) all = TAILQ_HEAD_INITIALIZER(all);
static TAILQ_HEAD(, session) held = TAILQ_HEAD_INITIALIZER(held);
static STAILQ_HEAD(, session) dirty = STAILQ_HEAD_INITIALIZER(dirty);
static int listeners[LISTENERS];
static size_t nlisteners;
static volatile sig_atomic_t want_totals, want_stop, want_reload;

static void
on_signal(int sig)
{
	if (sig == SIGUSR1)
		want_totals = 1;
	else if (sig == SIGHUP)
		want_reload = 1;
	else
		want_stop = 1;
}

static void
read_clocks(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now.us = ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
	clock_gettime(CLOCK_REALTIME, &ts);
	now_wall.us = ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
}

static void
must(int rv)
{
	if (rv != 0)
		errx(111, "out of memory");
}

static void
print_totals(void)
{
	uint64_t missing = opt.expect > pairs.used ?
	    opt.expect - pairs.used : 0;

	printf("{\"messages\": %ju, \"recipients\": %ju, \"bytes\": %ju, "
	       "\"ids\": %zu, \"pairs\": %zu, \"duplicates\": %ju, "
	       "\"missing\": %ju, \"bad_checksum\": %ju, "
	       "\"no_checksum\": %ju, \"no_id\": %ju, "
	       "\"connections\": %ju, \"max_open\": %ju, \"dropped\": %ju, "
	       "\"replies_4xx\": %ju, \"replies_5xx\": %ju, "
	       "\"early_commands\": %ju, "
	       "\"first\": %.6f, \"last\": %.6f}\n",
	    totals.messages, totals.recipients, totals.bytes, ids.used,
	    pairs.used, totals.duplicates, missing, totals.bad_checksum,
	    totals.no_checksum, totals.no_id, totals.connections,
	    totals.max_open, totals.dropped, totals.replies_4xx,
	    totals.replies_5xx, totals.early,
	    (double)totals.first.us / (double)US_PER_SEC,
	    (double)totals.last.us / (double)US_PER_SEC);
	fflush(stdout);
}

/* Sessions */

static void
session_mark(struct session *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	STAILQ_INSERT_TAIL(&dirty, s, dirty_next);
}

static struct session *
session_new(int fd, const char *peer)
{
	struct session *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = EPOLLIN };

	if (s == NULL)
		errx(111, "out of memory");
	s->fd = fd;
	strlcpy(s->peer, peer, sizeof(s->peer));
	buf_init(&s->sender, LINE_BYTES);
	buf_init(&s->rcpts, 16 * 1024 * 1024);
	buf_init(&s->args, 16 * 1024 * 1024);
	buf_init(&s->in, PENDING_BYTES);
	buf_init(&s->out, REPLY_BYTES);
	buf_init(&s->held, REPLY_BYTES);
	buf_init(&s->header, HEADER_BYTES + PENDING_BYTES);
	buf_init(&s->whole, opt.size + PENDING_BYTES);
	TAILQ_INSERT_TAIL(&all, s, all_next);
	s->watched = EPOLLIN;
	ev.data.ptr = s;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		err(111, "epoll_ctl");
	totals.connections++;
	if (++totals.open > totals.max_open)
		totals.max_open = totals.open;
	return s;
}

static void
session_free(struct session *s)
{
	if (s->is_held)
		TAILQ_REMOVE(&held, s, held_next);
	TAILQ_REMOVE(&all, s, all_next);
	close(s->fd);
	totals.open--;
	buf_fini(&s->sender);
	buf_fini(&s->rcpts);
	buf_fini(&s->args);
	buf_fini(&s->in);
	buf_fini(&s->out);
	buf_fini(&s->held);
	buf_fini(&s->header);
	buf_fini(&s->whole);
	free(s);
}

static void
session_watch(struct session *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (s->watched == events)
		return;
	s->watched = events;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
}

static void
txn_reset(struct session *s)
{
	s->mode = MODE_COMMAND;
	s->has_sender = false;
	s->nrcpts = 0;
	buf_clear(&s->sender);
	buf_clear(&s->rcpts);
	buf_clear(&s->args);
	buf_clear(&s->header);
	buf_clear(&s->whole);
}

/* Replies */

static void
put_reply(struct buf *to, int code, const char *enh, struct sv text)
{
	struct sv line;
	bool more;

	if (code >= 500)
		totals.replies_5xx++;
	else if (code >= 400)
		totals.replies_4xx++;
	if (!opt.enhanced || code == 354 || code < 200)
		enh = "";
	do {
		line = sv_cut(&text, '\n');
		more = text.p != NULL;
		must(buf_addf(to, "%d%c%s%s%.*s\r\n", code, more ? '-' : ' ',
		    enh, *enh != '\0' ? " " : "", SV_FMT(line)));
	} while (more);
}

static void
reply(struct session *s, int code, const char *enh, const char *text)
{
	put_reply(&s->out, code, enh, sv_from(text));
	if (code == 421)
		s->closing = true;
}

/* The replies that fit no delay and no script, without a printf. */
static void
reply_fast(struct session *s, struct sv with_enh, struct sv without)
{
	must(buf_add_sv(&s->out, opt.enhanced ? with_enh : without));
}
#define REPLY_OK(s, enh, text)                                                 \
	reply_fast(s, SV("250 " enh " " text "\r\n"), SV("250 " text "\r\n"))

static void
hold(struct session *s, const struct script_answer *a)
{
	s->held_until = now.us + a->delay_us;
	s->dribble_us = a->dribble_us;
	s->is_held = true;
	TAILQ_INSERT_TAIL(&held, s, held_next);
}

/*
 * Carries out what the script says: 0 if the caller gives its usual reply
 * now, 1 if the script gave a reply that refuses (or none), 2 if the script
 * gave one that accepts. usual is what an accepting caller would say; it is
 * needed when the reply is delayed.
 */
static int
obey(struct session *s, const struct script_answer *a, int usual,
    const char *usual_enh, const char *usual_text)
{
	bool later = a->delay_us > 0 || a->dribble_us > 0;
	struct buf *to = later ? &s->held : &s->out;
	int code = a->code != 0 ? a->code : usual;
	bool close_after = a->drop != DROP_NO || code == 421;

	if (a->code == 0 && a->drop == DROP_NO && !later)
		return 0;
	if (a->drop == DROP_BEFORE)
		totals.dropped++;
	else if (a->code != 0)
		put_reply(to, code, a->enh, sv_from(a->text));
	else
		put_reply(to, code, usual_enh, sv_from(usual_text));
	if (a->drop == DROP_AFTER)
		totals.dropped++;
	if (later) {
		s->held_close = close_after;
		hold(s, a);
	} else if (close_after) {
		s->closing = true;
	}
	/* "dot 250 drop" takes the message and loses the reply. */
	return code >= 400 || (a->drop == DROP_BEFORE && a->code == 0) ? 1 : 2;
}

static void
ask(enum script_stage stage, const char *subjects, size_t n,
    struct script_answer *a)
{
	script_ask(script, stage, subjects, n, now.us - started.us, a);
}

static void
session_greet(struct session *s)
{
	struct script_answer a;
	char text[128];

	snprintf(text, sizeof(text), "%s ESMTP receiver", opt.hostname);
	ask(STAGE_CONNECT, s->peer, 1, &a);
	if (obey(s, &a, 220, "", text) == 0)
		reply(s, 220, "", text);
	session_mark(s);
}

/* Verbs */

static void
verb_ehlo(struct session *s, struct sv name, bool extended)
{
	struct script_answer a;
	char c[256];
	struct buf text;

	if (!sv_to_cstr(sv_head(name, sizeof(c) - 1), c, sizeof(c)))
		c[0] = '\0';
	txn_reset(s);
	s->greeted = true;
	buf_init(&text, LINE_BYTES);
	must(buf_addf(&text, "%s", opt.hostname));
	if (extended) {
		must(buf_addf(&text, "%s%s%s%s%s",
		    opt.pipelining ? "\nPIPELINING" : "",
		    opt.eightbit ? "\n8BITMIME" : "",
		    opt.enhanced ? "\nENHANCEDSTATUSCODES" : "",
		    opt.dsn ? "\nDSN" : "", opt.offers));
		if (opt.offer_size)
			must(buf_addf(&text, "\nSIZE %ju", opt.size));
	}
	must(buf_add(&text, "", 1));
	ask(STAGE_EHLO, c, 1, &a);
	if (obey(s, &a, 250, "", (const char *)buf_data(&text)) == 0)
		reply(s, 250, "", (const char *)buf_data(&text));
	buf_fini(&text);
}

/* "FROM:<address> parameters" without the word; false if that is not it. */
static bool
cut_path(struct sv arg, struct sv *address_r, struct sv *params_r)
{
	ptrdiff_t end;

	arg = sv_trim(arg);
	if (arg.n < 2 || arg.p[0] != '<')
		return false;
	end = sv_find(arg, '>');
	if (end < 0)
		return false;
	*address_r = sv_make(arg.p + 1, (size_t)end - 1);
	*params_r = sv_trim(sv_from_at(arg, (size_t)end + 1));
	return memchr(address_r->p, '\0', address_r->n) == NULL;
}

static bool
declares_too_much(struct sv params)
{
	uint64_t n;

	while (params.p != NULL) {
		struct sv word = sv_cut(&params, ' ');

		if (sv_istarts(word, SV("SIZE=")) &&
		    sv_to_u64(sv_from_at(word, 5), UINT64_MAX, &n) &&
		    n > opt.size)
			return true;
	}
	return false;
}

static void
verb_mail(struct session *s, struct sv arg)
{
	struct script_answer a;
	struct sv address, params;
	int said;

	if (!s->greeted || s->has_sender) {
		reply(s, 503, "5.5.1", "bad sequence of commands");
		return;
	}
	if (!sv_istarts(arg, SV("FROM:")) ||
	    !cut_path(sv_from_at(arg, 5), &address, &params)) {
		reply(s, 501, "5.5.4", "syntax: MAIL FROM:<address>");
		return;
	}
	if (opt.offer_size && declares_too_much(params)) {
		reply(s, 552, "5.3.4", "message too big");
		return;
	}
	must(buf_add_sv(&s->sender, address));
	must(buf_add(&s->sender, "", 1));
	ask(STAGE_MAIL, (const char *)buf_data(&s->sender), 1, &a);
	said = obey(s, &a, 250, "2.1.0", "sender ok");
	if (said == 1) {
		buf_clear(&s->sender);
		return;
	}
	s->has_sender = true;
	if (opt.mbox_dir != NULL)
		must(buf_addf(&s->args, "X-Envelope-From: <%.*s> %.*s\r\n",
		    SV_FMT(address), SV_FMT(params)));
	if (said == 0)
		REPLY_OK(s, "2.1.0", "sender ok");
}

static void
verb_rcpt(struct session *s, struct sv arg)
{
	struct script_answer a;
	struct sv address, params;
	size_t before = buf_len(&s->rcpts);
	int said;

	if (!s->has_sender) {
		reply(s, 503, "5.5.1", "bad sequence of commands");
		return;
	}
	if (!sv_istarts(arg, SV("TO:")) ||
	    !cut_path(sv_from_at(arg, 3), &address, &params) ||
	    address.n == 0) {
		reply(s, 501, "5.5.4", "syntax: RCPT TO:<address>");
		return;
	}
	must(buf_add_sv(&s->rcpts, address));
	must(buf_add(&s->rcpts, "", 1));
	ask(STAGE_RCPT, (const char *)buf_data(&s->rcpts) + before, 1, &a);
	said = obey(s, &a, 250, "2.1.5", "recipient ok");
	if (said == 1) {
		s->rcpts.tail = s->rcpts.head + before;
		return;
	}
	s->nrcpts++;
	if (opt.mbox_dir != NULL)
		must(buf_addf(&s->args, "X-Envelope-To: <%.*s> %.*s\r\n",
		    SV_FMT(address), SV_FMT(params)));
	if (said == 0)
		REPLY_OK(s, "2.1.5", "recipient ok");
}

static void
verb_data(struct session *s)
{
	struct script_answer a;
	int said;

	if (s->nrcpts == 0) {
		reply(s, s->has_sender ? 554 : 503, "5.5.1",
		    "no valid recipients");
		return;
	}
	ask(STAGE_DATA, (const char *)buf_data(&s->rcpts), s->nrcpts, &a);
	said = obey(s, &a, 354, "", "end data with <CR><LF>.<CR><LF>");
	if (said == 1) {
		txn_reset(s);
		return;
	}
	if (said == 0)
		must(buf_add_sv(&s->out, SV("354 go ahead\r\n")));
	s->mode = MODE_DATA;
	s->at_line_start = true;
	s->in_header = true;
	s->crc = 0;
	s->bytes = 0;
}

static void
verb_end(struct session *s, enum script_stage stage)
{
	struct script_answer a;
	bool quit = stage == STAGE_QUIT;

	ask(stage, "", 1, &a);
	if (obey(s, &a, quit ? 221 : 250, "2.0.0", quit ? "bye" : "ok") == 0)
		reply(s, quit ? 221 : 250, "2.0.0", quit ? "bye" : "ok");
	if (!quit)
		txn_reset(s);
	else if (s->is_held)
		s->held_close = true;
	else
		s->closing = true;
}

static void
session_command(struct session *s, struct sv line)
{
	struct sv rest = line, verb = sv_cut(&rest, ' ');

	if (sv_ieq(verb, SV("MAIL")))
		verb_mail(s, rest);
	else if (sv_ieq(verb, SV("RCPT")))
		verb_rcpt(s, rest);
	else if (sv_ieq(verb, SV("DATA")))
		verb_data(s);
	else if (sv_ieq(verb, SV("EHLO")))
		verb_ehlo(s, rest, true);
	else if (sv_ieq(verb, SV("HELO")))
		verb_ehlo(s, rest, false);
	else if (sv_ieq(verb, SV("RSET")))
		verb_end(s, STAGE_RSET);
	else if (sv_ieq(verb, SV("QUIT")))
		verb_end(s, STAGE_QUIT);
	else if (sv_ieq(verb, SV("NOOP")))
		reply(s, 250, "2.0.0", "ok");
	else
		reply(s, 502, "5.5.1", "not here");
}

/* The message */

/* The value of a header field that stands on one line; empty if none. */
static struct sv
header_find(struct sv header, struct sv name)
{
	while (header.p != NULL && header.n > 0) {
		struct sv line = sv_cut(&header, '\n');

		if (sv_istarts(line, name) && line.n > name.n &&
		    line.p[name.n] == ':') {
			line = sv_from_at(line, name.n + 1);
			if (line.n > 0 && line.p[line.n - 1] == '\r')
				line.n--;
			return sv_trim(line);
		}
	}
	return sv_make("", 0);
}

static const char *
checksum_word(const struct session *s, struct sv sum, struct sv id)
{
	char hex[9];

	if (sum.n == 0) {
		totals.no_checksum++;
		return "none";
	}
	snprintf(hex, sizeof(hex), "%08x", s->crc);
	if (sv_ieq(sum, sv_from(hex)))
		return "ok";
	totals.bad_checksum++;
	warnx("message %.*s: body has checksum %s, its header says %.*s",
	    SV_FMT(id), hex, SV_FMT(sum));
	return "bad";
}

static void
ledger_add(const struct session *s, struct sv id, const char *rcpt,
    const char *sum_word)
{
	if (ledger_fd < 0)
		return;
	must(buf_addf(&ledger, "%.*s %s %08x %s %jd.%06jd\n", SV_FMT(id), rcpt,
	    s->crc, sum_word, (intmax_t)(now_wall.us / US_PER_SEC),
	    (intmax_t)(now_wall.us % US_PER_SEC)));
}

/* Writes DIR/N.eml under another name first, so that nobody sees half. */
static void
mbox_write(const struct session *s)
{
	char path[4096], temp[4096];
	FILE *f;

	mbox_number++;
	snprintf(path, sizeof(path), "%s/%ju.eml", opt.mbox_dir, mbox_number);
	snprintf(temp, sizeof(temp), "%s/.%ju.tmp", opt.mbox_dir, mbox_number);
	f = fopen(temp, "we");
	if (f == NULL) {
		warn("%s", temp);
		return;
	}
	fwrite(buf_data(&s->args), 1, buf_len(&s->args), f);
	fwrite(buf_data(&s->whole), 1, buf_len(&s->whole), f);
	if (fclose(f) != 0 || rename(temp, path) != 0)
		warn("%s", path);
}

static void
count_recipients(const struct session *s, struct sv id, const char *sum_word)
{
	const char *r = (const char *)buf_data(&s->rcpts);
	uint64_t id_hash = idset_hash(7, id);

	if (id.n == 0)
		totals.no_id++;
	else
		idset_add(&ids, id_hash);
	for (size_t i = 0; i < s->nrcpts; i++, r += strlen(r) + 1) {
		struct sv rcpt = sv_from(r);

		totals.recipients++;
		if (id.n > 0 &&
		    idset_add(&pairs, idset_hash(id_hash, rcpt)) > 1)
			totals.duplicates++;
		ledger_add(s, id.n > 0 ? id : SV("-"), r, sum_word);
	}
}

static void
message_accept(struct session *s)
{
	struct sv header = buf_sv(&s->header);
	struct sv id = header_find(header, SV("X-Bench-ID"));
	struct sv sum = header_find(header, SV("X-Bench-Sum"));

	if (totals.messages++ == 0)
		totals.first = now_wall;
	totals.last = now_wall;
	totals.bytes += s->bytes;
	count_recipients(s, id, checksum_word(s, sum, id));
	if (opt.mbox_dir != NULL)
		mbox_write(s);
}

static void
message_end(struct session *s)
{
	struct script_answer a;
	int said = 1;

	ask(STAGE_DOT, (const char *)buf_data(&s->rcpts), s->nrcpts, &a);
	if (s->bytes > opt.size)
		reply(s, 552, "5.3.4", "message too big");
	else
		said = obey(s, &a, 250, "2.0.0", "taken");
	if (said != 1)
		message_accept(s);
	if (said == 0)
		REPLY_OK(s, "2.0.0", "taken");
	txn_reset(s);
}

/* Takes n bytes of the message, dots already undone. */
static void
message_feed(struct session *s, const unsigned char *p, size_t n)
{
	const unsigned char *end;
	size_t before, body;

	if (n == 0)
		return;
	s->bytes += n;
	if (opt.mbox_dir != NULL && s->bytes <= opt.size)
		must(buf_add(&s->whole, p, n));
	if (!s->in_header) {
		s->crc = crc32c(s->crc, p, n);
		return;
	}
	before = buf_len(&s->header);
	must(buf_add(&s->header, p, n));
	if (before == 0 && n >= 2 && memcmp(p, "\r\n", 2) == 0)
		end = buf_data(&s->header) - 2;
	else
		end = memmem(buf_data(&s->header), buf_len(&s->header),
		    "\r\n\r\n", 4);
	if (end == NULL) {
		if (buf_len(&s->header) > HEADER_BYTES)
			s->in_header = false;
		return;
	}
	s->in_header = false;
	body = (size_t)(end - buf_data(&s->header)) + 4;
	s->crc = crc32c(s->crc, p + (body - before), n - (body - before));
	s->header.tail = s->header.head + body;
}

/*
 * At the start of a line that begins with a dot: 0 if more bytes are needed
 * to judge it, 3 if it ends the message (CRLF.CRLF and nothing else does), 1
 * for a dot to take away.
 */
static size_t
judge_dot(const unsigned char *p, size_t n)
{
	if (n < 2 || (n == 2 && p[1] == '\r'))
		return 0;
	return p[1] == '\r' && p[2] == '\n' ? 3 : 1;
}

/* The next dot behind CRLF at or after p[i]; n if there is none. */
static size_t
find_line_dot(const unsigned char *p, size_t i, size_t n)
{
	while (i < n) {
		const unsigned char *d = memchr(p + i, '.', n - i);

		if (d == NULL)
			return n;
		i = (size_t)(d - p);
		if (i >= 2 && p[i - 1] == '\n' && p[i - 2] == '\r')
			return i;
		i++;
	}
	return n;
}

/* Consumes bytes of a message; returns how many. */
static size_t
session_data(struct session *s, const unsigned char *p, size_t n)
{
	size_t i = 0, j;

	while (i < n) {
		if (s->at_line_start && p[i] == '.') {
			size_t what = judge_dot(p + i, n - i);

			if (what == 0)
				return i;
			i += what;
			s->at_line_start = false;
			if (what == 3) {
				message_end(s);
				return i;
			}
		}
		s->at_line_start = false;
		j = find_line_dot(p, i, n);
		if (j == n && p[n - 1] == '\r')
			j--; /* judged with what follows it */
		message_feed(s, p + i, j - i);
		s->at_line_start = j >= 2 && j > i && p[j - 1] == '\n' &&
		    p[j - 2] == '\r';
		if (j < n && p[j] == '\r')
			return j;
		i = j;
	}
	return n;
}

/* Consumes command lines and message bytes until more are needed. */
static size_t
session_consume(struct session *s, const unsigned char *p, size_t n)
{
	size_t done = 0;

	while (done < n && !s->closing && !s->is_held) {
		const unsigned char *nl;
		size_t len;

		if (s->mode == MODE_DATA) {
			len = session_data(s, p + done, n - done);
			done += len;
			if (s->mode == MODE_DATA)
				break;
			continue;
		}
		nl = memchr(p + done, '\n', n - done);
		if (nl == NULL && n - done < LINE_BYTES)
			break;
		if (nl == NULL) {
			reply(s, 421, "4.5.2", "line too long");
			break;
		}
		len = (size_t)(nl - (p + done));
		session_command(s, sv_make(p + done,
		    len > 0 && nl[-1] == '\r' ? len - 1 : len));
		done += len + 1;
		if (!opt.pipelining && done < n && s->mode == MODE_COMMAND)
			totals.early++;
	}
	return done;
}

static void
session_keep(struct session *s, const unsigned char *p, size_t n)
{
	buf_clear(&s->in);
	if (n > 0)
		must(buf_add(&s->in, p, n));
	buf_trim(&s->in, LINE_BYTES);
}

static void
session_readable(struct session *s)
{
	size_t kept = buf_len(&s->in), done;
	ssize_t n;

	if (kept > 0)
		memcpy(read_buffer, buf_data(&s->in), kept);
	n = read(s->fd, read_buffer + kept,
	    sizeof(read_buffer) - kept < READ_BYTES ?
	    sizeof(read_buffer) - kept : READ_BYTES);
	session_mark(s);
	if (n <= 0) {
		s->broken = n == 0 || (errno != EAGAIN && errno != EINTR);
		return;
	}
	done = session_consume(s, read_buffer, kept + (size_t)n);
	session_keep(s, read_buffer + done, kept + (size_t)n - done);
	/* A client with Nagle's algorithm holds the rest of the message back
	 * until this much is acknowledged: do not let it wait 40 ms. */
	if (s->mode == MODE_DATA && s->bytes > 0)
		setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){ 1 },
		    sizeof(int));
}

/* A hold has ended: whatever the client sent meanwhile is looked at now. */
static void
session_resume(struct session *s)
{
	size_t n = buf_len(&s->in), done;

	s->is_held = false;
	TAILQ_REMOVE(&held, s, held_next);
	if (s->held_close)
		s->closing = true;
	if (n == 0)
		return;
	memcpy(read_buffer, buf_data(&s->in), n);
	done = session_consume(s, read_buffer, n);
	session_keep(s, read_buffer + done, n - done);
}

/* Releases what is due of the held replies; one byte at a time if dribbling. */
static void
session_release(struct session *s)
{
	size_t n = buf_len(&s->held);

	if (s->dribble_us > 0 && n > 0)
		n = 1;
	must(buf_add(&s->out, buf_data(&s->held), n));
	buf_consume(&s->held, n);
	session_mark(s);
	if (buf_len(&s->held) == 0)
		session_resume(s);
	else
		s->held_until = now.us + s->dribble_us;
}

static void
session_flush(struct session *s)
{
	ssize_t n;

	if (!s->broken && buf_len(&s->out) > 0) {
		n = send(s->fd, buf_data(&s->out), buf_len(&s->out),
		    MSG_NOSIGNAL);
		if (n > 0)
			buf_consume(&s->out, (size_t)n);
		else if (errno != EAGAIN && errno != EINTR)
			s->broken = true;
	}
	if (s->broken || (s->closing && buf_len(&s->out) == 0)) {
		session_free(s);
		return;
	}
	session_watch(s, buf_len(&s->out) > 0 ? EPOLLOUT :
	    s->is_held ? 0 : EPOLLIN);
}

/* The loop */

static void
accept_all(int fd)
{
	struct sockaddr_storage sa;
	char peer[INET6_ADDRSTRLEN];

	for (;;) {
		socklen_t len = sizeof(sa);
		int c = accept4(fd, (struct sockaddr *)&sa, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (c < 0)
			return;
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
		    sizeof(int));
		if (getnameinfo((struct sockaddr *)&sa, len, peer,
		    sizeof(peer), NULL, 0, NI_NUMERICHOST) != 0)
			strlcpy(peer, "unknown", sizeof(peer));
		session_greet(session_new(c, peer));
	}
}

static void
ledger_write(void)
{
	while (buf_len(&ledger) > 0) {
		ssize_t n = write(ledger_fd, buf_data(&ledger),
		    buf_len(&ledger));

		if (n < 0 && errno != EINTR)
			err(111, "%s", opt.ids);
		if (n > 0)
			buf_consume(&ledger, (size_t)n);
	}
}

/* Milliseconds until the next hold ends; -1 without one. */
static int
run_holds(void)
{
	struct session *s, *next;
	int64_t wait = -1, ms;

	for (s = TAILQ_FIRST(&held); s != NULL; s = next) {
		next = TAILQ_NEXT(s, held_next);
		if (s->held_until <= now.us)
			session_release(s);
	}
	TAILQ_FOREACH(s, &held, held_next) {
		ms = (s->held_until - now.us) / US_PER_MS + 1;
		if (ms < 0)
			ms = 0;
		if (wait < 0 || ms < wait)
			wait = ms;
	}
	return wait > 60000 ? 60000 : (int)wait;
}

static void
load_script(void)
{
	struct script *fresh = script_new(opt.seed);
	char why[512];

	if (opt.script != NULL &&
	    script_load(fresh, opt.script, why, sizeof(why)) != 0) {
		if (script == NULL)
			errx(100, "%s", why);
		warnx("%s; the old rules stay", why);
		script_free(&fresh);
		return;
	}
	script_free(&script);
	script = fresh;
}

static void
handle_signals(void)
{
	if (want_totals != 0) {
		want_totals = 0;
		print_totals();
	}
	if (want_reload != 0) {
		want_reload = 0;
		load_script();
	}
}

static void
handle_event(const struct epoll_event *ev)
{
	struct session *s = ev->data.ptr;

	for (size_t i = 0; i < nlisteners; i++) {
		if (ev->data.ptr == &listeners[i]) {
			accept_all(listeners[i]);
			return;
		}
	}
	if (s->is_held) {
		/* Only errors are told now: the client has gone. */
		s->broken = (ev->events & (EPOLLHUP | EPOLLERR)) != 0;
		session_mark(s);
	} else if (s->watched == EPOLLOUT) {
		session_mark(s);
	} else {
		session_readable(s);
	}
}

static void
run(void)
{
	struct epoll_event ev[EVENTS];
	struct session *s;
	sigset_t none;
	int wait = -1;

	sigemptyset(&none);
	while (want_stop == 0) {
		int n = epoll_pwait(epoll_fd, ev, EVENTS, wait, &none);

		read_clocks();
		handle_signals();
		for (int i = 0; i < n; i++)
			handle_event(&ev[i]);
		wait = run_holds();
		ledger_write();
		while ((s = STAILQ_FIRST(&dirty)) != NULL) {
			STAILQ_REMOVE_HEAD(&dirty, dirty_next);
			s->dirty = false;
			session_flush(s);
		}
		if (opt.quit_after > 0 && pairs.used >= opt.quit_after)
			break;
	}
}

/* Start */

static void
print_listening(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[INET6_ADDRSTRLEN], port[8];

	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0 ||
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port,
	    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		err(111, "getsockname");
	if (sa.ss_family == AF_INET6)
		printf("listening [%s]:%s\n", host, port);
	else
		printf("listening %s:%s\n", host, port);
	fflush(stdout);
}

static void
listen_on(const char *where)
{
	struct addrinfo *ai, hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
	struct epoll_event ev = { .events = EPOLLIN };
	struct sv v = sv_from(where), host;
	ptrdiff_t colon = sv_rfind(v, ':');
	char h[64];
	int fd;

	if (colon <= 0 || nlisteners == LISTENERS)
		errx(100, "%s: want ADDRESS:PORT", where);
	host = sv_head(v, (size_t)colon);
	if (host.p[0] == '[' && host.n > 2)
		host = sv_make(host.p + 1, host.n - 2);
	if (!sv_to_cstr(host, h, sizeof(h)) ||
	    getaddrinfo(h, where + colon + 1, &hints, &ai) != 0)
		errx(100, "%s: not an address and a port", where);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd < 0)
		err(111, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 ||
	    listen(fd, 4096) != 0)
		err(111, "%s", where);
	freeaddrinfo(ai);
	listeners[nlisteners] = fd;
	ev.data.ptr = &listeners[nlisteners++];
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		err(111, "epoll_ctl");
	print_listening(fd);
}

/* Goes on behind the highest number in the directory. */
static void
mbox_open(void)
{
	struct dirent *e;
	uint64_t n;
	DIR *d;

	if (mkdir(opt.mbox_dir, 0777) != 0 && errno != EEXIST)
		err(111, "%s", opt.mbox_dir);
	d = opendir(opt.mbox_dir);
	if (d == NULL)
		err(111, "%s", opt.mbox_dir);
	while ((e = readdir(d)) != NULL) {
		struct sv name = sv_from(e->d_name);

		if (sv_iends(name, SV(".eml")) &&
		    sv_to_u64(sv_head(name, name.n - 4), INT64_MAX, &n) &&
		    n > mbox_number)
			mbox_number = n;
	}
	closedir(d);
}

enum {
	OPT_IDS = 256,
	OPT_EXPECT,
	OPT_QUIT_AFTER,
	OPT_SCRIPT,
	OPT_RULE,
	OPT_SEED,
	OPT_MBOX,
	OPT_SIZE,
	OPT_HOSTNAME,
	OPT_OFFER,
	OPT_NO_PIPELINING,
	OPT_NO_8BITMIME,
	OPT_NO_SIZE,
	OPT_NO_ENHANCED,
	OPT_NO_DSN
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, 'l' },
	{ "ids", required_argument, NULL, OPT_IDS },
	{ "expect", required_argument, NULL, OPT_EXPECT },
	{ "quit-after", required_argument, NULL, OPT_QUIT_AFTER },
	{ "script", required_argument, NULL, OPT_SCRIPT },
	{ "rule", required_argument, NULL, OPT_RULE },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "mbox-dir", required_argument, NULL, OPT_MBOX },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "hostname", required_argument, NULL, OPT_HOSTNAME },
	{ "offer", required_argument, NULL, OPT_OFFER },
	{ "no-pipelining", no_argument, NULL, OPT_NO_PIPELINING },
	{ "no-8bitmime", no_argument, NULL, OPT_NO_8BITMIME },
	{ "no-size", no_argument, NULL, OPT_NO_SIZE },
	{ "no-enhancedstatuscodes", no_argument, NULL, OPT_NO_ENHANCED },
	{ "no-dsn", no_argument, NULL, OPT_NO_DSN },
	{ NULL, 0, NULL, 0 },
};

static void
usage(void)
{
	fputs("usage: receiver [options] [ADDRESS:PORT ...]\n"
	      "port 0 takes a free one; the default is 127.0.0.1:0\n",
	    stderr);
	for (const struct option *o = long_options; o->name != NULL; o++)
		fprintf(stderr, "  --%s%s\n", o->name,
		    o->has_arg == required_argument ? " ..." : "");
	exit(100);
}

static uint64_t
number(const char *word)
{
	uint64_t n;

	if (!sv_to_u64(sv_from(word), INT64_MAX, &n))
		errx(100, "\"%s\" is not a number", word);
	return n;
}

static void
add_rule(const char *rule)
{
	char why[256];

	if (opt.script != NULL)
		errx(100, "--rule and --script exclude each other");
	if (script == NULL)
		script = script_new(opt.seed);
	if (script_add(script, sv_from(rule), why, sizeof(why)) != 0)
		errx(100, "--rule: %s", why);
}

static void
add_offer(const char *line)
{
	strlcat(opt.offers, "\n", sizeof(opt.offers));
	if (strlcat(opt.offers, line, sizeof(opt.offers)) >=
	    sizeof(opt.offers))
		errx(100, "too many --offer");
}

static void
take_option(int o)
{
	switch (o) {
	case 'l': listen_on(optarg); break;
	case OPT_IDS: opt.ids = optarg; break;
	case OPT_EXPECT: opt.expect = number(optarg); break;
	case OPT_QUIT_AFTER: opt.quit_after = number(optarg); break;
	case OPT_SCRIPT: opt.script = optarg; break;
	case OPT_RULE: add_rule(optarg); break;
	case OPT_SEED: opt.seed = number(optarg); break;
	case OPT_MBOX: opt.mbox_dir = optarg; break;
	case OPT_SIZE: opt.size = number(optarg); break;
	case OPT_HOSTNAME: opt.hostname = optarg; break;
	case OPT_OFFER: add_offer(optarg); break;
	case OPT_NO_PIPELINING: opt.pipelining = false; break;
	case OPT_NO_8BITMIME: opt.eightbit = false; break;
	case OPT_NO_SIZE: opt.offer_size = false; break;
	case OPT_NO_ENHANCED: opt.enhanced = false; break;
	case OPT_NO_DSN: opt.dsn = false; break;
	default: usage();
	}
}

static void
catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	static const int signals[] = { SIGUSR1, SIGHUP, SIGINT, SIGTERM };
	sigset_t blocked;

	/* Only epoll_pwait lets them in, so that none comes just before it. */
	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], &sa, NULL);
		sigaddset(&blocked, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int
main(int argc, char **argv)
{
	int o;

	catch_signals();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	buf_init(&ledger, SIZE_MAX / 2);
	idset_init(&ids);
	idset_init(&pairs);
	read_clocks();
	started = now;
	while ((o = getopt_long(argc, argv, "l:", long_options, NULL)) != -1)
		take_option(o);
	if (script == NULL)
		load_script();
	if (opt.mbox_dir != NULL)
		mbox_open();
	if (opt.ids != NULL) {
		ledger_fd = open(opt.ids,
		    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		if (ledger_fd < 0)
			err(111, "%s", opt.ids);
	}
	for (; optind < argc; optind++)
		listen_on(argv[optind]);
	if (nlisteners == 0)
		listen_on("127.0.0.1:0");
	run();
	print_totals();
	return 0;
}

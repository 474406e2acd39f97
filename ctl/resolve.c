/* SPDX-License-Identifier: ISC */
/*
 * resolve: where the mail of a queue goes, as the daemon answers, and with
 * --connect a short dialogue with the first of these hosts that talks. It is
 * led by this command, not by a delivery process, from the address and under
 * the name that delivery would use.
 */
#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/mail/route.h"
#include "common/mail/smtp_client.h"
#include "common/sys/clock.h"
#include "common/sys/sockaddr.h"
#include "ctl/ctl.h"
#include "ctl/table.h"
#include "ctl/view.h"

#define STEP_MS     10000 /* to connect, and for each whole reply */
#define TRIES_MAX   4     /* addresses */
#define REPLY_BYTES 65536 /* of one reply; 100 lines of 512 at most */
#define LINES_MAX   200   /* of one dialogue */

struct resolve {
	const struct ctl *ctl;
	bool connect;
	struct sv source_ip, helo;  /* --source; "": as delivery has it */
};

/* One dialogue. */
struct call {
	const struct ctl *ctl;
	json_t *lines;       /* for programs, else NULL */
	unsigned nlines;
	char error[256];     /* "": none yet */
	int fd;
	struct buf in;
};

/* ---- what is shown ---- */

static void
say(struct call *c, const char *mark, struct sv text)
{
	char line[SMTP_COMMAND_MAX + 8];
	json_t *j;
	struct str s;

	STR_ON(&s, line);
	str_adds(&s, mark);
	str_addc(&s, ' ');
	str_add(&s, text);
	if (c->lines == NULL) {
		print_safe(str_sv(&s));
		puts("");
		fflush(stdout);
		return;
	}
	j = json_stringn(line, s.n);
	if (j == NULL) { /* not UTF-8 */
		STR_ON(&s, line);
		str_addf(&s, "%s ", mark);
		str_add_escaped(&s, text);
		j = json_string(line);
	}
	if (j == NULL || json_array_append_new(c->lines, j) != 0)
		abort();
}

static bool
failed(struct call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool
failed(struct call *c, const char *fmt, ...)
{
	struct str s;
	va_list ap;

	STR_ON(&s, c->error);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	return false;
}

/* ---- the dialogue ---- */

/* False when the time is over. */
static bool
wait_for(struct call *c, short what, struct mono until)
{
	struct pollfd p = { .fd = c->fd, .events = what };
	int64_t left;
	int n;

	do {
		left = mono_diff_ms(until, clock_mono());
		n = left <= 0 ? 0 : poll(&p, 1, (int)left);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

static bool
connect_to(struct call *c, const struct route_addr *to, uint16_t port,
    const struct route_addr *from)
{
	struct mono until = mono_add_ms(clock_mono(), STEP_MS);
	struct sockaddr_storage ss;
	socklen_t len, errlen = sizeof(int);
	int err = 0;

	c->fd = socket(to->family == 6 ? AF_INET6 : AF_INET,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return failed(c, "no socket: %s", strerror(errno));
	if (from->family != 0) {
		len = sockaddr_make(from, 0, &ss);
		if (bind(c->fd, (struct sockaddr *)&ss, len) != 0)
			return failed(c, "this source address cannot be "
			    "used: %s", strerror(errno));
	}
	len = sockaddr_make(to, port, &ss);
	if (connect(c->fd, (struct sockaddr *)&ss, len) == 0)
		return true;
	if (errno != EINPROGRESS)
		return failed(c, "no connection: %s", strerror(errno));
	if (!wait_for(c, POLLOUT, until))
		return failed(c, "no connection in %d s", STEP_MS / 1000);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &errlen) != 0)
		err = errno;
	return err == 0 || failed(c, "no connection: %s", strerror(err));
}

/* The next line that is there, without its end; false: none. */
static bool
line_take(struct call *c, char mem[SMTP_COMMAND_MAX], struct sv *line_r)
{
	struct sv all = buf_sv(&c->in);
	ptrdiff_t nl = sv_find(all, '\n');
	struct sv line;

	if (nl < 0)
		return false;
	line = sv_head(all, (size_t)nl);
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	line = sv_head(line, SMTP_COMMAND_MAX);
	memcpy(mem, line.p, line.n);
	*line_r = sv_make(mem, line.n);
	buf_consume(&c->in, (size_t)nl + 1);
	return true;
}

/* More bytes; false after a failure. */
static bool
bytes_read(struct call *c, struct mono until, size_t *budget)
{
	unsigned char *at;
	ssize_t n;

	if (!wait_for(c, POLLIN, until))
		return failed(c, "no reply in %d s", STEP_MS / 1000);
	at = *budget < 4096 ? NULL : buf_reserve(&c->in, 4096);
	if (at == NULL)
		return failed(c, "a reply without end");
	n = read(c->fd, at, 4096);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return failed(c, "the connection was closed%s%s",
		    n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
	buf_commit(&c->in, (size_t)n);
	*budget -= (size_t)n;
	return true;
}

/* Shows a whole reply; its first digit in *class_r. */
static bool
reply_read(struct call *c, char *class_r)
{
	struct mono until = mono_add_ms(clock_mono(), STEP_MS);
	size_t budget = REPLY_BYTES;
	char mem[SMTP_COMMAND_MAX];
	struct sv line;

	for (;;) {
		while (!line_take(c, mem, &line)) {
			if (!bytes_read(c, until, &budget))
				return false;
		}
		say(c, ">>>", line);
		if (++c->nlines > LINES_MAX)
			return failed(c, "a reply without end");
		if (line.n < 3 || !ascii_is_digit(line.p[0]) ||
		    !ascii_is_digit(line.p[1]) || !ascii_is_digit(line.p[2]))
			return failed(c, "that is no SMTP");
		*class_r = line.p[0];
		if (line.n == 3 || line.p[3] != '-')
			return true;
	}
}

static bool
command_send(struct call *c, struct sv command)
{
	struct mono until = mono_add_ms(clock_mono(), STEP_MS);
	struct buf out;
	bool ok;

	buf_init(&out, SMTP_COMMAND_MAX);
	ok = smtp_command_add(&out, command) == 0;
	if (!ok)
		(void)failed(c, "a command that cannot be sent");
	else
		say(c, "<<<", command);
	while (ok && buf_len(&out) > 0) {
		ssize_t n = send(c->fd, buf_data(&out), buf_len(&out),
		    MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(&out, (size_t)n);
		else if (errno != EAGAIN && errno != EINTR)
			ok = failed(c, "the connection was closed: %s",
			    strerror(errno));
		else if (!wait_for(c, POLLOUT, until))
			ok = failed(c, "nothing is taken");
	}
	buf_fini(&out);
	return ok;
}

/* True: it talks, whatever it says. */
static bool
dialogue(struct call *c, struct sv helo)
{
	char mem[SMTP_COMMAND_MAX], class = '0';
	struct str s;

	if (!reply_read(c, &class))
		return false;
	STR_ON(&s, mem);
	str_adds(&s, "EHLO ");
	str_add(&s, helo);
	if (class == '2' && (!command_send(c, str_sv(&s)) ||
	    !reply_read(c, &class)))
		return true;
	if (command_send(c, SV("QUIT")))
		(void)reply_read(c, &class);
	return true;
}

/* ---- whom to call, and as whom ---- */

/* Of this family, with the name that goes with it; a family of 0: the system
 * chooses. */
static void
source_choose(const struct resolve *r, const json_t *route, uint8_t family,
    struct route_addr *from, struct sv *helo)
{
	const json_t *o;
	size_t i;

	*from = (struct route_addr){ .family = 0 };
	*helo = r->helo;
	if (r->source_ip.n > 0) {
		(void)route_addr_parse(r->source_ip, from);
		if (helo->n > 0)
			return;
	}
	json_array_foreach(json_object_get(route, "sources"), i, o) {
		struct route_addr a;
		bool fits = text_of(o, "ip").n == 0 ||
		    (route_addr_parse(text_of(o, "ip"), &a) &&
		    a.family == family);

		if (r->helo.n == 0 && (helo->n == 0 || fits))
			*helo = text_of(o, "helo");
		if (!fits)
			continue;
		if (r->source_ip.n == 0 && text_of(o, "ip").n > 0)
			*from = a;
		return;
	}
}

static void
row_set(json_t *o, const char *key, json_t *v)
{
	if (json_object_set_new(o, key, v) != 0)
		abort();
}

/* For programs: the dialogue as a row. */
static void
call_row(const struct call *c, const char *what, struct ctl_reply *out)
{
	json_t *o = json_object();

	row_set(o, "connect", json_string(what));
	row_set(o, "lines", json_incref(c->lines));
	row_set(o, "error", json_string(c->error));
	ctl_reply_row(out, o);
}

/* False: this one does not talk. */
static bool
call_one(const struct resolve *r, const json_t *route, const json_t *host,
    struct sv ip, struct ctl_reply *out)
{
	struct call c = { .ctl = r->ctl, .fd = -1,
		.lines = r->ctl->form != FORM_TEXT ? json_array() : NULL };
	uint16_t port = (uint16_t)num_of(host, NULL, "port");
	struct route_addr to, from;
	char what[600];
	struct sv helo;
	struct str s;
	bool talks;

	if (!route_addr_parse(ip, &to))
		return false;
	source_choose(r, route, to.family, &from, &helo);
	buf_init(&c.in, REPLY_BYTES + 8192);
	STR_ON(&s, what);
	str_add_escaped(&s, text_of(host, "name"));
	str_addf(&s, "[%.*s]:%u", SV_FMT(ip), port);
	if (c.lines == NULL)
		printf("\nconnecting to %s\n", what);
	talks = connect_to(&c, &to, port, &from) && dialogue(&c, helo);
	if (c.error[0] != '\0' && c.lines == NULL)
		printf("%s\n", c.error);
	if (c.lines != NULL)
		call_row(&c, what, out);
	json_decref(c.lines);
	buf_fini(&c.in);
	if (c.fd >= 0)
		close(c.fd);
	return talks;
}

/* The addresses in the order of delivery, until one talks. */
static bool
call_all(const struct resolve *r, struct ctl_reply *out)
{
	const json_t *route = json_array_get(out->rows, 0), *host, *ip;
	unsigned tries = 0;
	size_t i, k;

	json_array_foreach(json_object_get(route, "hosts"), i, host) {
		if (json_is_true(json_object_get(host, "leftOut")))
			continue;
		json_array_foreach(json_object_get(host, "addresses"), k, ip) {
			if (tries++ == TRIES_MAX)
				return false;
			if (call_one(r, route, host,
			    sv_from(json_string_value(ip)), out))
				return true;
		}
	}
	return false;
}

/* ---- the command ---- */

/* "[HOST,]IP" */
static bool
source_parse(struct resolve *r, struct sv v)
{
	ptrdiff_t comma = sv_rfind(v, ',');
	struct route_addr a;

	if (comma >= 0)
		r->helo = sv_head(v, (size_t)comma);
	r->source_ip = sv_from_at(v, (size_t)(comma + 1));
	if (route_addr_parse(r->source_ip, &a) && (comma < 0 || comma > 0))
		return true;
	ctl_complain("--source wants an address, or NAME,ADDRESS");
	return false;
}

/* The words that are the daemon's; 0 after a complaint. */
static unsigned
words_parse(struct resolve *r, const char *words[CTL_WORDS_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->ctl->nwords; i++) {
		const char *w = r->ctl->words[i];

		if (strcmp(w, "--connect") == 0)
			r->connect = true;
		else if (strncmp(w, "--source=", 9) != 0)
			words[n++] = w;
		else if (!source_parse(r, sv_from(w + 9)))
			return 0;
	}
	return n;
}

int
run_resolve(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct resolve r = { .ctl = ctl };
	const char *words[CTL_WORDS_MAX];
	unsigned n = words_parse(&r, words);
	struct ctl_reply reply;
	int rc = CTL_FAILED;

	if (n == 0)
		return CTL_MISUSE;
	if (ctl_ask(ctl, words, n, &reply) == -1)
		return CTL_UNREACHABLE;
	r.connect = r.connect && reply.status == CTL_OK;
	if (ctl->form == FORM_TEXT || !r.connect)
		rc = ctl_print(ctl, cmd, &reply);
	if (r.connect && !call_all(&r, &reply)) {
		reply.status = CTL_FAILED;
		ctl_reply_text(&reply, "no host talks to us");
		rc = CTL_FAILED;
	}
	if (r.connect && ctl->form != FORM_TEXT)
		rc = ctl_print(ctl, cmd, &reply);
	else if (r.connect && rc != CTL_OK)
		ctl_complain("%s", reply.text);
	ctl_reply_fini(&reply);
	return rc;
}

/* ---- how it looks ---- */

static void
host_cells(struct table *t, const json_t *host)
{
	char mem[ROUTE_ADDRS_MAX * 48];
	const json_t *ip;
	struct str s;
	size_t i;

	STR_ON(&s, mem);
	json_array_foreach(json_object_get(host, "addresses"), i, ip)
		str_addf(&s, "%s%s", i > 0 ? " " : "", json_string_value(ip));
	table_cellf(t, "%lld", num_of(host, NULL, "preference"));
	table_cell(t, text_of(host, "name"));
	table_cellf(t, "%lld", num_of(host, NULL, "port"));
	table_cell(t, str_sv(&s));
	table_cell(t, json_is_true(json_object_get(host, "leftOut")) ?
	    SV("left out for now: skip-mx") : SV(""));
}

static void
sources_print(const json_t *list)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		struct sv ip = text_of(o, "ip");

		fputs(i == 0 ? "from " : ", ", stdout);
		print_safe(ip.n > 0 ? ip : SV("the system's address"));
		fputs(" as ", stdout);
		print_safe(text_of(o, "helo"));
	}
	puts("");
}

static void
print_named(const char *name, struct sv v)
{
	if (v.n == 0)
		return;
	printf(", %s ", name);
	print_safe(v);
}

void
view_resolve(const struct ctl_reply *r)
{
	const json_t *row = json_array_get(r->rows, 0), *host;
	struct table *t;
	char mem[32];
	struct str s;
	size_t i;

	if (row == NULL)
		return;
	STR_ON(&s, mem);
	add_age(&s, num_of(row, NULL, "validity_s"));
	print_safe(text_of(row, "queue"));
	fputs(": ", stdout);
	print_safe(text_of(row, "status"));
	print_named("code", text_of(row, "code"));
	print_named("smtp-hosts", text_of(row, "smtpHosts"));
	print_named(json_is_true(json_object_get(row, "rollup")) ?
	    "rollup" : "site", text_of(row, "site"));
	printf(", valid for %s\n", mem);
	print_text(text_of(row, "text"));
	t = table_new(">pref|host|>port|addresses| ");
	json_array_foreach(json_object_get(row, "hosts"), i, host)
		host_cells(t, host);
	if (i > 0) {
		sources_print(json_object_get(row, "sources"));
		table_print(t, stdout);
	}
	table_free(&t);
}

/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/mail/data_dec.h"

/* What was read last. */
enum dec_state {
	AT_BOL,      /* CR LF, or nothing yet */
	IN_LINE,     /* anything else; also the start of a normalised line */
	AFTER_CR,    /* a CR in a line, not written yet */
	AFTER_DOT,   /* CR LF . */
	AFTER_DOTCR, /* CR LF . CR */
	DONE,
};

/* One call of data_dec_feed(). */
struct feed {
	struct data_dec *d;
	const unsigned char *p, *end;
	const unsigned char *run;   /* decoded but not copied yet: run to p */
	unsigned char *out;
	size_t n;                   /* bytes in out */
};

static const char received[] = "received:";
#define RECEIVED_LEN (sizeof(received) - 1)

void
data_dec_init(struct data_dec *d, enum data_policy policy, uint64_t max_bytes)
{
	*d = (struct data_dec){
		.policy = policy,
		.max_bytes = max_bytes,
		.in_header = true,
		.state = AT_BOL,
	};
}

bool
data_dec_is_done(const struct data_dec *d)
{
	return d->state == DONE;
}

size_t
data_dec_room(const struct data_dec *d, size_t n)
{
	/* a held CR LF; normalising may double */
	return (d->policy == DATA_NORMALIZE ? 2 * n : n) + 2;
}

static void
dec_fail(struct data_dec *d, enum data_error why)
{
	/* the least, not the first: runs are checked late, so which of two
	 * comes first depends on how the input was split */
	if (d->error == DATA_FINE || why < d->error)
		d->error = why;
}

static bool
has_eight_bit(const unsigned char *p, size_t n)
{
	uint64_t any = 0;
	size_t i = 0;

	for (; n - i >= 32; i += 32) {
		uint64_t w[4];

		memcpy(w, p + i, sizeof(w));
		any |= w[0] | w[1] | w[2] | w[3];
	}
	for (; i < n; i++)
		any |= p[i];
	return (any & 0x8080808080808080u) != 0;
}

static void
put(struct feed *f, const void *p, size_t n)
{
	struct data_dec *d = f->d;

	d->bytes += n;
	if (d->max_bytes != 0 && d->bytes > d->max_bytes)
		dec_fail(d, DATA_TOO_BIG);
	if (n == 0)
		return;
	if (memchr(p, '\0', n) != NULL)
		dec_fail(d, DATA_NUL);
	if (d->error != DATA_FINE)
		return;
	if (!d->eight_bit)
		d->eight_bit = has_eight_bit(p, n);
	memcpy(f->out + f->n, p, n);
	f->n += n;
}

/* Copies what has gathered up to `to`; the next run starts at `next`. */
static void
flush_run(struct feed *f, const unsigned char *to, const unsigned char *next)
{
	put(f, f->run, (size_t)(to - f->run));
	f->run = next;
}

static void
line_start(struct data_dec *d)
{
	d->line = 0;
	d->not_received = false;
}

static void
line_end(struct data_dec *d)
{
	if (d->line == 0)
		d->in_header = false;
	line_start(d);
}

/* n bytes at p are the next ones of a line, its end not among them. */
static void
line_look(struct data_dec *d, const unsigned char *p, size_t n)
{
	if (n == 0)
		return;
	if (d->line == 0 && *p == '.')
		d->leading_dot = true;
	for (size_t i = 0; d->in_header && !d->not_received && i < n &&
	    d->line + i < RECEIVED_LEN; i++) {
		if (ascii_lower((char)p[i]) != received[d->line + i])
			d->not_received = true;
		else if (d->line + i == RECEIVED_LEN - 1)
			d->received++;
	}
	if (n > DATA_LINE_MAX - (d->line < DATA_LINE_MAX ? d->line :
	    DATA_LINE_MAX))
		dec_fail(d, DATA_LINE_LONG);
	d->line += n;
}

/* A CR or LF that is no line end was taken from the input (or held). */
static void
bare(struct feed *f, enum data_error why)
{
	struct data_dec *d = f->d;

	d->state = IN_LINE;
	f->run = f->p;
	if (d->policy == DATA_REJECT) {
		dec_fail(d, why);
		return;
	}
	put(f, "\r\n", 2);
	line_end(d);
}

/* From p on inside a line: up to its end, a bare CR or LF, or the input's
 * end. */
static void
step_line(struct feed *f)
{
	struct data_dec *d = f->d;
	const unsigned char *p = f->p;
	size_t left = (size_t)(f->end - p);
	const unsigned char *nl = memchr(p, '\n', left);
	size_t n = nl != NULL ? (size_t)(nl - p) : left;
	const unsigned char *cr = memchr(p, '\r', n);

	if (cr == NULL) {
		line_look(d, p, n);
		f->p = nl != NULL ? nl + 1 : f->end;
		if (nl == NULL)
			return;
		flush_run(f, nl, nl);
		bare(f, DATA_BARE_LF);
		return;
	}
	line_look(d, p, (size_t)(cr - p));
	f->p = cr + 1;
	if (f->p == nl) {
		line_end(d);
		d->state = AT_BOL;
		f->p = nl + 1;
		return;
	}
	flush_run(f, cr, f->p);
	if (f->p == f->end)
		d->state = AFTER_CR;
	else
		bare(f, DATA_BARE_CR);
}

static void
step_after_cr(struct feed *f)
{
	struct data_dec *d = f->d;

	if (*f->p != '\n') {
		bare(f, DATA_BARE_CR);
		return;
	}
	f->p++;
	f->run = f->p;
	put(f, "\r\n", 2);
	line_end(d);
	d->state = AT_BOL;
}

static void
step_after_dot(struct feed *f)
{
	struct data_dec *d = f->d;

	if (*f->p == '\r') {
		f->p++;
		d->state = AFTER_DOTCR;
	} else if (*f->p == '\n') {
		f->p++;
		bare(f, DATA_BARE_LF);
	} else {
		f->run = f->p;
		d->state = IN_LINE;
	}
}

static void
step(struct feed *f)
{
	struct data_dec *d = f->d;

	switch ((enum dec_state)d->state) {
	case AT_BOL:
		if (*f->p == '.') {
			flush_run(f, f->p, f->p + 1);
			f->p++;
			d->state = AFTER_DOT;
			return;
		}
		d->state = IN_LINE;
		step_line(f);
		return;
	case IN_LINE:
		step_line(f);
		return;
	case AFTER_CR:
		step_after_cr(f);
		return;
	case AFTER_DOT:
		step_after_dot(f);
		return;
	case AFTER_DOTCR:
		if (*f->p == '\n') {
			f->p++;
			d->state = DONE;
		} else {
			bare(f, DATA_BARE_CR);
		}
		f->run = f->p;
		return;
	case DONE:
		return;
	}
}

size_t
data_dec_feed(struct data_dec *d, struct sv in, unsigned char *out,
    size_t *out_n_r)
{
	struct feed f = { .d = d, .out = out };
	size_t used;

	*out_n_r = 0;
	if (in.n == 0)
		return 0;
	f.p = f.run = (const unsigned char *)in.p;
	f.end = f.p + in.n;
	while (f.p < f.end && d->state != DONE)
		step(&f);
	/* in the other states nothing is pending */
	if (d->state == AT_BOL || d->state == IN_LINE)
		flush_run(&f, f.p, f.p);
	used = (size_t)(f.p - (const unsigned char *)in.p);
	if (d->error != DATA_FINE)
		d->swallowed += used;
	*out_n_r = f.n;
	return used;
}

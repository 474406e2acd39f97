/* SPDX-License-Identifier: ISC */
/*
 * top: the parts of `pinnace show top`. top.c asks the daemon again and again
 * and takes keys; top_screen.c draws, and is the only one that knows curses;
 * what stands in a line is decided here, by functions that only know a width:
 * top_head.c the lines of counters, top_table.c the columns. All text that
 * they make is printable ASCII.
 */
#ifndef CTL_TOP_H
#define CTL_TOP_H

#include <jansson.h>

#include "common/base/sv.h"
#include "common/base/timeval.h"

#define TOP_LINE_MAX   512u /* of a screen; a wider one stays empty there */
#define TOP_HEAD_LINES 4u
#define TOP_FILTER_MAX 60u
#define TOP_SAMPLES    64u

/* What the queues are sorted by, in the words of --sort. */
enum top_sort {
	TOP_RCPT,
	TOP_RATE,
	TOP_OLDEST,
	TOP_CONN,
	TOP_NAME,
	TOP_SORTS
};
const char *top_sort_name(enum top_sort sort);
/* False if there is none of that name. */
bool top_sort_find(struct sv name, enum top_sort *sort_r);

/* ---- top_head.c ---- */

enum top_counter {
	TOP_IN_RCPTS,
	TOP_IN_MSGS,
	TOP_DELIVERED,
	TOP_DEFERRED,
	TOP_FAILED,
	TOP_COUNTERS
};

/* Counters of the last minute, the oldest first. */
struct top_rates {
	unsigned n;
	struct top_sample {
		int64_t at_us;
		long long count[TOP_COUNTERS];
	} v[TOP_SAMPLES];
};

/* Counters of a status. Those that go back begin anew. */
void top_rates_add(struct top_rates *t, struct mono now, const json_t *status);
/* Per second, over how many seconds; these are 0 if that is not known yet. */
double top_rate(const struct top_rates *t, enum top_counter c);
double top_rates_span(const struct top_rates *t);

/* Lines for a status, each at most width long. */
struct top_head {
	char line[TOP_HEAD_LINES][TOP_LINE_MAX];
};
void top_head_format(const json_t *status, const struct top_rates *t,
    unsigned width, struct top_head *h_r);

/* ---- top_table.c ---- */

#define TOP_COLUMNS 16u

/* Which columns there are, from left to right. */
struct top_layout {
	unsigned n;
	struct {
		uint8_t column;
		unsigned x, width;
	} v[TOP_COLUMNS];
};

/* The widest cell of each column so far: a table that is drawn again does not
 * jump with each row that comes and goes. */
struct top_widths {
	unsigned v[TOP_COLUMNS];
};

void top_widths_add(struct top_widths *w, const json_t *rows);
void top_layout(const struct top_widths *w, unsigned width,
    struct top_layout *l_r);
/* A row; NULL: the titles. */
void top_line(const struct top_layout *l, const json_t *row,
    char out[TOP_LINE_MAX]);
/* Which of the layout's columns it is sorted by; -1: it is not shown. */
int top_layout_sorted(const struct top_layout *l, enum top_sort sort);

/* ---- top_screen.c ---- */

/* What is on the screen; all of it the caller's. */
struct top_screen {
	const json_t *status;      /* NULL: nothing has come yet */
	const json_t *rows;
	const struct top_rates *rates;
	const struct top_widths *widths;
	size_t scroll;             /* rows above the first */
	long long matching;        /* queues; -1: not known */
	enum top_sort sort;
	const char *filter;
	bool typing;               /* the filter */
	bool still;
	bool help;
	const char *message;       /* something is wrong; "" if not */
	bool away;                 /* what is shown is old */
};

/* Keys that are more than a byte. */
enum top_key {
	TOP_KEY_NONE = -1,
	TOP_KEY_UP = 0x100,
	TOP_KEY_DOWN,
	TOP_KEY_LEFT,
	TOP_KEY_RIGHT,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_BACKSPACE,
	TOP_KEY_ENTER,
	TOP_KEY_ESCAPE,
	TOP_KEY_OTHER
};

/* False: this terminal cannot. */
bool screen_open(void);
void screen_close(void);
/* The terminal has another size. */
void screen_resize(void);
/* Rows of the table that there is room for. */
size_t screen_page(void);
void screen_draw(const struct top_screen *s);
/* The next key: a byte or one of the above. */
int screen_key(void);

#endif

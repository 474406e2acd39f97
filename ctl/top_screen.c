/* SPDX-License-Identifier: ISC */
/*
 * The screen of `show top`:
 *
 *	four lines of counters
 *	a message, or nothing
 *	the titles of the table
 *	the table
 *	the keys, or the filter that is being typed
 */
#include <sys/ioctl.h>
#include <string.h>
#include <unistd.h>

#include <curses.h>

#include "common/base/str.h"
#include "ctl/table.h"
#include "ctl/top.h"
#include "ctl/view.h"

#define ROW_MESSAGE (int)TOP_HEAD_LINES
#define ROW_TITLES  (ROW_MESSAGE + 1)
#define ROW_TABLE   (ROW_TITLES + 1)

enum { PAIR_WARN = 1, PAIR_BAD };

static SCREEN *terminal;

bool
screen_open(void)
{
	terminal = newterm(NULL, stdout, stdin);
	if (terminal == NULL)
		return false;
	set_term(terminal);
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)nodelay(stdscr, TRUE);
	(void)keypad(stdscr, TRUE);
	(void)set_escdelay(25);
	(void)curs_set(0);
	if (has_colors() && start_color() == OK) {
		(void)use_default_colors();
		(void)init_pair(PAIR_WARN, COLOR_YELLOW, -1);
		(void)init_pair(PAIR_BAD, COLOR_RED, -1);
	}
	return true;
}

void
screen_close(void)
{
	if (terminal == NULL)
		return;
	(void)endwin();
	delscreen(terminal);
	terminal = NULL;
}

void
screen_resize(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 &&
	    ws.ws_col > 0)
		(void)resizeterm(ws.ws_row, ws.ws_col);
	(void)clearok(stdscr, TRUE);
}

static unsigned
screen_width(void)
{
	int n = getmaxx(stdscr);

	return n > 0 ? (unsigned)n : 1;
}

size_t
screen_page(void)
{
	int n = getmaxy(stdscr) - ROW_TABLE - 1;

	return n > 0 ? (size_t)n : 0;
}

static attr_t
pair(int n)
{
	return has_colors() ? (attr_t)COLOR_PAIR(n) : 0;
}

/* text is printable ASCII. */
static void
put(int y, int x, attr_t a, const char *text)
{
	int room = getmaxx(stdscr) - x;

	if (y < 0 || y >= getmaxy(stdscr) || room <= 0)
		return;
	(void)attrset(a);
	(void)mvaddnstr(y, x, text, room);
	(void)attrset(A_NORMAL);
}

/* The whole line in this look, also where there is no text. */
static void
bar(int y, attr_t a, const char *text)
{
	put(y, 0, a, text);
	if (y >= 0 && y < getmaxy(stdscr))
		(void)mvchgat(y, 0, -1, a, (short)PAIR_NUMBER(a), NULL);
}

/* ---- parts ---- */

static void
draw_head(const struct top_screen *s)
{
	struct top_head h;

	if (s->status == NULL)
		return;
	top_head_format(s->status, s->rates, screen_width(), &h);
	for (unsigned i = 0; i < TOP_HEAD_LINES; i++)
		put((int)i, 0, i == 0 ? A_BOLD : A_NORMAL, h.line[i]);
}

static void
draw_message(const struct top_screen *s)
{
	char mem[TOP_LINE_MAX];
	struct str t;

	STR_ON(&t, mem);
	table_add_safe(&t, sv_from(s->message));
	if (t.n > 0)
		bar(ROW_MESSAGE, A_REVERSE | A_BOLD | pair(PAIR_BAD), mem);
	else if (s->still)
		bar(ROW_MESSAGE, A_REVERSE, "Stopped: space goes on");
}

static attr_t
row_look(const struct top_screen *s, const json_t *row)
{
	if (s->away)
		return A_DIM;
	if (sv_eq(text_of(row, "mode"), SV("backoff")) ||
	    json_is_true(json_object_get(row, "paused")))
		return A_BOLD | pair(PAIR_WARN);
	return A_NORMAL;
}

static void
draw_table(const struct top_screen *s)
{
	size_t page = screen_page(), n = json_array_size(s->rows);
	struct top_layout l;
	char text[TOP_LINE_MAX];
	int sorted;

	top_layout(s->widths, screen_width(), &l);
	top_line(&l, NULL, text);
	bar(ROW_TITLES, A_REVERSE, text);
	sorted = top_layout_sorted(&l, s->sort);
	if (sorted >= 0 && ROW_TITLES < getmaxy(stdscr))
		(void)mvchgat(ROW_TITLES, (int)l.v[sorted].x,
		    (int)l.v[sorted].width, A_REVERSE | A_BOLD | A_UNDERLINE,
		    0, NULL);
	for (size_t i = 0; i < page && s->scroll + i < n; i++) {
		const json_t *row = json_array_get(s->rows, s->scroll + i);

		top_line(&l, row, text);
		put(ROW_TABLE + (int)i, 0, row_look(s, row), text);
	}
}

/* "1-17 of 5213 queues" */
static void
place_add(const struct top_screen *s, struct str *t)
{
	size_t page = screen_page(), n = json_array_size(s->rows), last;

	last = s->scroll + page < n ? s->scroll + page : n;
	if (s->matching > 0)
		str_addf(t, "%zu-%zu of %lld queues", s->scroll + 1, last,
		    s->matching);
	else if (s->matching == 0)
		str_adds(t, s->filter[0] != '\0' ? "no such queue" :
		    "no queues");
}

static void
draw_filter(const struct top_screen *s, int y)
{
	char mem[TOP_LINE_MAX];
	struct str t;

	STR_ON(&t, mem);
	str_addf(&t, "Filter: %s", s->filter);
	put(y, 0, A_BOLD, mem);
	put(y, (int)t.n, A_REVERSE, " ");
}

/* Who has a small screen knows the keys. */
static void
draw_keys(const struct top_screen *s)
{
	const char *filter = s->filter[0] != '\0' ? s->filter : "none";
	int y = getmaxy(stdscr) - 1, width = (int)screen_width();
	char mem[TOP_LINE_MAX], place[80];
	struct str t, p;

	STR_ON(&p, place);
	place_add(s, &p);
	STR_ON(&t, mem);
	str_addf(&t, "q quit  h help  s sort: %s  / filter: %s",
	    top_sort_name(s->sort), filter);
	if ((int)(t.n + 2 + p.n) > width) {
		STR_ON(&t, mem);
		str_addf(&t, "h help  s %s  / %s", top_sort_name(s->sort),
		    filter);
	}
	put(y, 0, A_NORMAL, mem);
	if ((int)(t.n + p.n) < width)
		put(y, width - (int)p.n, A_NORMAL, place);
}

static void
draw_help(void)
{
	static const char *const lines[] = {
		"Keys",
		"",
		"  q                  quit",
		"  s  right  left     sort by rcpt, rate, oldest, conn, name",
		"  /                  filter: queues that have the text in their",
		"                     name (domain/vmta); Enter takes it,",
		"                     Escape ends the filter",
		"  space              stop, and go on; a new sort or filter",
		"                     asks once",
		"  up  down  j  k     scroll; also page up, page down, home, end",
		"  h  ?               this",
		"",
		"Columns",
		"",
		"  /min  /hour        delivered recipients",
		"  st                 N normal, B backoff; P paused",
		"  out                being delivered",
		"",
		"Any key goes back.",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		put((int)i, 0, i == 0 ? A_BOLD : A_NORMAL, lines[i]);
}

void
screen_draw(const struct top_screen *s)
{
	(void)erase();
	if (s->help) {
		draw_help();
	} else {
		draw_head(s);
		draw_message(s);
		draw_table(s);
		if (s->typing)
			draw_filter(s, getmaxy(stdscr) - 1);
		else
			draw_keys(s);
	}
	(void)refresh();
}

/* ---- keys ---- */

static int
key_of(int c)
{
	static const struct {
		int curses, key;
	} keys[] = {
		{ KEY_UP, TOP_KEY_UP }, { KEY_DOWN, TOP_KEY_DOWN },
		{ KEY_LEFT, TOP_KEY_LEFT }, { KEY_RIGHT, TOP_KEY_RIGHT },
		{ KEY_PPAGE, TOP_KEY_PAGE_UP },
		{ KEY_NPAGE, TOP_KEY_PAGE_DOWN },
		{ KEY_HOME, TOP_KEY_HOME }, { KEY_END, TOP_KEY_END },
		{ KEY_BACKSPACE, TOP_KEY_BACKSPACE },
		{ 0x7f, TOP_KEY_BACKSPACE }, { '\b', TOP_KEY_BACKSPACE },
		{ KEY_ENTER, TOP_KEY_ENTER }, { '\r', TOP_KEY_ENTER },
		{ '\n', TOP_KEY_ENTER }, { 0x1b, TOP_KEY_ESCAPE },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].curses == c)
			return keys[i].key;
	}
	return c >= 0 && c < 0x100 ? c : TOP_KEY_OTHER;
}

int
screen_key(void)
{
	int c = getch();

	return c == ERR ? TOP_KEY_NONE : key_of(c);
}

/* SPDX-License-Identifier: ISC */
/*
 * ctl: the `pinnace` command. What a command asks stands in command.c, how it
 * reaches the daemon in client.c, how rows look for people in view.c, and
 * what needs no daemon in local.c. Rows are the JSON objects of
 * doc/commands.md.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>

#include "common/base/sv.h"

#define CTL_WORDS_MAX 64u
#define CTL_PATH_MAX  108u /* as in struct sockaddr_un */
#define CTL_NAME_WORDS 3 /* of the longest name of a command */
#define CTL_ROWS_MAX  1000000u /* of one answer that are kept */

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_MISUSE = 2,
	CTL_UNREACHABLE = 111
};

struct event_base;

enum ctl_form { FORM_TEXT, FORM_JSON, FORM_XML, FORM_DOM };

struct ctl {
	const char *config;   /* -c */
	const char *rules;    /* receiver rules that come with it, or NULL */
	const char *socket;   /* -s, or NULL: from the configuration */
	enum ctl_form form;
	bool yes, help;
	unsigned timeout_s;   /* without a row */
	const char *words[CTL_WORDS_MAX]; /* command and arguments */
	unsigned nwords;
	char full[CTL_NAME_WORDS][16];     /* the command's words, spelled out */
};

/* An answer, from the daemon or made here. */
struct ctl_reply {
	json_t *rows;         /* array */
	unsigned status;      /* enum ctl_exit, without CTL_UNREACHABLE */
	char *text;           /* closing line, may be empty */
};

struct ctl_command {
	const char *words;    /* "show queues" */
	const char *usage;    /* what may follow */
	const char *help;     /* NULL: it is not for people */
	int (*run)(const struct ctl *ctl, const struct ctl_command *cmd);
	void (*view)(const struct ctl_reply *r); /* NULL: the text only */
	const char *row;      /* what a row is in XML; NULL: it has none */
};

/* ---- main.c ---- */

/* "pinnace: ..." on standard error. */
void ctl_complain(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* ---- command.c ---- */

/* The command that ctl->words start with; each word may be cut as long as it
 * is clear. It is spelled out in ctl->words then. NULL after a complaint. */
const struct ctl_command *ctl_command_find(struct ctl *ctl);
/* Number of words of its name. */
unsigned ctl_command_nwords(const struct ctl_command *cmd);
void ctl_usage(void);
/* One after the other; NULL behind the last. */
const struct ctl_command *ctl_command_at(size_t i);
/* All whose names begin with these words, which may be cut; false: none. */
bool ctl_help(const struct ctl *ctl);
/* Asks on the terminal; false without one. */
bool ctl_confirm(const char *question);

/* ---- client.c ---- */

/* Sends the words and waits for the answer. 0, or -1 after a complaint. */
int ctl_ask(const struct ctl *ctl, const char *const *words, unsigned n,
    struct ctl_reply *r_r);
/* False after a complaint: a word is too long. */
bool ctl_words_fit(const char *const *words, unsigned n);
/* Of the control socket; may complain of the configuration. False if it is too
 * long. */
bool ctl_socket_path(const struct ctl *ctl, char *out, size_t size);

/* A connection for several questions, in the caller's event loop. From within
 * the callbacks it may be asked and closed. */
struct ctl_link;
struct ctl_link_ops {
	/* r ends with the call, unless it is taken and left empty. */
	void (*answer)(void *arg, struct ctl_reply *r);
	/* It is of no more use, also if nothing was asked. */
	void (*lost)(void *arg, const char *why);
	/* A row as it comes; true: it is in no answer. May be NULL. */
	bool (*row)(void *arg, json_t *row);
};
/* timeout_s: without a row. NULL with errno. */
struct ctl_link *ctl_link_open(struct event_base *base, const char *path,
    unsigned timeout_s, const struct ctl_link_ops *ops, void *arg);
void ctl_link_close(struct ctl_link **l);
/* One question at a time, of at most CTL_WORDS_MAX words. */
void ctl_link_ask(struct ctl_link *l, const char *const *words, unsigned n);
void ctl_reply_init(struct ctl_reply *r);
void ctl_reply_fini(struct ctl_reply *r);
/* Adds a row; takes it. */
void ctl_reply_row(struct ctl_reply *r, json_t *row);
void ctl_reply_text(struct ctl_reply *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- view.c ---- */

/* Prints in the form that is wanted; returns the exit code. */
int ctl_print(const struct ctl *ctl, const struct ctl_command *cmd,
    const struct ctl_reply *r);
void view_status(const struct ctl_reply *r);
void view_queues(const struct ctl_reply *r);
void view_jobs(const struct ctl_reply *r);
void view_limits(const struct ctl_reply *r);
void view_closed(const struct ctl_reply *r);
void view_ips(const struct ctl_reply *r);
void view_list(const struct ctl_reply *r);
void view_list_priority(const struct ctl_reply *r);
void view_message(const struct ctl_reply *r);
void view_trash(const struct ctl_reply *r);
void view_deletion(const struct ctl_reply *r);
void view_config(const struct ctl_reply *r);
void view_diff(const struct ctl_reply *r);
void view_version(const struct ctl_reply *r);
void view_warmup(const struct ctl_reply *r);
void view_sources(const struct ctl_reply *r);
/* explain.c */
void view_diagnose(const struct ctl_reply *r);
void view_sums(const struct ctl_reply *r);
void view_orders(const struct ctl_reply *r);
void view_audit(const struct ctl_reply *r);
void view_explain(const struct ctl_reply *r);
void view_problems(const struct ctl_reply *r);

/* ---- top.c ---- */

int run_top(const struct ctl *ctl, const struct ctl_command *cmd);
void view_top(const struct ctl_reply *r);

/* ---- trace.c ---- */

int run_trace(const struct ctl *ctl, const struct ctl_command *cmd);

/* ---- resolve.c ---- */

int run_resolve(const struct ctl *ctl, const struct ctl_command *cmd);
void view_resolve(const struct ctl_reply *r);

/* ---- simulate.c ---- */

int local_simulate(const struct ctl *ctl, const struct ctl_command *cmd);
void view_simulate(const struct ctl_reply *r);

/* ---- completion.c ---- */

int local_completion(const struct ctl *ctl, const struct ctl_command *cmd);

/* ---- local.c ---- */

int local_test_config(const struct ctl *ctl, const struct ctl_command *cmd);
int local_settings(const struct ctl *ctl, const struct ctl_command *cmd);
int local_spool(const struct ctl *ctl, const struct ctl_command *cmd);
int local_manual(const struct ctl *ctl, const struct ctl_command *cmd);
/* Rows of the file on disk that differ from these. 0, or -1 after a
 * complaint. */
int local_diff(const struct ctl *ctl, const struct ctl_reply *running,
    struct ctl_reply *out);

#endif

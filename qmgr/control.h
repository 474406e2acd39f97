/* SPDX-License-Identifier: ISC */
/*
 * control: what the control socket and the commands behind it share.
 */
#ifndef QMGR_CONTROL_H
#define QMGR_CONTROL_H

#include <sys/types.h>

#include <jansson.h>

#include "qmgr/qmgr.h"

struct client {
	struct client *next;
	struct qmgr *q;
	struct chan *chan;
	struct event *timer;
	uid_t uid;
	uint64_t token;     /* of a question to the master, 0: none */
};

/* The words of a command behind its name. */
struct words {
	struct sv name;
	struct sv v[64];
	unsigned n;
};

/* Takes the object. */
void client_row(struct client *cl, json_t *row);
/* status: 0 done, 1 refused or failed, 2 misuse. */
void client_end(struct client *cl, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
json_t *json_sv(struct sv v);

/* show.c */
void cmd_show_status(struct client *cl, const struct words *w);
void cmd_show_queues(struct client *cl, const struct words *w);
void cmd_show_config(struct client *cl, const struct words *w);
void cmd_show_version(struct client *cl, const struct words *w);
void cmd_show_message(struct client *cl, const struct words *w);
void cmd_list(struct client *cl, const struct words *w);
/* act.c */
void cmd_pause(struct client *cl, const struct words *w);
void cmd_resume(struct client *cl, const struct words *w);
void cmd_schedule(struct client *cl, const struct words *w);
void cmd_delete(struct client *cl, const struct words *w);
/* control.c */
void cmd_master(struct client *cl, const struct words *w);

/*
 * Which queues a command means: `domain`, `domain/vmta`, `domain=D`,
 * `vmta=V`, `--queue=domain/vmta`; `*` on either side is any.
 */
struct selector {
	struct sv domain, vmta;     /* "*" or "" is any */
	struct sv orig, rcpt, job;  /* delete, list: globs; "" is any */
	uint64_t id;                /* 0: any */
	uint64_t maxitems;
	int64_t older_than_ms;      /* 0: any age */
	bool yes, given;            /* --yes; something was selected */
	bool errors, paused_set, paused, retry_rcpts;
	struct sv sort;
};

/* False after it has answered with what is wrong. */
bool selector_parse(struct client *cl, const struct words *w,
    struct selector *s_r);
bool selector_matches(const struct selector *s, const struct squeue *q);
/* `*` in pattern stands for any text; case does not matter. */
bool glob_matches(struct sv pattern, struct sv text);

#endif

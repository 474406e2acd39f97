/* SPDX-License-Identifier: ISC */
#include <sys/eventfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/sys/log.h"
#include "common/sys/offload.h"

struct offload {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct event *ev;
	int wake_fd;
	offload_run_fn *run;
	offload_done_fn *done;
	void *arg;
	int value;
	bool started;   /* it waits for jobs */
	bool posted;    /* a job waits for the thread or runs */
	bool finished;  /* its value is there */
	bool quit;
	bool busy;      /* the loop's view: started, done not called */
};

static void *
offload_thread(void *arg)
{
	struct offload *o = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&o->lock);
	o->started = true;
	pthread_cond_broadcast(&o->changed);
	for (;;) {
		while (!o->posted && !o->quit)
			pthread_cond_wait(&o->changed, &o->lock);
		if (!o->posted)
			break;
		pthread_mutex_unlock(&o->lock);
		o->value = o->run(o->arg);
		pthread_mutex_lock(&o->lock);
		o->posted = false;
		o->finished = true;
		pthread_cond_broadcast(&o->changed);
		if (write(o->wake_fd, &one, sizeof(one)) < 0)
			break; /* cannot happen: the counter is never full */
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

static void
job_collect(struct offload *o)
{
	bool finished;

	pthread_mutex_lock(&o->lock);
	finished = o->finished;
	o->finished = false;
	pthread_mutex_unlock(&o->lock);
	if (!finished)
		return;
	o->busy = false;
	o->done(o->arg, o->value);
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	job_collect(arg);
}

struct offload *
offload_new(struct event_base *base)
{
	struct offload *o = calloc(1, sizeof(*o));
	sigset_t all, old;

	if (o == NULL)
		fatal("out of memory");
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	o->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	o->ev = event_new(base, o->wake_fd, EV_READ | EV_PERSIST, on_wake, o);
	if (o->wake_fd < 0 || o->ev == NULL || event_add(o->ev, NULL) != 0)
		fatal_errno("eventfd");
	/* signals are the loop's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&o->thread, NULL, offload_thread, o) != 0)
		fatal_errno("pthread_create");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* a fork now would find it in the middle of its beginning */
	pthread_mutex_lock(&o->lock);
	while (!o->started)
		pthread_cond_wait(&o->changed, &o->lock);
	pthread_mutex_unlock(&o->lock);
	return o;
}

void
offload_free(struct offload **op)
{
	struct offload *o = *op;

	*op = NULL;
	if (o == NULL)
		return;
	pthread_mutex_lock(&o->lock);
	o->quit = true;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
	pthread_join(o->thread, NULL);
	event_free(o->ev);
	close(o->wake_fd);
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

bool
offload_busy(const struct offload *o)
{
	return o->busy;
}

void
offload_start(struct offload *o, offload_run_fn *run, offload_done_fn *done,
    void *arg)
{
	o->busy = true;
	o->run = run;
	o->done = done;
	o->arg = arg;
	pthread_mutex_lock(&o->lock);
	o->posted = true;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

void
offload_wait(struct offload *o)
{
	if (!o->busy)
		return;
	pthread_mutex_lock(&o->lock);
	while (!o->finished)
		pthread_cond_wait(&o->changed, &o->lock);
	pthread_mutex_unlock(&o->lock);
	job_collect(o);
}

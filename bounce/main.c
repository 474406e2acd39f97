/* SPDX-License-Identifier: ISC */
/*
 * pinnace-bounce: makes delivery status notifications of what the event log
 * says, see engine.h.
 */
#include "bounce/engine.h"
#include "common/ipc/role.h"
#include "common/sys/log.h"

static struct engine engine;

static void
bounce_init(struct role *r)
{
	r->arg = &engine;
	engine_init(&engine, r->base, ROLE_FD_EVENTS, ROLE_FD_OFFSETS);
}

static void
bounce_conf(struct role *r, struct sv bytes)
{
	struct conf *conf = conf_decode(bytes);

	if (conf == NULL)
		fatal("the configuration does not decode");
	engine_conf_set(r->arg, conf);
}

static void
bounce_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	if (peer != R_QMGR)
		fatal("a channel to a process that bounce does not talk to");
	engine_attach(r->arg, fd, index);
}

static void
bounce_child(struct role *r, const struct ipc_child *m)
{
	if (m->ended == ENDED_CRASH)
		engine_blame(r->arg, m->reason);
}

static void
bounce_stop(struct role *r, uint32_t drain_ms)
{
	(void)drain_ms;
	engine_stop(r->arg);
	role_exit(r);
}

static const struct role_ops ops = {
	.self = R_BOUNCE,
	.name = "bounce",
	.init = bounce_init,
	.conf = bounce_conf,
	.peer = bounce_peer,
	.child = bounce_child,
	.stop = bounce_stop,
};

int
main(int argc, char **argv)
{
	return role_main(argc, argv, &ops);
}

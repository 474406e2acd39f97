/* SPDX-License-Identifier: ISC */
/*
 * The real pinnace-resolver, started as the master starts it, with the test as
 * master and qmgr, against name servers of the test and, where it is
 * installed, against nsd.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/conf/conf.h"
#include "common/ipc/chan.h"
#include "common/mail/route.h"
#include "tests/unit/delivery/fakens.h"
#include "tests/unit/delivery/route_text.h"

#define PROGRAM "delivery/pinnace-resolver"
#define ANSWERS_MAX 4096

struct answer {
	bool here;
	enum route_status status;
	uint32_t ttl_s;
	char text[512];
	char route[2048];
};

static struct event_base *base;
static struct fakens *ns1, *ns2;
static struct chan *master, *qmgr;
static pid_t child;
static uint32_t ready, generation;
static struct answer answers[ANSWERS_MAX];
static unsigned nanswers, closed;
static char empty[] = "/tmp/pinnace-empty-XXXXXX"; /* a root directory */

/* ---- the ends of the channels ---- */

static void
on_ready(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ready *m = msg;

	(void)c;
	(void)arg;
	ready = m->generation;
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	(void)arg;
	(void)why;
	closed++;
	if (c == master)
		chan_free(&master);
	else if (c == qmgr)
		chan_free(&qmgr);
	else
		chan_free(&c);
}

static void
on_route(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_route *m = msg;
	struct answer *a = &answers[m->token];
	struct arena arena;
	struct route r;

	(void)c;
	(void)arg;
	ck_assert_uint_lt(m->token, ANSWERS_MAX);
	ck_assert(!a->here);
	arena_init(&arena, 1u << 20);
	ck_assert(route_decode(m->route, &arena, &r));
	a->here = true;
	a->status = (enum route_status)m->status;
	a->ttl_s = m->ttl_s;
	ck_assert(sv_to_cstr(m->text, a->text, sizeof(a->text)));
	route_text(&r, a->route, sizeof(a->route));
	nanswers++;
	arena_fini(&arena);
}

static const struct chan_ops master_ops = {
	.on = { [IPC_READY] = on_ready },
	.on_close = on_close,
};

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_ROUTE] = on_route },
	.on_close = on_close,
};

/* ---- the process ---- */

static void
program_exec(int fd, bool drop)
{
	char *argv[] = { (char[]){ PROGRAM }, (char[]){ "-i" },
		(char[]){ "0" }, (char[]){ "-u" }, (char[]){ "nobody" },
		(char[]){ "-d" }, empty, NULL };
	char *envp[] = { NULL };
	int log = open("tests/unit/delivery/resolver.log",
	    O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (!drop)
		argv[3] = NULL;
	dup2(log, 2);
	dup2(fd, 3);
	execve(PROGRAM, argv, envp);
	_exit(127);
}

static void
conf_send(const char *text)
{
	struct conf_report rep;
	struct conf *c;
	struct buf b;
	int fd = memfd_create("conf", 0);

	conf_report_init(&rep);
	c = conf_parse("test", sv_from(text), &rep);
	ck_assert_msg(c != NULL, "%s", rep.nerrors ? rep.errors[0] : "?");
	buf_init(&b, 1u << 24);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	ck_assert_int_eq(write(fd, buf_data(&b), buf_len(&b)),
	    (ssize_t)buf_len(&b));
	ipc_send_conf(master, &(struct ipc_conf){ .generation = ++generation },
	    fd);
	buf_fini(&b);
	conf_free(&c);
	conf_report_fini(&rep);
	while (ready != generation && master != NULL)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_ptr_nonnull(master);
}

static void
conf_send_servers(uint16_t port1, uint16_t port2)
{
	char text[512];
	struct str s;

	STR_ON(&s, text);
	str_addf(&s, "host-name me.test\nsmtp-listener 127.0.0.1:2525\n"
	    "name-server 127.0.0.1:%u\n", (unsigned)port1);
	if (port2 != 0)
		str_addf(&s, "name-server 127.0.0.1:%u\n", (unsigned)port2);
	conf_send(text);
}

static void
peer_send(void)
{
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp),
	    0);
	qmgr = chan_new(base, sp[0], R_QMGR, R_RESOLVER, 0, &qmgr_ops, NULL);
	ipc_send_peer(master, &(struct ipc_peer){ .role = R_QMGR }, sp[1]);
}

static void
start(bool drop)
{
	int sp[2];

	base = event_base_new();
	ns1 = fakens_new(base);
	ns2 = fakens_new(base);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp),
	    0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		program_exec(sp[1], drop);
	close(sp[1]);
	master = chan_new(base, sp[0], R_MASTER, R_RESOLVER, 0, &master_ops,
	    NULL);
	conf_send_servers(fakens_port(ns1), 0);
	peer_send();
}

static void
setup(void)
{
	start(false);
}

static void
setup_root(void)
{
	ck_assert_ptr_nonnull(mkdtemp(empty));
	start(getuid() == 0);
}

static void
teardown(void)
{
	int st;

	/* Without the master it stops by itself. */
	chan_free(&qmgr);
	chan_free(&master);
	ck_assert_int_eq(waitpid(child, &st, 0), child);
	ck_assert(WIFEXITED(st) && WEXITSTATUS(st) == 0);
	fakens_free(&ns1);
	fakens_free(&ns2);
	event_base_free(base);
}

static void
teardown_root(void)
{
	teardown();
	rmdir(empty);
}

static void
ask(uint64_t token, const char *domain, const char *hosts, uint16_t port)
{
	ipc_send_resolve(qmgr, &(struct ipc_resolve){ .token = token,
	    .domain = sv_from(domain), .smtp_hosts = sv_from(hosts),
	    .port = port });
}

static const struct answer *
wait_for(uint64_t token)
{
	while (!answers[token].here && qmgr != NULL)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_ptr_nonnull(qmgr);
	return &answers[token];
}

#define SOA "test. 600 IN SOA ns.test. root.test. 1 2 3 4 120\n"
#define D_TEST SOA "d.test. 300 IN MX 10 a.test.\na.test. 300 IN A 192.0.2.1\n"

START_TEST(test_process_answers_with_route)
{
	const struct answer *a;

	fakens_zone(ns1, D_TEST);
	ask(1, "d.test", "", 25);
	a = wait_for(1);
	ck_assert_int_eq(a->status, ROUTE_OK);
	ck_assert_str_eq(a->route, "10 a.test:25 192.0.2.1");
	ck_assert_uint_eq(a->ttl_s, 300);
}
END_TEST

START_TEST(test_process_uses_own_name_and_listener)
{
	fakens_zone(ns1, SOA "d.test. IN MX 10 me.test.\n"
	    "e.test. IN MX 10 lo.test.\nlo.test. IN A 127.0.0.1\n");
	ask(1, "d.test", "", 25);
	ask(2, "e.test", "", 2525);
	ask(3, "e.test", "", 25);
	ck_assert_int_eq(wait_for(1)->status, ROUTE_SELF);
	ck_assert_int_eq(wait_for(2)->status, ROUTE_SELF);
	ck_assert_int_eq(wait_for(3)->status, ROUTE_OK);
}
END_TEST

START_TEST(test_process_second_server_answers_after_silence)
{
	fakens_zone(ns2, D_TEST);
	fakens_script(ns1, "d.test", "drop*");
	fakens_script(ns1, "a.test", "refused*");
	conf_send_servers(fakens_port(ns1), fakens_port(ns2));
	ask(1, "d.test", "", 25);
	ck_assert_int_eq(wait_for(1)->status, ROUTE_OK);
}
END_TEST

START_TEST(test_process_new_configuration_keeps_cache)
{
	unsigned before;

	fakens_zone(ns1, D_TEST);
	fakens_zone(ns2, SOA "e.test. IN MX 10 e.test.\ne.test. A 192.0.2.5\n");
	ask(1, "d.test", "", 25);
	wait_for(1);
	before = fakens_udp(ns1);
	conf_send_servers(fakens_port(ns2), 0);
	ask(2, "d.test", "", 25);
	ask(3, "e.test", "", 25);
	ck_assert_int_eq(wait_for(2)->status, ROUTE_OK);
	ck_assert_str_eq(wait_for(3)->route, "10 e.test:25 192.0.2.5");
	ck_assert_uint_eq(fakens_udp(ns1), before);
}
END_TEST

START_TEST(test_process_new_qmgr_gets_only_its_own_answers)
{
	struct chan *old = qmgr;

	fakens_zone(ns1, D_TEST);
	fakens_script(ns1, "d.test", "drop");
	ask(1, "d.test", "", 25);
	while (fakens_udp(ns1) == 0)
		event_base_loop(base, EVLOOP_ONCE);
	peer_send();
	ask(2, "d.test", "", 25); /* joins the question under way */
	ck_assert_int_eq(wait_for(2)->status, ROUTE_OK);
	while (closed == 0)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_ptr_ne(old, qmgr);
	ck_assert(!answers[1].here);
	ck_assert_uint_eq(nanswers, 1);
}
END_TEST

START_TEST(test_process_qmgr_dies_and_comes_back)
{
	fakens_zone(ns1, D_TEST);
	fakens_script(ns1, "d.test", "drop");
	ask(1, "d.test", "", 25);
	while (fakens_udp(ns1) == 0)
		event_base_loop(base, EVLOOP_ONCE);
	chan_free(&qmgr);
	peer_send();
	ask(2, "d.test", "", 25);
	ck_assert_int_eq(wait_for(2)->status, ROUTE_OK);
}
END_TEST

START_TEST(test_process_two_thousand_domains_at_once)
{
	char name[32];

	fakens_zone(ns1, SOA);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "d%u.test", i);
		ask(i, name, "", 25);
	}
	for (unsigned i = 0; i < 2000; i++)
		ck_assert_int_eq(wait_for(i)->status, ROUTE_NO_DOMAIN);
}
END_TEST

START_TEST(test_process_longest_frames_are_survived)
{
	static char hosts[4096], domain[512];
	size_t at = 0;

	memset(domain, 'x', sizeof(domain) - 1);
	while (at + 5 < sizeof(hosts) - 1)
		at += (size_t)snprintf(hosts + at, sizeof(hosts) - at, "a.b,");
	ask(1, domain, "", 25);
	ask(2, "d.test", hosts, 25);
	ck_assert_int_eq(wait_for(1)->status, ROUTE_NO_DOMAIN);
	ck_assert_int_ne(wait_for(2)->status, ROUTE_OK);
}
END_TEST

/* Started as root: another user, an empty root directory. */
START_TEST(test_process_without_files_answers)
{
	fakens_zone(ns1, SOA "xn--bcher-kva.test. IN MX 10 me.test.\n"
	    "d.test. IN MX 10 a.test.\na.test. IN A 192.0.2.1\n");
	ask(1, "b\xc3\xbc""cher.test", "", 25);
	ask(2, "d.test", "", 25);
	ask(3, "d.test", "lookup-mx:nowhere.test;[::1]", 25);
	ck_assert_int_eq(wait_for(1)->status, ROUTE_SELF);
	ck_assert_str_eq(wait_for(2)->route, "10 a.test:25 192.0.2.1");
	ck_assert_str_eq(wait_for(3)->route, "0 [::1]:25 ::1");
}
END_TEST

/* ---- nsd ---- */

static const char zone_test[] =
    "$ORIGIN test.\n$TTL 300\n"
    "@ IN SOA ns root 1 3600 600 86400 120\n@ IN NS ns\nns IN A 127.0.0.1\n"
    "pref IN MX 20 mx2\npref IN MX 10 mx1\n"
    "mx1 IN A 192.0.2.1\nmx1 IN AAAA 2001:db8::1\n"
    "mx2 IN A 192.0.2.2\nmx2 IN A 192.0.2.3\n"
    "equal IN MX 10 mx1\nequal IN MX 10 mx2\n"
    "implicit IN A 192.0.2.9\nimplicit6 IN AAAA 2001:db8::9\n"
    "unusable IN MX 10 nowhere\nunusable IN A 192.0.2.9\n"
    "half IN MX 10 nowhere\nhalf IN MX 20 mx2\n"
    "nullmx IN MX 0 .\nnullmx IN A 192.0.2.9\n"
    "onlytxt IN TXT \"no mail here\"\n"
    "self IN MX 10 me\nbackup IN MX 10 mx1\nbackup IN MX 20 me\n"
    "backup IN MX 20 mx2\nbackup IN MX 30 mx2\nme IN A 192.0.2.4\n"
    "alias IN CNAME pref\nmxalias IN MX 10 mxa\nmxa IN CNAME mx1\n"
    "away IN CNAME pref.other.\nloop IN CNAME loop2\nloop2 IN CNAME loop\n"
    "dangling IN CNAME nowhere\noutside IN MX 10 mx.elsewhere.\n"
    "sub.ent IN A 192.0.2.9\n*.wild IN MX 10 mx1\n"
    "dname IN DNAME dn.other.\n";

static const char zone_other[] =
    "$ORIGIN other.\n$TTL 200\n"
    "@ IN SOA ns root 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n"
    "pref IN MX 5 mx\nmx IN A 198.51.100.1\nx.dn IN MX 6 mx\n";

static const struct {
	const char *domain, *hosts;
	enum route_status status;
	const char *want; /* the route, or a part of the text */
	uint32_t ttl_s;   /* 0: any */
} nsd_rows[] = {
	{ "pref.test", "", ROUTE_OK, "10 mx1.test:25 2001:db8::1 192.0.2.1; "
	    "20 mx2.test:25 192.0.2.2 192.0.2.3", 300 },
	{ "implicit.test", "", ROUTE_OK, "0 implicit.test:25 192.0.2.9", 120 },
	{ "implicit6.test", "", ROUTE_OK, "0 implicit6.test:25 2001:db8::9",
	    120 },
	{ "unusable.test", "", ROUTE_UNUSABLE,
	    "no MX host of unusable.test has an address", 120 },
	{ "half.test", "", ROUTE_OK, "20 mx2.test:25 192.0.2.2 192.0.2.3", 0 },
	{ "nullmx.test", "", ROUTE_NULL_MX, "null MX", 300 },
	{ "onlytxt.test", "", ROUTE_NO_DOMAIN,
	    "no MX or address records for onlytxt.test", 120 },
	{ "nothere.test", "", ROUTE_NO_DOMAIN, "does not exist", 120 },
	{ "ent.test", "", ROUTE_NO_DOMAIN, "no MX or address records", 120 },
	{ "self.test", "", ROUTE_SELF, "this machine", 0 },
	{ "backup.test", "", ROUTE_OK,
	    "10 mx1.test:25 2001:db8::1 192.0.2.1", 0 },
	{ "alias.test", "", ROUTE_OK, "10 mx1.test:25 2001:db8::1 192.0.2.1; "
	    "20 mx2.test:25 192.0.2.2 192.0.2.3", 300 },
	{ "mxalias.test", "", ROUTE_OK, "10 mxa.test:25 2001:db8::1 192.0.2.1",
	    300 },
	{ "away.test", "", ROUTE_OK, "5 mx.other:25 198.51.100.1", 200 },
	{ "x.dname.test", "", ROUTE_OK, "6 mx.other:25 198.51.100.1", 0 },
	{ "loop.test", "", ROUTE_TEMPORARY, "CNAMEs", 0 },
	{ "dangling.test", "", ROUTE_NO_DOMAIN, "does not exist", 0 },
	{ "outside.test", "", ROUTE_TEMPORARY, "REFUSED from 127.0.0.1", 0 },
	{ "any.wild.test", "", ROUTE_OK,
	    "10 mx1.test:25 2001:db8::1 192.0.2.1", 300 },
	{ "elsewhere", "", ROUTE_TEMPORARY, "REFUSED", 0 },
	{ "[192.0.2.77]", "", ROUTE_OK, "0 [192.0.2.77]:25 192.0.2.77", 0 },
	{ "x.test", "mx1.test;[192.0.2.6]:26;lookup-mx:pref.other", ROUTE_OK,
	    "0 mx1.test:25 2001:db8::1 192.0.2.1; 1 [192.0.2.6]:26 192.0.2.6; "
	    "2 mx.other:25 198.51.100.1", 200 },
};

static char dir[] = "/tmp/pinnace-nsd-XXXXXX";

static void
file_write(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static uint16_t
free_port(void)
{
	struct fakens *probe = fakens_new(base);
	uint16_t port = fakens_port(probe);

	fakens_free(&probe);
	return port;
}

static pid_t
nsd_start(uint16_t port)
{
	char conf[1024], path[256];
	pid_t pid;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(conf, sizeof(conf),
	    "server:\n ip-address: 127.0.0.1@%u\n username: \"\"\n"
	    " chroot: \"\"\n zonesdir: \"%s\"\n pidfile: \"%s/pid\"\n"
	    " database: \"\"\n zonelistfile: \"%s/list\"\n"
	    " xfrdfile: \"%s/xfrd\"\n xfrdir: \"%s\"\n server-count: 1\n"
	    "remote-control:\n control-enable: no\n"
	    "zone:\n name: test\n zonefile: test.zone\n"
	    "zone:\n name: other\n zonefile: other.zone\n",
	    (unsigned)port, dir, dir, dir, dir, dir);
	file_write("nsd.conf", conf);
	file_write("test.zone", zone_test);
	file_write("other.zone", zone_other);
	snprintf(path, sizeof(path), "%s/nsd.conf", dir);
	pid = fork();
	if (pid == 0) {
		int log = open("tests/unit/delivery/nsd.log",
		    O_WRONLY | O_CREAT | O_TRUNC, 0644);

		dup2(log, 1);
		dup2(log, 2);
		execl("/usr/sbin/nsd", "nsd", "-d", "-c", path, (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Until it takes TCP connections; nsd opens both ports together. */
static void
nsd_wait(pid_t pid, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(port) };
	const struct timeval step = { .tv_usec = 10000 };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 1000; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int rc = connect(fd, (struct sockaddr *)&in, sizeof(in));

		close(fd);
		if (rc == 0)
			return;
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		event_base_loopexit(base, &step);
		event_base_dispatch(base);
	}
	ck_abort_msg("nsd does not start");
}

static void
nsd_stop(pid_t pid)
{
	static const char *const names[] = { "nsd.conf", "test.zone",
		"other.zone", "pid", "list", "xfrd" };
	char path[256];

	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void
nsd_row(size_t i)
{
	const struct answer *a;

	ask(i, nsd_rows[i].domain, nsd_rows[i].hosts, 25);
	a = wait_for(i);
	ck_assert_msg(a->status == nsd_rows[i].status, "%s: %u %s %s",
	    nsd_rows[i].domain, a->status, a->text, a->route);
	if (a->status == ROUTE_OK)
		ck_assert_str_eq(a->route, nsd_rows[i].want);
	else
		ck_assert_msg(strstr(a->text, nsd_rows[i].want) != NULL,
		    "%s: %s", nsd_rows[i].domain, a->text);
	if (nsd_rows[i].ttl_s != 0)
		ck_assert_msg(a->ttl_s <= nsd_rows[i].ttl_s &&
		    a->ttl_s + 2 >= nsd_rows[i].ttl_s, "%s: ttl %u",
		    nsd_rows[i].domain, a->ttl_s);
}

START_TEST(test_process_with_nsd_gives_every_row)
{
	uint16_t port = free_port();
	pid_t pid;

	if (access("/usr/sbin/nsd", X_OK) != 0)
		return; /* not installed: nothing to test */
	pid = nsd_start(port);
	nsd_wait(pid, port);
	conf_send_servers(port, 0);
	for (size_t i = 0; i < sizeof(nsd_rows) / sizeof(nsd_rows[0]); i++)
		nsd_row(i);
	nsd_stop(pid);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("resolver_process");
	TCase *tc = tcase_create("process"), *root = tcase_create("root");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_process_answers_with_route);
	tcase_add_test(tc, test_process_uses_own_name_and_listener);
	tcase_add_test(tc, test_process_second_server_answers_after_silence);
	tcase_add_test(tc, test_process_new_configuration_keeps_cache);
	tcase_add_test(tc, test_process_new_qmgr_gets_only_its_own_answers);
	tcase_add_test(tc, test_process_qmgr_dies_and_comes_back);
	tcase_add_test(tc, test_process_two_thousand_domains_at_once);
	tcase_add_test(tc, test_process_longest_frames_are_survived);
	tcase_add_test(tc, test_process_with_nsd_gives_every_row);
	tcase_add_checked_fixture(root, setup_root, teardown_root);
	tcase_add_test(root, test_process_without_files_answers);
	suite_add_tcase(s, root);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: ISC */
/*
 * The pinnace command as a process, against a daemon that is a child of the
 * test: it takes one request, writes its words into a file and answers with
 * the rows it was given.
 */
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>

#include "common/ipc/chan.h"

static char dir[] = "/tmp/pinnace-ctl-XXXXXX";
static pid_t daemon_pid;

struct answer {
	const char *rows[4];
	uint8_t status;
	const char *text;
	bool silent;         /* answers nothing */
	unsigned times;      /* requests to take, 0 is 1 */
};

struct fake {
	const struct answer *a;
	struct event_base *base;
	struct chan *chan;
	int listener;
	unsigned left;
};

static void
path_of(const char *name, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/%s", dir, name);

	ck_assert(n > 0 && (size_t)n < size);
}

/* ---- the daemon ---- */

static void
note_words(const struct svs *words)
{
	char path[128];
	FILE *f;

	path_of("words", path, sizeof(path));
	f = fopen(path, "a");
	if (f == NULL)
		_exit(9);
	for (uint32_t i = 0; i < words->n; i++) {
		struct sv w = svs_get(words, i);

		fprintf(f, "%.*s ", SV_FMT(w));
	}
	fputc('\n', f);
	fclose(f);
}

static void
fake_request(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_request *m = msg;
	struct fake *f = arg;

	note_words(&m->words);
	if (f->a->silent)
		return;
	for (size_t i = 0; i < 4 && f->a->rows[i] != NULL; i++)
		ipc_send_ctl_row(c, &(struct ipc_ctl_row){
		    .json = sv_from(f->a->rows[i]) });
	ipc_send_ctl_end(c, &(struct ipc_ctl_end){ .status = f->a->status,
	    .text = sv_from(f->a->text) });
}

static void
fake_close(struct chan *c, void *arg, const char *why)
{
	struct fake *f = arg;

	(void)c;
	(void)why;
	event_base_loopbreak(f->base);
}

static const struct chan_ops fake_ops = {
	.on = { [IPC_CTL_REQUEST] = fake_request },
	.on_close = fake_close,
};

static void
fake_serve(struct fake *f)
{
	int fd = accept(f->listener, NULL, NULL);

	if (fd == -1)
		_exit(8);
	f->base = event_base_new();
	f->chan = chan_new(f->base, fd, R_QMGR, R_CTL, 0, &fake_ops, f);
	event_base_dispatch(f->base);
	chan_free(&f->chan);
	event_base_free(f->base);
}

/* A listening socket made before the fork: no race with the command. */
static void
daemon_start(const struct answer *a)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct fake f = { .a = a };

	path_of("control.sock", sun.sun_path, sizeof(sun.sun_path));
	f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(f.listener, 0);
	ck_assert_int_eq(bind(f.listener, (struct sockaddr *)&sun,
	    sizeof(sun)), 0);
	ck_assert_int_eq(listen(f.listener, 5), 0);
	daemon_pid = fork();
	ck_assert_int_ne(daemon_pid, -1);
	if (daemon_pid == 0) {
		for (unsigned i = 0; i < (a->times == 0 ? 1 : a->times); i++)
			fake_serve(&f);
		_exit(0);
	}
	close(f.listener);
}

/* ---- the command ---- */

static void
file_read(const char *name, char *out, size_t size)
{
	char path[128];
	FILE *f;
	size_t n;

	path_of(name, path, sizeof(path));
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s", path);
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	fclose(f);
}

static void
redirect(const char *name, int to)
{
	char path[128];
	int fd;

	path_of(name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1 || dup2(fd, to) == -1)
		_exit(99);
}

static void
command_exec(const char *args)
{
	char line[512], sock[128], name[] = "pinnace", opt[] = "-s";
	char *argv[20] = { name, opt, sock };
	const char *top = getenv("top_builddir");
	char path[512];
	struct sv rest = sv_from(args);
	size_t n = 3, at = 0;

	path_of("control.sock", sock, sizeof(sock));
	while (rest.p != NULL && n < 19) {
		struct sv w = sv_cut(&rest, ' ');

		argv[n++] = line + at;
		memcpy(line + at, w.p, w.n);
		line[at + w.n] = '\0';
		at += w.n + 1;
	}
	(void)snprintf(path, sizeof(path), "%s/ctl/pinnace",
	    top == NULL ? "." : top);
	(void)setenv("TZ", "UTC", 1);
	execv(path, argv);
	_exit(98);
}

/* Runs "pinnace -s SOCKET args" and returns its exit code. */
static int
command(const char *args)
{
	pid_t pid = fork();
	int status = 0, null;

	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		null = open("/dev/null", O_RDONLY);
		if (null == -1 || dup2(null, STDIN_FILENO) == -1)
			_exit(97);
		redirect("out", STDOUT_FILENO);
		redirect("err", STDERR_FILENO);
		command_exec(args);
	}
	while (waitpid(pid, &status, 0) == -1)
		ck_assert_int_eq(errno, EINTR);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
ck_words(const char *want)
{
	char have[2048];

	file_read("words", have, sizeof(have));
	ck_assert_str_eq(have, want);
}

static void
ck_has(const char *file, const char *want)
{
	char have[16384];

	file_read(file, have, sizeof(have));
	ck_assert_msg(strstr(have, want) != NULL, "no \"%s\" in:\n%s", want,
	    have);
}

static void
ck_is(const char *file, const char *want)
{
	char have[16384];

	file_read(file, have, sizeof(have));
	ck_assert_str_eq(have, want);
}

static void
setup(void)
{
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	daemon_pid = 0;
}

static void
teardown(void)
{
	static const char *const names[] = { "out", "err", "words", "config",
		"control.sock" };
	char path[128];

	if (daemon_pid > 0) {
		kill(daemon_pid, SIGKILL);
		waitpid(daemon_pid, NULL, 0);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_of(names[i], path, sizeof(path));
		(void)unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

static void
config_put(const char *text)
{
	char path[128];
	FILE *f;

	path_of("config", path, sizeof(path));
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* ---- a mail host ---- */

static pid_t host_pid;

/* One connection for each time; says the replies, one before and one behind
 * each line it gets, the last one again and again if it has no end. */
static void
host_serve(int listener, const char *const *replies)
{
	char line[512];
	FILE *f;
	int fd = accept(listener, NULL, NULL);

	if (fd == -1 || (f = fdopen(fd, "r+")) == NULL)
		_exit(8);
	setvbuf(f, NULL, _IONBF, 0);
	for (; *replies != NULL; replies++) {
		do
			fputs(*replies, f);
		while (strncmp(*replies, "220-more", 8) == 0 && !ferror(f));
		if (fgets(line, sizeof(line), f) == NULL)
			break;
	}
	fclose(f);
}

/* Its port. */
static unsigned
host_start(const char *const *replies, unsigned times)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	host_pid = fork();
	ck_assert_int_ne(host_pid, -1);
	if (host_pid == 0) {
		(void)signal(SIGPIPE, SIG_IGN);
		while (times-- > 0)
			host_serve(fd, replies);
		_exit(0);
	}
	close(fd);
	return ntohs(sin.sin_port);
}

static const char *
route_row(char row[1024], unsigned port, const char *addresses)
{
	(void)snprintf(row, 1024, "{\"queue\":\"a.org/v\",\"status\":\"ok\","
	    "\"validity_s\":61,\"site\":\"s.rollup\",\"rollup\":true,"
	    "\"hosts\":[{\"preference\":5,\"name\":\"old.org\",\"port\":%u,"
	    "\"addresses\":[\"127.0.0.9\"],\"leftOut\":true},"
	    "{\"preference\":10,\"name\":\"mx\\u001b.org\",\"port\":%u,"
	    "\"addresses\":[%s],\"leftOut\":false}],\"sources\":["
	    "{\"ip\":\"2001:db8::1\",\"helo\":\"six.org\"},"
	    "{\"ip\":\"127.0.0.1\",\"helo\":\"four.org\"}]}", port, port,
	    addresses);
	return row;
}

/* ---- tests ---- */

START_TEST(test_resolve_shows_the_route)
{
	struct answer a = { .text = "" };
	struct answer no = { .rows = { "{\"queue\":\"a.org/v\","
	    "\"status\":\"null-mx\",\"code\":\"5.1.10\",\"validity_s\":60,"
	    "\"text\":\"no \\u001b mail\",\"hosts\":[]}" }, .status = 1,
		.text = "mail for it is returned with 5.1.10" };
	char row[1024];

	a.rows[0] = route_row(row, 25, "\"192.0.2.1\",\"2001:db8::1\"");
	daemon_start(&a);
	ck_assert_int_eq(command("resolve a.org/v"), 0);
	ck_words("resolve a.org/v \n");
	ck_has("out", "a.org/v: ok, rollup s.rollup, valid for 1m01s\n"
	    "from 2001:db8::1 as six.org, 127.0.0.1 as four.org\n");
	ck_has("out", "   5 old.org      25 127.0.0.9             left out "
	    "for now: skip-mx\n");
	ck_has("out", "  10 mx\\x1b.org   25 192.0.2.1 2001:db8::1 \n");
	teardown();
	setup();
	daemon_start(&no);
	ck_assert_int_eq(command("resolve --connect a.org/v"), 1);
	ck_has("out", "a.org/v: null-mx, code 5.1.10, valid for 1m00s\n"
	    "no \\x1b mail\nmail for it is returned with 5.1.10\n");
}
END_TEST

START_TEST(test_resolve_connect_talks_to_the_first_host)
{
	static const char *const replies[] = { "220-mx \033[2J\r\n220 hi\r\n",
		"250-mx\r\n250 SIZE\n", "221 bye\r\n", NULL };
	struct answer a = { .text = "", .times = 3 };
	unsigned port = host_start(replies, 3);
	char row[1024], want[256];

	/* nobody is at the first address */
	a.rows[0] = route_row(row, port, "\"127.0.0.99\",\"127.0.0.1\"");
	daemon_start(&a);
	ck_assert_int_eq(command("resolve --connect a.org/v"), 0);
	(void)snprintf(want, sizeof(want), "connecting to mx\\x1b.org"
	    "[127.0.0.99]:%u\nno connection: Connection refused\n\n"
	    "connecting to mx\\x1b.org[127.0.0.1]:%u\n"
	    ">>> 220-mx \\x1b[2J\n>>> 220 hi\n<<< EHLO four.org\n"
	    ">>> 250-mx\n>>> 250 SIZE\n<<< QUIT\n>>> 221 bye\n", port, port);
	ck_has("out", want);
	ck_assert_int_eq(command("resolve --connect --json "
	    "--source=me.org,127.0.0.2 a.org/v"), 0);
	ck_has("out", "\"error\":\"no connection: Connection refused\"},");
	ck_has("out", "\"lines\":[\">>> 220-mx \\u001B[2J\",\">>> 220 hi\","
	    "\"<<< EHLO me.org\",\">>> 250-mx\",\">>> 250 SIZE\","
	    "\"<<< QUIT\",\">>> 221 bye\"],\"error\":\"\"}]");
	ck_assert_int_eq(command("resolve --connect "
	    "--source=192.0.2.254 a.org/v"), 1);
	ck_has("out", "this source address cannot be used: ");
	ck_has("err", "no host talks to us");
	ck_assert_int_eq(command("resolve --source=x a.org"), 2);
	ck_has("err", "--source wants an address, or NAME,ADDRESS");
	ck_assert_int_eq(command("resolve --source=,127.0.0.1 a.org"), 2);
	kill(host_pid, SIGKILL);
	waitpid(host_pid, NULL, 0);
}
END_TEST

START_TEST(test_resolve_connect_bears_odd_hosts)
{
	static const char *const refuses[] = { "554 go away\r\n",
		"221 bye\r\n", NULL };
	static const char *const web[] = { "HTTP/1.1 400 Bad\r\n", NULL };
	static const char *const endless[] = { "220-more\r\n", NULL };
	static const char *const gone[] = { "220 hi\r\n", NULL };
	static const struct {
		const char *const *replies;
		int status;
		const char *want;
	} t[] = {
		{ refuses, 0, ">>> 554 go away\n<<< QUIT\n>>> 221 bye\n" },
		{ web, 1, ">>> HTTP/1.1 400 Bad\nthat is no SMTP\n" },
		{ endless, 1, "a reply without end\n" },
		{ gone, 0, "<<< EHLO four.org\nthe connection was closed" },
	};
	char row[1024];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct answer a = { .text = "" };

		a.rows[0] = route_row(row, host_start(t[i].replies, 1),
		    "\"127.0.0.1\"");
		daemon_start(&a);
		ck_assert_int_eq(command("resolve --connect a.org/v"),
		    t[i].status);
		ck_has("out", t[i].want);
		kill(host_pid, SIGKILL);
		waitpid(host_pid, NULL, 0);
		teardown();
		setup();
	}
}
END_TEST

START_TEST(test_no_daemon_exits_111)
{
	ck_assert_int_eq(command("show status"), 111);
	ck_has("err", "cannot reach the daemon at");
	ck_has("err", "No such file or directory");
}
END_TEST

START_TEST(test_unknown_and_unclear_commands_exit_2)
{
	ck_assert_int_eq(command("frobnicate"), 2);
	ck_has("err", "\"frobnicate\" is no command");
	ck_assert_int_eq(command("show s"), 2);
	ck_has("err", "can mean several commands");
	ck_assert_int_eq(command("show"), 2);
	ck_assert_int_eq(command("--timeout=x stop"), 2);
	ck_assert_int_eq(command("stop -c"), 2);
}
END_TEST

START_TEST(test_help_needs_no_daemon)
{
	ck_assert_int_eq(command("help"), 0);
	ck_has("out", "show queues");
	ck_assert_int_eq(command("pause q a.org --help"), 0);
	ck_has("out", "pinnace pause queue\n    domain[/vmta]\n");
	ck_assert_int_eq(command("help pause"), 0);
	ck_is("out", "pause queue domain[/vmta]\npause job ID\n");
	/* not show topqueues */
	ck_assert_int_eq(command("show top --help"), 0);
	ck_has("out", "  --interval=            seconds until");
	ck_assert_int_eq(command("help frob"), 2);
	ck_has("err", "there is no such command");
}
END_TEST

START_TEST(test_unknown_option_is_refused_before_asking)
{
	static const char *const bad[] = { "show queues --mxitems=3",
		"show queues vtma=v", "show status --x", "list -x",
		"show queues --errors=yes", "show queues --maxitems",
		"resolve --connect=1 a.org", "pause queue errors=1",
		"show ips domain=a.org" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(command(bad[i]), 2);
		ck_has("err", ": unknown option ");
	}
	ck_has("err", "show ips: unknown option domain=a.org; it knows vmta=, "
	    "--maxitems=\n");
}
END_TEST

START_TEST(test_options_may_be_spelled_as_the_daemon_takes_them)
{
	static const struct answer a = { .text = "", .times = 6 };
	static const char *const good[] = { "show queues MAXITEMS=3",
		"show queues --Domain=a.org --vmta=v", "list queue=a.org/v",
		"pause queue domain=a.org vmta=v", "undo a=b",
		"res q a.org" };

	daemon_start(&a);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_int_eq(command(good[i]), 0);
	ck_has("words", "resume queue a.org \n");
}
END_TEST

START_TEST(test_short_words_are_spelled_out)
{
	static const struct answer a = { .text = "0 of 0 matching queues" };

	daemon_start(&a);
	ck_assert_int_eq(command("sh q a.org/v1 --maxitems=3"), 0);
	ck_words("show queues a.org/v1 --maxitems=3 \n");
	ck_has("out", "0 of 0 matching queues\n");
}
END_TEST

START_TEST(test_json_is_one_object)
{
	static const struct answer a = {
		.rows = { "{\"name\":\"a.org/v\",\"rcp\":3}", "{\"x\":null}" },
		.text = "2 of 2"
	};
	char text[4096];
	json_t *o;

	daemon_start(&a);
	ck_assert_int_eq(command("show queues --json"), 0);
	file_read("out", text, sizeof(text));
	o = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(o);
	ck_assert_str_eq(json_string_value(json_object_get(o, "status")),
	    "success");
	ck_assert_str_eq(json_string_value(json_object_get(o, "message")),
	    "2 of 2");
	ck_assert_uint_eq(json_array_size(json_object_get(o, "data")), 2);
	json_decref(o);
}
END_TEST

START_TEST(test_xml_and_dom_are_the_same_answer)
{
	static const struct answer a = {
		.rows = { "{\"name\":\"a.org/v\",\"why\":\"<\\u001b>\"}" },
		.text = "1 of 1", .times = 2
	};
	static const struct answer no = { .status = 1, .text = "no \"x\"",
		.times = 2 };

	daemon_start(&a);
	ck_assert_int_eq(command("--xml show queues"), 0);
	ck_is("out", "<rsp><data><queue><name>a.org/v</name>"
	    "<why>&lt;&#xFFFD;&gt;</why></queue></data>"
	    "<message>1 of 1</message><succ/></rsp>\n");
	ck_assert_int_eq(command("show queues --dom"), 0);
	ck_is("out", "queue[0].name=\"a.org/v\"\n"
	    "queue[0].why=\"<\\u001B>\"\nrsp.status=\"success\"\n"
	    "rsp.message=\"1 of 1\"\n");
	teardown();
	setup();
	daemon_start(&no);
	ck_assert_int_eq(command("pause queue x --xml"), 1);
	ck_is("out", "<rsp><data></data><message>no &quot;x&quot;</message>"
	    "<failed/></rsp>\n");
	ck_assert_int_eq(command("pause queue x --dom"), 1);
	ck_is("out", "rsp.status=\"failed\"\nrsp.message=\"no \\\"x\\\"\"\n");
	ck_is("err", "");
}
END_TEST

START_TEST(test_xml_of_the_status_has_the_names_of_powermta)
{
	static const struct answer a = {
		.rows = { "{\"version\":\"1.0\",\"status\":\"running\"}" },
		.text = "",
	};

	daemon_start(&a);
	ck_assert_int_eq(command("--xml show status"), 0);
	ck_has("out", "<mta><product><version>1.0</version></product></mta>");
}
END_TEST

START_TEST(test_queue_table_shows_and_escapes)
{
	static const struct answer a = {
		.rows = { "{\"name\":\"a.org/v\",\"rcp\":1234,\"paused\":true,"
		    "\"mode\":\"backoff\",\"oldest_s\":3700,\"why\":\"retry\","
		    "\"lastError\":\"421 \\u001b[2J busy\","
		    "\"retryTime\":\"2020-01-31T14:05:09Z\"}" },
		.text = "1 of 1 matching queues"
	};

	daemon_start(&a);
	ck_assert_int_eq(command("show queues"), 0);
	ck_has("out", "a.org/v");
	ck_has("out", "1234");
	ck_has("out", " BP ");
	ck_has("out", "1h01m");
	ck_has("out", "01-31 14:05");
	ck_has("out", "421 \\x1b[2J busy");
}
END_TEST

START_TEST(test_jobs_limits_and_ips_are_tables)
{
	static const struct answer jobs = { .rows = { "{\"job\":\"j\\u001b1\","
	    "\"rcp\":7,\"ready\":1,\"retry\":2,\"inflight\":0,\"hold\":4,"
	    "\"bounce\":0,\"kb\":99,\"oldest_s\":61,\"paused\":true}" },
		.text = "1 of 1 jobs" };
	static const struct answer limits = { .rows = {
	    "{\"kind\":\"queue\",\"of\":\"a.org/v\",\"setting\":"
	    "\"max-smtp-out\",\"value\":\"20\",\"scope\":\"domain *\","
	    "\"file\":\"/c\",\"line\":7,\"used\":3,\"most\":20,"
	    "\"next\":null,\"waiting\":2}",
	    "{\"kind\":\"queue\",\"of\":\"a.org/v\",\"setting\":\"\","
	    "\"perHour\":600.0,\"next\":null,\"waiting\":0}",
	    "{\"kind\":\"queue\",\"of\":\"a.org/v\",\"setting\":"
	    "\"source-ip-max-msg-rate\",\"source\":\"192.0.2.7\","
	    "\"value\":\"0/0 9/h\",\"scope\":\"domain *\",\"file\":\"/c\","
	    "\"line\":9,\"perHour\":9.0,\"next\":null,\"waiting\":1}" },
		.text = "3 of 3 limits" };
	static const struct answer ips = { .rows = {
	    "{\"source\":\"192.0.2.1\",\"vmta\":\"v\",\"conn\":3,"
	    "\"opened\":9,\"connectFailed\":1,\"delivered\":10,"
	    "\"deferred\":30,\"failed\":0,\"deferredPercent\":75.0,"
	    "\"othersDeferredPercent\":null,\"failedPercent\":0.0,"
	    "\"othersFailedPercent\":null,\"disabled\":false,"
	    "\"disabledUntil\":null,\"disabledFor\":2}",
	    "{\"source\":\"192.0.2.2\",\"disabled\":true,"
	    "\"disabledUntil\":\"2026-01-31T14:05:09Z\"}",
	    "{\"source\":\"192.0.2.3\",\"disabled\":true}" },
		.text = "3 of 3 source addresses" };

	daemon_start(&jobs);
	ck_assert_int_eq(command("show jobs"), 0);
	ck_has("out", "j\\x1b1     7     1     2   0    4      0     99  1m01s "
	    "yes\n");
	teardown();
	setup();
	daemon_start(&limits);
	ck_assert_int_eq(command("show limits --waiting"), 0);
	ck_has("out", "queue a.org/v                max-smtp-out           20    "
	    "   3/20       2      domain * /c:7\n");
	ck_has("out", "by a reply                     600/h       0");
	ck_has("out", "queue a.org/v from 192.0.2.7 source-ip-max-msg-rate 0/0 "
	    "9/h   9/h       1      domain * /c:9\n");
	ck_words("show limits --waiting \n");
	teardown();
	setup();
	daemon_start(&ips);
	ck_assert_int_eq(command("show ips"), 0);
	ck_has("out", "192.0.2.1 v       3      9          1        10       30"
	    "      0       75.0                0.0           for 2\n");
	ck_has("out", " until 01-31 14:05\n");
	ck_has("out", " yes\n");
}
END_TEST

/* The status and the queues, each asked for. */
START_TEST(test_top_without_a_terminal_is_shown_once)
{
	static const struct answer a = { .rows = { "{\"status\":\"running\","
	    "\"version\":\"0.1.0\",\"hostName\":\"h\\u001b.org\","
	    "\"name\":\"a.org/v\",\"lastError\":\"421 \\u001b[2J busy\"}" },
		.text = "1 of 1 matching queues", .times = 2 };

	daemon_start(&a);
	ck_assert_int_eq(command("show top --sort=oldest vmta=v"), 0);
	ck_words("show status \nshow queues vmta=v --sort=oldest \n");
	ck_has("out", "Pinnace 0.1.0 on h\\x1b.org, running");
	ck_has("out", "421 \\x1b[2J busy");
	ck_assert_int_eq(command("show top --interval=x"), 2);
	ck_has("err", "--interval needs seconds, 1 to 3600");
	ck_assert_int_eq(command("show top --sort=x"), 2);
	ck_assert_int_eq(command("--json show top"), 111);
}
END_TEST

START_TEST(test_trace_shows_lines)
{
	static const struct answer a = { .rows = {
	    "{\"what\":\"received\",\"text\":\"220 \\u001b[2J\"}",
	    "{\"waiting\":true}", "{\"lost\":3}",
	    "{\"what\":\"sent\",\"text\":\"QUIT\"}" },
		.text = "over", .times = 2 };

	daemon_start(&a);
	ck_assert_int_eq(command("trace --log-data a.org/v"), 0);
	ck_words("trace --log-data a.org/v \n");
	ck_is("out", ">>> 220 \\x1b[2J\n--- 3 lines left out\n<<< QUIT\n"
	    "over\n");
	ck_assert_int_eq(command("trace --dom a.org/v"), 0);
	ck_is("out", "line[0].what=\"received\"\n"
	    "line[0].text=\"220 \\u001B[2J\"\nline[1].lost=\"3\"\n"
	    "line[2].what=\"sent\"\nline[2].text=\"QUIT\"\n"
	    "rsp.status=\"success\"\nrsp.message=\"over\"\n");
	ck_assert_int_eq(command("--timeout=1 trace a"), 111);
}
END_TEST

START_TEST(test_explain_says_it_in_sentences)
{
	static const struct answer a = {
		.rows = { "{\"id\":\"0000000000001\",\"rcpt\":\"r@a.org\","
		    "\"of\":\"a.org/v\",\"state\":\"retry\","
		    "\"attempts\":3,\"nextTry\":\"2020-01-31T14:05:09Z\"}",
		    "{\"queue\":\"a.org/v\",\"ready\":12,\"retry\":3,"
		    "\"hold\":0,\"mode\":\"backoff\","
		    "\"why\":\"message-rate\",\"limit\":{\"setting\":"
		    "\"max-msg-rate\",\"value\":\"10/h\",\"scope\":"
		    "\"domain a.org\",\"file\":\"/c\",\"line\":7,"
		    "\"perHour\":10.0,\"waiting\":1,\"others\":[]},"
		    "\"next\":\"2020-01-31T14:05:09Z\",\"since\":null,"
		    "\"shares\":{\"1m\":{\"message-rate\":0.98,"
		    "\"remote\":0.02}},\"leavingPerHour\":10.0,"
		    "\"arrivedPerHour\":12.3,\"forecast\":\"never\","
		    "\"lastError\":\"\"}",
		    "{\"queue\":\"b.org/v\",\"ready\":1,\"why\":"
		    "\"vmta-connections\",\"limit\":{\"setting\":"
		    "\"max-smtp-out\",\"value\":\"\",\"file\":\"\","
		    "\"scope\":\"virtual-mta v\",\"host\":\"mx.test\","
		    "\"source\":\"192.0.2.1\",\"used\":2,\"most\":2,"
		    "\"waiting\":30,\"ahead\":\"c.org/v\","
		    "\"aheadPriority\":80,"
		    "\"others\":[\"c.org/v\",\"d\"]},\"priority\":20,"
		    "\"lastError\":\"421 \\u001b[2J busy\","
		    "\"lastErrorTime\":\"2020-01-31T14:05:09Z\","
		    "\"leavingPerHour\":10.0,\"arrivedPerHour\":0.0,"
		    "\"forecast\":\"drains\","
		    "\"drained\":\"2020-01-31T14:05:09Z\"}" }
	};

	daemon_start(&a);
	ck_assert_int_eq(command("explain message 0000000000001"), 0);
	ck_has("out", "r@a.org: waits for its next try at ");
	ck_has("out", ", 3 tries so far, in a.org/v");
	ck_has("out", "a.org/v: 12 ready, 3 wait for their retry, mode "
	    "backoff\n");
	ck_has("out", "max-msg-rate 10/h (domain a.org, /c:7) is used up; "
	    "goes on at ");
	ck_has("out", "1m: message-rate 98 %, remote 2 %");
	ck_has("out", "10 an hour leave, 12 arrive: never drained like this");
	ck_has("out", "max-smtp-out (virtual-mta v, default), for the host "
	    "mx.test, of the source address 192.0.2.1 has no room: 2 of 2 "
	    "connections");
	ck_has("out", "c.org/v goes first: its queue-priority is 80, that of "
	    "this queue 20");
	ck_has("out", "29 other queues wait for the same: c.org/v, d, ...");
	ck_has("out", "421 \\x1b[2J busy");
	ck_has("out", "drained about ");
}
END_TEST

START_TEST(test_list_shows_priorities_if_asked)
{
	static const struct answer a = {
		.rows = { "{\"id\":\"0000000000001\",\"rcpt\":\"r@a.org\","
		    "\"orig\":\"s@b.org\",\"queue\":\"a.org/v\","
		    "\"state\":\"ready\",\"attempts\":3,"
		    "\"priority\":77,\"size\":5}" }, .times = 2
	};

	daemon_start(&a);
	ck_assert_int_eq(command("list"), 0);
	ck_has("out", "ready     3 ");
	ck_assert_int_eq(command("list --priority"), 0);
	ck_has("out", "priority");
	ck_has("out", "ready       77     3 ");
}
END_TEST

START_TEST(test_warmup_is_a_table_for_each_plan)
{
	static const struct answer a = {
		.rows = { "{\"warmup\":\"g\",\"vmta\":\"v1\",\"day\":1,"
		    "\"date\":\"2026-03-01\",\"plan\":50,\"actual\":50,"
		    "\"forecast\":50,\"state\":\"kept\"}",
		    "{\"warmup\":\"g\",\"vmta\":\"v1\",\"day\":2,"
		    "\"date\":\"2026-03-02\",\"plan\":100,\"actual\":40,"
		    "\"forecast\":98,\"state\":\"today\",\"inflight\":1,"
		    "\"queued\":7,\"replies\":20,\"deferrals\":3}",
		    "{\"warmup\":\"g\",\"vmta\":\"v2\",\"day\":1,"
		    "\"date\":\"2026-03-01\",\"plan\":50,\"actual\":3,"
		    "\"forecast\":3,\"state\":\"short\"}" }
	}, why = {
		.rows = { "{\"queue\":\"a.org/v1\",\"ready\":1,\"why\":"
		    "\"warmup\",\"limit\":{\"setting\":\"day-list\","
		    "\"value\":\"50,100\",\"file\":\"/c\",\"line\":9,"
		    "\"scope\":\"warmup g\",\"used\":40,\"most\":100}}" }
	};
	char path[128];

	daemon_start(&a);
	ck_assert_int_eq(command("show warmup"), 0);
	ck_has("out", "warmup g of v1\n");
	ck_has("out", "DAY DATE       PLAN ACTUAL FORECAST STATE\n");
	ck_has("out", "  1 2026-03-01   50     50       50 kept\n");
	ck_has("out", "  2 2026-03-02  100     40       98 today: 7 "
	    "queued, 3 of 20 replies in the last hour were deferrals\n");
	ck_has("out", "\n\nwarmup g of v2\n");
	ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
	daemon_pid = 0;
	path_of("control.sock", path, sizeof(path));
	ck_assert_int_eq(unlink(path), 0);
	daemon_start(&why);
	ck_assert_int_eq(command("explain queue a.org/v1"), 0);
	ck_has("out", "day-list 50,100 (warmup g, /c:9): a warmup, of whose "
	    "plan for today 40 of 100 are used");
}
END_TEST

START_TEST(test_refusal_exits_1_and_misuse_2)
{
	static const struct answer no = { .status = 1, .text = "no such" };
	static const struct answer bad = { .status = 2, .text = "which?" };
	static const struct answer odd = { .status = 77, .text = "odd" };
	static const struct {
		const struct answer *a;
		int want;
	} t[] = { { &no, 1 }, { &bad, 2 }, { &odd, 1 } };
	char path[128];

	path_of("control.sock", path, sizeof(path));
	for (size_t i = 0; i < 3; i++) {
		daemon_start(t[i].a);
		ck_assert_int_eq(command("pause queue x"), t[i].want);
		ck_has("err", t[i].a->text);
		ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
		daemon_pid = 0;
		ck_assert_int_eq(unlink(path), 0);
	}
}
END_TEST

START_TEST(test_silent_daemon_exits_111)
{
	static const struct answer a = { .silent = true, .text = "" };

	daemon_start(&a);
	ck_assert_int_eq(command("--timeout=1 show status"), 111);
	ck_has("err", "does not answer");
}
END_TEST

START_TEST(test_row_that_is_no_object_exits_111)
{
	static const struct answer a = { .rows = { "[1]" }, .text = "" };

	daemon_start(&a);
	ck_assert_int_eq(command("show status"), 111);
	ck_has("err", "the answer is not JSON");
}
END_TEST

START_TEST(test_delete_without_yes_only_counts)
{
	static const struct answer a = {
		.rows = { "{\"rcp\":7,\"inflight\":0,\"deleted\":false}" },
		.text = "7 recipients would be deleted; --yes does it"
	};

	daemon_start(&a);
	ck_assert_int_eq(command("delete --queue=a.org/v"), 0);
	ck_words("delete --queue=a.org/v \n");
	ck_has("out", "7 recipients would be deleted");
}
END_TEST

START_TEST(test_delete_with_yes_says_so_to_the_daemon)
{
	static const struct answer a = {
		.rows = { "{\"rcp\":7,\"deleted\":true}" },
		.text = "7 recipients deleted"
	};

	daemon_start(&a);
	ck_assert_int_eq(command("delete --yes --queue=a.org/v"), 0);
	ck_words("delete --queue=a.org/v --yes \n");
}
END_TEST

START_TEST(test_config_diff_compares_with_the_file)
{
	static const struct answer a = {
		.rows = {
		    "{\"scope\":\"\",\"name\":\"host-name\",\"value\":"
		    "\"a.org\",\"file\":\"/x\",\"line\":1}",
		    "{\"scope\":\"\",\"name\":\"name-server\",\"value\":"
		    "\"127.0.0.1\",\"file\":\"/x\",\"line\":2}",
		    "{\"scope\":\"domain *\",\"name\":\"max-smtp-out\","
		    "\"value\":\"5\",\"file\":\"/x\",\"line\":4}",
		    "{\"scope\":\"\",\"name\":\"receiver-rules\","
		    "\"value\":\"no\",\"file\":\"/x\",\"line\":5}" },
		.text = ""
	};
	char args[256];

	config_put("host-name a.org\nname-server 127.0.0.1\n<domain *>\n"
	    "max-smtp-out 6\n</domain>\nreceiver-rules no\n");
	daemon_start(&a);
	(void)snprintf(args, sizeof(args), "-c %s/config --json show config "
	    "--diff", dir);
	ck_assert_int_eq(command(args), 0);
	ck_words("show config \n");
	ck_has("out", "\"value\":\"5\",\"file\":\"/x\",\"line\":4,"
	    "\"change\":\"-\"");
	ck_has("out", "\"value\":\"6\"");
	ck_has("out", "\"change\":\"+\"}]");
}
END_TEST

START_TEST(test_test_config_tells_all_and_exits_1)
{
	char args[256];

	config_put("host-name a.org\nbounce-afer 3d\nhttp-mgmt-port 1\n");
	(void)snprintf(args, sizeof(args), "test config %s/config", dir);
	ck_assert_int_eq(command(args), 1);
	ck_has("out", "/config:2: there is no directive \"bounce-afer\"");
	ck_has("out", "warning: ");
	ck_has("out", "1 errors, 1 warnings");
	config_put("host-name a.org\n");
	ck_assert_int_eq(command(args), 0);
	ck_has("out", "0 errors, 0 warnings");
}
END_TEST

START_TEST(test_show_settings_names_the_place)
{
	char args[256];

	config_put("<domain *>\nmax-smtp-out 6\n</domain>\n"
	    "<virtual-mta v>\n<domain a.org>\nmax-smtp-out 7\n</domain>\n"
	    "</virtual-mta>\n");
	(void)snprintf(args, sizeof(args), "-c %s/config show settings "
	    "a.org/v", dir);
	ck_assert_int_eq(command(args), 0);
	ck_has("out", "virtual-mta v domain a.org max-smtp-out");
	ck_has("out", "/config:6");
	(void)snprintf(args, sizeof(args), "-c %s/config show settings "
	    "a.org/w", dir);
	ck_assert_int_eq(command(args), 1);
	ck_has("err", "there is no <virtual-mta w>");
}
END_TEST

static void
rmdirs(const char *const *names, size_t n)
{
	char path[128];

	for (size_t i = 0; i < n; i++) {
		path_of(names[i], path, sizeof(path));
		ck_assert_int_eq(rmdir(path), 0);
	}
}

START_TEST(test_spool_check_and_its_lock)
{
	static const char *const dirs[] = { "sp/segments", "sp/large",
		"sp/events", "sp/checkpoint", "sp/offsets", "sp" };
	char path[128], args[256];
	int fd;

	for (size_t i = 6; i > 0; i--) {
		path_of(dirs[i - 1], path, sizeof(path));
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	path_of("sp", path, sizeof(path));
	(void)snprintf(args, sizeof(args), "spool check %s", path);
	ck_assert_int_eq(command(args), 0);
	ck_has("out", "0 problems");
	path_of("sp/lock", path, sizeof(path));
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(command(args), 1);
	ck_has("err", "is in use");
	close(fd);
	ck_assert_int_eq(unlink(path), 0);
	(void)snprintf(args, sizeof(args), "spool rebuild %s/sp", dir);
	ck_assert_int_eq(command(args), 1);
	ck_has("err", "nothing was changed");
	rmdirs(dirs, 6);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl");
	TCase *tc = tcase_create("command");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_resolve_shows_the_route);
	tcase_add_test(tc, test_resolve_connect_talks_to_the_first_host);
	tcase_add_test(tc, test_resolve_connect_bears_odd_hosts);
	tcase_add_test(tc, test_no_daemon_exits_111);
	tcase_add_test(tc, test_unknown_and_unclear_commands_exit_2);
	tcase_add_test(tc, test_help_needs_no_daemon);
	tcase_add_test(tc, test_unknown_option_is_refused_before_asking);
	tcase_add_test(tc,
	    test_options_may_be_spelled_as_the_daemon_takes_them);
	tcase_add_test(tc, test_short_words_are_spelled_out);
	tcase_add_test(tc, test_json_is_one_object);
	tcase_add_test(tc, test_xml_and_dom_are_the_same_answer);
	tcase_add_test(tc, test_xml_of_the_status_has_the_names_of_powermta);
	tcase_add_test(tc, test_queue_table_shows_and_escapes);
	tcase_add_test(tc, test_jobs_limits_and_ips_are_tables);
	tcase_add_test(tc, test_top_without_a_terminal_is_shown_once);
	tcase_add_test(tc, test_trace_shows_lines);
	tcase_add_test(tc, test_explain_says_it_in_sentences);
	tcase_add_test(tc, test_list_shows_priorities_if_asked);
	tcase_add_test(tc, test_warmup_is_a_table_for_each_plan);
	tcase_add_test(tc, test_refusal_exits_1_and_misuse_2);
	tcase_add_test(tc, test_silent_daemon_exits_111);
	tcase_add_test(tc, test_row_that_is_no_object_exits_111);
	tcase_add_test(tc, test_delete_without_yes_only_counts);
	tcase_add_test(tc, test_delete_with_yes_says_so_to_the_daemon);
	tcase_add_test(tc, test_config_diff_compares_with_the_file);
	tcase_add_test(tc, test_test_config_tells_all_and_exits_1);
	tcase_add_test(tc, test_show_settings_names_the_place);
	tcase_add_test(tc, test_spool_check_and_its_lock);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

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

#include <check.h>
#include <errno.h>
#include <fcntl.h>
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

/* ---- tests ---- */

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
	ck_assert_int_eq(command("pause q --help"), 0);
	ck_has("out", "pinnace pause queue domain[/vmta]");
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
		    "\"waiting\":30,\"others\":[\"c.org/v\",\"d\"]},"
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
	ck_has("out", "29 other queues wait for the same: c.org/v, d, ...");
	ck_has("out", "421 \\x1b[2J busy");
	ck_has("out", "drained about ");
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
		    "\"value\":\"5\",\"file\":\"/x\",\"line\":4}" },
		.text = ""
	};
	char args[256];

	config_put("host-name a.org\nname-server 127.0.0.1\n<domain *>\n"
	    "max-smtp-out 6\n</domain>\n");
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
	tcase_add_test(tc, test_no_daemon_exits_111);
	tcase_add_test(tc, test_unknown_and_unclear_commands_exit_2);
	tcase_add_test(tc, test_help_needs_no_daemon);
	tcase_add_test(tc, test_short_words_are_spelled_out);
	tcase_add_test(tc, test_json_is_one_object);
	tcase_add_test(tc, test_queue_table_shows_and_escapes);
	tcase_add_test(tc, test_jobs_limits_and_ips_are_tables);
	tcase_add_test(tc, test_top_without_a_terminal_is_shown_once);
	tcase_add_test(tc, test_explain_says_it_in_sentences);
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

/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/delivery/sink.h"

#define SINK_LIFE_S 30 /* of a session */

struct sink_io {
	FILE *in, *out;
	int mode, messages, gate;
};

static bool
sink_body(struct sink_io *io)
{
	char line[65536];
	char *text = NULL;
	size_t n = 0;
	FILE *mem = open_memstream(&text, &n);
	uint32_t len;

	for (;;) {
		const char *p = line;

		if (fgets(line, sizeof(line), io->in) == NULL)
			_exit(1);
		if (strcmp(line, ".\r\n") == 0)
			break;
		if (line[0] == '.')
			p++;
		fputs(p, mem);
	}
	fclose(mem);
	len = (uint32_t)n;
	if (write(io->messages, &len, 4) != 4 ||
	    write(io->messages, text, n) != (ssize_t)n)
		_exit(1);
	free(text);
	return true;
}

static void
sink_say(struct sink_io *io, const char *text)
{
	fputs(text, io->out);
	fputs("\r\n", io->out);
	fflush(io->out);
}

/* False: close. */
static bool
sink_data(struct sink_io *io)
{
	char go;

	sink_say(io, "354 go on");
	sink_body(io);
	if (io->mode == SINK_DROP_AT_DOT)
		return false;
	if (io->mode == SINK_HANG_AT_DOT)
		pause();
	if (io->mode == SINK_WAIT_AT_DOT && read(io->gate, &go, 1) != 1)
		return false;
	sink_say(io, "250 2.0.0 taken");
	return true;
}

static bool
sink_command(struct sink_io *io, const char *line)
{
	if (strncmp(line, "EHLO", 4) == 0) {
		sink_say(io, io->mode == SINK_NO_EHLO ? "500 what?" :
		    "250-sink.test hello\r\n250-PIPELINING\r\n250-DSN\r\n"
		    "250 SIZE 1000000");
	} else if ((strncmp(line, "RCPT TO:<b@", 11) == 0 &&
	               io->mode == SINK_REFUSE_RCPT_B) ||
	    (strncmp(line, "RCPT", 4) == 0 && io->mode == SINK_REFUSE_ALL)) {
		sink_say(io, "550 5.1.1 no such user");
	} else if (strncmp(line, "DATA", 4) == 0) {
		return sink_data(io);
	} else if (strncmp(line, "QUIT", 4) == 0) {
		sink_say(io, "221 bye");
		return false;
	} else {
		sink_say(io, "250 2.0.0 ok");
	}
	return true;
}

static void
sink_session(int fd, int mode, int messages, int gate)
{
	struct sink_io io = { fdopen(fd, "r"), fdopen(dup(fd), "w"), mode,
		messages, gate };
	char line[4096];
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (mode == SINK_GREETING_450) {
		sink_say(&io, "450 4.3.2 not now");
	} else if (mode == SINK_GREETING_554) {
		sink_say(&io, "554 5.7.1 not you");
	} else {
		sink_say(&io, "220 sink.test");
		while (fgets(line, sizeof(line), io.in) != NULL)
			if (!sink_command(&io, line))
				break;
	}
	fclose(io.in);
	fclose(io.out);
}

void
sink_start(struct sink *s, enum sink_mode mode)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int messages[2], gate[2];

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(listen(s->fd, 64), 0);
	ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	ck_assert_int_eq(pipe(messages), 0);
	ck_assert_int_eq(pipe(gate), 0);
	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (s->pid == 0) {
		int fd;

		signal(SIGCHLD, SIG_IGN);
		close(gate[1]);
		while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
			if (fork() == 0) {
				alarm(SINK_LIFE_S);
				sink_session(fd, (int)mode, messages[1],
				    gate[0]);
				_exit(0);
			}
			close(fd);
		}
		_exit(0);
	}
	close(messages[1]);
	close(gate[0]);
	s->messages = messages[0];
	s->gate = gate[1];
}

void
sink_stop(struct sink *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->fd);
	close(s->messages);
	close(s->gate);
}

/* The next message received; the caller frees. */
char *
sink_message(struct sink *s, size_t *n_r)
{
	uint32_t len;
	size_t got = 0;
	char *text;

	ck_assert_int_eq(read(s->messages, &len, 4), 4);
	text = malloc(len + 1);
	while (got < len) {
		ssize_t n = read(s->messages, text + got, len - got);

		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	text[len] = '\0';
	*n_r = len;
	return text;
}

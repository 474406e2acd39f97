/* SPDX-License-Identifier: ISC */
/*
 * inject: makes a running process do one system call, as code of an attacker
 * in it would, and says what became of it.
 *
 *	inject PID NUMBER [ARG ...]
 *
 * An ARG is a number or a text, of which the process gets the address. Prints
 * "returned N" or "killed by signal N". Exit status 77 if this machine is not
 * known, 1 if the process cannot be traced.
 */
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#include <sys/user.h>

#define ARGS_MAX   6
#define ROOM       4096 /* below the stack's red zone */
#define RED_ZONE   128
#define CALL_CODE  0x050fu /* syscall */

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t
text_put(pid_t pid, uint64_t *at, const char *text)
{
	size_t n = (strlen(text) + 8) / 8 * 8; /* with its NUL */

	*at -= n;
	for (size_t i = 0; i < n; i += 8) {
		uint64_t word = 0;

		for (size_t k = 0; k < 8 && i + k < strlen(text); k++)
			word |= (uint64_t)(unsigned char)text[i + k] << 8 * k;
		if (ptrace(PTRACE_POKEDATA, pid, *at + i, word) != 0)
			die("poke");
	}
	return *at;
}

static uint64_t
arg_value(pid_t pid, uint64_t *at, const char *arg)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(arg, &end, 0);
	if (errno == 0 && end != arg && *end == '\0')
		return n;
	return text_put(pid, at, arg);
}

static void
regs_set(pid_t pid, struct user_regs_struct *r, uint64_t at, char **argv)
{
	unsigned long long *arg[ARGS_MAX] = { &r->rdi, &r->rsi, &r->rdx,
		&r->r10, &r->r8, &r->r9 };

	for (size_t i = 0; i < ARGS_MAX; i++)
		*arg[i] = 0;
	r->rax = strtoull(argv[0], NULL, 0);
	r->orig_rax = (unsigned long long)-1; /* nothing to restart */
	for (size_t i = 0; i < ARGS_MAX && argv[i + 1] != NULL; i++)
		*arg[i] = arg_value(pid, &at, argv[i + 1]);
	r->rsp = at & ~15ull;
}

int
main(int argc, char **argv)
{
	struct user_regs_struct old, now;
	pid_t pid;
	long code;
	int status;

	if (argc < 3)
		return 100;
	pid = (pid_t)strtol(argv[1], NULL, 10);
	if (ptrace(PTRACE_ATTACH, pid, 0, 0) != 0 ||
	    waitpid(pid, &status, 0) != pid)
		die("attach");
	if (ptrace(PTRACE_GETREGS, pid, 0, &old) != 0)
		die("registers");
	errno = 0;
	code = ptrace(PTRACE_PEEKTEXT, pid, old.rip, 0);
	if (errno != 0 || ptrace(PTRACE_POKETEXT, pid, old.rip,
	    (code & ~0xffffL) | CALL_CODE) != 0)
		die("code");
	now = old;
	regs_set(pid, &now, old.rsp - RED_ZONE - ROOM, argv + 2);
	if (ptrace(PTRACE_SETREGS, pid, 0, &now) != 0 ||
	    ptrace(PTRACE_SINGLESTEP, pid, 0, 0) != 0 ||
	    waitpid(pid, &status, 0) != pid)
		die("step");
	if (WIFSIGNALED(status)) {
		printf("killed by signal %d\n", WTERMSIG(status));
		return 0;
	}
	if (WIFEXITED(status)) {
		printf("exited with %d\n", WEXITSTATUS(status));
		return 0;
	}
	if (ptrace(PTRACE_GETREGS, pid, 0, &now) != 0 ||
	    ptrace(PTRACE_POKETEXT, pid, old.rip, code) != 0 ||
	    ptrace(PTRACE_SETREGS, pid, 0, &old) != 0 ||
	    ptrace(PTRACE_DETACH, pid, 0, 0) != 0)
		die("detach");
	printf("returned %lld\n", (long long)now.rax);
	return 0;
}
#else
int
main(void)
{
	return 77;
}
#endif

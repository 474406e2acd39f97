/* SPDX-License-Identifier: ISC */
#include <sys/syscall.h>
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "common/sys/landlock.h"

/* Numbers of the system calls, the same on all machines but alpha. */
#define CREATE_RULESET 444
#define ADD_RULE       445
#define RESTRICT_SELF  446

#define VERSION        1u
#define RULE_BENEATH   1
#define RULE_PORT      2

/* How many rights on files each interface knows; from bit 0. */
#define FS_BITS_1      13
#define FS_BITS_2      14 /* to rename into another directory */
#define FS_BITS_3      15 /* to truncate */
#define FS_BITS_5      16 /* ioctl on devices */
#define NET_BIND       1u /* 4 */
#define NET_CONNECT    2u
#define SCOPE_ABSTRACT 1u /* 6 */
#define SCOPE_SIGNAL   2u

/* Grew with the interfaces: the kernel is told how much of it there is. */
struct ruleset_attr {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

struct beneath_attr {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

struct port_attr {
	uint64_t rights;
	uint64_t port;
};

int
landlock_abi(void)
{
	long abi = syscall(CREATE_RULESET, NULL, (size_t)0, VERSION);

	return abi < 0 ? 0 : (int)abi;
}

static uint64_t
fs_known(int abi)
{
	unsigned bits = FS_BITS_1;

	if (abi >= 2)
		bits = FS_BITS_2;
	if (abi >= 3)
		bits = FS_BITS_3;
	if (abi >= 5)
		bits = FS_BITS_5;
	return ((uint64_t)1 << bits) - 1;
}

int
landlock_rules_new(int abi, bool can_connect)
{
	struct ruleset_attr a = { .fs = fs_known(abi) };
	struct port_attr any = { .rights = NET_BIND, .port = 0 };
	size_t size = offsetof(struct ruleset_attr, net);
	int fd, err;

	if (abi >= 4) {
		a.net = NET_BIND | (can_connect ? 0 : NET_CONNECT);
		size = offsetof(struct ruleset_attr, scoped);
	}
	if (abi >= 6) {
		a.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
		size = sizeof(a);
	}
	fd = (int)syscall(CREATE_RULESET, &a, size, 0u);
	if (fd < 0 || abi < 4 || !can_connect)
		return fd;
	/* from a source address, with a port that the kernel chooses */
	if (syscall(ADD_RULE, fd, RULE_PORT, &any, 0u) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

int
landlock_beneath(int rules, int abi, int dirfd, uint64_t rights)
{
	struct beneath_attr a = { .rights = rights & fs_known(abi),
		.fd = dirfd };

	return (int)syscall(ADD_RULE, rules, RULE_BENEATH, &a, 0u);
}

int
landlock_enter(int rules)
{
	return (int)syscall(RESTRICT_SELF, rules, 0u);
}

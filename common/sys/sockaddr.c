/* SPDX-License-Identifier: ISC */
#include <netinet/in.h>
#include <string.h>

#include "common/sys/sockaddr.h"

socklen_t
sockaddr_make(const struct route_addr *a, uint16_t port,
    struct sockaddr_storage *ss_r)
{
	memset(ss_r, 0, sizeof(*ss_r));
	if (a->family == 6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss_r;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, a->ip, 16);
		return sizeof(*in6);
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)ss_r;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->ip, 4);
		return sizeof(*in);
	}
}

/* SPDX-License-Identifier: ISC */
/*
 * fakens: a name server for tests, on an event base, on the loopback
 * interface, UDP and TCP on one port that the system chooses. It answers from
 * a list of records, or as its script says:
 *
 *	fakens_script(ns, "x.test", "drop servfail spoof");
 *
 * The first UDP question about x.test is dropped, the second gets SERVFAIL,
 * the third some forged packets and then the true answer; all others are
 * answered. "*" behind an action: for ever. Actions: answer, drop, servfail,
 * refused, formerr, lame, tc (truncated: ask by TCP), tcservfail (and SERVFAIL
 * there), tcclose (and then end of file), tcwrong (and the answer to another
 * question), spoof, broken, noedns (FORMERR if the question has EDNS).
 */
#ifndef TESTS_UNIT_DELIVERY_FAKENS_H
#define TESTS_UNIT_DELIVERY_FAKENS_H

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct fakens;

struct fakens *fakens_new(struct event_base *base);
void fakens_free(struct fakens **ns);
uint16_t fakens_port(const struct fakens *ns);
/* Records as in a zone file, one a line, names absolute; added to those that
 * are there. Below a SOA answers are authoritative; CNAMEs are followed if
 * their target has records. */
void fakens_zone(struct fakens *ns, const char *text);
void fakens_script(struct fakens *ns, const char *name, const char *actions);
/* UDP and TCP questions so far. */
unsigned fakens_udp(const struct fakens *ns);
unsigned fakens_tcp(const struct fakens *ns);
/* Different source ports, different ids of the first UDP questions. */
unsigned fakens_ports(const struct fakens *ns);
unsigned fakens_ids(const struct fakens *ns);

#endif

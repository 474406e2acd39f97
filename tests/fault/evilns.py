# SPDX-License-Identifier: ISC
"""A zoo of name servers: how each answers questions about its domain, and what
has to become of mail for it. Used by test_evil_dns.

A zone is a function of (question, connection): it returns packets, or None
where it did the sending itself. Two servers are asked; both are evil, but for
the zones with second=True, where the second one is honest. want is the kind of
accounting record and a pattern, as in evil.py."""
import asyncio
import os
import random
import struct

import net
from net import (A, AAAA, CNAME, MX, NS, OPT, name_wire, rr, rr_a, rr_cname,
                 rr_mx, rr_soa)

HERE, TRAP = "127.0.0.1", "127.66.6.6"


def honest(q, zone="test"):
    """No MX, an address."""
    if q.type == A:
        return q.answer([rr_a(q.wire[:-4], HERE)])
    return q.answer(ns=[rr_soa(zone)])


def opt(version=0, rcode=0, size=1232):
    return b"\0" + struct.pack(">HHBBHH", OPT, size, rcode, version, 0, 0)


class Zone:
    def __init__(self, name, want, answer, tcp=None, second=False,
                 exact=True):
        self.name, self.want, self.answer, self.tcp = name, want, answer, tcp
        self.second = second
        self.exact = exact      # no other kinds of records may come
        self.asked = 0
        self.label = None

    @property
    def domain(self):
        return self.label + ".test"


def always(fn):
    """One packet made of the question."""
    return lambda q, c: [fn(q)]


def mx_only(fn):
    """To questions about MX; the others are answered honestly."""
    return lambda q, c: [fn(q) if q.type == MX else honest(q)]


def a_only(fn):
    return lambda q, c: [fn(q) if q.type == A else honest(q)]


def rcode(n):
    return always(lambda q: q.answer(rcode=n))


def junk_then(*packets):
    """Packets that are no answers, then the honest one."""
    return lambda q, c: [p(q) for p in packets] + [honest(q)]


def poison(q, qid=None, question=None, **kw):
    return q.answer([rr_a(q.wire[:-4], TRAP)] if q.type == A else
                    [rr_mx(q.wire[:-4], "trap.test")], qid=qid,
                    question=question, **kw)


def other_id(q):
    return poison(q, qid=q.id ^ 0x5555)


def other_name(q):
    return poison(q, question=name_wire("other.test") + q.wire[-4:])


def other_type(q):
    return poison(q, question=q.wire[:-4] + struct.pack(">HH", 99, 1))


def flood_ids(q):
    return [poison(q, qid=random.randrange(65536)) for _ in range(1500)]


def spoofed(q, c):
    """From sockets that nobody asked."""
    c.from_elsewhere(poison(q))
    return [honest(q)]


async def later(q, c, seconds, packet):
    await asyncio.sleep(seconds)
    c.send(packet)


def slow(seconds):
    def do(q, c):
        asyncio.ensure_future(later(q, c, seconds, honest(q)))
        return []
    return do


def truncated(q, c):
    return [q.answer(flags=0x8780)]


def chain_in_packet(n, last=None):
    def make(q):
        zone = q.name.split(".", 1)[-1] if q.name.count(".") > 1 else q.name
        names = [q.name] + [f"c{i}.{zone}" for i in range(n)]
        an = [rr_cname(a, b) for a, b in zip(names, names[1:])]
        if q.type == A:
            an.append(rr_a(names[-1], HERE))
        return q.answer(an, ns=[] if q.type == A else [rr_soa(zone)])
    return make


def chain_of_packets(n):
    """Each answer leads one name on; the nth name has an address."""
    def make(q):
        first = q.name.split(".")[0]
        at = int(first[1:]) if first[0] == "c" and first[1:].isdigit() else 0
        zone = q.name.split(".", 1)[1] if at else q.name
        if at >= n:
            return honest(q)
        return q.answer([rr_cname(q.name, f"c{at + 1}.{zone}")])
    return make


def raw_answer(owner, tail=b""):
    """One record whose owner is these bytes."""
    def make(q):
        return q.answer([owner(q) + struct.pack(">HHIH", q.type, 1, 60, 4)
                         + bytes(4) + tail])
    return make


def at_answer(q):
    return 12 + len(q.wire)


def ptr(at):
    return struct.pack(">H", 0xc000 | at)


def pointer_chain(q):
    """200 pointers, each to the one before; the last is used."""
    base = at_answer(q) + 11
    blob = b"".join(ptr(base + 2 * (i - 1) if i else 12) for i in range(200))
    return q.answer([b"\0" + struct.pack(">HHIH", 99, 1, 60, len(blob)) + blob,
                     ptr(base + 398) + struct.pack(">HHIH", q.type, 1, 60, 4)
                     + bytes(4)], counts=(1, 2, 0, 0))


def long_name(q):
    return b"".join(b"\x3f" + b"n" * 63 for _ in range(5)) + b"\0"


def mx_rdata(data):
    return mx_only(lambda q: q.answer([rr(q.wire[:-4], MX, data)]))


def many_mx(q):
    return q.answer([rr_mx(q.name, f"m{i}.{q.name}", i) for i in range(500)])


def big_a(q):
    if q.type != A:
        return honest(q)
    n = (65000 - 12 - len(q.wire)) // 16
    return q.answer([ptr(12) + struct.pack(">HHIH", A, 1, 60, 4)
                     + bytes([127, 0, 0, 1])] * n)


def mixed_case(q, c):
    up = bytes(b ^ 32 if 97 <= b <= 122 and i % 2 else b
               for i, b in enumerate(q.wire[:-4])) + q.wire[-4:]
    if q.type == MX:
        return [q.answer([rr_mx(up[:-4], "MX." + q.name.upper())],
                         question=up)]
    return [q.answer([rr_a(up[:-4], HERE)] if q.type == A else [],
                     ns=[] if q.type == A else [rr_soa("test")], question=up)]


def with_extra(q):
    """Records that nobody asked for, about names that others will ask."""
    lies = [rr_a("victim.test", TRAP), rr_mx("victim.test", "trap.test"),
            rr_a("mx.victim.test", TRAP), rr_a("test", TRAP),
            rr_cname("victim.test", "trap.test")]
    if q.type == MX:
        return q.answer([rr_mx(q.name, "mx." + q.name)] + lies, lies, lies)
    return q.answer([rr_a(q.name, HERE)] + lies if q.type == A else [],
                    [rr_soa("test")] + lies, lies)


def other_class(q):
    return q.answer([rr(q.name, q.type, bytes(4), cls=3)])


def other_owner(q):
    return q.answer([rr_a("stranger.test", TRAP),
                     rr_mx("stranger.test", "trap.test")])


def referral(q):
    return q.answer(ns=[rr("test", NS, name_wire("ns.test"))],
                    ad=[rr_a("ns.test", TRAP)], flags=0x8100)


# ---- TCP: what comes after the truncated answer ----

async def tcp_never(q, w):
    await asyncio.sleep(3600)


async def tcp_close(q, w):
    pass


async def tcp_rst(q, w):
    w.transport.abort()


def tcp_bytes(fn, wait=True):
    async def do(q, w):
        w.write(fn(q))
        await w.drain()
        if wait:
            await asyncio.sleep(3600)
    return do


def framed(packet):
    return struct.pack(">H", len(packet)) + packet


async def tcp_drip(q, w):
    for b in framed(honest(q)):
        w.write(bytes([b]))
        await w.drain()
        await asyncio.sleep(1)


async def tcp_cnames(q, w):
    await asyncio.sleep(4)
    w.write(framed(chain_of_packets(7)(q)))
    await w.drain()


async def tcp_pieces(q, w):
    for b in framed(honest(q)):
        w.write(bytes([b]))
        await w.drain()
        await asyncio.sleep(0.005)


async def tcp_flood(q, w):
    while True:
        w.write(bytes(65536))
        await w.drain()


TEMP = ("tq", "4.4.3")
GOOD = ("d", "^2")
GONE = ("b", "5.1.2")


def rcodes():
    return [
        Zone("servfail", TEMP, rcode(2)),
        Zone("refused", TEMP, rcode(5)),
        Zone("notimp", TEMP, rcode(4)),
        Zone("formerr", TEMP, rcode(1)),
        Zone("rcode-15", TEMP, rcode(15)),
        Zone("servfail-with-records", TEMP,
             always(lambda q: poison(q, rcode=2))),
        Zone("formerr-to-edns", GOOD, lambda q, c: [
            q.answer(rcode=1) if q.edns else honest(q)]),
        Zone("notimp-to-edns", GOOD, lambda q, c: [
            q.answer(rcode=4) if q.edns else honest(q)]),
        Zone("badvers", TEMP, always(
            lambda q: q.answer(ad=[opt(rcode=1)]))),
        Zone("nxdomain", GONE, always(
            lambda q: q.answer(ns=[rr_soa("test")], rcode=3))),
        Zone("nxdomain-no-soa", GONE, rcode(3)),
        Zone("nxdomain-for-mx-only", GONE, mx_only(
            lambda q: q.answer(ns=[rr_soa("test")], rcode=3))),
        Zone("nodata", GONE, always(lambda q: q.answer(ns=[rr_soa("test")]))),
        Zone("lame", TEMP, always(referral)),
        Zone("lame-empty", TEMP, always(lambda q: q.answer(flags=0x8100))),
        Zone("opcode-5", TEMP, always(lambda q: poison(q, flags=0xa980))),
        Zone("not-a-response", TEMP, always(lambda q: poison(q,
                                                             flags=0x0100))),
    ]


def silence():
    return [
        Zone("silent", TEMP, lambda q, c: []),
        Zone("slow-2s", GOOD, slow(2), exact=False),
        Zone("slow-4s", GOOD, slow(4), exact=False),
        Zone("slow-40s", TEMP, slow(40)),
        Zone("silent-to-a", TEMP, lambda q, c: [] if q.type != MX
             else [honest(q)]),
        Zone("silent-to-aaaa", GOOD, lambda q, c: [] if q.type == AAAA
             else [honest(q)], exact=False),
    ]


def spoofs():
    return [
        Zone("wrong-id", TEMP, always(other_id)),
        Zone("wrong-id-then-right", GOOD, junk_then(other_id)),
        Zone("wrong-name", TEMP, always(other_name)),
        Zone("wrong-name-then-right", GOOD, junk_then(other_name)),
        Zone("wrong-type-then-right", GOOD, junk_then(other_type)),
        Zone("no-question", TEMP, always(lambda q: poison(q, question=b""))),
        Zone("two-questions", TEMP, always(lambda q: poison(
            q, question=q.wire * 2, counts=(2, 1, 0, 0)))),
        Zone("other-address-and-port", GOOD, spoofed),
        Zone("flood-of-ids", GOOD, lambda q, c: flood_ids(q) + [honest(q)],
             exact=False),
        Zone("junk-then-right", GOOD, junk_then(
            lambda q: b"", lambda q: b"x", lambda q: bytes(11),
            lambda q: bytes(512), lambda q: b"\xff" * 512,
            lambda q: q.answer()[:14], lambda q: os.urandom(300))),
        Zone("only-junk", TEMP, lambda q, c: [
            b"", b"x", bytes(512), b"\xff" * 512]),
        Zone("answer-50-times", GOOD, lambda q, c: [honest(q)] * 50),
        Zone("extra-records", GOOD, always(with_extra)),
        Zone("victim", GOOD, always(honest)),
        Zone("stranger-only", TEMP, always(other_owner)),
        Zone("class-chaos", TEMP, always(other_class)),
        Zone("ad-bit", GOOD, lambda q, c: [
            honest(q)[:3] + b"\xa0" + honest(q)[4:]]),
    ]


def names():
    return [
        Zone("cname-self", TEMP, always(
            lambda q: q.answer([rr_cname(q.name, q.name)]))),
        Zone("cname-loop", TEMP, always(
            lambda q: q.answer([rr_cname(q.name, "l." + q.name),
                                rr_cname("l." + q.name, q.name)]))),
        Zone("cname-20", TEMP, always(chain_in_packet(20))),
        Zone("cname-5", GOOD, always(chain_in_packet(5))),
        Zone("cname-packets-20", TEMP, always(chain_of_packets(20))),
        Zone("cname-packets-5", GOOD, always(chain_of_packets(5))),
        Zone("cname-to-root", TEMP, always(
            lambda q: q.answer([rr_cname(q.name, ".")]))),
        Zone("pointer-to-itself", TEMP, always(
            raw_answer(lambda q: ptr(at_answer(q))))),
        Zone("pointer-forward", TEMP, always(
            raw_answer(lambda q: ptr(at_answer(q) + 12), name_wire("x.y")))),
        Zone("pointer-pair", TEMP, always(
            raw_answer(lambda q: b"\1a" + ptr(at_answer(q))))),
        Zone("pointer-to-header", TEMP, always(raw_answer(lambda q: ptr(2)))),
        Zone("pointer-past-end", TEMP, always(
            raw_answer(lambda q: ptr(0x3fff)))),
        Zone("pointer-chain-200", TEMP, always(pointer_chain)),
        Zone("label-type-40", TEMP, always(raw_answer(lambda q: b"\x41x\0"))),
        Zone("label-type-80", TEMP, always(raw_answer(lambda q: b"\x81x\0"))),
        Zone("name-321", TEMP, always(raw_answer(long_name))),
    ]


def shapes():
    return [
        Zone("ancount-65535", TEMP, always(lambda q: q.answer(
            [rr_a(q.name, HERE)], counts=(1, 65535, 0, 0)))),
        Zone("nscount-65535", TEMP, always(lambda q: q.answer(
            [rr_a(q.name, HERE)], counts=(1, 1, 65535, 0)))),
        Zone("arcount-1", TEMP, always(lambda q: q.answer(
            [rr_a(q.name, HERE)], counts=(1, 1, 0, 1)))),
        Zone("cut-record", TEMP, a_only(lambda q: honest(q)[:-2])),
        Zone("mx-2-bytes", TEMP, mx_rdata(b"\0\1")),
        Zone("mx-0-bytes", TEMP, mx_rdata(b"")),
        Zone("mx-trailing", TEMP, mx_rdata(b"\0\1\2mx\0junk")),
        Zone("mx-cut-name", TEMP, mx_rdata(b"\0\1\x20mx")),
        Zone("a-3-bytes", TEMP, a_only(lambda q: q.answer(
            [rr(q.name, A, b"\x7f\0\0")]))),
        Zone("a-5-bytes", TEMP, a_only(lambda q: q.answer(
            [rr(q.name, A, b"\x7f\0\0\1\1")]))),
        Zone("aaaa-15-bytes", GOOD, lambda q, c: [
            q.answer([rr(q.name, AAAA, bytes(15))]) if q.type == AAAA
            else honest(q)]),
        Zone("rdlength-65535", TEMP, a_only(lambda q: q.answer(
            [name_wire(q.name) + struct.pack(">HHIH", A, 1, 60, 65535)
             + bytes(4)]))),
        Zone("udp-64k", GOOD, always(big_a)),
        Zone("mx-500", GOOD, mx_only(many_mx)),
        Zone("duplicates", GOOD, lambda q, c: [
            q.answer([rr_mx(q.name, "mx." + q.name)] * 20) if q.type == MX
            else q.answer([rr_a(q.name, HERE)] * 30) if q.type == A
            else honest(q)]),
        Zone("ttl-0", GOOD, lambda q, c: [
            q.answer([rr_a(q.name, HERE, 0)]) if q.type == A else
            q.answer(ns=[rr_soa("test", 0)])]),
        Zone("ttl-negative", GOOD, a_only(lambda q: q.answer(
            [rr_a(q.name, HERE, 0xffffffff)]))),
        Zone("ttl-2-31", GOOD, a_only(lambda q: q.answer(
            [rr_a(q.name, HERE, 0x80000000)]))),
        Zone("mixed-case", GOOD, mixed_case),
        Zone("opt-twice", GOOD, lambda q, c: [
            q.answer([rr_a(q.name, HERE)] if q.type == A else [],
                     [] if q.type == A else [rr_soa("test")],
                     [opt(), opt()])]),
        Zone("opt-version-255", GOOD, lambda q, c: [
            q.answer([rr_a(q.name, HERE)] if q.type == A else [],
                     [] if q.type == A else [rr_soa("test")],
                     [opt(version=255)])]),
    ]


def mail_hosts():
    return [
        Zone("null-mx", ("b", "5.1.10"), mx_only(
            lambda q: q.answer([rr_mx(q.name, ".", 0)]))),
        Zone("null-mx-and-others", GOOD, mx_only(
            lambda q: q.answer([rr_mx(q.name, ".", 0),
                                rr_mx(q.name, "mx." + q.name, 5)]))),
        Zone("mx-to-cname", GOOD, lambda q, c: [
            q.answer([rr_mx(q.name, "mx." + q.name)]) if q.type == MX else
            q.answer([rr_cname(q.name, "real.test")])
            if q.name.startswith("mx.") else honest(q)]),
        Zone("mx-to-address-text", ("b", "5.4.4"), mx_only(
            lambda q: q.answer([rr_mx(q.name, HERE)]))),
        Zone("mx-to-itself", GOOD, mx_only(
            lambda q: q.answer([rr_mx(q.name, q.name)]))),
        Zone("mx-to-nowhere", ("b", "5.4.4"), lambda q, c: [
            q.answer([rr_mx(q.name, "no." + q.name)]) if q.type == MX else
            q.answer(ns=[rr_soa("test")], rcode=3)]),
        Zone("mx-servfail-host", TEMP, lambda q, c: [
            q.answer([rr_mx(q.name, "mx." + q.name)]) if q.type == MX else
            q.answer(rcode=2)]),
        Zone("mx-of-bytes", ("b", "5.4.4"), mx_rdata(
            b"\0\1\3\xff\0\n\4test\0")),
        Zone("address-0", GONE, a_only(
            lambda q: q.answer([rr_a(q.name, "0.0.0.0")])), exact=False),
        Zone("address-multicast", GONE, a_only(
            lambda q: q.answer([rr_a(q.name, "224.0.0.1"),
                                rr_a(q.name, "255.255.255.255")])),
             exact=False),
    ]


def over_tcp():
    t = truncated
    return [
        Zone("tcp-good", GOOD, t, tcp_bytes(lambda q: framed(honest(q)))),
        Zone("tcp-pieces", GOOD, t, tcp_pieces),
        Zone("tcp-truncated-too", GOOD, t, tcp_bytes(lambda q: framed(
            honest(q)[:2] + b"\x87" + honest(q)[3:]))),
        Zone("tcp-64k", GOOD, t, tcp_bytes(lambda q: framed(big_a(q)))),
        Zone("tcp-never", TEMP, t, tcp_never),
        Zone("tcp-close", TEMP, t, tcp_close),
        Zone("tcp-rst", TEMP, t, tcp_rst),
        Zone("tcp-drip", TEMP, t, tcp_drip),
        # each step takes less than the cap of one connection
        Zone("tcp-slow-cnames", TEMP, t, tcp_cnames),
        Zone("tcp-length-65535", TEMP, t, tcp_bytes(
            lambda q: b"\xff\xff" + honest(q))),
        Zone("tcp-length-0", TEMP, t, tcp_bytes(lambda q: b"\0\0")),
        Zone("tcp-length-5", TEMP, t, tcp_bytes(lambda q: b"\0\5xxxxx")),
        Zone("tcp-one-byte", TEMP, t, tcp_bytes(lambda q: b"\0", False)),
        Zone("tcp-flood", TEMP, t, tcp_flood),
        Zone("tcp-wrong-id", TEMP, t, tcp_bytes(
            lambda q: framed(other_id(q)))),
        Zone("tcp-servfail", TEMP, t, tcp_bytes(
            lambda q: framed(q.answer(rcode=2)))),
    ]


def second_is_honest():
    out = []
    for name, fn, tcp in (
            ("servfail", rcode(2), None), ("silent", lambda q, c: [], None),
            ("lame", always(referral), None),
            ("broken", always(raw_answer(lambda q: ptr(0x3fff))), None),
            ("stranger", always(other_owner), None),
            ("cname-loop", always(
                lambda q: q.answer([rr_cname(q.name, q.name)])), None),
            ("tcp-never", truncated, tcp_never)):
        out.append(Zone("second-honest-" + name, GOOD, fn, tcp, second=True,
                        exact=False))
    return out


def zoo():
    return (rcodes() + silence() + spoofs() + names() + shapes()
            + mail_hosts() + over_tcp() + second_is_honest())

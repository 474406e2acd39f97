# SPDX-License-Identifier: ISC
"""What the tests of a lying network share: DNS packets, gauges of processes,
an SMTP client for many messages, and messages that the receiver can judge."""
import asyncio
import socket
import struct
import time

import procfs
from crc32c import crc32c
from harness import is_sanitized

A, NS, CNAME, SOA, MX, TXT, AAAA, OPT = 1, 2, 5, 6, 15, 16, 28, 41


# ---- DNS packets ----

def name_wire(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode()
    return out + b"\0"


def rr(name, rtype, data, ttl=60, cls=1):
    if isinstance(name, str):
        name = name_wire(name)
    return name + struct.pack(">HHIH", rtype, cls, ttl, len(data)) + data


def rr_a(name, ip, ttl=60):
    return rr(name, A, socket.inet_aton(ip), ttl)


def rr_mx(name, host, pref=10, ttl=60):
    return rr(name, MX, struct.pack(">H", pref) + name_wire(host), ttl)


def rr_cname(name, target, ttl=60):
    return rr(name, CNAME, name_wire(target), ttl)


def rr_soa(zone, ttl=60):
    return rr(zone, SOA, name_wire("ns." + zone) + name_wire("h." + zone)
              + struct.pack(">5I", 1, 60, 60, 60, ttl), ttl)


class Question:
    """A query as it came in."""

    def __init__(self, packet):
        self.id, self.flags, _, _, _, nadd = struct.unpack(
            ">6H", packet[:12])
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin1"))
            at += 1 + packet[at]
        self.name = ".".join(labels).lower()
        self.type, = struct.unpack(">H", packet[at + 1:at + 3])
        self.wire = packet[12:at + 5]
        self.edns = nadd > 0

    def answer(self, an=(), ns=(), ad=(), rcode=0, flags=0x8580, qid=None,
               question=None, counts=None):
        """A packet; flags: QR, AA, RD, RA unless told otherwise."""
        q = self.wire if question is None else question
        c = counts or (1 if q else 0, len(an), len(ns), len(ad))
        return (struct.pack(">6H", self.id if qid is None else qid,
                            flags | rcode, *c)
                + q + b"".join(an) + b"".join(ns) + b"".join(ad))


def filled(text, **values):
    """text with @NAME@ replaced."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


async def in_thread(fn, *args):
    return await asyncio.get_running_loop().run_in_executor(None, fn, *args)


# ---- processes ----

PROGRAMS = ("pinnace-smtpd", "pinnace-smtp", "pinnace-qmgr",
            "pinnace-resolver")


class Gauge:
    """Pids, sockets and memory of an instance's processes."""

    def __init__(self, inst):
        self.inst = inst
        self.pids = {p: inst.pids(p) for p in PROGRAMS}
        self.sockets = self.settled()
        self.rss = self.now(procfs.kib)

    def settled(self):
        """After a start channels come one after the other."""
        seen = self.now(procfs.sockets)
        for _ in range(40):
            time.sleep(0.3)
            before, seen = seen, self.now(procfs.sockets)
            if before == seen:
                break
        return seen

    def now(self, fn):
        return {p: [fn(pid) for pid in pids]
                for p, pids in self.pids.items()}

    def same_pids(self):
        return all(self.inst.pids(p) == pids
                   for p, pids in self.pids.items())

    def grown_sockets(self):
        """{program: [more than at the start, ...]} where there are more."""
        now = self.now(procfs.sockets)
        more = {p: [b - a for a, b in zip(self.sockets[p], now[p])]
                for p in now}
        return {p: m for p, m in more.items() if any(x > 0 for x in m)}

    def grown_mib(self):
        now = self.now(procfs.kib)
        return {p: max((b - a) / 1024 for a, b in zip(self.rss[p], now[p]))
                for p in now}


def check_memory(t, gauge, limits):
    """limits: MiB by program."""
    grown = gauge.grown_mib()
    print("memory grown, MiB: " + ", ".join(
        f"{p} {m:.1f}" for p, m in grown.items()))
    if is_sanitized():
        # ASan keeps what was freed: memory says nothing there
        print("not judged, with AddressSanitizer")
        return
    over = {p: m for p, m in grown.items() if m >= limits.get(p, 1 << 30)}
    t.check(not over, f"memory is bounded ({over})")


def orderly_stop(t, inst):
    inst.stop()
    t.check(inst.proc.returncode == 0, "an orderly stop")
    with open(inst.dir + "/stderr", errors="replace") as f:
        said = f.read() + inst.log_text()
    at = said.find("Sanitizer")
    t.check(at < 0, "no sanitizer complains "
            + said[max(0, at - 100):at + 2000] if at >= 0 else
            "no sanitizer complains")


def held_by_peers(ports, of_peer):
    """Connections that Pinnace has closed and a peer keeps from ending by
    reading nothing: FIN-WAIT-1, with one of the ports on the peer's or on our
    side."""
    got = set()
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            w = line.split()
            if w[3] == "04" and int(w[2 if of_peer else 1].split(":")[1],
                                    16) in ports:
                got.add((w[1], w[2]))
    return got


async def check_held(t, ports, of_peer):
    held = held_by_peers(ports, of_peer)
    for _ in range(3):
        await asyncio.sleep(0.5)
        held &= held_by_peers(ports, of_peer)
    t.check(not held, f"no peer holds a connection that is over "
            f"({len(held)})")


# ---- messages ----

_sums = {}


def message(mid, body=b"one line\r\n..with dots\r\nend\r\n"):
    """What goes between DATA and the dot, which the receiver can judge; body
    has its dots stuffed."""
    if body not in _sums:
        _sums[body] = crc32c(body.replace(b"\r\n.", b"\r\n"))
    return (b"X-Bench-ID: %s\r\nX-Bench-Sum: %08x\r\n\r\n%s"
            % (mid.encode(), _sums[body], body))


class Submitter:
    """A connection that submits one message after another."""

    def __init__(self, port):
        self.port = port
        self.w = None

    async def reply(self):
        while True:
            line = await self.r.readline()
            if line[3:4] != b"-":
                return line

    async def send(self, mid, rcpts, text=None, sender="a@from.test"):
        """The final reply. text: all of the message, dots stuffed."""
        if self.w is None:
            self.r, self.w = await asyncio.open_connection(
                "127.0.0.1", self.port)
            self.w.write(b"EHLO c.test\r\n")
            for _ in range(2):
                await self.reply()
        ahead = f"MAIL FROM:<{sender}>\r\n"
        ahead += "".join(f"RCPT TO:<{r}>\r\n" for r in rcpts)
        self.w.write(ahead.encode() + b"DATA\r\n")
        for _ in range(len(rcpts) + 2):
            last = await self.reply()
        if not last.startswith(b"354"):
            return last
        self.w.write((text or message(mid)) + b".\r\n")
        return await self.reply()

    def close(self):
        if self.w is not None:
            self.w.close()
        self.w = None

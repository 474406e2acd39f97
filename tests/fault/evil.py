# SPDX-License-Identifier: ISC
"""A zoo of SMTP servers that break every rule: what each says at which stage,
and what has to become of the mail. Used by test_evil_servers.

A server is a usual one but for the stages in `does`: banner, ehlo, helo, mail,
rcpt, data, body (instead of reading it), dot, rset, quit. There it sends these
bytes, or calls this function with the connection.

`want` maps kinds of accounting records (d delivered, b bounced, t a deferred
recipient, tq a deferred queue) to a pattern for "STATUS DIAGNOSTIC"; all these
must come, and no kinds but these and those of `also`. doubt: recipients are
marked in doubt: True, False, or None for either. within: the first record
must be there after so many seconds."""
import asyncio
import os
import random
import re
import socket
import struct

TCP_BUFFER = 4096


class Gone(Exception):
    pass


class Conn:
    """One connection of Pinnace to a server of the zoo."""

    def __init__(self, server, reader, writer):
        self.server, self.r, self.w = server, reader, writer
        self.rcpts = []
        self.verb_no = 0

    async def send(self, data):
        try:
            self.w.write(data)
            await self.w.drain()
        except (OSError, ConnectionError):
            raise Gone()

    async def drip(self, data, pause):
        for i in range(len(data)):
            await self.send(data[i:i + 1])
            await asyncio.sleep(pause)

    async def flood(self, data, times=1 << 40):
        for _ in range(times):
            await self.send(data)
            self.server.flooded += len(data)

    async def line(self):
        try:
            got = await self.r.readline()
        except (OSError, ConnectionError, ValueError):
            raise Gone()
        if not got:
            raise Gone()
        return got

    async def rst(self):
        s = self.w.get_extra_info("socket")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     struct.pack("ii", 1, 0))
        self.w.transport.abort()
        raise Gone()

    async def close(self):
        self.w.close()
        raise Gone()

    async def half(self):
        self.w.write_eof()
        while await self.r.read(65536):
            pass
        raise Gone()

    async def never(self):
        """Says no more, reads on; ends when the other side has."""
        while True:
            if not await self.r.read(65536):
                raise Gone()

    async def stop_reading(self):
        await asyncio.sleep(3600)


class Server:
    def __init__(self, name, want, also=(), doubt=False, messages=1, rcpts=1,
                 size=0, pipelining=True, retried=None, conf="", ehlo=b"",
                 within=None, addresses=1, **does):
        self.name, self.want, self.does = name, want, does
        self.kinds = set(want) | set(also)
        self.doubt, self.conf, self.within = doubt, conf, within
        self.addresses = addresses
        self.messages, self.rcpts, self.size = messages, rcpts, size
        self.ehlo = ehlo or (b"250-evil.test\r\n" + (
            b"250-PIPELINING\r\n" if pipelining else b"") + b"250 8BITMIME\r\n")
        self.retried = bool({"t", "tq"} & set(want)) if retried is None \
            else retried
        self.connections = self.open = self.flooded = 0
        self.taken = set()      # recipients whose dot was seen
        self.lone_dots = 0
        self.port = None

    async def act(self, c, stage, usual):
        do = self.does.get(stage, usual)
        if isinstance(do, bytes):
            await c.send(do)
        elif do is not None:
            await do(c)

    async def body(self, c):
        n = 0
        while True:
            line = await c.line()
            if line == b".\r\n":
                break
            n += 1
        self.taken.update(c.rcpts)
        self.lone_dots += n == 0
        await self.act(c, "dot", b"250 2.0.0 taken\r\n")

    async def verb(self, c, line):
        verb = line.split()[0].decode("latin1").lower() if line.split() \
            else ""
        m = re.search(rb"<(.*?)>", line)
        c.arg = m.group(1).decode() if m else ""
        if verb == "mail":
            c.rcpts = []
        usual = {"ehlo": self.ehlo, "helo": b"250 evil.test\r\n",
                 "data": b"354 go on\r\n", "quit": b"221 bye\r\n"}
        if verb == "rcpt" and "rcpt" not in self.does:
            c.rcpts.append(c.arg)
        await self.act(c, verb, usual.get(verb, b"250 2.1.0 ok\r\n"))
        if verb == "data" and c.rcpts is not None:
            done = self.does.get("data")
            if not isinstance(done, bytes) or done[:3] == b"354":
                if "body" in self.does:
                    await self.does["body"](c)
                await self.body(c)
        if verb == "quit":
            await c.close()

    async def serve(self, reader, writer):
        c = Conn(self, reader, writer)
        self.connections += 1
        self.open += 1
        try:
            await self.act(c, "banner", b"220 evil.test ESMTP\r\n")
            while True:
                await self.verb(c, await c.line())
        except (Gone, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def start(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TCP_BUFFER)
        s.bind(("127.0.0.1" if self.addresses == 1 else "", 0))
        self.port = s.getsockname()[1]
        self.listener = await asyncio.start_server(
            self.serve, sock=s, limit=TCP_BUFFER)

    def stop(self):
        self.listener.close()

    def hosts(self):
        """The value of smtp-hosts."""
        return ";".join(f"[127.0.0.{i + 1}]:{self.port}"
                        for i in range(self.addresses))


class Refused(Server):
    """Nobody listens."""

    async def start(self):
        self.s = socket.socket()
        self.s.bind(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.connections = 2   # cannot be counted

    def stop(self):
        self.s.close()


class Blackhole(Server):
    """SYNs are dropped: the queue of the listening socket is full."""

    async def start(self):
        self.s = socket.socket()
        self.s.bind(("127.0.0.1", 0))
        self.s.listen(0)
        self.port = self.s.getsockname()[1]
        self.fill = []
        for _ in range(4):
            f = socket.socket()
            f.setblocking(False)
            f.connect_ex(("127.0.0.1", self.port))
            self.fill.append(f)
        self.connections = 2

    def stop(self):
        for f in self.fill + [self.s]:
            f.close()


# ---- what they do ----

def then(data, what):
    """Bytes, then a method of the connection."""
    async def do(c):
        await c.send(data)
        await getattr(c, what)()
    return do


def only(what):
    async def do(c):
        await getattr(c, what)()
    return do


def drip(data, pause):
    async def do(c):
        await c.drip(data, pause)
    return do


def flood(data, times=1 << 40):
    async def do(c):
        await c.flood(data, times)
        await c.never()
    return do


def pieces(*parts, pause=0.1):
    async def do(c):
        for p in parts:
            await c.send(p)
            await asyncio.sleep(pause)
    return do


def slow(data, pause):
    async def do(c):
        await asyncio.sleep(pause)
        await c.send(data)
    return do


async def rcpt_half(c):
    if int(c.arg.split("r")[1].split("m")[0]) % 2:
        await c.send(b"450 4.2.1 not now\r\n")
    else:
        c.rcpts.append(c.arg)
        await c.send(b"250 2.1.5 ok\r\n")


async def rcpt_first_bad(c):
    if "m0@" in c.arg:
        await c.send(b"550 5.1.1 no such user\r\n")
    else:
        c.rcpts.append(c.arg)
        await c.send(b"250 2.1.5 ok\r\n")


async def rcpt_some_lost(c):
    """Every second answer is missing."""
    c.verb_no += 1
    if c.verb_no % 2:
        await c.send(b"250 2.1.5 ok\r\n")


async def group_lost(c):
    """PIPELINING was a lie: what came with MAIL is thrown away."""
    await c.r.read(4096)
    await c.send(b"250 2.1.0 ok\r\n")


async def busy_banner(c):
    if c.server.open > 1:
        await c.send(b"421 4.7.0 too many connections\r\n")
        await c.close()
    await c.send(b"220 evil.test\r\n")


async def early(c, reply):
    await c.r.read(2000)
    await c.send(reply)
    await c.stop_reading()


async def read_slowly(c):
    while True:
        await c.r.read(1)
        await asyncio.sleep(1)


def early_reply(reply):
    async def do(c):
        await early(c, reply)
    return do


async def echo(c):
    while True:
        await c.send(await c.line())


async def answers_once(c):
    """421 behind the first message's answer."""
    await c.send(b"250 2.0.0 taken\r\n421 4.3.2 enough\r\n")
    await c.close()


def rcpt_ok(data):
    """Takes the recipient, with these words."""
    async def do(c):
        c.rcpts.append(c.arg)
        await c.send(data)
    return do


BIG = 8 << 20
SEP = b"\r\n"
LOST = "4.4.2|4.5.0|4.3.2"
GARBAGE = bytes(random.Random(3).randrange(256) for _ in range(3000))


def each_stage():
    """Refusals, ends and silence at every stage."""
    out = []
    for code in (b"421", b"450", b"550"):
        text = code + b" " + code[:1] + b".7.1 go away\r\n"
        pat = code.decode()
        hard = code == b"550"
        n = "-" + pat
        queue = {"b": pat} if hard else {"tq": pat}
        mail = {"b": pat} if hard else {"t": pat}
        out += [
            Server("banner" + n, queue, banner=text),
            Server("ehlo-helo" + n, queue, ehlo=text, helo=text)
            if hard else Server("ehlo" + n, queue, ehlo=text),
            Server("mail" + n, mail, also=["tq"], mail=text),
            Server("rcpt" + n, mail, also=["tq"], rcpt=text),
            Server("data" + n, mail, also=["tq"], data=text),
            Server("dot" + n, mail, also=["tq"], dot=text),
            Server("rset" + n, {"b": "550", "d": "250"}, also=["tq"],
                   messages=2, rcpt=rcpt_first_bad, rset=text),
            Server("quit" + n, {"d": "250"}, quit=text),
            Server("lockstep-rcpt" + n, mail, also=["tq"], pipelining=False,
                   rcpt=text),
        ]
    for what in ("close", "rst", "never"):
        n, do = "-" + what, only(what)
        lost = {"t": LOST}
        out += [
            Server("banner" + n, {"tq": LOST}, banner=do),
            Server("ehlo" + n, {"tq": LOST}, ehlo=do),
            Server("mail" + n, lost, also=["tq"], mail=do),
            Server("rcpt" + n, lost, also=["tq"], rcpt=do),
            Server("data" + n, lost, also=["tq"], data=do),
            Server("dot" + n, lost, also=["tq"], doubt=True, dot=do),
            Server("behind-354" + n, lost, also=["tq"], doubt=None,
                   data=then(b"354 go on\r\n", what)),
            Server("quit" + n, {"d": "250"}, quit=do),
        ]
    return out


def not_smtp():
    q = {"tq": "not SMTP"}
    return [
        Server("binary", {"tq": LOST}, banner=flood(GARBAGE, 10)),
        Server("http", q, banner=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Server("ssh", q, banner=b"SSH-2.0-OpenSSH_9.2\r\n"),
        Server("tls", {"tq": LOST},
               banner=then(b"\x15\x03\x01\0\x02\x02\x28", "close")),
        Server("pop3", q, banner=b"+OK ready\r\n"),
        Server("imap", q, banner=b"* OK ready\r\n"),
        Server("ftp", {"b": "530"}, banner=b"220 (vsFTPd 3.0.3)\r\n",
               ehlo=b"530 Please login\r\n", helo=b"530 Please login\r\n"),
        Server("echo", {"tq": "timeout"}, banner=echo),
        Server("chargen", q, banner=flood(b"!\"#$%&'()*+,-./0123456789\r\n")),
        Server("empty-lines", q, banner=flood(SEP)),
        Server("banner-100", q, banner=b"100 hello\r\n"),
        Server("banner-354", {"tq": "unexpected"}, banner=b"354 hello\r\n"),
        Server("banner-999", q, banner=b"999 hello\r\n"),
        Server("mail-2500", {"t": "not SMTP"}, also=["tq"],
               mail=b"2500 ok\r\n"),
    ]


def endless():
    return [
        Server("banner-endless", {"tq": "without end"},
               banner=flood(b"220-hello\r\n")),
        Server("banner-1mb-line", {"tq": "without end"},
               banner=flood(b"220 " + b"x" * (1 << 20))),
        Server("ehlo-million-lines", {"tq": "without end"},
               ehlo=flood(b"250-X" + b"y" * 60 + SEP, 1000000)),
        Server("rcpt-500-lines", {"t": "without end"}, also=["tq"],
               rcpt=b"250-ok\r\n" * 500 + b"250 ok\r\n"),
        Server("banner-no-crlf", {"tq": "timeout"}, banner=b"220 evil.test"),
        Server("banner-bare-cr", {"tq": "timeout"},
               banner=b"220 evil.test\r"),
        Server("mail-unended", {"t": "timeout"}, also=["tq"],
               mail=then(b"250-a\r\n250-b\r\n", "never")),
        Server("quit-endless", {"d": "250"}, quit=flood(b"221-bye\r\n")),
        Server("quit-echo", {"d": "250"}, quit=echo),
        Server("banner-drip", {"tq": "timeout"},
               banner=drip(b"220 " + b"slow" * 50, 0.5)),
        Server("ehlo-drip", {"tq": "timeout"},
               ehlo=drip(b"250-x\r\n" * 200, 0.2)),
        Server("rcpt-drip", {"t": "timeout"}, also=["tq"],
               rcpt=drip(b"250-x\r\n" * 200, 0.2)),
        Server("dot-drip", {"t": LOST}, also=["tq"], doubt=True,
               dot=drip(b"250-x\r\n" * 200, 0.2)),
        Server("rcpts-slow", {"t": "smtp-session-timeout"}, also=["tq"],
               rcpts=60, pipelining=False, rcpt=slow(b"250 ok\r\n", 1)),
        # without a cap ten hosts would be waited for, 2 s each
        Server("many-silent-hosts", {"tq": "timeout"}, addresses=16,
               within=18, banner=only("never")),
        Server("all-slow", {"d": "250"}, also=["t", "tq"], doubt=None,
               mail=slow(b"250 ok\r\n", 0.3), dot=slow(b"250 ok\r\n", 0.3)),
        Server("window-zero", {"t": "timeout"}, also=["tq"], size=BIG,
               body=only("stop_reading")),
        Server("one-byte-a-second", {"t": "timeout"}, also=["tq"], size=BIG,
               body=read_slowly),
    ]


def out_of_step():
    lost = {"t": LOST}
    dot = b"250 2.0.0 taken\r\n"
    out = [
        Server("all-replies-at-once", {"tq": "nothing"},
               banner=b"220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n"
                      b"250 f\r\n"),
        Server("banner-and-250", {"tq": "nothing"},
               banner=b"220 a\r\n250 b\r\n"),
        Server("ehlo-twice", {"tq": "nothing"},
               ehlo=b"250 evil.test\r\n250 evil.test\r\n", retried=True),
        Server("mail-twice", lost, also=["tq"],
               mail=b"250 ok\r\n250 ok\r\n"),
        Server("mail-twice-lockstep", lost, also=["tq"], pipelining=False,
               mail=b"250 ok\r\n250 ok\r\n"),
        Server("mail-twice-later", lost, also=["tq"], pipelining=False,
               mail=pieces(b"250 ok\r\n", b"250 ok\r\n")),
        Server("354-and-250", lost, also=["tq"],
               data=b"354 go on\r\n250 2.0.0 taken\r\n"),
        Server("250-before-dot", lost, also=["tq"], size=BIG,
               body=early_reply(dot)),
        Server("552-before-dot", {"b": "552"}, size=BIG,
               body=early_reply(b"552 5.3.4 too big\r\n")),
        Server("421-before-dot", {"t": "421"}, also=["tq"], size=BIG,
               body=early_reply(b"421 4.3.2 stopping\r\n")),
        Server("data-250", lost, also=["tq"], data=b"250 ok\r\n"),
        Server("dot-twice", {"d": "250"}, also=["t", "tq"], doubt=None,
               messages=4, dot=dot * 2),
        Server("dot-twice-lockstep", {"d": "250"}, also=["t", "tq"],
               messages=4, pipelining=False, dot=dot * 2),
        Server("dot-twice-later", {"d": "250"}, also=["t", "tq"],
               doubt=None, messages=4, dot=pieces(dot, dot)),
        Server("rcpt-answer-lost", lost, also=["tq"], rcpts=4,
               rcpt=rcpt_some_lost),
        Server("group-lost", lost, also=["tq"], mail=group_lost),
        Server("dot-then-rst", {"d": "250"}, also=["t", "tq"], doubt=None,
               messages=3, dot=then(dot, "rst")),
        Server("dot-then-close", {"d": "250"}, also=["t", "tq"], doubt=None,
               messages=3, dot=then(dot, "close")),
        Server("421-behind-dot", {"d": "250"}, also=["tq"], messages=3,
               dot=answers_once),
        Server("ehlo-half-closed", {"tq": LOST}, also=["t"],
               ehlo=then(b"250 evil.test\r\n", "half")),
        Server("354-half-closed", lost, also=["tq"], doubt=None,
               data=then(b"354 go on\r\n", "half")),
        Server("354-nobody", {"b": "550"}, rcpts=3,
               rcpt=b"550 5.1.1 no\r\n"),
        Server("503-nobody", {"b": "550"}, rcpts=3,
               rcpt=b"550 5.1.1 no\r\n", data=b"503 5.5.1 no\r\n"),
        Server("half-accepted", {"d": "250", "t": "450"}, also=["tq"],
               rcpts=4, rcpt=rcpt_half),
    ]
    for code in (b"354", b"300", b"100", b"999", b"2500", b"25", b"yes"):
        out.append(Server("dot-" + code.decode(), lost, also=["tq"],
                          doubt=True, dot=code + b" ok\r\n"))
    return out


def wording():
    esc = (b"550 5.1.1 \x1b[31mred\x1b[0m \x07bell \x00nul \r mid \x9b8m "
           b"\xff\xfe \x7f\r\n")
    return [
        Server("banner-bare-lf", {"d": "250"}, banner=b"220 evil.test\n"),
        Server("no-text", {"d": "250"}, mail=b"250\r\n"),
        Server("escapes", {"b": "550"}, rcpt=esc),
        Server("fake-log-line", {"t": "450"}, also=["tq"],
               rcpt=b"450 4.2.1 x\r2026-01-01T00:00:00.000Z qmgr[0] info: "
                    b"fake\x0b\x0c\x85 line\r\n"),
        Server("csv", {"b": "550"},
               rcpt=b"550 5.1.1 \"a\",=cmd|'/C calc'!A0,\"\"x\r\n"),
        Server("long-words", {"b": "550"},
               rcpt=(b"550-5.1.1 " + b"w" * 2000 + SEP) * 99
                    + b"550 5.1.1 end\r\n"),
        Server("codes-differ-251", {"d": "250"},
               mail=b"250-ok\r\n251 ok\r\n"),
        Server("codes-differ-550", {"t": LOST}, also=["tq"], doubt=True,
               dot=b"250-ok\r\n550 no\r\n"),
        Server("dot-220", {"d": "^2"}, dot=b"220 taken\r\n"),
        Server("250-5.1.1", {"d": "^2"}, dot=b"250 5.1.1 no such user\r\n"),
        Server("550-2.0.0", {"b": "^5"}, rcpt=b"550 2.0.0 ok\r\n"),
        Server("450-5.1.1", {"t": "^4"}, also=["tq"],
               rcpt=b"450 5.1.1 no\r\n"),
        Server("251-elsewhere", {"d": "250"},
               rcpt=rcpt_ok(b"251 will forward to <x@elsewhere.test>\r\n")),
        Server("551-elsewhere", {"b": "551"},
               rcpt=b"551 try <x@elsewhere.test>\r\n"),
        Server("552-rcpt", {"t": "552"}, also=["tq"],
               rcpt=b"552 5.2.2 full\r\n"),
        Server("ehlo-502", {"d": "250"}, ehlo=b"502 5.5.1 no EHLO\r\n"),
        Server("size-1", {"b": "5.3.4"}, ehlo=b"250-x\r\n250 SIZE 1\r\n"),
        Server("size-0", {"d": "250"}, ehlo=b"250-x\r\n250 SIZE 0\r\n"),
        Server("size-words", {"d": "250"},
               ehlo=b"250-x\r\n250-SIZE -1\r\n250 SIZE ten\r\n"),
        Server("size-huge", {"d": "250"},
               ehlo=b"250-x\r\n250 SIZE " + b"9" * 60 + SEP),
        Server("ehlo-90-words", {"d": "250"},
               ehlo=b"250-x\r\n" + b"250-XWORD y=z\r\n" * 90 + b"250 Z\r\n"),
        Server("ehlo-long-word", {"d": "250"},
               ehlo=b"250-x\r\n250 " + b"W" * 3000 + SEP),
        Server("offers-all", {"d": "250"},
               ehlo=b"250-x\r\n250-STARTTLS\r\n250-CHUNKING\r\n250-AUTH LOGIN"
                    b"\r\n250-BINARYMIME\r\n250-PIPELINING\r\n250 DSN\r\n"),
        Server("single-bytes", {"d": "250"},
               banner=drip(b"220 evil.test\r\n", 0.002),
               mail=drip(b"250 2.1.0 ok\r\n", 0.002)),
        Server("our-own-name", {"tq": "4.4.6"},
               ehlo=b"250-EVIL.pinnace.test\r\n250 PIPELINING\r\n"),
        Server("busy", {"d": "250"}, also=["tq"], messages=6,
               banner=busy_banner),
    ]


def zoo():
    return (each_stage() + not_smtp() + endless() + out_of_step() + wording()
            + [Refused("refused", {"tq": "refused"}),
               Blackhole("blackhole", {"tq": "timed out"})])

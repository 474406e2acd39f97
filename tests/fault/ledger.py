# SPDX-License-Identifier: ISC
"""The ledger of the fault tests. It stands outside the spool: every 250 that
was given, every arrival, every DSN, every line of accounting, what `pinnace
list` shows. Ledger.check() compares them after a fault:

    I1  no loss         what got a 250 arrived, was returned, or is queued
    I2  no phantom      nothing arrived that was never accepted
    I3  duplicates      only what was marked in doubt in the log, or sent
                        again by a client that was in doubt itself
    I4  integrity       every body as it was sent
    I5  envelope        NOTIFY, ORCPT, RET, ENVID, BODY, SMTPUTF8 as given
    I6  DSN             one for a failure, none for <> or NOTIFY=NEVER
    I7  cleanliness     a drained instance is as small as a fresh one
    I8  restart         it comes up, and no process ended but by our hand
    I9  accounting      d and b lines equal arrivals and failures; no torn line
    I10 limits          never exceeded, also over a restart; a paused queue
                        does not run

How to use it:

    recv, reports = t.add(Receiver(script=...)), t.add(reports_receiver())
    inst = t.add(Instance(routes(recv, reports, "max-smtp-out 4"))).start()
    led = Ledger(inst, recv, reports)
    led.limit(recv, connections=4)              # I10, optional
    led.baseline()                              # I7, optional; idle instance
    led.generator(path)                         # loadgen --ledger PATH
    led.send(rcpts, size=..., notify=...)       # a message of our own (I5)
    ... faults ...; led.killed() for each kill we did ourselves
    led.settle(60)                              # waits until nothing moves
    led.check(t, "what was done")               # one t.check per invariant
    print(led.line("what was done"))

Rules of the road: a recipient address is used for one message only (loadgen:
--users large enough); the sender's domain is sender.test, so that reports go
to `reports`. check() may be called again and again on the same instance: it
looks at all that has happened so far and reports only new violations.
"""
import collections
import csv
import email
import email.policy
import glob
import io
import os
import re
import signal
import smtplib
import socket
import time

import procfs
from crc32c import crc32c
from harness import Receiver, wait_for

REPORTS_DOMAIN = "sender.test"
RATE_WINDOW_S = 10


_bodies = {}


def _body(size, byte, last):
    """(text of about size bytes, its sum in hex); only the end differs from
    message to message, so that a large one costs its sum once."""
    if (size, byte) not in _bodies:
        lines = (byte * 70 + b"\r\n") * max(1, size // 72)
        _bodies[size, byte] = lines, crc32c(lines)
    lines, sum_ = _bodies[size, byte]
    end = b"." + last + b"\r\n"
    return lines + b"." + end, "%08x" % crc32c(end, sum_)


# ---- what the tests set up ----

def reports_receiver(*options):
    """The receiver that DSNs go to: it keeps them whole."""
    return mbox_receiver(*options)


def mbox_receiver(*options, script=None):
    """A receiver that keeps whole messages and the parameters of MAIL and
    RCPT; with one as the Ledger's recv, I5 is checked."""
    r = Receiver(*options, script=script)
    r.stop()
    r.options += ["--mbox-dir", r.mbox]
    r.start()
    return r


def routes(recv, reports, more=""):
    """Configuration: all mail to recv, reports to reports. more: directives
    for <domain *>."""
    return f"""
<domain *>
  smtp-hosts [127.0.0.1]:{recv.port}
  retry-after 1s
  retry-recipients-after 1s
  {more}
</domain>
<domain {REPORTS_DOMAIN}>
  smtp-hosts [127.0.0.1]:{reports.port}
</domain>
"""


class Tail:
    """The complete lines of a growing file, each once."""

    def __init__(self, path):
        self.path, self.at = path, 0

    def lines(self):
        try:
            with open(self.path, "rb") as f:
                f.seek(self.at)
                data = f.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self.at += end
        return data[:end].decode("utf-8", "backslashreplace").splitlines()


class Given:
    """One message that we handed over, or tried to."""

    def __init__(self, ident, sender, params=None, rcpt_params=None):
        self.id, self.sender = ident, sender
        self.params = params or set()          # of MAIL
        self.rcpt_params = rcpt_params or {}   # rcpt: set, of RCPT
        self.wants_dsn = {}                    # rcpt: bool; default True
        self.sum = None                        # hex, if we know it


class Ledger:
    def __init__(self, inst, recv, reports, eat=False):
        """eat: whole messages that recv keeps are removed when read."""
        self.inst, self.recv, self.reports = inst, recv, reports
        self.eat = eat
        self.generators, self.more = [], []
        self.given = {}                   # id: Given (our own messages)
        self.ok = {}                      # (id, rcpt): [queue ids]
        self.maybe = collections.Counter()  # (id, rcpt): resent in doubt
        self.refused = set()
        self.arrivals = collections.Counter()   # (id, rcpt)
        self.bad = []                     # arrivals whose sum is wrong
        self.strays = []                  # arrivals without an id
        self.seen_params = []             # (id, from-params, {rcpt: params})
        self.dsns = collections.Counter()  # (queue id, rcpt, action)
        self.dsn_ids = {}                 # (queue id, rcpt, action): {msgid}
        self.dsn_to = collections.Counter()     # address: copies
        self.dsn_for_id = collections.Counter()  # (id, rcpt): distinct DSNs
        self.dsn_blind = set()            # (queue id, rcpt), of DSNs without
                                          # the original
        self.blind_may_be = False         # its record could not be read
        self.dsn_wrong = []
        self.doubts = collections.Counter()     # rcpt
        self.blind_doubts = []            # queue ids, of those that qmgr could
                                          # not name, its record unreadable
        self.limits, self.paused = [], {}
        self.base = None
        self.kills = 0
        self.said = set()                 # violations that were reported
        self.tails = {"ids": Tail(recv.ids_path), "log": Tail(inst.log),
                      "reports": Tail(reports.ids_path)}
        self.mail_seen, self.report_seen = 0, 0
        self.deaths = []                  # ends that were not a SIGKILL
        self.excused = set()              # of these, what a test asked for
        self.up_failures = []
        self.number = 0
        self.prefix = f"led{os.getpid()}.{id(self) & 0xffff:x}"

    # ---- giving ----

    def also(self, recv):
        """A further receiver that mail arrives at."""
        self.more.append(Tail(recv.ids_path))

    def generator(self, path):
        """A ledger file of tests/bench/loadgen is part of this one."""
        self.generators.append(Tail(path))

    def send(self, rcpts, size=2000, sender="a@" + REPORTS_DOMAIN,
             notify=None, orcpt=None, ret=None, envid=None, body=None,
             smtputf8=False, tries=30):
        """One message, handed over until it gets an answer: each connection
        that is lost behind the final dot is noted as in doubt. Returns the
        queue ID, or None if it was refused for good or tries ran out."""
        self.number += 1
        ident = f"{self.prefix}-{self.number}"
        # BODY is passed on only where there are bytes that need it
        text, sum_ = _body(size, b"\xe4" if body == "8BITMIME" else b"x",
                           ident.encode())
        head = (f"From: {sender or 'nobody@sender.test'}\r\n"
                f"Subject: {ident}\r\nX-Bench-ID: {ident}\r\n"
                f"X-Bench-Sum: {sum_}\r\n\r\n").encode()
        params = {x for x in (
            ret and "RET=" + ret, envid and "ENVID=" + envid,
            body and "BODY=" + body, smtputf8 and "SMTPUTF8") if x}
        each = {x for x in (notify and "NOTIFY=" + notify,
                            orcpt and "ORCPT=" + orcpt) if x}
        g = self.given[ident] = Given(ident, sender, params,
                                      {r: set(each) for r in rcpts})
        g.sum = sum_
        wants = sender != "" and (notify is None or "FAILURE" in notify)
        g.wants_dsn = {r: wants for r in rcpts}
        for _ in range(tries):
            done, qid = self._try(g, rcpts, head + text)
            if done:
                return qid
            time.sleep(0.1)
        return None

    def _try(self, g, rcpts, data):
        """(final?, queue id)."""
        dot = False
        try:
            with smtplib.SMTP("127.0.0.1", self.inst.port, timeout=30,
                              local_hostname="ledger.test") as s:
                s.ehlo()
                code, _ = s.docmd(f"MAIL FROM:<{g.sender}> "
                                  + " ".join(sorted(g.params)))
                if code != 250:
                    return code >= 500, None
                for r in rcpts:
                    code, _ = s.docmd(f"RCPT TO:<{r}> "
                                      + " ".join(sorted(g.rcpt_params[r])))
                    if code != 250:
                        return code >= 500, None
                code, _ = s.docmd("DATA")
                if code != 354:
                    return code >= 500, None
                dot = True
                s.send(data + b".\r\n")
                code, text = s.getreply()
                if code == 250:
                    qid = text.decode().split()[-1]
                    for r in rcpts:
                        self.ok.setdefault((g.id, r), []).append(qid)
                    return True, qid
                return 500 <= code, None
        except (OSError, smtplib.SMTPException, socket.timeout):
            if dot:
                for r in rcpts:
                    self.maybe[(g.id, r)] += 1
            return False, None

    def killed(self, n=1):
        """We killed so many processes ourselves."""
        self.kills += n

    # ---- limits and pauses ----

    def limit(self, recv, connections=None, per_second=None):
        """recv must never see more connections at once, nor more arrivals
        in any ten seconds than the rate allows in eleven (a restart begins
        with a burst, and what is under way takes its time)."""
        self.limits.append((recv, connections, per_second))

    def unlimit(self):
        """The rates hold no longer; says whether they held until now."""
        bad = self.limits_held()
        self.limits = [(r, c, None) for r, c, _ in self.limits]
        return [("I10 limits", text) for text in bad]

    def pause(self, domain):
        """Pauses a queue, or that of DOMAIN/VMTA, which need not be there yet;
        from its answer on, nothing may arrive for the domain but
        what is under way."""
        self.inst.ctl("pause", "queue", domain)

        def still():
            rows = self.inst.ctl("show", "queues", domain)["data"]
            return not any(r["inflight"] for r in rows)
        wait_for("what is under way for " + domain, still, 30)
        domain = domain.split("/")[0]
        self.paused[domain] = self._count(domain)

    def is_paused(self, rcpt):
        return rcpt.split("@")[1] in self.paused

    def resume(self, domain):
        """Call check() or violations() first: it looks at paused queues."""
        del self.paused[domain.split("/")[0]]
        self.inst.ctl("resume", "queue", domain)

    def _count(self, domain):
        self.read()
        return sum(n for (_, rcpt), n in self.arrivals.items()
                   if rcpt.endswith("@" + domain))

    def _pause_check(self, domain):
        n = self._count(domain) - self.paused[domain]
        return [f"{n} arrived for {domain} while it was paused"] if n else []

    # ---- reading ----

    def read(self):
        """Takes in what is new in all files."""
        for tail in self.generators:
            for line in tail.lines():
                self._generator_line(line.split())
        for line in self.tails["log"].lines():
            self._log_line(line)
        for line in self.tails["ids"].lines():
            self._arrival(line.split())
        for line in self.tails["reports"].lines():
            w = line.split()
            if w and w[0] != "-":
                self._arrival(w)
        for tail in self.more:
            for line in tail.lines():
                self._arrival(line.split())
        self._mbox(self.reports, self._report)
        if "--mbox-dir" in self.recv.options:
            self._mbox(self.recv, self._params)
        self._blind_doubts_name()

    def _blind_doubts_name(self):
        """A message of one recipient says whose doubt it is."""
        if not self.blind_doubts:
            return
        rcpts = {}
        for (_, rcpt), qids in self.ok.items():
            for qid in qids:
                rcpts.setdefault(qid, []).append(rcpt)
        for qid in list(self.blind_doubts):
            if len(rcpts.get(qid, ())) == 1:
                self.doubts[rcpts[qid][0]] += 1
                self.blind_doubts.remove(qid)

    def _generator_line(self, w):
        if len(w) < 3:
            return
        key = (w[1], w[2])
        if w[0] == "ok":
            self.ok.setdefault(key, []).append(w[-1])
        elif w[0] == "lost" or (w[0] == "resend" and w[-1] == "in-doubt"):
            self.maybe[key] += 1
        elif w[0] in ("refused", "resend"):
            self.refused.add(key)

    def _log_line(self, line):
        m = re.search(r" (\S+): in doubt to=(\S+?):", line)
        if m:
            if m[2].startswith("#"):
                self.blind_doubts.append(m[1])
            else:
                self.doubts[m[2]] += 1
            return
        m = re.search(r"master\[0\] \S+ (\S+) was killed by signal (\d+)",
                      line)
        if m and int(m[2]) != signal.SIGKILL:
            self.deaths.append(line)
        elif re.search(r"master\[0\] \S+ (\S+) ended with status", line):
            self.deaths.append(line)
        elif re.search(r"\] fatal|AddressSanitizer|runtime error: ", line):
            self.deaths.append(line)

    def _arrival(self, w):
        if len(w) < 5:
            return
        if w[0] == "-":
            self.strays.append(w[1])
            return
        self.arrivals[(w[0], w[1])] += 1
        g = self.given.get(w[0])
        if w[3] != "ok" or (g is not None and g.sum != w[2]):
            self.bad.append((w[0], w[1]))

    def _mbox(self, recv, take):
        n = getattr(recv, "ledger_at", 0)
        while True:
            try:
                with open(f"{recv.mbox}/{n + 1}.eml", "rb") as f:
                    data = f.read()
            except FileNotFoundError:
                break
            n += 1
            if self.eat and recv is self.recv:
                os.unlink(f"{recv.mbox}/{n}.eml")
            take(data)
        recv.ledger_at = n

    def _report(self, data):
        m = email.message_from_bytes(data, policy=email.policy.compat32)
        if m.get_content_type() != "multipart/report":
            return
        for to in m.get_all("X-Envelope-To", []):
            self.dsn_to[to.split(">")[0].strip("<")] += 1
        if not m["X-Envelope-From"].startswith("<>"):
            self.dsn_wrong.append(("not from <>", m["Message-ID"]))
        parts = m.get_payload()
        qid, ident = self._original(parts)
        if qid is None:
            self.dsn_wrong.append(("no original", m["Message-ID"]))
        # as text: RFC 6533 types are not taken apart by the library
        text = parts[1].as_string()
        for rcpt, action in re.findall(
                r"^Final-Recipient: \S+; *(\S+)\s+Action: (\S+)", text,
                re.M):
            key = (qid, rcpt, action)
            self.dsns[key] += 1
            ids = self.dsn_ids.setdefault(key, set())
            if ident is None and key[2] == "failed":
                self.dsn_blind.add((qid, rcpt))
            elif m["Message-ID"] not in ids and key[2] == "failed":
                self.dsn_for_id[(ident, rcpt)] += 1
            ids.add(m["Message-ID"])

    @staticmethod
    def _original(parts):
        """Queue ID and X-Bench-ID of what a report is about."""
        text = parts[0].get_payload()
        q = re.search(r"known to this system as (\w+)", text)
        head = parts[2].as_string() if len(parts) > 2 else ""
        b = re.search(r"X-Bench-ID: (\S+)", head)
        return q and q[1], b and b[1]

    def _params(self, data):
        head = data.split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace")
        ident = re.search(r"^X-Bench-ID: (\S+)", head, re.M)
        frm = re.search(r"^X-Envelope-From: <.*?> ?(.*?)\r?$", head, re.M)
        if ident is None or frm is None:
            return
        rcpts = {a: set(p.split()) for a, p in re.findall(
            r"^X-Envelope-To: <(.*?)> ?(.*?)\r?$", head, re.M)}
        self.seen_params.append((ident[1], set(frm[1].split()), rcpts))

    def listed(self):
        """What is queued: {(queue id, rcpt)}."""
        rows = self.inst.ctl("list", "--maxitems=1000000")["data"]
        return {(r["id"], r["rcpt"]) for r in rows}

    def acct(self):
        """([(type, recipient)], problems) of all accounting files."""
        rows, problems = [], []
        for path in sorted(glob.glob(self.inst.dir + "/acct/*.csv")):
            with open(path, "rb") as f:
                data = f.read()
            if data and not data.endswith(b"\n"):
                problems.append("torn end of " + os.path.basename(path))
            r = csv.reader(io.StringIO(data.decode()), strict=True)
            head = next(r, [])
            at = head.index("rcpt") if "rcpt" in head else 0
            for fields in r:
                if len(fields) != len(head) or fields[0] not in "dbt":
                    problems.append(f"{os.path.basename(path)}: {fields}")
                else:
                    rows.append((fields[0], fields[at]))
        return rows, problems

    # ---- waiting ----

    def up(self, seconds=60):
        """I8: waits until it is up; notes it if it does not come up."""
        try:
            self.inst.wait_up(seconds)
            return True
        except AssertionError as e:
            self.up_failures.append(str(e)[-500:])
            return False

    def open_ends(self):
        """What got a 250 and has neither arrived nor been returned."""
        ends = [k for k in self.ok if k not in self.arrivals
                and not self._returned(k)]
        quiet = [k for k in ends if not self._wants_dsn(k)]
        failed = self._failed_rcpts() if quiet else ()
        return [k for k in ends if k not in quiet or k[1] not in failed]

    def _returned(self, key):
        return key in self.dsn_for_id or any(
            (q, key[1], "failed") in self.dsns for q in self.ok[key])

    def _wants_dsn(self, key):
        g = self.given.get(key[0])
        return g is None or g.wants_dsn.get(key[1], True)

    def _failed_rcpts(self):
        return {rcpt for kind, rcpt in self.acct()[0] if kind == "b"}

    def settle(self, seconds=60):
        """Waits until the queue is empty (but for paused queues) and all has
        come out; False if the time is over first (check() says what is
        missing)."""
        def done():
            self.read()
            held = sum(self.is_paused(k[1]) for k in self.ok)
            r = self.inst.ctl("show", "status", check=False)
            if r.get("status") != "success" or not r["data"] \
                    or r["data"][0].get("status") != "running" \
                    or r["data"][0]["queue"]["rcp"] > held:
                return False
            self.read()
            return all(self.is_paused(k[1]) for k in self.open_ends()) \
                and not any(self._acct_missing())
        try:
            wait_for("everything to come out", done, seconds, 0.2)
            return True
        except AssertionError:
            self.read()
            return False

    # ---- the invariants; each returns a list of violations ----

    def no_loss(self):
        ends = self.open_ends()
        if len(ends) == 0:
            return []
        queued = self.listed()
        return [f"lost {k} {self.ok[k]}" for k in ends
                if not any((q, k[1]) in queued for q in self.ok[k])]

    def no_phantom(self):
        bad = [f"phantom {k}" for k in self.arrivals
               if k not in self.ok and k not in self.maybe]
        return bad + [f"arrival without an id for {s}" for s in self.strays]

    def duplicates(self):
        """Each 250, each resend of a client in doubt and each mark allows
        one copy."""
        return [f"{k} arrived {n} times, marked {self.doubts[k[1]]}, resent "
                f"{self.maybe[k]}" for k, n in self.arrivals.items()
                if n > max(1, len(self.ok.get(k, [])) + self.maybe[k]
                           + self.doubts[k[1]])]

    def integrity(self):
        return [f"changed {k}" for k in self.bad]

    def envelope(self):
        bad = []
        for ident, frm, rcpts in self.seen_params:
            g = self.given.get(ident)
            if g is None:
                continue
            got = {p for p in frm if not p.startswith("SIZE=")}
            if got != g.params:
                bad.append(f"{ident}: MAIL had {g.params}, now {got}")
            for r, p in rcpts.items():
                if p != g.rcpt_params.get(r):
                    bad.append(f"{ident}: RCPT {r} had "
                               f"{g.rcpt_params.get(r)}, now {p}")
        return bad

    def reports_right(self):
        bad = [f"DSN: {w}" for w in self.dsn_wrong]
        for key, ids in self.dsn_ids.items():
            if key[2] == "failed" and len(ids) > 1:
                bad.append(f"{len(ids)} DSNs for {key}: {sorted(ids)}")
        for key, n in self.dsn_for_id.items():
            g = self.given.get(key[0])
            if g is not None and not g.wants_dsn.get(key[1], True):
                bad.append(f"DSN for {key}, which wants none")
            elif n > len(self.ok.get(key, [])) + self.maybe[key]:
                bad.append(f"{n} DSNs for {key}")
        bad += self._blind_wrong()
        extra = sum(n - 1 for n in self.dsns.values() if n > 1)
        marks = sum(n for a, n in self.doubts.items()
                    if a.endswith("@" + REPORTS_DOMAIN))
        if extra > marks * 500:
            bad.append(f"{extra} copies of DSNs, {marks} marked in doubt")
        for key, n in self.dsns.items():
            if n > 1 and marks == 0:
                bad.append(f"DSN for {key} came {n} times, none in doubt")
        return bad

    def _blind_wrong(self):
        """A DSN without the original still names the queue ID, by which it
        is that of a message, as any other."""
        bad = []
        for qid, rcpt in self.dsn_blind:
            idents = {k[0] for k, qids in self.ok.items()
                      if k[1] == rcpt and qid in qids}
            if not self.blind_may_be:
                bad.append(f"DSN for {qid} {rcpt} without the original")
            elif not idents and not any(k[1] == rcpt for k in self.maybe):
                bad.append(f"DSN for {qid} {rcpt}, which nobody sent")
            for g in (self.given[i] for i in idents if i in self.given):
                if not g.wants_dsn.get(rcpt, True):
                    bad.append(f"DSN for {qid} {rcpt}, which wants none")
        return bad

    def restarts(self):
        return [f"did not come up: {f}" for f in self.up_failures] + \
            [f"ended by itself: {d}" for d in self.deaths
             if d not in self.excused]

    def excuse(self, programs, status=111):
        """What ended so far is no violation of I8 if it is one of these
        (names as "qmgr") and went in order, for want of something: status
        111, with its reason in the log."""
        self.read()
        for d in self.deaths:
            m = re.search(rf"pinnace-(\w+)\S* ended with status {status}\b|"
                          r" (\w+)\[\d+\] fatal: ", d)
            if m and (m[1] or m[2]) in programs:
                self.excused.add(d)

    def _acct_missing(self):
        """(missing, unexpected) lines of accounting."""
        rows, problems = self.acct()
        d = collections.Counter(rcpt for kind, rcpt in rows if kind == "d")
        b = collections.Counter(rcpt for kind, rcpt in rows if kind == "b")
        came = collections.Counter()
        for (_, rcpt), n in self.arrivals.items():
            came[rcpt] += n
        came.update(self.dsn_to)
        missing = [f"{n} arrivals for {r}, {d[r]} d lines, "
                   f"{self.doubts[r]} in doubt" for r, n in came.items()
                   if n > d[r] + self.doubts[r]]
        more = [f"{n} d lines for {r}, {came[r]} arrivals"
                for r, n in d.items() if n > came[r]]
        failed = collections.Counter()
        for (_, rcpt, action), _ in self.dsns.items():
            if action == "failed":
                failed[rcpt] += 1
        missing += [f"{n} DSNs for {r}, {b[r]} b lines"
                    for r, n in failed.items() if n > b[r]]
        wants_none = {r for g in self.given.values()
                      for r, w in g.wants_dsn.items() if not w}
        more += [f"{n} b lines for {r}, {failed[r]} DSNs"
                 for r, n in b.items()
                 if n > failed[r] and r not in wants_none]
        return missing, more + problems

    def accounting(self):
        missing, more = self._acct_missing()
        return missing + more

    def limits_held(self):
        bad = []
        for recv, conns, rate in self.limits:
            if conns is not None:
                n = totals(recv)["max_open"]
                if n > conns:
                    bad.append(f"{n} connections at once, {conns} allowed")
            if rate is None:
                continue
            most = rate * (RATE_WINDOW_S + 1)
            at = sorted(float(w[4]) for w in recv.ids())
            windows = [at[i + most] - at[i] for i in range(len(at) - most)]
            if windows and min(windows) < RATE_WINDOW_S:
                bad.append(f"{most + 1} arrivals in {min(windows):.3f} s, "
                           f"{rate} a second allowed")
        for domain in self.paused:
            bad += self._pause_check(domain)
        return bad

    # ---- I7 ----

    def measure(self):
        """What an idle instance holds."""
        m = {"fds": {}, "rss_kb": {}}
        for pid in self.inst.tree():
            try:
                name = os.readlink(f"/proc/{pid}/exe").split("/")[-1]
                fds = len(os.listdir(f"/proc/{pid}/fd"))
                with open(f"/proc/{pid}/status") as f:
                    rss = re.search(r"RssAnon:\s+(\d+)", f.read())
            except (OSError, FileNotFoundError):
                continue
            m["fds"][name] = max(fds, m["fds"].get(name, 0))
            m["rss_kb"][name] = max(int(rss[1]) if rss else 0,
                                    m["rss_kb"].get(name, 0))
        spool = self.inst.dir + "/spool"
        m["rest_kb"] = 0        # of the spool without its segments
        for folder, _, names in os.walk(spool):
            for n in names:
                try:
                    kb = os.stat(folder + "/" + n).st_blocks // 2
                except FileNotFoundError:
                    continue
                if not folder.endswith("/segments"):
                    m["rest_kb"] += kb
        names = os.listdir(spool + "/segments")
        m["free"] = sum(n.startswith("free.") for n in names)
        m["segments"] = len(names) - m["free"]
        m["large"] = self._large_files(spool + "/large")
        m["corrupt"] = len(os.listdir(spool + "/corrupt"))
        return m

    def _large_files(self, folder):
        """Those younger than qmgr: what an earlier one left is kept for an
        hour, since a writer may still hold it."""
        pids = self.inst.pids("pinnace-qmgr")
        born = time.time() - (procfs.age(pids[0]) if pids else 0)
        n = 0
        for name in os.listdir(folder):
            try:
                n += os.stat(f"{folder}/{name}").st_mtime > born
            except FileNotFoundError:
                pass
        return n

    def baseline(self):
        self.base = self.measure()

    def cleanliness(self, seconds=30, fds=4, rss_kb=16384):
        """After a drain: no message, no large file, no quarantined record,
        descriptors and private memory near the baseline, segments given back,
        at most three event files of 64 MiB."""
        base = self.base or {"fds": {}, "rss_kb": {}, "rest_kb": None}
        bad = []

        def clean():
            bad.clear()
            m = self.measure()
            status = self.inst.status()
            spool = status["spool"]
            if status["queue"]["rcp"] or status["queue"]["msg"]:
                bad.append(f"queue {status['queue']}")
            if m["large"] or m["corrupt"]:
                bad.append(f"{m['large']} large, {m['corrupt']} corrupt")
            # readers hold each segment that has live or unread messages
            more = max(0, m["segments"] - base.get("segments", 0))
            for what, slack in (("fds", fds + more), ("rss_kb", rss_kb)):
                for name, n in base[what].items():
                    if m[what].get(name, 0) > n + slack:
                        bad.append(f"{name}: {what} {m[what].get(name)}, "
                                   f"{n} at first")
            if m["free"] > 5 or spool["segmentsSealed"] \
                    or spool["segmentsEmpty"]:
                bad.append(f"segments: {m['free']} free, {spool}")
            writers = len(self.inst.pids("pinnace-smtpd")) + 2
            if m["segments"] > writers * 2:
                bad.append(f"{m['segments']} segments for {writers} writers")
            if base["rest_kb"] is not None and \
                    m["rest_kb"] > base["rest_kb"] + 3 * 65536:
                bad.append(f"spool {m['rest_kb']} KiB, "
                           f"{base['rest_kb']} at first")
            return not bad
        try:
            wait_for("cleanliness", clean, seconds, 0.3)
        except AssertionError:
            pass
        return list(bad)

    # ---- all of it ----

    INVARIANTS = (
        ("I1 no loss", "no_loss"), ("I2 no phantom", "no_phantom"),
        ("I3 every duplicate was announced", "duplicates"),
        ("I4 bodies as sent", "integrity"), ("I5 envelopes", "envelope"),
        ("I6 DSNs", "reports_right"), ("I7 cleanliness", "cleanliness"),
        ("I8 it comes up, nothing ended by itself", "restarts"),
        ("I9 accounting", "accounting"), ("I10 limits", "limits_held"))

    def violations(self, skip=()):
        """New violations: [(invariant, text)]. skip: names such as "I7"."""
        self.read()
        found = []
        for title, fn in self.INVARIANTS:
            if title.split()[0] in skip:
                continue
            for text in getattr(self, fn)():
                if (title, text) not in self.said:
                    self.said.add((title, text))
                    found.append((title, text))
        return found

    def check(self, t, what, skip=()):
        """One t.check for each invariant; True if all hold."""
        found = self.violations(skip)
        for title, _ in self.INVARIANTS:
            if title.split()[0] in skip:
                continue
            bad = [text for name, text in found if name == title]
            t.check(not bad, f"{what}: {title}"
                    + (f" ({len(bad)}: {bad[:3]})" if bad else ""))
        return not found

    def figures(self):
        twice = [k for k, n in self.arrivals.items() if n > 1]
        return {
            "kills": self.kills, "acknowledged": len(self.ok),
            "arrived": sum(self.arrivals.values()),
            "duplicates": sum(self.arrivals[k] - 1 for k in twice),
            "announced": sum(1 for k in twice if self.doubts[k[1]]),
            "resent": sum(1 for k in twice if self.maybe[k]),
            "in doubt": sum(self.doubts.values()),
            "DSNs": sum(self.dsn_to.values()),
            "accounting": len(self.acct()[0])}

    def line(self, what):
        return what + ": " + ", ".join(
            f"{n} {k}" for k, n in self.figures().items())


def totals(recv):
    """The receiver's totals now."""
    import json
    path = recv.dir + "/out"
    before = open(path).read().count("\n")
    recv.proc.send_signal(signal.SIGUSR1)

    def said():
        text = open(path).read()
        return text.count("\n") > before and text
    lines = wait_for("the receiver's totals", said, 10).splitlines()
    return json.loads([x for x in lines if x.startswith("{")][-1])

# SPDX-License-Identifier: ISC
"""What the operator has set, and what the scheduler has counted, while
processes are killed: nothing of it may be lost.

    d9.test   a standing order holds what comes
    d10.test  is paused
    d11.test  goes out by the plan of a warmup
    d12.test  puts everything off; a recipient has so many tries
    d13.test  is in mode backoff, set by hand
    d14.test  may not use one of two source addresses

How to use it: conf() is part of the configuration; begin() before there is
mail, under_way() when there is; look() after a kill, when the instance is up;
end() lets everything go and gives what was
found, a list of (invariant, text)."""
import time

from harness import wait_for

HELD, PAUSED, WARM = "d9.test", "d10.test", "d11.test"
TRIED, BACKOFF, SOURCE = "d12.test", "d13.test", "d14.test"
SOURCES = "127.0.0.1", "127.0.0.2"
TRIES = 6
WARM_PER_DAY = 3 * 86400
SCRIPT = f'rcpt *@{TRIED} tempfail 451 4.7.1 "later"\n'


class Standing:
    def __init__(self, inst, recv, led):
        self.inst, self.recv, self.led = inst, recv, led
        self.found, self.tries = [], {}
        self.actual = self.looks = self.held = 0

    @staticmethod
    def conf(warm=True):
        """Without warm the plan is gone, so that its mail can be waited
        for. It is about noon where the plan's days begin."""
        sources = "\n".join(f"smtp-source-host {a} s{i}.pinnace.test"
                            for i, a in enumerate(SOURCES))
        plan = f"""
<warmup storm>
  virtual-mta {{default}}
  domain {WARM}
  time-zone {12 - time.gmtime().tm_hour:+d}
  day-list {WARM_PER_DAY},{WARM_PER_DAY}
</warmup>
"""
        return f"""
{sources}
<domain {TRIED}>
  max-retries {TRIES - 1}
</domain>
{plan if warm else ""}
"""

    def begin(self):
        ctl = self.inst.ctl
        ctl("hold", "--standing", "--reason=storm", "--queue=" + HELD + "/*")
        ctl("set", "queue", "--mode=backoff", BACKOFF + "/{default}")
        ctl("disable", "source", SOURCES[1], SOURCE + "/{default}")
        self.led.pause(PAUSED + "/{default}")

    def under_way(self):
        for d in HELD, PAUSED, WARM, TRIED, BACKOFF:
            wait_for("mail for " + d, lambda: self.queue(d)["rcp"], 30)
        self.look()

    def queue(self, domain):
        rows = self.inst.ctl("show", "queues", domain)["data"]
        return rows[0] if rows else {"rcp": 0}

    def wrong(self, text):
        self.found.append(("standing", text))

    def look(self):
        """All that was set is still set, and what was counted has not
        become less."""
        self.looks += 1
        try:
            self._look_orders()
            self._look_counts()
        except (KeyError, TypeError, IndexError) as e:
            self.wrong(f"an answer without {e!r}")

    def _look_orders(self):
        ctl = self.inst.ctl
        orders = ctl("show", "orders")["data"]
        if [(r["action"], r["reason"]) for r in orders] != \
                [("hold", "storm")]:
            self.wrong(f"the standing order: {orders}")
        q = self.queue(HELD)
        if q["hold"] < self.held or q["delivered"]:
            self.wrong(f"{self.held} were on hold, now {q}")
        self.held = q["hold"]
        if not self.queue(PAUSED)["paused"]:
            self.wrong("a pause is gone")
        if self.queue(BACKOFF)["mode"] != "backoff":
            self.wrong("mode backoff is gone")
        rows = ctl("show", "disabled", "sources")["data"]
        if [r["source"] for r in rows] != [SOURCES[1]]:
            self.wrong(f"the disabled source: {rows}")

    def _look_counts(self):
        plan = self.inst.ctl("show", "warmup", "storm")["data"]
        actual = [r for r in plan if "queued" in r][0]["actual"]
        if actual < self.actual:
            self.wrong(f"warmup: {self.actual} were sent, now {actual}")
        self.actual = actual
        rows = self.inst.ctl("list", "--maxitems=1000000",
                             "--queue=" + TRIED)["data"]
        tries = {r["rcpt"]: r["attempts"] for r in rows}
        fewer = [f"{r}: {self.tries[r]}, now {n}" for r, n in tries.items()
                 if n < self.tries.get(r, 0)]
        more = [f"{r}: {n}" for r, n in tries.items() if n > TRIES]
        if fewer or more:
            self.wrong(f"attempts {(fewer + more)[:5]} of {len(tries)}")
        self.tries = tries

    def arrived(self, domain):
        return sum(w[1].endswith("@" + domain) for w in self.recv.ids())

    def end(self):
        """No generator any more. What was delivered by the plan was counted;
        then everything is let go."""
        self.look()
        came = {d: self.arrived(d) for d in (HELD, TRIED, WARM)}
        doubts = sum(self.led.doubts[r] for r in list(self.led.doubts)
                     if r.endswith("@" + WARM))
        self.look()
        if came[HELD] or came[TRIED]:
            self.wrong(f"arrived: {came}")
        if came[WARM] > self.actual + doubts:
            self.wrong(f"warmup: {came[WARM]} arrived, {doubts} in doubt, "
                       f"{self.actual} counted")
        orders = self.inst.ctl("show", "audit", "--maxitems=1000")["data"]
        if sum("--standing" in r["command"] for r in orders) != 1:
            self.wrong(f"the audit log: {orders}")
        order = self.inst.ctl("show", "orders")["data"][0]["order"]
        self.inst.ctl("release", f"--order={order}")
        self.inst.ctl("set", "queue", "--mode=normal", BACKOFF)
        self.inst.ctl("enable", "source", SOURCES[1], SOURCE)
        self.found += [("I10 limits", x) for x in self.led.limits_held()]
        self.led.resume(PAUSED + "/{default}")
        return self.found

    def line(self):
        return (f"{self.looks} looks at orders: {self.held} on hold, "
                f"{self.actual} by the plan, {len(self.tries)} with tries")

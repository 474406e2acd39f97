# SPDX-License-Identifier: ISC
"""What the zoos of evil peers share: the accounting so far, and a neighbour
whose mail must not notice them."""
import asyncio
import csv
import glob
import time

import net


def rows(inst):
    """The records so far; an unfinished last line is not there yet."""
    for path in glob.glob(inst.dir + "/acct/all*.csv"):
        with open(path, newline="") as f:
            text = f.read()
        yield from csv.DictReader(text[:text.rfind("\n") + 1].splitlines())


def label_of(row):
    return row["queue"].split("/")[0].split(".")[0]


async def neighbour(inst, form, sent, stop):
    """Submits to the address that form makes of a number, and notes when."""
    sub = net.Submitter(inst.port)
    i = 0
    while not stop.is_set():
        rcpt = form.format(i)
        if (await sub.send(f"good-{i}", [rcpt])).startswith(b"250"):
            sent[rcpt] = time.time()
        i += 1
        await asyncio.sleep(0.1)
    sub.close()


def check_neighbour(t, recv, sent, seconds):
    """All of it arrived, none later than that."""
    got = {w[1]: float(w[4]) for w in recv.ids()}
    late = sorted(got[r] - at for r, at in sent.items() if r in got)
    lost = [r for r in sent if r not in got]
    t.check(sent and not lost, f"the neighbour's mail arrives ({len(sent)} "
            f"sent, {len(lost)} not there)")
    if late:
        print(f"neighbour: median {late[len(late) // 2] * 1000:.0f} ms, "
              f"99 % {late[len(late) * 99 // 100] * 1000:.0f} ms, "
              f"most {late[-1] * 1000:.0f} ms")
        t.check(late[-1] < seconds, f"none is later than {seconds} s")

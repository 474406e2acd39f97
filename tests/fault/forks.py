# SPDX-License-Identifier: ISC
"""Parts of a test side by side, each in a process of its own that leaves what
it found in a file."""
import json
import os
import sys


def run(jobs):
    pids = []
    for job in jobs:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                job()
            finally:
                sys.stdout.flush()
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def results(t, work, n, what):
    """What is in the files WORK/0 to n - 1; each has to be there."""
    for i in range(n):
        try:
            with open(f"{work}/{i}") as f:
                yield json.load(f)
        except (OSError, ValueError):
            t.check(False, f"{what} {i} came to its end")

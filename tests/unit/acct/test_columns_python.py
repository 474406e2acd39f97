#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Reads records with every byte value in a diagnostic with Python's csv."""
import csv
import io
import subprocess
import sys

raw = subprocess.run(["tests/unit/acct/test_columns", "bytes"], check=True,
                     stdout=subprocess.PIPE).stdout
lines = raw.split(b"\n")
if len(lines) != 258:
    sys.exit(f"got {len(lines)} lines want 258: a record is not one line")
rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8"), newline="")))
if len(rows) != 256:
    sys.exit(f"got {len(rows)} rows want 256")
for i, row in enumerate(rows):
    odd = i < 0x20 or i >= 0x7f
    want = "smtp;550 a, b " + (f"\\x{i:02x}" if odd else chr(i))
    if (row["type"], row["jobId"], row["dsnDiag"]) != ("b", f"job{i}", want):
        sys.exit(f"byte {i}: got {row!r} want {want!r}")

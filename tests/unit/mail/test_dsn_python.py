#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Reads the samples of test_dsn with Python's email package."""
import email
import email.policy
import subprocess
import sys


def sample(name):
    raw = subprocess.run(["tests/unit/mail/test_dsn", name], check=True,
                         stdout=subprocess.PIPE).stdout
    return raw, email.message_from_bytes(raw, policy=email.policy.default)


def want(got, expected, what):
    if got != expected:
        sys.exit(f"{what}: got {got!r} want {expected!r}")


def check_frame(m, report, nparts):
    want(m.defects, [], "defects")
    want(m.get_content_type(), "multipart/report", "type")
    want(m.get_param("report-type"), report, "report-type")
    want(m["Auto-Submitted"], "auto-replied", "Auto-Submitted")
    want(m["From"].addresses[0].addr_spec, "mailer-daemon@mx.example.org",
         "From")
    want(m["To"], "a@sender.example", "To")
    want(m["MIME-Version"], "1.0", "MIME-Version")
    want(m["Date"].datetime.timestamp(), 1769868310, "Date")
    want(m["Message-ID"], "<dsn.1122334455667788@mx.example.org>",
         "Message-ID")
    parts = list(m.iter_parts())
    want(len(parts), nparts, "parts")
    for p in m.walk():
        want(p.defects, [], "defects of " + p.get_content_type())
    return parts


def blocks(part):
    return [dict(b.items()) for b in part.get_payload() if b.items()]


def check_many():
    _, m = sample("many")
    human, status, headers = check_frame(m, "delivery-status", 3)
    want(m["Subject"], "Delivery Status Notification (Failure)", "Subject")
    text = human.get_content()
    for words in ("nobody@dest.example", "bad destination mailbox address",
                  "no such user", "mx1.dest.example (192.0.2.9) said",
                  "slow@dest.example", "It will be tried until",
                  '"two  blanks"@dest.example', "00000001zzzzz"):
        if words not in text:
            sys.exit(f"not in the human part: {words}")
    want(status.get_content_type(), "message/delivery-status", "part 2")
    got = blocks(status)
    want(got[0], {
        "Original-Envelope-Id": "env+1",
        "Reporting-MTA": "dns; mx.example.org",
        "Received-From-MTA": "dns; client.example",
        "Arrival-Date": "Sat, 31 Jan 2026 14:00:00 +0000"}, "message fields")
    want(got[1], {
        "Original-Recipient": "rfc822; No+Body@dest.example",
        "Final-Recipient": "rfc822; nobody@dest.example",
        "Action": "failed", "Status": "5.1.1",
        "Remote-MTA": "dns; mx1.dest.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Sat, 31 Jan 2026 14:05:09 +0000"}, "failed")
    want(got[2], {
        "Final-Recipient": "rfc822; slow@dest.example",
        "Action": "delayed", "Status": "4.4.1",
        "Diagnostic-Code":
            "x-pinnace; no answer from any host of dest.example",
        "Last-Attempt-Date": "Sat, 31 Jan 2026 14:05:09 +0000",
        "Will-Retry-Until": "Sun, 01 Feb 2026 17:46:40 +0000"}, "delayed")
    want(got[3]["Final-Recipient"], 'rfc822; "two  blanks"@dest.example',
         "quoted")
    want([b["Action"] for b in got[1:]],
         ["failed", "delayed", "delivered", "relayed"], "actions")
    want(headers.get_content_type(), "text/rfc822-headers", "part 3")
    returned = email.message_from_string(headers.get_content())
    want(returned["Subject"], "hello", "returned subject")
    want("body line" in headers.get_content(), False, "body returned")


def check_full():
    raw, m = sample("full")
    parts = check_frame(m, "delivery-status", 3)
    want(parts[2].get_content_type(), "message/rfc822", "part 3")
    inner = parts[2].get_payload(0)
    want(inner["Subject"], "hello", "inner subject")
    want(inner.get_content().replace("\r", ""),
         "body line\n.dot line\n", "inner body")
    want(b"\r\n.dot line\r\n" in raw, True, "bytes")


def check_utf8():
    raw, m = sample("utf8")
    parts = check_frame(m, "global-delivery-status", 3)
    want(parts[1].get_content_type(), "message/global-delivery-status",
         "part 2")
    want("utf-8; j\u00fcrgen@dest.example".encode() in raw, True, "address")
    want(parts[2].get_content_type(), "message/global-headers", "part 3")


def check_lost():
    _, m = sample("lost")
    check_frame(m, "delivery-status", 2)


check_many()
check_full()
check_utf8()
check_lost()

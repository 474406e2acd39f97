# SPDX-License-Identifier: ISC
"""Tables for test_attacks: ends of data that are none, relay forms, nasty
addresses with the domain that counts, lines that broke other servers."""

# What other servers took for the end of a message (CVE-2023-51764 and kin).
NO_END = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n",
    b"\r\n\0.\r\n", b"\n.\r", b"\r.\n", b"\r\n.\r\r\n", b"\r\n.\0\r\n",
    b"\n\n.\r\n", b"\r\r.\r\r", b"\r\n\x0b.\r\n\n", b"\n\r.\r\n", b"\n\r.\n\r",
    b"\r\n.\r\0\n", b"\0\r\n.\n", b"\r\0\n.\r\n", b"\r\n.\n\r\n", b"\r\r\n.\r\n",
    b"\n\r\n.\n", b"\n.\x85\r\n", b"\r\n.\x85\n",
]

OURS = "ours.test"      # a relay-domain
EVIL = "evil.test"

# Each must be refused to a client that may not relay.
RELAY_FORMS = [
    "<u@evil.test>", "<u@EVIL.TEST>", "<u%evil.test@nobody.test>",
    "<u@evil.test@evil.test>", '<"u@ours.test"@evil.test>',
    '<"u@ours.test\\""@evil.test>', "<@ours.test:u@evil.test>",
    "<@ours.test,@ours.test:u@evil.test>", "<ours.test!u@evil.test>",
    "<u@[192.0.2.1]>", "<u@[127.0.0.1]>", "<u@[IPv6:::1]>",
    "<u@[IPv6:2001:db8::1]>", "<u@192.0.2.1>", "<u@2130706433>",
    "<u@evil.test.>", "<u@evil.test..>", "<u@.evil.test>", "<u@>",
    "<@evil.test>", "<@ours.test>", "<@ours.test:>", "<u>", '<"u">',
    '<"u@evil.test">', "<u@ours.test.evil.test>", "<u@evil-ours.test>",
    "<u@xours.test>", "<u@ours.test.>", "<u@ours.test\t>",
    "<u@ours.test evil.test>", "<u@ours.test>evil.test", "u@evil.test",
    "<u@ours.test@evil.test>", "<u@evil.test@ours.test>",
    "<u@evil.test,u@ours.test>", "<u@ours.test,u@evil.test>",
    "<u@ours.test;u@evil.test>", "<u@evil.test>(@ours.test)",
    "<u(@ours.test)@evil.test>", "<u@evil.test(ours.test)>",
    "<(u@ours.test)u@evil.test>", '<u@"ours.test">', "<u@ours\\.test>",
    "<u@ours.test%00.evil.test>", "<u@evil.test#ours.test>",
    "<u@evil.test/ours.test>", "<u@evil.test?ours.test>",
    "<u@evil.test:25>", "<u:evil.test@evil.test>", "<evil.test!u>",
    "<nobody!evil.test!u@evil.test>", "<u%evil.test>",
    "<u%evil.test%ours.test@evil.test>", "<u@evil_ours.test>",
    "< u@evil.test>", "<u@evil.test >", "<<u@evil.test>>",
    "<u@=?utf-8?q?ours.test?=>", "<=?utf-8?q?u=40ours.test?=@evil.test>",
    "<u@xn--ours.test>", "<u@\xc3\xb6urs.test>", "<u@ours\xe3\x80\x82test>",
    "<u+@evil.test>", "<u@evil.test\\@ours.test>", "<\"u\"@evil.test>",
    "<u@-ours.test>", "<u@ours-.test>", "<u@ours..test>", "<u@*>",
    "<u@*.test>", "<u@localhost>", "<root@localhost.evil.test>",
]

# (mailbox, the domain that counts, or None: must be refused)
NASTY = [
    ("a@ours.test", OURS), ("a@OURS.TEST", OURS), ("A.B@Ours.Test", OURS),
    ('"a b"@ours.test', OURS), ('"a@evil.test"@ours.test', OURS),
    ('"a@ours.test"@evil.test', EVIL), ('"a\\"@evil.test"@ours.test', OURS),
    ('"a\\\\"@ours.test', OURS), ('"\\\\\\"@evil.test"@ours.test', OURS),
    ('""@ours.test', OURS), ('" "@ours.test', OURS),
    ('"a>b"@ours.test', OURS), ('"<a"@ours.test', OURS),
    ('"a,b"@ours.test', OURS), ('"a;b"@ours.test', OURS),
    ('"a(b)"@ours.test', OURS), ('"(\\")"@ours.test', OURS),
    ('"@"@ours.test', OURS), ('"@evil.test>"@ours.test', OURS),
    ("a%evil.test@ours.test", OURS), ("evil.test!a@ours.test", OURS),
    ("a/b=c@ours.test", OURS), ("a+b@ours.test", OURS),
    ("!#$%&'*+-/=?^_`{|}~@ours.test", OURS), ("-a@ours.test", OURS),
    ("|id@ours.test", OURS), ("../../etc/passwd@ours.test", None),
    ("`id`@ours.test", OURS), ("$(id)@ours.test", None),
    ("a@[192.0.2.1]", "[192.0.2.1]"), ("a@[IPv6:::1]", "[IPv6:::1]"),
    ("a@[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]"),
    ("a@[::1]", None), ("a@[192.0.2]", None), ("a@[256.0.2.1]", None),
    ("a@[192.0.2.1].ours.test", None), ("a@[]", None), ("a@[ours.test]", None),
    ("a@[IPv6:192.0.2.1]", None), ("a@192.0.2.1", None), ("a@1.2", None),
    ("a@ours.test.", None), ("a@.ours.test", None), ("a@ours..test", None),
    ("a@-ours.test", None), ("a@ours-.test", None), ("a@", None),
    ("@ours.test", None), (".a@ours.test", None), ("a.@ours.test", None),
    ("a..b@ours.test", None), ("a b@ours.test", None), ("a@b@ours.test", None),
    ("a@ours.test@evil.test", None), ('a"b"@ours.test', None),
    ('"a"b@ours.test', None), ('"a".b@ours.test', None),
    ('a."b"@ours.test', None), ('"a@ours.test', None),
    ("a\\@b@ours.test", None), ("a(c)@ours.test", None),
    ("a@(c)ours.test", None), ("a@ours.test(c)", None),
    ("a@ ours.test", None), ("a @ours.test", None), ("a@ours.te st", None),
    ("a,b@ours.test", None), ("a;b@ours.test", None), ("a:b@ours.test", None),
    ("a<b@ours.test", None), ("a@ours.test,b@ours.test", None),
    ("a\tb@ours.test", None), ("a@ours.test\t", None),
    ("a\x01b@ours.test", None), ("a\x7fb@ours.test", None),
    ('"a\x01b"@ours.test', None), ('"a\x7f"@ours.test', None),
    ('"a\\\x01"@ours.test', None), ("a@ours.test\x00.evil.test", None),
    ("a\x1b[2Jb@ours.test", None), ("=?utf-8?q?a=40evil?=@ours.test", OURS),
    ("a@=?utf-8?q?ours?=.test", None), ("a@ours_x.test", "ours_x.test"),
    ("a@x-y.ours.test", "x-y.ours.test"), ("a@b", "b"),
    ("a@" + "b" * 63 + ".test", "b" * 63 + ".test"),
    ("a@" + "b" * 64 + ".test", None),
    ("a@" + ("b" * 49 + ".") * 5 + "test", ("b" * 49 + ".") * 5 + "test"),
    ("a@" + ("b" * 51 + ".") * 5 + "test", None),
    ("a" * 64 + "@ours.test", OURS), ("a" * 255 + "@ours.test", OURS),
    ("a" * 256 + "@ours.test", None), ("a" * 1500 + "@ours.test", None),
    ("\u00fc@ours.test", None), ("a@\u00f6urs.test", None),
    ("a@xn--urs-sna.test", "xn--urs-sna.test"), ("a\xa0@ours.test", None),
    ("postmaster@ours.test", OURS), ("PostMaster@evil.test", EVIL),
]


def nasty():
    """The table, and combinations: a local part of each kind in front of a
    domain of each kind."""
    rows = list(NASTY)
    locals_ok = ["x", "x.y", '"x@y"', '"x\\"@evil.test\\""', "x%evil.test",
                 "evil.test!x", '"@ours.test:x"', '"<x@evil.test>"', "x=y",
                 '"\\x"', "x{y}", '"x y"', "x?y", "x#y"]
    locals_bad = ["", ".x", "x.", "x..y", "x y", 'x"y', '"x', "x\\y", "x@y",
                  "x(y)", "x\x02"]
    domains_ok = [OURS, "OuRs.TeSt", EVIL, "a.b.c.test", "[192.0.2.9]"]
    domains_bad = ["", ".", "ours.test.", "-.test", "ours..test", "[1.2.3]",
                   "ours.test@", "1.2.3.4"]
    for local in locals_ok:
        for domain in domains_ok:
            want = domain if domain[0] == "[" else domain.lower()
            rows.append((f"{local}@{domain}", want))
        for domain in domains_bad:
            rows.append((f"{local}@{domain}", None))
    for local in locals_bad:
        for domain in (OURS, EVIL, "[192.0.2.9]"):
            rows.append((f"{local}@{domain}", None))
    return rows


# Triggers of known bugs in parsers of commands, by what they hit.
PARSER_LINES = [
    b"EHLO " + b"A" * 2000,                        # CVE-2019-16928
    b"EHLO " + b"\\" * 1000, b"HELO \\", b"EHLO [",
    b"AUTH PLAIN " + b"=" * 1000, b"AUTH CRAM-MD5 " + b"A" * 3,  # 2018-6789
    b"AUTH EXTERNAL =", b"AUTH NTLM TlRMTVNTUAAB",  # CVE-2023-42115, 42116
    b"MAIL FROM:<> SIZE=", b"MAIL FROM:<>SIZE=1",   # CVE-2020-28022
    b"MAIL FROM:<> =", b"MAIL FROM:<> =1", b"MAIL FROM:<> A=B C",
    b"MAIL FROM:<> BODY", b"MAIL FROM:<> SIZE=99999999999999999999999",
    b"MAIL FROM:<> SIZE=-1", b"MAIL FROM:<> SIZE=0x10",
    b"MAIL FROM:<", b"MAIL FROM:", b"MAIL FROM:>", b"MAIL FROM:<>>",
    b"MAIL FROM:" + b"<" * 1000 + b">" * 1000,      # CVE-2002-1337
    b'MAIL FROM:<"' + b"\\" * 1001 + b'"@x.test>',
    b"MAIL FROM:<" + b"@a," * 500 + b":u@x.test>",
    b"MAIL FROM:<u@x.test> AUTH=<>", b"MAIL FROM:<u@x.test> " + b"X" * 1900,
    b"RCPT TO:<a@ours.test> NOTIFY=", b"RCPT TO:<a@ours.test> NOTIFY=,",
    b"RCPT TO:<a@ours.test> ORCPT=;", b"RCPT TO:<a@ours.test> ORCPT=rfc822;+",
    b"RCPT TO:<a@ours.test> ORCPT=rfc822;+0", b"RCPT TO:<;sleep 66;@x.test>",
    b"MAIL FROM:<;for i in 0 1 2;do read r;done;sh;exit 0;>",  # 2020-7247
    b"RCPT TO:<${run{/bin/sh -c id}}@localhost>",   # CVE-2019-10149
    b"VRFY " + b"a" * 1500, b"EXPN " + b"a" * 1500, b"HELP " + b"%n" * 500,
    b"NOOP \0\0\0", b"\0", b"\xff\xfe\xfd", b" ", b"\t", b"BDAT 0",
    b"BDAT 18446744073709551615 LAST", b"BDAT -1", b"STARTTLS x",
    b"XCLIENT ADDR=127.0.0.1", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2",
    b"MAIL FROM:<a@x.test>\rRCPT TO:<b@ours.test>", b"ETRN x", b"TURN",
]

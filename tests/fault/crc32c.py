# SPDX-License-Identifier: ISC
"""CRC-32C, as the receiver computes it."""


def _table():
    t = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        t.append(n)
    return t


_TABLE = _table()


def crc32c(data, before=0):
    """before: the sum of what stands in front of data."""
    c = before ^ 0xffffffff
    for b in data:
        c = c >> 8 ^ _TABLE[(c ^ b) & 255]
    return c ^ 0xffffffff

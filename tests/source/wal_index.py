"""Enters one frame into a wal-index, as the writer that commits it does.

    wal_index.py SHM FRAME PGNO COMMIT SUM1 SUM2
"""

import struct
import sys

HEADER, PAGES, HASHES = 48, 136, 16384


def checksum(data):
    s1 = s2 = 0
    words = struct.unpack(f"={len(data) // 4}I", data)
    for a, b in zip(words[::2], words[1::2]):
        s1 = (s1 + a + s2) & 0xFFFFFFFF
        s2 = (s2 + b + s1) & 0xFFFFFFFF
    return s1, s2


path, frame, pgno, commit, sum1, sum2 = sys.argv[1], *map(int, sys.argv[2:])
with open(path, "r+b", buffering=0) as shm:
    region = bytearray(shm.read(32768))
    assert 0 < frame < 4062, "only the first region is written"
    struct.pack_into("=I", region, PAGES + 4 * (frame - 1), pgno)
    slot = pgno * 383 % 8192
    while struct.unpack_from("=H", region, HASHES + 2 * slot) != (0,):
        slot = (slot + 1) % 8192
    struct.pack_into("=H", region, HASHES + 2 * slot, frame)
    (change,) = struct.unpack_from("=I", region, 8)
    struct.pack_into("=I", region, 8, change + 1)
    struct.pack_into("=IIII", region, 16, frame, commit, sum1, sum2)
    struct.pack_into("=II", region, 40, *checksum(region[:40]))
    # The hash table first, the header last, its second copy before the first.
    for start, end in ((PAGES, 32768), (HEADER, 2 * HEADER), (0, HEADER)):
        shm.seek(start)
        shm.write(region[:HEADER] if end <= 2 * HEADER else region[start:end])

"""Reads a copy over and over as any application would: with a connection that stays open, and with new ones.

    reader.py DB STOP_FILE      until STOP_FILE appears; prints how many different states it saw
"""

import os
import sqlite3
import sys
import time

path, stop = sys.argv[1:]
lasting = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30)
seen = set()
while not os.path.exists(stop):
    for db in (lasting, sqlite3.connect(path, isolation_level=None, timeout=30)):
        try:
            answer = db.execute("pragma integrity_check").fetchone()
            assert answer == ("ok",), answer
            db.execute("begin")
            counts = [db.execute(f"select count(*), max(rowid) from {table}").fetchone() for table in ("item", "note")]
            again = [db.execute(f"select count(*), max(rowid) from {table}").fetchone() for table in ("item", "note")]
            assert counts == again, "a state changed under a transaction"
            db.execute("commit")
            seen.add(str(counts))
        except sqlite3.OperationalError as error:
            # A journal that the killed follower left, which a connection for reading alone may not play back.
            if db is not lasting or "readonly" not in str(error) and "unable to open" not in str(error):
                raise
            db.rollback()
        if db is not lasting:
            db.close()
    time.sleep(0.002)
print(len(seen))

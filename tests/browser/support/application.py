"""An application that owns a database in WAL mode and does what it is told, one line of JSON at a time.

    application.py DATABASE PAGE_SIZE AUTO_VACUUM

Each line is an array of SQL statements, committed as one transaction; the answer is a line `[]`, or the rows of the last
statement if there are some.
"""

import json
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute(f"pragma page_size = {int(sys.argv[2])}")
db.execute(f"pragma auto_vacuum = {int(sys.argv[3])}")
db.execute("pragma journal_mode = wal")
print("[]", flush=True)
for line in sys.stdin:
    statements = json.loads(line)
    alone = len(statements) == 1
    if not alone:
        db.execute("begin immediate")
    rows = []
    for statement in statements:
        rows = db.execute(statement).fetchall()
    if not alone:
        db.execute("commit")
    print(json.dumps(rows), flush=True)

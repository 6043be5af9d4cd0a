"""Runs the SQL it is told, one JSON object a line, and answers each with one line."""

import json
import sqlite3
import sys

db = None
for line in sys.stdin:
    request = json.loads(line)
    try:
        if "open" in request:
            db = sqlite3.connect(request["open"], isolation_level=None, timeout=0)
            rows = []
        else:
            rows = [[str(value) for value in row] for row in db.execute(request["sql"]).fetchall()]
        print(json.dumps({"rows": rows}), flush=True)
    except sqlite3.Error as error:
        print(json.dumps({"error": str(error)}), flush=True)

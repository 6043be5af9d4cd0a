"""An application that knows nothing of walferry: writes to a database in WAL mode with everything SQLite offers.

    app.py create DB PAGE_SIZE AUTO_VACUUM       make the database
    app.py write DB SEED SECONDS                 random work, then print what happened
    app.py commit DB TEXT                        one row
    app.py finish DB                             copy the WAL back, so that the file is the database
"""

import os
import random
import sqlite3
import sys
import time


def connect(path):
    db = sqlite3.connect(path, isolation_level=None, timeout=20)
    db.execute("pragma synchronous = " + os.environ.get("APP_SYNCHRONOUS", "normal"))
    return db


def create(path, page_size, auto_vacuum):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"pragma page_size = {int(page_size)}")
    db.execute(f"pragma auto_vacuum = {auto_vacuum}")
    assert db.execute("pragma journal_mode = wal").fetchone() == ("wal",)
    db.execute("create table item (id integer primary key, name text, body blob)")
    db.execute("create index item_name on item (name)")
    db.execute("create table note (id integer primary key, text text)")
    db.executemany(
        "insert into item (name, body) values (?, ?)",
        ((f"name {n % 97}", bytes([n % 251]) * (n % 700)) for n in range(400)),
    )


def write(path, seed, seconds):
    rng = random.Random(int(seed))
    db = connect(path)
    # A small cache, so that large transactions spill into the WAL before they commit (or roll back).
    db.execute("pragma cache_size = 20")
    end, done, slowest = time.time() + float(seconds), 0, 0.0
    while time.time() < end:
        start = time.time()
        step(db, rng)
        slowest = max(slowest, time.time() - start)
        done += 1
        time.sleep(rng.random() * 0.004)
    print(f"writer {seed}: {done} operations, the slowest took {slowest * 1000:.0f} ms")


def step(db, rng):
    dice = rng.random()
    some_id = "(abs(random()) % (select coalesce(max(id), 1) from item)) + 1"
    if dice < 0.50:
        db.execute("insert into item (name, body) values (?, ?)", (f"name {rng.randint(0, 999)}", rng.randbytes(rng.randint(0, 900))))
    elif dice < 0.75:
        db.execute(f"update item set body = ?, name = name || 'x' where id = {some_id}", (rng.randbytes(200),))
    elif dice < 0.90:
        db.execute(f"delete from item where id = {some_id}")
    elif dice < 0.97:
        # Larger than the cache: spills; half of them are undone.
        db.execute("begin immediate")
        for _ in range(rng.randint(20, 120)):
            db.execute("insert into item (name, body) values (?, ?)", ("bulk", rng.randbytes(rng.randint(500, 3000))))
        db.execute(rng.choice(["commit", "rollback"]))
    elif dice < 0.985:
        checkpoint(db, rng.choice(["passive", "full", "restart", "truncate"]))
    elif dice < 0.993:
        db.execute("delete from item where id % 3 = ?", (rng.randint(0, 2),))
    else:
        patiently(db, rng.choice(["vacuum", "pragma incremental_vacuum(50)"]))


def checkpoint(db, kind):
    """An application that does not want to wait long: busy is an answer."""
    db.execute("pragma busy_timeout = 50")
    try:
        db.execute(f"pragma wal_checkpoint({kind})").fetchall()
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
    db.execute("pragma busy_timeout = 20000")


def patiently(db, sql):
    for _ in range(200):
        try:
            db.execute(sql).fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.01)


def commit(path, text):
    db = connect(path)
    db.execute("insert into note (text) values (?)", (text,))


def finish(path):
    db = sqlite3.connect(path, isolation_level=None, timeout=20)
    busy, frames, copied = db.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert (busy, frames, copied) == (0, 0, 0), (busy, frames, copied)
    assert db.execute("pragma integrity_check").fetchone() == ("ok",)


if __name__ == "__main__":
    {"create": create, "write": write, "commit": commit, "finish": finish}[sys.argv[1]](*sys.argv[2:])

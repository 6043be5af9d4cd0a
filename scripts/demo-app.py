#!/usr/bin/env python3
"""A small application with a live SQLite database: a ferry line that sells tickets and watches its engines.

    demo-app.py DATABASE

It knows nothing of walferry. It opens the database in WAL mode and commits a few transactions every second, until it is
ended by SIGTERM or Ctrl-C.
"""

import math
import random
import signal
import sqlite3
import sys
import time

SCHEMA = """
create table if not exists vessel (
    id integer primary key, name text not null unique, seats integer not null, built integer not null);
create table if not exists route (
    id integer primary key, origin text not null, destination text not null, minutes integer not null,
    fare_cents integer not null);
create table if not exists crossing (
    id integer primary key, vessel_id integer not null references vessel, route_id integer not null references route,
    status text not null check (status in ('boarding', 'under way', 'arrived', 'cancelled')),
    departs_at text not null, arrived_at text);
create table if not exists ticket (
    id integer primary key, crossing_id integer not null references crossing, passenger text not null,
    kind text not null, price_cents integer not null, sold_at text not null);
create table if not exists reading (
    id integer primary key, vessel_id integer not null references vessel, at text not null,
    knots real not null, engine_celsius real not null, fuel_litres real not null);
create table if not exists log (at text not null, message text not null);
create index if not exists ticket_of_crossing on ticket (crossing_id);
create index if not exists crossing_by_status on crossing (status);
create index if not exists reading_by_time on reading (at);
create view if not exists takings as
    select origin || ' – ' || destination as route, count(*) as tickets, sum(price_cents) / 100.0 as euro
    from ticket join crossing on crossing.id = crossing_id join route on route.id = route_id
    group by route.id order by euro desc;
"""

VESSELS = [
    ("Amalthea", 120, 1998), ("Brigitte", 64, 1974), ("Corvina", 220, 2011), ("Dorothea Ann", 90, 1986),
    ("Eider", 48, 2019), ("Fulmar", 160, 2004),
]
ROUTES = [  # seconds of a demonstration count as minutes of a crossing
    ("Ærø", "Svendborg", 75, 1450), ("Tromsø", "Hurtigneset", 40, 980), ("Kraków Quay", "Wyspa", 25, 450),
    ("Señales", "Isla Baja", 55, 1120), ("Oban", "Craignure", 46, 890), ("İnebolu", "Şile", 90, 1760),
]
FIRST = "Ada Bjørn Chiara Dmitri Elif Fionn Grażyna Hiro Ines João Kaya Linnea Mateus Noor Oisín Priya Quinn Rūta".split()
LAST = "Almeida Berg Castellano Dahl Ekström Ferrari Gruber Håkansson Ito Jónsdóttir Kowalska Le Murphy Nowak Øst".split()
KINDS = [("adult", 1.0, 60), ("child", 0.5, 20), ("bicycle", 1.3, 12), ("car", 3.8, 8)]

KEEP = 5000  # rows of a kind, so that a demonstration left running stays small


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: demo-app.py DATABASE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    db.execute("pragma foreign_keys = on")
    with transaction(db):
        for statement in SCHEMA.split(";"):
            db.execute(statement)
        db.executemany("insert or ignore into vessel (name, seats, built) values (?, ?, ?)", VESSELS)
        if not db.execute("select 1 from route").fetchone():
            db.executemany("insert into route (origin, destination, minutes, fare_cents) values (?, ?, ?, ?)", ROUTES)
            log(db, "The line opens.")
    second = 0
    while True:
        started = time.monotonic()
        for step in (depart_and_arrive, sell, measure):
            with transaction(db):
                step(db)
        if second % 60 == 59:
            with transaction(db):
                tidy(db)
        second += 1
        time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))


class transaction:
    """`with transaction(db):` commits at its end, or rolls back."""

    def __init__(self, db):
        self.db = db

    def __enter__(self):
        self.db.execute("begin immediate")

    def __exit__(self, kind, *_):
        self.db.execute("rollback" if kind else "commit")


def now():
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())


def log(db, message):
    db.execute("insert into log values (?, ?)", (now(), message))


def depart_and_arrive(db):
    """Every vessel is boarding, under way, or about to board again."""
    for vessel, name in db.execute("select id, name from vessel").fetchall():
        crossing = db.execute(
            """select crossing.id, status, minutes, strftime('%s', 'now') - strftime('%s', departs_at), origin, destination
               from crossing join route on route.id = route_id
               where vessel_id = ? and status in ('boarding', 'under way')""", (vessel,)).fetchone()
        if crossing is None:
            route = random.choice(db.execute("select id from route").fetchall())[0]
            wait = random.randint(2, 20)
            db.execute(
                """insert into crossing (vessel_id, route_id, status, departs_at)
                   values (?, ?, 'boarding', datetime('now', ? || ' seconds'))""", (vessel, route, wait))
            continue
        id, status, minutes, since, origin, destination = crossing
        if status == "boarding" and since >= 0:
            if random.random() < 0.04:
                refunded = db.execute("delete from ticket where crossing_id = ?", (id,)).rowcount
                db.execute("update crossing set status = 'cancelled' where id = ?", (id,))
                log(db, f"{name} stays at {origin}: fog. {refunded} tickets refunded.")
            else:
                db.execute("update crossing set status = 'under way' where id = ?", (id,))
                log(db, f"{name} leaves {origin} for {destination}.")
        elif status == "under way" and since >= minutes:
            db.execute("update crossing set status = 'arrived', arrived_at = ? where id = ?", (now(), id))
            log(db, f"{name} is at {destination}.")


def sell(db):
    """Tickets for the vessels that are boarding, while they have seats."""
    for crossing, seats, fare in db.execute(
            """select crossing.id, seats, fare_cents from crossing
               join vessel on vessel.id = vessel_id join route on route.id = route_id
               where status = 'boarding'""").fetchall():
        sold = db.execute("select count(*) from ticket where crossing_id = ?", (crossing,)).fetchone()[0]
        for _ in range(min(random.randint(0, 4), seats - sold)):
            kind, factor, _ = random.choices(KINDS, [weight for *_, weight in KINDS])[0]
            passenger = f"{random.choice(FIRST)} {random.choice(LAST)}"
            db.execute(
                "insert into ticket (crossing_id, passenger, kind, price_cents, sold_at) values (?, ?, ?, ?, ?)",
                (crossing, passenger, kind, round(fare * factor), now()))


def measure(db):
    """One reading of every engine that runs."""
    for (vessel,) in db.execute("select vessel_id from crossing where status = 'under way'").fetchall():
        wave = math.sin(time.time() / 17 + vessel)
        knots = 11 + 3 * wave + random.gauss(0, 0.4)
        last = db.execute("select fuel_litres from reading where vessel_id = ? order by id desc limit 1", (vessel,)).fetchone()
        fuel = last[0] - knots * 0.09 if last and last[0] > 40 else 900.0
        db.execute(
            "insert into reading (vessel_id, at, knots, engine_celsius, fuel_litres) values (?, ?, ?, ?, ?)",
            (vessel, now(), round(knots, 2), round(74 + 9 * wave + random.gauss(0, 1), 1), round(fuel, 1)))


def tidy(db):
    db.execute("delete from reading where id <= (select max(id) from reading) - ?", (KEEP,))
    db.execute("delete from log where rowid <= (select max(rowid) from log) - ?", (KEEP,))
    db.execute("delete from ticket where id <= (select max(id) from ticket) - ?", (KEEP * 4,))


if __name__ == "__main__":
    main()

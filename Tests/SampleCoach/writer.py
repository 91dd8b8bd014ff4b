#!/usr/bin/env python3
"""An application that goes on writing while the database is updated.

    writer.py DATABASE --log FILE [--interval-ms 10] [--readers N]

inserts a notification with a unique marker every 10 ms, each in a transaction of its own, as an
RV controller does: synchronous NORMAL, a busy timeout of 30 s, and the journal mode of the file. A marker is appended to FILE
only after COMMIT returned without an error, so FILE lists what must never be lost. On SIGTERM it
prints one JSON line and exits with 0 (at the latest after the busy timeout).

With --watch every reader also asks that query, which gives one value, in each of its transactions;
all values that were seen are in the report. With --beat each of those transactions appends a byte
to a file, so that others can see the readers go on.

    writer.py --check DATABASE --log FILE [--copy SNAPSHOT ...]

exits with 1 and lists the markers of FILE that are neither in the database nor in a copy of it. A
power cut can take the newest commits of a WAL database with synchronous NORMAL along; the death of
processes cannot.

The insert names only columns that exist since version 3, and so works after an update too.
"""

import argparse
import json
import os
import signal
import sqlite3
import sys
import threading
import time
import urllib.parse

BUSY_TIMEOUT_SECONDS = 30
INSERT = """
INSERT INTO notifications (event_id, profile_id, kind, title, body, created_at)
VALUES (?, 1, 'system', 'Heartbeat', ?, ?)
"""
READS = [
    "SELECT count(*), max(id) FROM notifications",
    "SELECT id, title, body FROM notifications ORDER BY id DESC LIMIT 20",
    "SELECT count(*) FROM trips",
    "SELECT recorded_at, raw_value FROM sensor_readings WHERE sensor_id = 6"
    " ORDER BY recorded_at DESC LIMIT 50",
]


def connect(path, mode):
    """Opens an existing database; never makes one in place of a missing file."""
    uri = "file:" + urllib.parse.quote(os.path.abspath(path)) + "?mode=" + mode
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None
    )
    if mode == "rw":
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    return connection


class Errors:
    """Messages with how often each came: a long outage stays one line."""

    def __init__(self):
        self.counts = {}
        self.lock = threading.Lock()

    def add(self, error):
        text = f"{type(error).__name__}: {error}"
        with self.lock:
            self.counts[text] = self.counts.get(text, 0) + 1

    def listed(self):
        return [f"{text} ({count}x)" for text, count in self.counts.items()]


class Reader(threading.Thread):
    def __init__(self, path, pause, watch, beat, stop, errors):
        super().__init__()
        self.path, self.pause, self.watch, self.beat = path, pause, watch, beat
        self.stop, self.errors = stop, errors
        self.reads = 0
        self.seen = set()

    def run(self):
        connection = None
        while not self.stop.is_set():
            try:
                if connection is None:
                    connection = connect(self.path, "rw")
                connection.execute("BEGIN")
                if self.watch:
                    self.seen.add(connection.execute(self.watch).fetchone()[0])
                for query in READS:
                    connection.execute(query).fetchall()
                    self.reads += 1
                connection.execute("COMMIT")
                if self.beat:
                    self.beat.write(b".")
            except sqlite3.Error as error:
                self.errors.add(error)
                connection = undo(connection)
            self.stop.wait(self.pause)
        if connection is not None:
            connection.close()


def undo(connection):
    """Leaves no transaction open after an error; gives up a connection that cannot do even that."""
    if connection is None:
        return None
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return connection
    except sqlite3.Error:
        connection.close()
        return None


def write(path, log, interval, stop, errors):
    """Inserts until told to stop; returns how many inserts were acknowledged."""
    # Unique over restarts of the writer: one log may be continued.
    prefix = f"writer-{time.time_ns()}-{os.getpid()}"
    acknowledged = number = 0
    connection = connect(path, "rw")
    due = time.monotonic()
    while not stop.is_set():
        number += 1
        marker = f"{prefix}-{number:08d}"
        try:
            if connection is None:
                connection = connect(path, "rw")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(INSERT, (marker, f"Insert {number}", int(time.time())))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            errors.add(error)
            connection = undo(connection)
        else:
            log.write(marker + "\n")
            log.flush()
            acknowledged += 1
        # After a long wait for the lock it goes on at its pace instead of catching up.
        due = max(due + interval, time.monotonic())
        stop.wait(max(0.0, due - time.monotonic()))
    if connection is not None:
        connection.close()
    return acknowledged


def run(arguments):
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    write_errors, read_errors = Errors(), Errors()
    # Unbuffered and appended: a byte is there when it was written, whoever wrote it.
    beat = open(arguments.beat, "ab", buffering=0) if arguments.beat else None
    readers = [
        Reader(
            arguments.database, arguments.pause_ms / 1000, arguments.watch, beat, stop, read_errors
        )
        for _ in range(arguments.readers)
    ]
    with open(arguments.log, "a", encoding="ascii") as log:
        for reader in readers:
            reader.start()
        try:
            acknowledged = write(
                arguments.database, log, arguments.interval_ms / 1000, stop, write_errors
            )
        finally:
            stop.set()
            for reader in readers:
                reader.join()
    report = {
        "acknowledged": acknowledged,
        "reads": sum(reader.reads for reader in readers),
        "seen": sorted(set().union(*(reader.seen for reader in readers)), key=str),
        "read_errors": read_errors.listed(),
        "write_errors": write_errors.listed(),
    }
    print(json.dumps(report), flush=True)
    return 0


def check(arguments):
    with open(arguments.log, encoding="ascii") as log:
        # A last line without its end was cut off by a kill, after its marker was committed.
        markers = [line[:-1] for line in log if line.endswith("\n")]
    in_database = held(arguments.database, markers)
    elsewhere = [marker for marker in markers if marker not in in_database]
    in_copies = set().union(*(held(copy, elsewhere) for copy in arguments.copy))
    missing = [marker for marker in elsewhere if marker not in in_copies]
    result = {"acknowledged": len(markers), "in_copies": len(in_copies), "missing": missing}
    print(json.dumps(result), flush=True)
    return 1 if missing else 0


def held(path, markers):
    """Those of the markers that a database holds."""
    connection = connect(path, "ro")
    query = "SELECT 1 FROM notifications WHERE event_id = ?"
    try:
        return {marker for marker in markers if connection.execute(query, (marker,)).fetchone()}
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", metavar="DATABASE")
    parser.add_argument("--log", metavar="FILE", required=True, help="the acknowledged markers")
    parser.add_argument("--check", action="store_true", help="look for the markers of FILE")
    parser.add_argument(
        "--copy", action="append", default=[], metavar="FILE", help="--check looks there too"
    )
    parser.add_argument("--interval-ms", type=float, default=10, help="(%(default)s)")
    parser.add_argument("--readers", type=int, default=0, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--pause-ms", type=float, default=2, help="between two reads (%(default)s)"
    )
    parser.add_argument("--watch", metavar="SQL", help="what each reader also asks")
    parser.add_argument("--beat", metavar="FILE", help="gets a byte for each of their transactions")
    arguments = parser.parse_args()
    if not 0 < arguments.interval_ms <= 60_000:
        parser.error("--interval-ms must be above 0 and at most 60000")
    if not 0 <= arguments.readers <= 64:
        parser.error("--readers must be between 0 and 64")
    return check(arguments) if arguments.check else run(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except sqlite3.Error as error:
        print(f"writer: {error}", file=sys.stderr)
        sys.exit(74)
    except OSError as error:
        print(f"writer: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(74)

"""200 listeners on WebSockets: how long it takes from a phase in the journal to the frame, and what they cost.

A phase is in the journal when its file has got its name; the kernel tells of that (inotify(7)). The state
folder is in memory, so that no disk's syncs are measured. Frames are only stamped while they come, and read
afterwards.
"""

import base64
import ctypes
import json
import os
import select
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LISTENERS = 200
RUNS = 20

# As in bench.LINES: what it is, the name of its figure, its unit, the most that is wanted.
LINES = [
    (f"**{LISTENERS} listeners on WebSockets, {RUNS} rehearsals of 10 MB**", None, "", None),
    ("from the phase in the journal to the frame, median", "frame median", "ms", None),
    ("- 99 % of all frames", "frame p99", "ms", 20),
    ("- worst", "frame worst", "ms", None),
    ("a bare exchange with as many sockets in the same program, 99 %", "bare p99", "ms", None),
    ("memory (VmRSS) of the daemon, before", "memory before", "MB", None),
    ("- what the listeners add", "memory added", "MB", 15),
]


class Journal:
    """When the journal's file got its name."""

    MOVED_TO = 0x80

    def __init__(self, folder):
        library = ctypes.CDLL(None, use_errno=True)
        self.file = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if library.inotify_add_watch(self.file, str(folder).encode(), self.MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self.path = folder / "run.json"
        self.phases = {}

    def look(self, now):
        data = os.read(self.file, 65536)
        names, offset = [], 0
        while offset < len(data):
            length, = struct.unpack_from("I", data, offset + 12)
            names.append(data[offset + 16:offset + 16 + length].rstrip(b"\0"))
            offset += 16 + length
        if b"run.json" in names:
            try:
                journal = json.loads(self.path.read_text())
                self.phases.setdefault((journal["run"]["id"], journal["phase"]), now)
            except (OSError, ValueError):
                pass  # The run has ended meanwhile.


class Listener:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.chunks = []
        # The head of the answer and the state.
        while b"\r\n\r\n" not in (got := b"".join(data for _, data in self.chunks)) or len(got) < 500:
            self.chunks.append((0, self.socket.recv(65536)))
        self.socket.setblocking(False)

    def take(self, now):
        data = self.socket.recv(262144)
        if not data:
            raise ValueError("a listener was dropped")
        self.chunks.append((now, data))

    def events(self):
        """Each event with the time when its last byte was there."""
        data = b"".join(chunk for _, chunk in self.chunks)
        ends, end = [], 0
        for when, chunk in self.chunks:
            end += len(chunk)
            ends.append((end, when))
        at, index = data.index(b"\r\n\r\n") + 4, 0
        while at + 2 <= len(data):
            kind, length, start = data[at] & 0xF, data[at + 1], at + 2
            if length > 125:
                size = 2 if length == 126 else 8
                length, start = int.from_bytes(data[start:start + size], "big"), start + size
            at = start + length
            if at > len(data):
                return
            while ends[index][0] < at:
                index += 1
            if kind == 1:
                yield ends[index][1], data[start:at]


class Daemon:
    def __init__(self, chock, folder):
        self.chock, self.folder = chock, folder
        (folder / "migrations").mkdir()
        (folder / "state").mkdir()
        (folder / "migrations/1_first.sql").write_text("CREATE INDEX reading_by_value ON reading (value);")
        # Of 10 MB, so that its phases last as long as a coach's.
        with sqlite3.connect(folder / "coach.db") as connection:
            connection.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, value TEXT)")
            connection.execute("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) "
                               "INSERT INTO reading SELECT x, hex(randomblob(40)) FROM n")
        connection.close()
        (folder / "chock.toml").write_text(f"""environment = "development"
[database]
path = "{folder}/coach.db"
[migrations]
directory = "{folder}/migrations"
[state]
directory = "{folder}/state"
[server]
listen = "127.0.0.1:0"
socket = "{folder}/socket"
[coach]
required_gates = []
""")
        self.environment = os.environ | {"CHOCK_CONFIG": str(folder / "chock.toml")}

    def __enter__(self):
        subprocess.run([self.chock, "adopt", "--at", "0", "--yes"], env=self.environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = self.folder / "log"
        with log.open("w") as file:
            self.process = subprocess.Popen([self.chock, "serve"], env=self.environment, stdout=file, stderr=file)
        while "panel is at http://127.0.0.1:" not in (text := log.read_text()):
            if self.process.poll() is not None:
                raise ValueError(f"the daemon ended: {text}")
            time.sleep(0.05)
        self.port = int(text.split("panel is at http://127.0.0.1:")[1].split("/")[0])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, body=""):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.folder / "socket"))
            peer.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                         f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = b"".join(iter(lambda: peer.recv(65536), b""))
        return json.loads(answer.split(b"\r\n\r\n", 1)[1])

    def memory(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024 / 1e6


def follow(poll, sources, seconds):
    """Stamps what comes, until nothing has come for so long."""
    while ready := poll.poll(seconds):
        for file, _ in ready:
            sources[file](time.perf_counter())


def bare():
    """Milliseconds in which 99 % of as many sockets are written to and read, without a daemon between."""
    pairs = [socket.socketpair() for _ in range(LISTENERS)]
    poll, by_file, stamps = select.epoll(), {}, []
    for one, _ in pairs:
        poll.register(one.fileno(), select.EPOLLIN)
        by_file[one.fileno()] = one
    for _ in range(RUNS):
        begin, left = time.perf_counter(), LISTENERS
        for _, other in pairs:
            other.send(b"x" * 200)
        while left:
            for file, _ in poll.poll():
                by_file[file].recv(262144)
                stamps.append(time.perf_counter() - begin)
                left -= 1
    for pair in pairs:
        for each in pair:
            each.close()
    return 1000 * statistics.quantiles(stamps, n=100)[98]


def measure(daemon):
    before = daemon.memory()
    listeners = [Listener(daemon.port) for _ in range(LISTENERS)]
    journal = Journal(daemon.folder / "state")
    poll, sources = select.epoll(), {journal.file: journal.look}
    for listener in listeners:
        sources[listener.socket.fileno()] = listener.take
    for file in sources:
        poll.register(file, select.EPOLLIN)
    for _ in range(RUNS):
        daemon.ask("POST", "/api/database/rehearse", "{}")
        follow(poll, sources, 1)
    after = daemon.memory()
    seconds = []
    for listener in listeners:
        for when, text in listener.events():
            event = json.loads(text)
            if event["type"] == "phase" and (key := (event["run"], event["phase"])) in journal.phases:
                seconds.append(when - journal.phases[key])
        listener.socket.close()
    if len(seconds) < LISTENERS * RUNS:
        raise ValueError(f"only {len(seconds)} phases were seen")
    return {"frame median": 1000 * statistics.median(seconds), "frame worst": 1000 * max(seconds),
            "frame p99": 1000 * statistics.quantiles(seconds, n=100)[98], "bare p99": bare(),
            "memory before": before, "memory added": after - before}


def figures(bench):
    print("200 listeners", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-events-", dir="/dev/shm") as folder:
        with Daemon(bench.chock, Path(folder)) as daemon:
            return measure(daemon)

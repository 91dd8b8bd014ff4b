"""What listening to the coach costs, and how long it takes from a frame on the bus to "rolled back".

The bus is a socket that gives the same 16 bytes a frame as a CAN bus: behind the descriptor the code is
the same. What a kernel's bus does better is its filter: frames that the profile does not name never reach
chock.
"""

import base64
import json
import os
import random
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import threading
import time

CHASSIS = 0x1FFF4
MEGABYTES = 100
ROUNDS = 20
FRAMES = 1800  # a second: a full bus of 250 kbit/s

# As in bench.LINES: what it is, the name of its figure, its unit, the most that is wanted.
LINES = [
    ("**From the frame on the bus to \"rolled back\" on the WebSocket**", None, "", None),
    (f"median of {ROUNDS}", "latency median", "ms", None),
    ("worst", "latency worst", "ms", None),
    ("`sqlite3_interrupt()` and ROLLBACK of the same in Python's sqlite3, median", "rollback median",
     "ms", None),
    ("- worst", "rollback worst", "ms", None),
    ("median without SQLite's", "own median", "ms", 250),
    ("worst without SQLite's median", "own worst", "ms", 250),
    (f"**Listening, {FRAMES:,} frames/s: of a core**", None, "", None),
    ("a full bus; all of it reaches chock, as through a bridge", "mix", "%", 1),
    ("a full bus; the kernel's filter lets through what the profile names", "filtered", "%", 1),
    ("a babbling node: every frame says something else of the chassis", "babbling", "%", None),
]


def frame(dgn, data, source=0x9C):
    """`struct can_frame`"""
    return struct.pack("=IB3x8s", 0x80000000 | 6 << 26 | dgn << 8 | source, 8, data)


def chassis(speed=0, brake=True, rpm=0):
    """CHASSIS_MOBILITY_STATUS"""
    return frame(CHASSIS, struct.pack("<HHBBBB", rpm * 8, speed * 256, 0xFC | brake, 0xFD, 251, 251))


def mix():
    """The frames of one second: what a parked coach says with its ignition on, in any order."""
    blank = b"\xFF" * 8
    named = [chassis()] * 10
    named += [frame(0x1FFFD, struct.pack("<BBHI", 1, 120, 264 + n, 0xFFFFFFFF), 0x44) for n in range(2)]
    # Slides, awnings, locks, jacks, the generator, the chassis' surroundings.
    for dgn, count in ((0x1FFE8, 4), (0x1FEF3, 2), (0x1FEE5, 2), (0x1FFED, 1), (0x1FFDC, 1), (0x1FE87, 1)):
        named += [frame(dgn, bytes([n + 1, 0, 0, 0xFC]) + blank[4:], 0x50 + n) for n in range(count)]
    # The engine, dimmers, tanks, temperatures, thermostats and what makers keep to themselves.
    others = [frame(0x0F004, bytes([n]) + blank[1:], 0) for n in range(100)]
    others += [frame(dgn, bytes([n, n]) + blank[2:], 0x60 + n) for dgn, count in
               ((0x1FEDA, 60), (0x1FFB7, 6), (0x1FF9C, 8), (0x1FFE2, 6)) for n in range(count)]
    others += [frame(0x0EF00, struct.pack("<Q", n), 0x90 + n % 16)
               for n in range(FRAMES - len(named) - len(others))]
    everything = named + others
    random.Random(1).shuffle(everything)
    random.Random(1).shuffle(named)
    return everything, named


class WebSocket:
    """The smallest client of RFC 6455, over a unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        if b" 101 " not in self.file.readline():
            raise ValueError("no WebSocket")
        while self.file.readline() != b"\r\n":
            pass

    def close(self):
        self.file.close()
        self.socket.close()

    def event(self):
        """The next event."""
        while True:
            kind, length = self.file.read(2)
            if length > 125:
                length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
            data = self.file.read(length)
            if kind & 0xF == 9:
                self.socket.sendall(b"\x8A" + bytes([0x80 | length]) + bytes(4) + data)
            if kind & 0xF == 1:
                return json.loads(data)

    def until(self, condition):
        while not condition(event := self.event()):
            pass
        return event


class Coach:
    """A chock that listens to a bus, on the benchmark's sample."""

    def __init__(self, bench):
        self.bench = bench
        self.folder = bench.folder / "coach"
        self.folder.mkdir()
        self.socket = self.folder / "socket"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.folder / "bus"))
        self.listener.listen()
        (self.folder / "chock.toml").write_text(f"""environment = "development"
[database]
path = "{bench.database}"
[migrations]
directory = "{bench.folder}/every row"
[state]
directory = "{self.folder}/state"
[update]
rehearse = false
backup_before_migrate = false
[server]
listen = "127.0.0.1:0"
socket = "{self.socket}"
[coach]
required_gates = ["parked"]
[[coach.can]]
interface = "unix:{self.folder}/bus"
""")

    def __enter__(self):
        self.bench.renew()
        self.daemon = subprocess.Popen(
            [self.bench.chock, "serve", "--config", self.folder / "chock.toml"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.listener.settimeout(30)
        self.bus, _ = self.listener.accept()
        while not self.socket.exists():
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.daemon.terminate()
        self.daemon.wait()
        self.bus.close()
        self.listener.close()

    def post(self, path, body):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.socket))
            peer.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = b"".join(iter(lambda: peer.recv(65536), b""))
        if not answer.startswith(b"HTTP/1.1 202"):
            raise ValueError(f"the update was not started: {answer.decode(errors='replace')}")

    def one(self, delay):
        """Seconds from the frame that says "drives off" to the event that says "rolled back"."""
        parked = threading.Event()

        def keep():
            while not parked.wait(0.5):
                self.bus.send(chassis())

        self.bus.send(chassis())
        keeper = threading.Thread(target=keep)
        listener = WebSocket(self.socket)
        try:
            keeper.start()
            time.sleep(0.5)
            self.post("/api/database/update", '{"consent": true}')
            listener.until(lambda event: event["type"] == "phase" and event.get("phase") == "apply")
            time.sleep(delay)
            parked.set()
            keeper.join()
            begin = time.perf_counter()
            self.bus.send(chassis(speed=5, brake=False))
            event = listener.until(lambda event: event["type"] == "result")
            seconds = time.perf_counter() - begin
        finally:
            parked.set()
            keeper.join()
            listener.close()
        outcome = event["result"]["outcome"]
        if outcome != "rolled_back":
            raise ValueError(f"the update ended with {outcome}")
        return seconds

    def by_hand(self, delay):
        """Seconds that SQLite itself takes to give up the same change at the same time."""
        connection = sqlite3.connect(self.bench.database, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            begin = []

            def interrupt():
                begin.append(time.perf_counter())
                connection.interrupt()

            timer = threading.Timer(delay, interrupt)
            timer.start()
            try:
                connection.execute("UPDATE sensor_readings SET raw_value = raw_value * 1.5")
                raise ValueError("the change was over before it could be interrupted")
            except sqlite3.OperationalError:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                return time.perf_counter() - begin[0]
            finally:
                timer.cancel()
        finally:
            connection.close()

    def processor(self, second):
        """Percent of a core that the daemon takes while it hears the frames of a second, 10 times; of
        `second`, a function of the number of the second.
        """
        # What came before is over.
        time.sleep(1)
        before, begin = cpu(self.daemon.pid), time.perf_counter()
        for number in range(10):
            frames = second(number)
            for index, each in enumerate(frames):
                due = begin + number + index / len(frames)
                # In handfuls, or this would be a benchmark of sleeping.
                if index % 8 == 0:
                    time.sleep(max(0, due - time.perf_counter()))
                self.bus.send(each)
        time.sleep(max(0, begin + 10 - time.perf_counter()))
        return 100 * (cpu(self.daemon.pid) - before) / (time.perf_counter() - begin)

    def figures(self):
        delays = [0.3 + 0.05 * number for number in range(ROUNDS)]
        seconds, rollbacks = [], []
        for delay in delays:
            seconds.append(self.one(delay))
            rollbacks.append(self.by_hand(delay))
        rollback = statistics.median(rollbacks)
        everything, named = mix()
        return {
            "latency median": 1000 * statistics.median(seconds), "latency worst": 1000 * max(seconds),
            "rollback median": 1000 * rollback, "rollback worst": 1000 * max(rollbacks),
            "own median": 1000 * (statistics.median(seconds) - rollback),
            "own worst": 1000 * (max(seconds) - rollback),
            "mix": self.processor(lambda _: everything), "filtered": self.processor(lambda _: named),
            "babbling": self.processor(lambda number: [
                chassis(rpm=600 + (number * FRAMES + n) % 7000) for n in range(FRAMES)]),
        }


def cpu(pid):
    """Seconds of the processor that a process has taken."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(bench):
    print("the coach's bus", file=sys.stderr)
    bench.make(MEGABYTES)
    with Coach(bench) as coach:
        return coach.figures()

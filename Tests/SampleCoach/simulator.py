#!/usr/bin/env python3
"""Plays the controller of a parked coach: publishes its readings to chock.

Start it beside `chock serve`, as a user who may write chock's files, or with the token of a controller
(`chock token create simulator`):

    simulator.py --socket /run/chock/chock.sock
    CHOCK_TOKEN=chock_... simulator.py --url http://127.0.0.1:8765

Every reading expires after 10 seconds, so chock knows within that time that the simulator is
gone. Flip a switch by typing it into the running simulator, or from another terminal:

    simulator.py brake off      release the parking brake
    simulator.py brake on       set it again
    simulator.py slide on       slide 1 is moving (an active control operation)
    simulator.py slide off      it has stopped
    simulator.py chassis off    the chassis falls silent, as with the ignition off
    simulator.py chassis on     it is heard again
    simulator.py quit           end the running simulator
"""

import argparse
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import sys
import time
import urllib.parse

PUBLISH_SECONDS = 2.0
TTL_SECONDS = 10
TICK_SECONDS = 0.25
REQUEST_TIMEOUT_SECONDS = 2.0
SWITCHES = {"brake": "on", "slide": "off", "chassis": "on"}  # with their positions in a parked coach
COMMANDS = ", ".join(f"{name} on|off" for name in SWITCHES) + ", quit"
ACTIVITY = "slide-1"


def readings(switches):
    """The signals of the coach, named and valued as chock's control interface asks."""
    chassis = {
        "parking_brake": "engaged" if switches["brake"] == "on" else "released",
        "vehicle_speed": 0,
        "transmission_gear": "park",
        "engine_running": False,
        "ignition": "off",
        "in_tow": False,
    }
    house = {
        "emergency_stop": "inactive",
        "supply_voltage": 12.8,
        "interlock.slides": "satisfied",
        "interlock.jacks": "satisfied",
        "interlock.awning": "satisfied",
        "connections": 0,
    }
    return {**chassis, **house} if switches["chassis"] == "on" else house


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=REQUEST_TIMEOUT_SECONDS)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


class Publisher:
    """Sends the readings; says once when chock goes away, comes back or refuses something."""

    def __init__(self, url, socket_path):
        self.socket_path = socket_path
        self.where = socket_path or url
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80
        self.prefix = parts.path.rstrip("/")
        self.reachable = None
        self.refused = {}
        self.sent_activity = None

    def publish(self, switches):
        if self.socket_path:
            connection = UnixConnection(self.socket_path)
        else:
            connection = http.client.HTTPConnection(
                self.host, self.port, timeout=REQUEST_TIMEOUT_SECONDS
            )
        try:
            for signal_name, value in readings(switches).items():
                reading = {"value": value, "ttl_seconds": TTL_SECONDS, "source": "simulator"}
                self.request(connection, "PUT", "/api/safety/readings/" + signal_name, reading)
            path = "/api/safety/activities/" + ACTIVITY
            if switches["slide"] == "on":
                lease = {"description": "slide 1 extending", "ttl_seconds": TTL_SECONDS}
                self.sent_activity = True
                self.request(connection, "PUT", path, lease)
            elif self.sent_activity:
                self.request(connection, "DELETE", path, None)
                self.sent_activity = False
        except (OSError, http.client.HTTPException) as error:
            if self.reachable is not False:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                say(f"chock does not answer at {self.where} ({reason}); trying again until it does")
            self.reachable = False
        else:
            if not self.reachable:
                say(f"publishing to {self.where}: {describe(switches)}")
            self.reachable = True
        finally:
            connection.close()

    def request(self, connection, method, path, document):
        body = None if document is None else json.dumps(document).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        # Not as an argument, which every user of the machine can see.
        if token := os.environ.get("CHOCK_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, self.prefix + path, body, headers)
        response = connection.getresponse()
        answer = response.read(4096).decode("utf-8", "replace").strip()
        # Ending an operation whose lease ran out by itself is no error.
        ok = response.status < 300 or (method == "DELETE" and response.status == 404)
        if ok:
            self.refused.pop(path, None)
        elif self.refused.get(path) != response.status:
            self.refused[path] = response.status
            say(f"chock refused {method} {path}: {response.status} {answer}")


class StateFile:
    """The switches on disk, for as long as a simulator runs.

    It is how another terminal reaches the running one, and how that one shows its state.
    """

    def __init__(self, path):
        self.path = path
        self.seen = None

    def read(self):
        """The document, or None where there is none (or one that somebody is still typing)."""
        try:
            with open(self.path, encoding="utf-8") as file:
                document = json.load(file)
        except FileNotFoundError:
            return None
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def write(self, document):
        """Replaces the file in one step, so that nobody reads half of it."""
        folder = os.path.dirname(self.path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        partial = f"{self.path}.{os.getpid()}"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(document, file)
            file.write("\n")
        os.replace(partial, self.path)

    def changed(self):
        """True once after each change of the file."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        now = (status.st_mtime_ns, status.st_ino)
        before, self.seen = self.seen, now
        return now != before

    def running(self):
        """The document of a simulator that is alive, else None."""
        document = self.read()
        pid = document.get("pid") if document else None
        if not isinstance(pid, int) or pid <= 0:
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass  # Alive, but somebody else's.
        return document


class Stop(Exception):
    """Asked to end."""


def say(text):
    print("simulator: " + text, flush=True)


def describe(switches):
    brake = "parking brake engaged" if switches["brake"] == "on" else "parking brake RELEASED"
    slide = "slide 1 MOVING" if switches["slide"] == "on" else "nothing moving"
    chassis = brake if switches["chassis"] == "on" else "chassis SILENT"
    return f"{chassis}, {slide}"


def parse_switch(words):
    """(switch, position) of `brake off` and the like; None for anything else."""
    if len(words) == 2 and words[0] in SWITCHES and words[1] in ("on", "off"):
        return words[0], words[1]
    return None


def flip(state, words):
    """Gives a command to the simulator that runs with this state file. Returns an exit code."""
    document = state.running()
    if document is None:
        print(
            f"simulator: no simulator is running with {state.path}; start one first, "
            "or name its file with --state",
            file=sys.stderr,
        )
        return 1
    if words == ["quit"]:
        document["quit"] = True
    else:
        name, position = parse_switch(words)
        document[name] = position
    state.write(document)
    say(" ".join(words))
    return 0


class Simulator:
    def __init__(self, publisher, state):
        self.publisher = publisher
        self.state = state
        self.switches = dict(SWITCHES)
        self.typed = b""
        self.listening = True

    def run(self):
        self.save()
        try:
            due = time.monotonic()
            while True:
                now = time.monotonic()
                if now >= due:
                    self.publisher.publish(self.switches)
                    due = now + PUBLISH_SECONDS
                if self.heard(min(TICK_SECONDS, max(0.0, due - time.monotonic()))):
                    say(describe(self.switches))
                    due = time.monotonic()
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self.state.path)

    def save(self):
        self.state.write({"pid": os.getpid(), **self.switches})
        self.state.changed()

    def heard(self, seconds):
        """Waits; true when a switch was flipped, here or in the file."""
        before = dict(self.switches)
        inputs = [sys.stdin] if self.listening else []
        if select.select(inputs, [], [], seconds)[0]:
            self.read_input()
            if self.switches != before:
                self.save()
        if self.state.changed():
            document = self.state.read() or {}
            if document.get("quit"):
                raise Stop
            for name in SWITCHES:
                if document.get(name) in ("on", "off"):
                    self.switches[name] = document[name]
        return self.switches != before

    def read_input(self):
        try:
            data = os.read(sys.stdin.fileno(), 4096)
        except OSError:  # A background job may not read the terminal.
            data = b""
        if not data:
            self.listening = False  # No more commands from there; the readings go on.
            return
        *lines, self.typed = (self.typed + data).split(b"\n")
        for line in lines:
            words = line.decode("utf-8", "replace").split()
            if words == ["quit"]:
                raise Stop
            switch = parse_switch(words)
            if switch:
                self.switches[switch[0]] = switch[1]
            elif words:
                say(f"unknown command; there are: {COMMANDS}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8765", help="chock (%(default)s)")
    parser.add_argument("--socket", metavar="PATH", help="chock's unix socket, instead of --url")
    parser.add_argument(
        "--state",
        metavar="FILE",
        default="./sample/simulator.json",
        help="the switches of the running simulator (%(default)s)",
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND", help=COMMANDS)
    arguments = parser.parse_args()
    words = arguments.command
    if words and words != ["quit"] and parse_switch(words) is None:
        parser.error(f"the commands are: {COMMANDS}")
    try:
        url = urllib.parse.urlsplit(arguments.url)
        if url.scheme != "http" or not url.hostname or url.port == 0:
            raise ValueError
    except ValueError:
        parser.error(f"--url {arguments.url}: it must look like http://127.0.0.1:8765")

    state = StateFile(arguments.state)
    if words:
        return flip(state, words)
    other = state.running()
    if other is not None:
        print(
            f"simulator: process {other['pid']} is already running with {state.path}; "
            "end it with `simulator.py quit`, or name another file with --state",
            file=sys.stderr,
        )
        return 1

    def stop(number, frame):
        raise Stop

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # As a background job: reading the terminal then fails instead of stopping the process.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    with contextlib.suppress(Stop):
        Simulator(Publisher(arguments.url, arguments.socket), state).run()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        print(f"simulator: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        sys.exit(74)

#!/usr/bin/env python3
"""A small real application of a coach, with what keeps it running.

    application.py run FOLDER DATABASE      supervises the application until it is told to quit
    application.py start FOLDER             has it started (returns at once)
    application.py stop FOLDER              asks it to stop (returns at once)
    application.py is-running FOLDER        0 while it runs or is being restarted, 1 when it does not
    application.py systemctl FOLDER ...     `systemctl` for the unit sample.service: show, start, stop

The application writes a row every 20 ms, reads, and answers GET /health on a port of this machine, which is
in FOLDER/port. It refuses a schema that is newer than FOLDER/knows says, and then ends with 3, as an
application does that meets a database of a later release. In safe mode (CHOCK_SAFE_MODE, or FOLDER/safe-mode
as the path of chock's file) its health says so.

The supervisor starts it again 50 ms after it has ended, as Restart=always does, unless it is to be down. Files
in FOLDER, named by what they make it do:

    crash        it ends as soon as it runs
    crash-later  it ends half a second after each start
    unhealthy    /health answers with 503
    health       what it answers instead: hang, garbage, text, redirect, or stream without an end
    hang         it does not obey a stop until the file is gone
    busy         a write waits so many seconds for the database (default: 30)
    behind       as a unit it is started when the file is gone, like one that systemd orders behind another
    reluctant    a start fails, that many times
    restless     whoever stops it finds it started again a moment later, that many times (default: always)

FOLDER/log has a line for each start, end and stop; FOLDER/written what was acknowledged.
"""

import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

FOLDER = sys.argv[2]


def path(name):
    return os.path.join(FOLDER, name)


def there(name):
    return os.path.exists(path(name))


def read(name, otherwise=""):
    try:
        with open(path(name)) as file:
            return file.read().strip()
    except OSError:
        return otherwise


def write(name, text):
    with open(path(name + ".new"), "w") as file:
        file.write(text)
    os.rename(path(name + ".new"), path(name))


def note(text):
    with open(path("log"), "a") as file:
        file.write(text + "\n")


# The application itself.


def version(connection):
    return connection.execute(
        "SELECT max(CAST(version AS INTEGER)) FROM chock_migrations"
    ).fetchone()[0]


def application(database):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    state = {"ok": False, "written": 0, "safe_mode": False, "busy": False}

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/health":
                note(f"asked for {self.path}")
            way = read("health")
            if way == "hang":
                while read("health") == "hang":
                    time.sleep(0.1)
            if way == "garbage":
                self.wfile.write(b"\0\xff no answer of HTTP \r\n" * 20)
                self.close_connection = True
                return
            if way == "redirect":
                self.send_response(302)
                self.send_header("Location", "/moved")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if way == "stream":
                self.send_response(200)
                self.end_headers()
                try:
                    while read("health") == "stream":
                        self.wfile.write(b'{"ok": true, ' * 10_000)
                except OSError:
                    pass
                self.close_connection = True
                return
            if way == "text":
                self.send_response(200)
                self.send_header("Content-Length", "8")
                self.end_headers()
                self.wfile.write(b"ok: true")
                return
            body = json.dumps(state).encode()
            self.send_response(503 if there("unhealthy") else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

    port = int(read("port", "0") or 0)
    server = Server(("127.0.0.1", port), Health)
    write("port", str(server.server_address[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    safe = os.environ.get("CHOCK_SAFE_MODE") or read("safe-mode")
    state["safe_mode"] = bool(safe) and os.path.exists(safe)

    connection = sqlite3.connect(f"file:{database}?mode=rw", uri=True,
                                 timeout=float(read("busy", "30")), isolation_level=None)
    found = version(connection)
    recovery = os.environ.get("CHOCK_RECOVERY_MODE")
    read_only = bool(recovery) and json.load(open(recovery))["read_only"]
    note(f"started with {found}" + (" in safe mode" if state["safe_mode"] else "")
         + (" to read only" if read_only else ""))
    if there("crash"):
        sys.exit(1)
    if found > int(read("knows", "99")):
        note(f"refused {found}")
        sys.exit(3)
    crash = time.monotonic() + 0.5 if there("crash-later") else None
    while not (stop.is_set() and not there("hang")):
        if crash and time.monotonic() > crash:
            sys.exit(1)
        text = f"written {os.getpid()} {time.time_ns()}"
        try:
            connection.execute("INSERT INTO item (body) VALUES (?)", (text,))
        except sqlite3.OperationalError:
            if not state["busy"]:
                note("cannot write")
            state["busy"] = True
        else:
            state["busy"] = False
            with open(path("written"), "a") as file:
                file.write(text + "\n")
            state["written"] += 1
            state["ok"] = True
        stop.wait(0.02)
        if stop.is_set():
            time.sleep(0.02)
    connection.close()


# What keeps it running.


def supervise(database):
    restarts = 0
    child = None
    while not there("quit"):
        if child is not None and child.poll() is not None:
            note(f"ended with {child.returncode}")
            child = None
            if there("wanted"):
                restarts += 1
                write("restarts", str(restarts))
            elif there("restless"):
                times = int(read("restless") or 1000)
                if times > 0:
                    write("restless", str(times - 1))
                    write("wanted", "")
            time.sleep(0.05)
        if child is None and there("wanted"):
            environment = dict(os.environ)
            if read("environment"):
                environment["CHOCK_SAFE_MODE"] = read("environment")
            if read("recovery"):
                environment["CHOCK_RECOVERY_MODE"] = read("recovery")
            child = subprocess.Popen(
                [sys.executable, __file__, "application", FOLDER, database], env=environment
            )
        if child is not None and not there("wanted"):
            child.send_signal(signal.SIGTERM)
        write("state", "up" if child is not None or there("wanted") else "down")
        time.sleep(0.01)
    if child is not None:
        child.kill()
        child.wait()


def settle(wanted, patience=None):
    """Waits until the supervisor has seen it."""
    end = None if patience is None else time.monotonic() + patience
    while read("state") != wanted and (end is None or time.monotonic() < end):
        time.sleep(0.01)


def start():
    note("start")
    left = int(read("reluctant", "0") or 0)
    if left:
        write("reluctant", str(left - 1))
        sys.exit(1)
    write("environment", os.environ.get("CHOCK_SAFE_MODE", ""))
    write("recovery", os.environ.get("CHOCK_RECOVERY_MODE", ""))
    write("wanted", "")
    settle("up", 5)


def stop():
    note("stop")
    if there("wanted"):
        os.remove(path("wanted"))


def systemctl(arguments):
    verb, unit = arguments[0], arguments[-1]
    if verb == "show":
        known = unit == "sample.service"
        up = read("state") == "up"
        print(f"LoadState={'loaded' if known else 'not-found'}")
        print(f"ActiveState={'active' if up else 'inactive'}")
        print(f"SubState={'running' if up else 'dead'}")
        print(f"NRestarts={read('restarts', '0') or 0}")
        if there("job"):
            print("Job=7")
        return 0
    if unit != "sample.service":
        print(f"Unit {unit} not found.", file=sys.stderr)
        return 5
    if verb == "start":
        write("restarts", "0")
        if not there("behind"):
            start()
            return 0
        write("job", "")
        # systemd keeps the job, whether systemctl waits for it or not.
        subprocess.Popen(
            [sys.executable, __file__, "job", FOLDER], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        while there("job"):
            time.sleep(0.02)
    else:
        stop()
        # As systemctl does, it waits for the end.
        settle("down", None if not there("restless") else 0.5)
    return 0


def main():
    verb = sys.argv[1]
    if verb == "run":
        supervise(sys.argv[3])
    elif verb == "application":
        application(sys.argv[3])
    elif verb == "start":
        start()
    elif verb == "stop":
        stop()
    elif verb == "is-running":
        return 0 if read("state") == "up" else 1
    elif verb == "job":
        while there("behind"):
            time.sleep(0.02)
        if os.path.isdir(FOLDER):
            start()
            os.remove(path("job"))
    elif verb == "systemctl":
        return systemctl(sys.argv[3:])
    return 0


sys.exit(main())

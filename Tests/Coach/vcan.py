#!/usr/bin/env python3
"""Plays scenes on a CAN bus of the kernel to the real chock.

The machine itself may have no CAN, and loads no modules into its kernel for a test: a second kernel
(user-mode-linux) runs as an ordinary process, with the machine's files read-only as its root. In it, chock
listens to vcan0 as it would to can0.

    vcan.py CHOCK [SCENE...]
"""

import functools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import checks  # noqa: E402
PACKAGES = {"linux.uml": "user-mode-linux", "insmod": "kmod", "canplayer": "can-utils", "ip": "iproute2"}


def main():
    chock = str(Path(sys.argv[1]).resolve())
    scenes = os.environ.get("CHOCK_TEST_SCENES")
    return play(chock, scenes.split(",")) if scenes else boot(chock, sys.argv[2:])


# On the machine itself.

def boot(chock, scenes):
    why = missing()
    if why:
        print(f"skipped: the scenes on a CAN bus ({why})")
        return 0
    # The kernel takes its command line apart at spaces.
    if any(" " in word for word in (sys.executable, str(HERE), chock)):
        print("skipped: the scenes on a CAN bus (a path has a space in it)")
        return 0
    folder = tempfile.mkdtemp(prefix="chock-kernel-")
    kernel = subprocess.Popen(
        ["linux.uml", "mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
         f"init={HERE}/init.sh", "con=null", "con0=null,fd:1", "con1=null", "ssl=null", "quiet",
         f"uml_dir={folder}",
         f"CHOCK_TEST_SCENES={','.join(scenes or SCENES)}", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin", "--",
         sys.executable, str(HERE / "vcan.py"), chock],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True)
    limit = threading.Timer(300, lambda: os.killpg(kernel.pid, signal.SIGKILL))
    limit.start()
    end, console = None, []
    try:
        for line in kernel.stdout:
            line = line.rstrip()
            console = console[-19:] + [line]
            if line.startswith("| "):
                print(line[2:], flush=True)
            if line.startswith("ENDED: "):
                end = line
    finally:
        limit.cancel()
        if kernel.poll() is None:
            os.killpg(kernel.pid, signal.SIGKILL)
        kernel.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if end != "ENDED: 0":
        print(f"FAILED: the scenes on a CAN bus did not end well: {end or 'the second kernel hung'}")
        print("\n".join(f"    {line}" for line in console))
        return 1
    return 0


def missing():
    """Why the machine cannot run a second kernel, after trying to install it; None when it can."""
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    packages = [package for tool, package in PACKAGES.items() if not shutil.which(tool, path=search)]
    if packages:
        if os.getuid() != 0 or not shutil.which("apt-get"):
            return f"{' '.join(packages)} missing, and only root can install them"
        print(f"Installing {' '.join(packages)} ...", flush=True)
        for command in (["update", "-q"], ["install", "-y", "-q", *packages]):
            subprocess.run(["apt-get", *command], capture_output=True)
    if not shutil.which("linux.uml", path=search):
        return "there is no user-mode-linux for this machine"
    return None


# In the second kernel. What begins with "| " reaches the person.

def say(words, **_):
    print(f"| {words}", flush=True)


check = functools.partial(checks.check, say=say)


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


class Coach:
    """A bus, and a chock that listens to it."""

    def __init__(self, chock, profile):
        self.chock, self.folder = chock, Path("/run/coach")
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "migrations").mkdir(parents=True)
        self.database = self.folder / "coach.db"
        with sqlite3.connect(self.database) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        (self.folder / "migrations" / "1_first.sql").write_text(
            "-- migrate:up\nCREATE TABLE slow AS WITH RECURSIVE count(x) AS (SELECT 1 UNION ALL"
            " SELECT x + 1 FROM count LIMIT 300000000) SELECT sum(x) FROM count;\n"
            "-- migrate:down\nDROP TABLE slow;\n")
        config = self.folder / "chock.toml"
        config.write_text(
            f'environment = "development"\n[database]\npath = "{self.database}"\n'
            f'[migrations]\ndirectory = "{self.folder}/migrations"\n'
            f'[state]\ndirectory = "{self.folder}/state"\n'
            '[update]\nrehearse = false\n'
            f'[server]\nlisten = "127.0.0.1:0"\nsocket = "{self.folder}/chock.sock"\n'
            '[coach]\nrequired_gates = ["parked"]\nparked_for_seconds = 0\n'
            f'[[coach.can]]\ninterface = "vcan0"\nprofile = "{profile}"\n')
        self.environment = {"CHOCK_CONFIG": str(config), "PATH": os.environ["PATH"]}
        self.log = open(self.folder / "serve.log", "w+")

    def __enter__(self):
        run("ip", "link", "add", "dev", "vcan0", "type", "vcan")
        run("ip", "link", "set", "up", "vcan0")
        self.process = subprocess.Popen(
            [self.chock, "serve"], env=self.environment, stderr=self.log, stdout=self.log)
        self.until("chock listens", lambda: self.source().get("is_well"))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        run("ip", "link", "delete", "vcan0")

    def safety(self):
        """The daemon's document; an empty one while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(self.folder / "chock.sock"))
                peer.sendall(b"GET /api/safety HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: peer.recv(65536), b""))
            return json.loads(answer.partition(b"\r\n\r\n")[2])
        except (OSError, ValueError):
            return {}

    def source(self):
        sources = self.safety().get("sources", [])
        return next((source for source in sources if source["source"] == "vcan0"), {})

    def reading(self, name):
        """The value of a signal as text; None when there is none that counts."""
        readings = [r for r in self.safety().get("readings", []) if r["signal"] == name]
        values = {r.get("value") for r in readings if not r["stale"]}
        return values.pop() if len(values) == 1 else None

    def parked(self):
        return next((g["state"] for g in self.safety().get("gates", []) if g["id"] == "parked"), None)

    def play(self, scene, *options):
        run("canplayer", *options, "-I", str(HERE / "scenes" / f"{scene}.log"))

    def send(self, frame):
        run("cansend", "vcan0", frame)

    def hear_all(self):
        """Waits until everything that was sent has been heard: it comes in order."""
        self.send("19FFE840#630000FCFFFFFFFF")
        self.until("the last frame is heard", lambda: self.reading("interlock.slide_99") == "satisfied")

    def until(self, what, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not (is_so := condition()) and time.monotonic() < deadline:
            time.sleep(0.1)
        check(what, is_so, json.dumps(self.safety().get("sources")) + self.log_text())

    def log_text(self):
        self.log.flush()
        return "\n" + Path(self.log.name).read_text()[-1500:]

    def seconds_of_cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The scenes.

def parking(coach):
    coach.send("19FFF49C#C02B0032FCFD7E7E")
    coach.until("driving is seen", lambda: coach.parked() == "violated")
    coach.play("parking")
    coach.until("parked is seen", lambda: coach.parked() == "satisfied")
    check("the brake is engaged", coach.reading("parking_brake") == "engaged")
    check("the gear is park", coach.reading("transmission_gear") == "park")
    check("slide 1 does not move", coach.reading("interlock.slide_1") == "satisfied")
    check("the battery has 13 V", coach.reading("supply_voltage") in ("13", "13.0"), coach.safety())


def silent_bus(coach):
    coach.play("parking")
    coach.until("parked is seen", lambda: coach.parked() == "satisfied")
    coach.until("silence is unknown, not parked", lambda: coach.parked() == "unknown")
    coach.until("the silent bus is told of", lambda: "No frame" in coach.source().get("words", ""))
    coach.send("19FFF49C#00000000FDFDFBFB")
    coach.until("it is heard again", lambda: coach.source().get("is_well") and coach.parked() == "satisfied")


def sentinels(coach):
    coach.send("19FFF49C#00000000FDFDFBFB")
    coach.until("parked is seen", lambda: coach.parked() == "satisfied")
    coach.play("sentinels")
    coach.hear_all()
    for name in ("parking_brake", "vehicle_speed", "transmission_gear", "ignition"):
        check(f"{name} is unknown", coach.reading(name) is None, coach.safety())
    check("parked is unknown", coach.parked() == "unknown", coach.safety())


def strange_frames(coach):
    coach.play("strange_frames")
    coach.hear_all()
    check("what says nothing changes nothing", coach.parked() == "satisfied", coach.safety())
    check("the bus is well", coach.source().get("is_well"), coach.source())


def errors(coach):
    coach.play("errors")
    coach.until("bus-off is told", lambda: "bus-off" in coach.source().get("words", ""))
    coach.send("20000100#0000000000000000")
    coach.until("the restart is told", lambda: coach.source().get("is_well"))


def spoofed(coach):
    coach.play("spoofed")
    coach.hear_all()
    check("two that disagree are not parked", coach.parked() == "violated", coach.safety())
    text = json.dumps(coach.safety())
    check("both are named", "vcan0/9C" in text and "vcan0/21" in text, text)


def multiplexed(coach):
    coach.play("multiplexed")
    coach.hear_all()
    check("the brake of its frame is read", coach.reading("parking_brake") == "engaged", coach.safety())
    check("the ignition of its frame is read", coach.reading("ignition") == "on")
    check("a speed is not invented", coach.reading("vehicle_speed") is None)


def babbling_bus(coach):
    before, began = coach.seconds_of_cpu(), time.monotonic()
    coach.play("babbling", "-l", "6")
    share = (coach.seconds_of_cpu() - before) / (time.monotonic() - began)
    coach.hear_all()
    check("the last word counts", coach.reading("parking_brake") == "engaged", coach.safety())
    say(f"  every frame another one: {share * 100:.0f} % of this kernel's processor")


def interface(coach):
    frame = "19FFF49C#00000000FDFDFBFB"
    coach.send(frame)
    coach.until("parked is seen", lambda: coach.parked() == "satisfied")
    run("ip", "link", "set", "down", "vcan0")
    coach.until("down is told", lambda: coach.source().get("words") == "The interface vcan0 is down.")
    coach.until("what it said counts no more", lambda: coach.parked() == "unknown")
    run("ip", "link", "set", "up", "vcan0")
    coach.until("up is seen", lambda: coach.source().get("is_well"))
    coach.send(frame)
    coach.until("it is heard again", lambda: coach.parked() == "satisfied")
    run("ip", "link", "delete", "vcan0")
    coach.until("its end is told", lambda: coach.source().get("is_well") is False)
    coach.until("it is missed", lambda: coach.source().get("words") == "There is no interface vcan0.")
    run("ip", "link", "add", "dev", "vcan0", "type", "vcan")
    run("ip", "link", "set", "up", "vcan0")
    coach.until("the new one is seen", lambda: coach.source().get("is_well"))
    coach.send(frame)
    coach.until("the new one is heard", lambda: coach.parked() == "satisfied")


def driving_off(coach):
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", "while cansend vcan0 19FFF49C#00000000FDFDFBFB; do sleep 0.5; done"])
    try:
        coach.until("parked is seen", lambda: coach.parked() == "satisfied")
        update = subprocess.Popen(
            [coach.chock, "update", "--yes"], env=coach.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        coach.until("the update applies", lambda: ": apply" in coach.log_text())
    finally:
        keeper.kill()
        keeper.wait()
    coach.play("driving_off")
    output, _ = update.communicate(timeout=60)
    check("the update is stopped", update.returncode != 0, output)
    with sqlite3.connect(coach.database) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
    check("nothing of it is left", "slow" not in tables, tables)


def record(coach):
    file = coach.folder / "coach.log"
    process = subprocess.Popen(
        [coach.chock, "coach", "record", str(file)], env=coach.environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    # Its socket is there once it has a frame in its file.
    coach.until("the recorder listens", lambda: (coach.send("19FFE840#620000FC"), file.exists()
                and file.stat().st_size > 0)[1])
    coach.play("driving_off")
    coach.play("strange_frames")
    coach.hear_all()
    coach.until("the last frame is in the file", lambda: "#630000FC" in file.read_text())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    check("it ends well", process.returncode == 0, output)
    sent = [line.split(" ", 1)[1] for name in ("driving_off", "strange_frames")
            for line in (HERE / "scenes" / f"{name}.log").read_text().splitlines() if line[0] == "("]
    lines = file.read_text().splitlines()
    said = [line.split(" ", 1)[1] for line in lines if "840#6" not in line]
    check("every frame is in it as it was sent, of whatever kind", said == sent, "\n".join(said))
    stamps = [float(line[1:line.index(")")]) for line in lines]
    check("the times are the kernel's, in order", stamps == sorted(stamps)
          and abs(stamps[-1] - time.time()) < 20, stamps)
    check("the daemon has heard the same", coach.parked() == "satisfied", coach.safety())
    # What others make of it, and what chock does.
    run("canplayer", "-I", str(file))
    replay = subprocess.run([coach.chock, "coach", "replay", str(file)], env=coach.environment,
                            capture_output=True, text=True)
    check("it can be replayed", replay.returncode == 0 and "vehicle_speed = 15" in replay.stdout,
          replay.stdout + replay.stderr)


SCENES = {
    "parking": (parking, "rvc"), "multiplexed": (multiplexed, "rvc-multiplexed"),
    "sentinels": (sentinels, "rvc"), "strange_frames": (strange_frames, "rvc"),
    "errors": (errors, "rvc"), "spoofed": (spoofed, "rvc"), "babbling_bus": (babbling_bus, "rvc"),
    "driving_off": (driving_off, "rvc"), "silent_bus": (silent_bus, "rvc"),
    "interface": (interface, "rvc"), "record": (record, "rvc"),
}


def play(chock, names):
    for name in names:
        scene, profile = SCENES[name]
        began = time.monotonic()
        before = checks.failed
        say(name)
        try:
            with Coach(chock, profile) as coach:
                scene(coach)
                if checks.failed > before:
                    say(coach.log_text())
        except Exception as error:
            check(f"{name} was played", False, repr(error))
            subprocess.run(["ip", "link", "delete", "vcan0"], capture_output=True)
        say(f"  {time.monotonic() - began:.1f} s")
    say(f"{checks.made} checks on a CAN bus, {checks.failed} failed.")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What chock takes on a device of a Pi's size, and what it costs while nothing happens. Figures; nothing is asserted.

The booted device of device.py.

    small.py CHOCK [update] [idle] [--minutes N]      the binary should be one of `make release`

update: 512 MB of memory, half a core, a card of 5 MB/s and 100 accesses a second. Rehearsed, and then updated: the
time that the panel promises beside the time that it takes, each phase, memory, and what is written to the card.

idle: what is written to the card in N minutes (10), and by whom, and how often chock wakes up; with and without it.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import device
from device import DATABASE, TOP, Device, check, checks

sys.path.insert(0, str(TOP / "Tests/Benchmarks"))
from bench import PLANS  # noqa: E402

MEGABYTES = 60
UNITS = ("chock", "coachiq", "systemd-journald")
# The whole system is slow, not chock alone.
SLOW = """systemctl set-property --runtime system.slice CPUQuota=50% \
  'IOReadBandwidthMax=/dev/ubda 5M' 'IOWriteBandwidthMax=/dev/ubda 5M' \
  'IOReadIOPSMax=/dev/ubda 100' 'IOWriteIOPSMax=/dev/ubda 100'"""
COUNT = "systemctl set-property --runtime %s IOAccounting=yes MemoryAccounting=yes"
FORGET = "sync; echo 3 >/proc/sys/vm/drop_caches"


def written(coach):
    """Bytes that have gone to the card so far: all of them, and those of each unit's own."""
    text = coach.out("awk '{print \"all\", $7 * 512}' /sys/block/ubda/stat; for unit in %s; do awk -v u=$unit "
                      "'{for (i = 2; i <= NF; i++) if ($i ~ /^wbytes=/) print u, substr($i, 8)}' "
                      "/sys/fs/cgroup/system.slice/$unit.service/io.stat; done 2>/dev/null" % " ".join(UNITS))
    return {name: int(value) for name, value in map(str.split, text.splitlines())}


def since(before, after):
    return {name: after[name] - before.get(name, 0) for name in after}


def size(count):
    return f"{count / 1e6:.2f} MB"


# An update.

def peaks(coach):
    """Has the most memory that each worker took kept."""
    coach.run("""python3 -c 'import glob, time
peaks = {}
while True:
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(path + "/cmdline", "rb") as file:
                if not file.read().startswith(b"chock\\0worker"): continue
            with open(path + "/status") as file:
                peaks[path] = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
            with open("/run/peaks", "w") as file: print(*peaks.values(), file=file)
        except (OSError, StopIteration): pass
    time.sleep(0.5)' >/dev/null 2>&1 &""")


def card(coach):
    """What the slow card does, by dd."""
    for what, words in (("20 MB written and synced", "if=/dev/zero of=/var/dd bs=1M count=20 conv=fsync"),
                        ("100 times 4 kB, each synced", "if=/dev/zero of=/var/dd bs=4k count=100 oflag=dsync"),
                        ("read", "if=/var/dd of=/dev/null bs=1M")):
        coach.run(FORGET)
        if what == "read":
            coach.run("rm /var/dd; head -c 20000000 /dev/urandom >/var/dd; " + FORGET)
        print(f"    the card, {what}: {coach.out(f'dd {words} 2>&1').splitlines()[-1]}")
    coach.run("rm /var/dd")


def update(plan):
    with Device(f"update-{plan}".replace(" ", "-")) as coach:
        coach.run("rm /usr/share/coachiq/migrations/*; systemctl stop chock")
        for file in (TOP / "migrations").glob("000[123]_*.sql"):
            (coach.host / file.name).write_text(file.read_text())
        (coach.host / "0004_measured.sql").write_text(f"-- Description: Measured\n-- @migrate\n{PLANS[plan]}\n")
        # The probation is as long as an owner's.
        coach.run("cp /host/*.sql /usr/share/coachiq/migrations; sed -i /probation_seconds/d /etc/chock/chock.toml; "
                  "systemctl start chock")
        coach.adopt()
        coach.park()
        for unit in ("chock", "coachiq"):
            coach.run(COUNT % unit)
        print(f"{plan}, load average {os.getloadavg()[0]:.1f}", flush=True)
        coach.run(SLOW)
        card(coach)
        peaks(coach)
        bytes = int(coach.out(f"stat -c %s {DATABASE}"))
        coach.run(FORGET)
        code, text = coach.run("chock rehearse --json", 1800)
        check("it can be rehearsed", code == 0, text if code == 0 else coach.word() + coach.out("dmesg | tail -60"))
        rehearsal = json.loads(text.splitlines()[-1])
        coach.run(FORGET)
        expected = json.loads(coach.out("chock plan --json"))
        coach.run("sync")
        before = written(coach)
        run = coach.consent()
        # A `chock status` reads half the binary from the card each time; a panel that waits reads nothing.
        coach.run("while ! curl -sS -b /tmp/jar -H Host:127.0.0.1:8765 "
                  f"http://127.0.0.1:8765/api/database/update/{run}/progress | grep -q '\"outcome\"'; do sleep 2; done", 1800)
        run = coach.ended(run)
        coach.run("sync")
        after = since(before, written(coach))
        check("it is updated", run["outcome"] == "committed", coach.word() + coach.out("dmesg | tail -60"))
        seconds = {}
        for part in run["phases"]:
            seconds[part["phase"]] = seconds.get(part["phase"], 0) + part["seconds"]
        phases = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        took = sum(seconds.values())
        promised = expected.get("expected_seconds") or 0
        print(f"    {run['outcome']}; database {size(bytes)}, load average {os.getloadavg()[0]:.1f}")
        print("    rehearsal: " + ", ".join(f"{p['phase']} {p['seconds']:.1f}" for p in rehearsal.get("phases", []))
              + f"; of it statements and checks {(rehearsal.get('rehearsal') or {}).get('seconds', 0):.1f}")
        print(f"    promised {promised:.1f} s, at worst {expected.get('worst_case_seconds') or 0:.1f} s; took "
              f"{took:.1f} s, {took / promised if promised else 0:.2f} of it")
        print(f"    s: {phases}")
        peak = max(map(int, coach.out("cat /run/peaks").split()), default=0)
        print(f"    peak memory of a worker: {peak * 1024 / 1e6:.1f} MB")
        print(f"    written: {size(after['all'])}, {after['all'] / bytes:.2f} times the database; "
              f"by chock itself {size(after['chock'])}, {after['chock'] / bytes:.2f} times", flush=True)


# A day without an update.

WAYS = {
    "without chock": "systemctl stop coach coachiq chock",
    "chock alone": "systemctl stop coach coachiq",
    "chock, a bus and leases": "systemctl stop coachiq",
    "controller, bus and leases, without chock": "systemctl stop chock",
    "chock, controller, bus and leases": "true",
}


def switches(coach):
    return int(coach.out("p=$(systemctl show -P MainPID chock); [ $p = 0 ] && echo 0 || cat /proc/$p/task/*/status | "
                         "awk '/^voluntary/ {n += $2} END {print n}'"))


def idle(minutes):
    with contextlib.ExitStack() as stack:
        coaches = {way: stack.enter_context(Device(f"idle-{number}")) for number, way in enumerate(WAYS)}
        for way, coach in coaches.items():
            coach.adopt()
            for unit in UNITS:
                coach.run(COUNT % unit)
            coach.run(WAYS[way])
        # What a start writes is not to be counted.
        time.sleep(90)
        for coach in coaches.values():
            coach.run("sync")
        before = {way: (written(coach), switches(coach), time.monotonic()) for way, coach in coaches.items()}
        time.sleep(60 * minutes)
        print(f"{minutes} minutes, load average {os.getloadavg()[0]:.1f}")
        for way, coach in coaches.items():
            bytes, woken, began = before[way]
            bytes, woken, seconds = since(bytes, written(coach)), switches(coach) - woken, time.monotonic() - began
            each = ", ".join(f"{name} {count / 1000:.0f} kB" for name, count in bytes.items())
            print(f"    {way}: {each}; in a day {size(bytes['all'] * 86400 / seconds)}; "
                  f"chock wakes up {woken / seconds:.2f} times a second", flush=True)
            for line in coach.out(f"journalctl -q -o cat --since -{minutes}min | sort | uniq -c | sort -rn | "
                                  "head -6").splitlines():
                print(f"        {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chock", type=Path)
    parser.add_argument("parts", nargs="*", choices=[[], "update", "idle"], metavar="update|idle")
    parser.add_argument("--minutes", type=int, default=10)
    words = parser.parse_args()
    # The kernels must not live on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if why := device.missing():
        print(f"skipped: the small device ({why})")
        return 0
    parts = words.parts or ["update", "idle"]
    with tempfile.TemporaryDirectory(prefix="chock-small-") as folder:
        device.FOLDER, device.CHOCK = Path(folder), words.chock.resolve()
        device.DISK = device.image(device.CHOCK, device.FOLDER, MEGABYTES)
        if "update" in parts:
            for plan in ("cheap", "rebuild"):
                update(plan)
        if "idle" in parts:
            idle(words.minutes)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())

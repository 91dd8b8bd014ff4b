#!/usr/bin/env python3
"""Times chock on sample coaches, beside what the usual tools need for the same work.

Everything is measured in one run on one machine, each of chock's figures right after the one that
it is compared with: the ratios mean something even where the seconds do not. Small sizes are
measured several times, and the median counts. "Cold" is with the page cache emptied before every
step. What misses its target says so; nothing is asserted. Everything lives in one temporary
folder, which is removed at the end.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import coach
import events
import many_files

TOP = Path(__file__).resolve().parents[2]
READINGS = ["vehicle_speed=0", "parking_brake=engaged", "interlock.all=satisfied",
            "connections=0", "active_controls=none"]
OFFLINE = ["--offline", "--yes", "--json", *(w for r in READINGS for w in ("--attest", r))]
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
# fsync and fdatasync, as /proc/PID/syscall numbers them.
SYNC_CALLS = {"x86_64": {"74", "75"}, "aarch64": {"82", "83"}}.get(platform.machine(), set())

# The migration to version 4, on the large table of the sample coach.
PLANS = {
    "nothing": "",
    "cheap": "ALTER TABLE sensor_readings ADD COLUMN note TEXT;",
    "rebuild": """CREATE TABLE sensor_readings_new (
  id INTEGER PRIMARY KEY,
  sensor_id INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
  recorded_at INTEGER NOT NULL CHECK (recorded_at > 1000000000),
  raw_value REAL NOT NULL,
  is_suspect INTEGER NOT NULL DEFAULT 0 CHECK (is_suspect IN (0, 1)),
  note TEXT
) STRICT;
INSERT INTO sensor_readings_new (id, sensor_id, recorded_at, raw_value, is_suspect)
SELECT id, sensor_id, recorded_at, raw_value, is_suspect FROM sensor_readings ORDER BY id;
DROP TABLE sensor_readings;
ALTER TABLE sensor_readings_new RENAME TO sensor_readings;
CREATE INDEX sensor_readings_by_sensor ON sensor_readings (sensor_id, recorded_at);
CREATE INDEX sensor_readings_by_time ON sensor_readings (recorded_at);""",
    "every row": "UPDATE sensor_readings SET raw_value = raw_value * 1.5;",
}

# The same by hand. An update ends at COMMIT too: the checkpoint is the application's.
BY_HAND = """.bail on
.dbconfig no_ckpt_on_close on
PRAGMA journal_mode = WAL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = OFF;
BEGIN IMMEDIATE;
%s
COMMIT;
"""


class Failed(Exception):
    """Something that was to be measured did not work."""


class Took:
    """What one process took, with those below it: seconds on the wall and of the processor, and the
    memory of the largest.
    """

    def __init__(self, seconds, output, usage):
        self.seconds, self.output = seconds, output
        self.processor = usage.ru_utime + usage.ru_stime
        # The kernel's kB are 1,024 bytes; a MB is 1,000,000.
        self.peak = usage.ru_maxrss * 1024 / 1e6


class Bench:
    def __init__(self, chock, folder):
        self.chock, self.folder = chock, folder
        self.database, self.sample = folder / "coach.db", folder / "sample.db"
        self.state, self.socket = folder / "state", folder / "socket"
        self.is_cold = False
        (folder / "chock.toml").write_text(f"""environment = "production"
[database]
path = "{self.database}"
[state]
directory = "{self.state}"
[update]
migration_timeout_seconds = 1800
[server]
listen = "127.0.0.1:0"
socket = "{self.socket}"
""")
        for name, sql in PLANS.items():
            (folder / name).mkdir()
            for path in (TOP / "migrations").glob("000[123]_*.sql"):
                shutil.copy(path, folder / name)
            if sql:
                (folder / name / "0004_measured.sql").write_text(
                    f"-- Description: Measured\n{sql}\n")

    # MARK: One process

    def environment(self, plan):
        # Sorting goes to the same disk as everything else.
        return os.environ | {
            "CHOCK_CONFIG": str(self.folder / "chock.toml"), "SQLITE_TMPDIR": str(self.folder),
            "CHOCK_MIGRATIONS_DIRECTORY": str(self.folder / plan)}

    def settle(self):
        """What an earlier step has written is not to be counted in the next one."""
        os.sync()
        if not self.is_cold:
            return
        if os.access(DROP_CACHES, os.W_OK):
            DROP_CACHES.write_text("3")
            return
        for path in filter(Path.is_file, self.folder.rglob("*")):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def run(self, *argv, text="", plan="nothing", watch=None, expected=0, settle=True,
            variables=None):
        """Runs a program to its end. `watch` is called with its id every 2 ms; `variables` go into
        its environment.
        """
        if settle:
            self.settle()
        with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as output:
            words.write(text.encode())
            words.seek(0)
            begin = time.perf_counter()
            process = subprocess.Popen(
                [str(word) for word in argv], env=self.environment(plan) | (variables or {}),
                stdin=words, stdout=output, stderr=subprocess.DEVNULL)
            try:
                while True:
                    done, status, usage = os.wait4(process.pid, os.WNOHANG if watch else 0)
                    if done:
                        break
                    watch(process.pid)
                    time.sleep(0.002)
                seconds = time.perf_counter() - begin
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if process.returncode is None:
                    # Asked, a chock rolls back and takes its worker along.
                    process.terminate()
                    process.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
        if process.returncode != expected:
            raise Failed(f"{' '.join(map(str, argv))} ended with {process.returncode}:\n{said}")
        return Took(seconds, said, usage)

    def shell(self, database, *words, text=""):
        return self.run("sqlite3", "-init", "/dev/null", database, *words, text=text).seconds

    # MARK: The database

    def remove(self, database):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)

    def renew(self):
        """The database as it was made, without a past."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.remove(self.database)
        shutil.copyfile(self.sample, self.database)

    def make(self, megabytes):
        """Makes the sample, adopted, with two indexes on its large table, all of it in one file."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.remove(self.database)
        self.run(TOP / "Tests/SampleCoach/make-sample-coach.sh", self.database,
                 # The rest is the second index.
                 round(0.68 * megabytes))
        self.shell(self.database, "CREATE INDEX sensor_readings_by_time "
                   "ON sensor_readings (recorded_at, raw_value)")
        self.run(self.chock, "adopt", "--at", "3")
        self.shell(self.database, "PRAGMA wal_checkpoint(TRUNCATE)")
        self.database.replace(self.sample)

    # MARK: One size

    def tools(self, is_small):
        """What the usual tools take, and what is compared with them alone."""
        self.renew()
        copy = self.folder / "copy.db"
        figures = {"backup": self.shell(self.database, f".backup '{copy}'")}
        self.remove(copy)
        figures["sha256sum"] = self.run("sha256sum", self.database).seconds
        figures["fingerprint"] = self.run(self.chock, "fingerprint").seconds
        figures["quick_check"] = self.shell(self.database, "PRAGMA quick_check")
        if is_small:
            figures["integrity_check"] = self.shell(self.database, "PRAGMA integrity_check")
        figures["fingerprint ratio"] = figures["fingerprint"] / figures["sha256sum"]
        return figures

    def by_hand(self, plan):
        self.renew()
        return self.shell(self.database, text=BY_HAND % PLANS[plan])

    def update(self, plan):
        """One update, by phase, and its document."""
        self.renew()
        copy = SnapshotWatch(self.state / "snapshots")
        took = self.run(self.chock, "update", *OFFLINE, plan=plan, watch=copy.look)
        run = json.loads(took.output)
        figures = {"run": took.seconds, "other": took.seconds, "cpu": took.processor,
                   "peak": took.peak}
        # A phase may be entered twice, when the snapshot has to be taken again.
        for phase in ("snapshot", "rehearse", "apply", "verify", "commit"):
            figures[phase] = sum(p["seconds"] for p in run["phases"] if p["phase"] == phase)
            figures["other"] -= figures[phase]
        if copy.seconds:
            figures["copy"] = copy.seconds
        return {f"{plan} {name}": value for name, value in figures.items()}, run

    def recovery(self, run):
        """Kills chock and its worker in the middle of apply, and times the recovery. `run` is the
        same update, which came to its end.
        """
        self.renew()
        log = Path(f"{self.database}-wal")

        def kill(pid):
            # What fits into SQLite's page cache is not in the log before the commit.
            if log.exists() and log.stat().st_size > run["rehearsal"]["peak_bytes"] / 4:
                # In this order: a worker that dies first is recovered at once.
                for each in [pid, *children(pid)]:
                    os.kill(each, signal.SIGKILL)

        self.run(self.chock, "update", *OFFLINE, plan="rebuild", watch=kill,
                 expected=-signal.SIGKILL)
        found = log.stat().st_size
        took = self.run(self.chock, "recover", "--json", plan="rebuild", expected=1)
        if json.loads(took.output)["outcome"] != "rolled_back":
            raise Failed(f"The recovery did not roll back: {took.output}")
        return {"recovery": took.seconds, "recovery peak": took.peak, "recovery log": found / 1e6}

    def round(self, is_small):
        """All figures of one size, once; each pair one after the other."""
        figures = self.tools(is_small)
        figures |= self.update("cheap")[0]
        figures["shell rebuild"] = self.by_hand("rebuild")
        rebuild, run = self.update("rebuild")
        figures |= rebuild
        took = self.run(self.chock, "restore", run["snapshot_id"], *OFFLINE, plan="rebuild")
        figures |= {"restore": took.seconds, "restore peak": took.peak}
        figures |= self.recovery(run)
        for plan in ("cheap", "rebuild"):
            if f"{plan} copy" in figures:
                figures[f"{plan} copy ratio"] = figures[f"{plan} copy"] / figures["backup"]
        figures["cheap ratio"] = figures["cheap run"] / figures["backup"]
        figures["rebuild ratio"] = figures["rebuild run"] / (
            2.5 * figures["shell rebuild"] + 6 * figures["backup"])
        return figures

    def size(self, megabytes, is_cold):
        """The medians of all figures of one size, by name."""
        self.is_cold = is_cold
        found, loads = {}, []
        rounds = 5 if megabytes <= 20 else 3 if megabytes <= 200 else 1
        for number in range(rounds):
            print(f"{megabytes} MB {'cold' if is_cold else 'warm'}, {number + 1} of {rounds}",
                  file=sys.stderr)
            loads.append(os.getloadavg()[0])
            for name, value in self.round(is_small=megabytes <= 200).items():
                found.setdefault(name, []).append(value)
        figures = {name: statistics.median(values) for name, values in found.items()}
        figures["every row peak"] = self.update("every row")[0]["every row peak"]
        figures["database"] = self.sample.stat().st_size / 1e6
        figures |= {"load from": min(loads), "load to": max([*loads, os.getloadavg()[0]])}
        self.is_cold = False
        return figures

    # MARK: At leisure

    def status(self, how):
        """The time of `chock status` as a whole process, in milliseconds: the median of many."""
        seconds = [self.run(self.chock, "status", settle=False).seconds for _ in range(31)]
        return {f"status {how}": 1000 * statistics.median(seconds[1:])}

    def at_leisure(self):
        """`chock status` with nothing to do, and what the daemon takes while nothing happens."""
        self.renew()
        figures = self.status("alone")
        daemon = subprocess.Popen(
            [self.chock, "serve"], env=self.environment("nothing"), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            answers = socket.socket(socket.AF_UNIX)
            for _ in range(600):
                if answers.connect_ex(str(self.socket)) == 0:
                    break
                time.sleep(0.1)
            answers.close()
            time.sleep(10)
            before, begin = switches(daemon.pid), time.monotonic()
            time.sleep(10)
            figures["wakeups"] = (switches(daemon.pid) - before) / (time.monotonic() - begin)
            figures["daemon"] = resident(daemon.pid)
            figures |= self.status("daemon")
            figures["daemon after"] = resident(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait()
        return figures


class SnapshotWatch:
    """When the snapshot that a chock takes is on the disk: chock reads it while it syncs it, so its
    phases do not tell.
    """

    def __init__(self, folder):
        self.folder, self.begin, self.seconds = folder, None, None

    def look(self, pid):
        if not self.begin and any(self.folder.glob("*.sqlite.partial")):
            self.begin = time.perf_counter()
        if self.begin and any(map(self.is_syncing, children(pid))):
            self.seconds = time.perf_counter() - self.begin

    def is_syncing(self, pid):
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                call, *words = Path(f"/proc/{pid}/task/{task}/syscall").read_text().split()
                if call in SYNC_CALLS:
                    return os.readlink(f"/proc/{pid}/fd/{int(words[0], 16)}").endswith(
                        ".sqlite.partial")
        except OSError:
            pass
        return False


def children(pid):
    """The children of a process, whichever of its threads started them."""
    try:
        return [
            int(word) for task in os.listdir(f"/proc/{pid}/task")
            for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except OSError:
        return []


def status_field(path, name):
    lines = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return int(lines[name].split()[0])


def resident(pid):
    return status_field(f"/proc/{pid}/status", "VmRSS") * 1024 / 1e6


def switches(pid):
    """How often the threads of a process have gone to sleep, and so have been woken."""
    return sum(
        status_field(task / "status", "voluntary_ctxt_switches")
        for task in Path(f"/proc/{pid}/task").iterdir())


# MARK: The table


def run_lines(plan):
    return [
        ("snapshot", f"{plan} snapshot", "s", None),
        ("- of it copy and `fsync`", f"{plan} copy", "s", None),
        ("rehearse", f"{plan} rehearse", "s", None),
        ("apply", f"{plan} apply", "s", None),
        ("verify", f"{plan} verify", "s", None),
        ("commit", f"{plan} commit", "s", None),
        ("the rest (start, plan, safety, close)", f"{plan} other", "s", None),
        ("whole process", f"{plan} run", "s", None),
        ("processor time, user + system", f"{plan} cpu", "s", None),
        ("peak memory of the worker", f"{plan} peak", "MB", 50),
    ]


# Of each line: what it is, the name of its figure, its unit, the most that is wanted, and from how
# many MB on.
LINES = [
    ("Database", "database", "MB", None),
    ("Load average, from", "load from", "", None),
    ("- to", "load to", "", None),
    ("**The usual tools**", None, "", None),
    ("`sqlite3 .backup`, which syncs", "backup", "s", None),
    ("`sha256sum` of the file", "sha256sum", "s", None),
    ("`PRAGMA quick_check`", "quick_check", "s", None),
    ("`PRAGMA integrity_check`", "integrity_check", "s", None),
    ("the rebuild in the `sqlite3` shell, to COMMIT", "shell rebuild", "s", None),
    ("**`chock update`: ADD COLUMN**", None, "", None),
    *run_lines("cheap"),
    ("**`chock update`: the large table rebuilt, two indexes**", None, "", None),
    *run_lines("rebuild"),
    ("**`chock update`: every row of the large table**", None, "", None),
    ("peak memory of the worker", "every row peak", "MB", 50),
    ("**`chock restore` of that rebuild**", None, "", None),
    ("whole process, with the rescue copy", "restore", "s", None),
    ("peak memory of the worker", "restore peak", "MB", 50),
    ("**`chock recover` after kill -9 in that rebuild's apply**", None, "", None),
    ("write-ahead log that it finds", "recovery log", "MB", None),
    ("whole process", "recovery", "s", 2),
    ("peak memory of the worker", "recovery peak", "MB", 50),
    ("**`chock fingerprint`**", None, "", None),
    ("whole process", "fingerprint", "s", None),
    ("**Ratios**", None, "", None),
    ("snapshot's copy and `fsync` : `.backup` (ADD COLUMN)", "cheap copy ratio", "x", 1.15),
    ("snapshot's copy and `fsync` : `.backup` (rebuild)", "rebuild copy ratio", "x", 1.15),
    ("fingerprint : `sha256sum`", "fingerprint ratio", "x", 1.5),
    ("whole ADD COLUMN : `.backup`", "cheap ratio", "x", 6, 1000),
    ("whole rebuild : 2.5 shell + 6 `.backup`", "rebuild ratio", "x", 1, 1000),
    ("**The daemon at rest, and a look at it**", None, "", None),
    ("memory (VmRSS), 20 s after it was ready", "daemon", "MB", 30),
    ("memory after 31 questions", "daemon after", "MB", 30),
    ("wakeups of all its threads", "wakeups", "1/s", 1),
    ("`chock status`, daemon running", "status daemon", "ms", 20),
    ("`chock status`, no daemon", "status alone", "ms", 20),
]


def table(results, lines=LINES):
    """A Markdown table that can be read as it is: `results` holds the figures by their column."""
    rows = [["What", *results, "Unit", "At most"], None]
    for words, name, unit, limit, *scope in lines:
        cells = []
        for figures in results.values():
            value = figures.get(name)
            digits = 2 if unit not in ("MB", "ms") else 1 if limit else 0
            cell = "" if value is None else f"{value:.{digits}f}"
            if cell and limit and (not scope or figures["database"] > 0.9 * scope[0]):
                cell += " ok" if value <= limit else " MISS"
            cells.append(cell)
        if any(cells) or name is None:
            note = f"{limit} (from {scope[0]} MB on)" if scope else str(limit or "")
            rows.append([words, *cells, unit, note])
    widths = [max(len(row[column]) for row in rows if row) for column in range(len(rows[0]))]
    rows[1] = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths))} |" for row in rows)


def facts(bench):
    """Where and with what it was measured."""
    models = [line.split(":", 1)[1].strip()
              for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith(("model name", "Model"))] or ["unknown processor"]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    kind = bench.run("stat", "-f", "-c", "%T", bench.folder).output.strip()
    version = bench.run(bench.chock, "--version").output.strip()
    shell = bench.run("sqlite3", "--version").output.split()[0]
    return (
        f"{time.strftime('%Y-%m-%d %H:%M %Z')}; chock {version}, "
        f"{bench.chock.stat().st_size / 1e6:.1f} MB; sqlite3 {shell}; {os.cpu_count()} CPUs "
        f"({models[0]}), {memory:.0f} GB, Linux {platform.release()}, {kind}.\nCold: "
        + ("`echo 3 > /proc/sys/vm/drop_caches`" if os.access(DROP_CACHES, os.W_OK)
           else "the files alone, by `posix_fadvise(DONTNEED)`; dropping all caches takes root")
        + " before every step.")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chock", type=Path, help="the release binary; `make release` builds it")
    parser.add_argument("--sizes", default="10,100,1000",
                        help="megabytes; '' for the small files, the bus and the events alone (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default="/var/tmp",
                        help="on the disk that is to be measured (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true",
                        help="the table of all sizes at the end, for the documentation")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        bench = Bench(options.chock.resolve(), Path(folder).resolve())
        files = {"Median": many_files.ManyFiles(bench, BY_HAND, OFFLINE).figures()}
        bus = {"Measured": coach.figures(bench)}
        listeners = {"Measured": events.figures(bench)}
        if not options.markdown:
            print(table(files, many_files.LINES), flush=True)
            print(f"\n{table(bus, coach.LINES)}", flush=True)
            print(f"\n{table(listeners, events.LINES)}", flush=True)
        results = {}
        for size in map(int, options.sizes.split(",") if options.sizes else []):
            if shutil.disk_usage(folder).free < 8e6 * size:
                print(f"{size} MB: left out, it takes {8 * size} MB of disk.", file=sys.stderr)
                continue
            bench.make(size)
            leisure = {} if results else bench.at_leisure()
            for is_cold in (False, True):
                column = f"{size} MB {'cold' if is_cold else 'warm'}"
                results[column] = bench.size(size, is_cold) | leisure
                leisure = {}
                if not options.markdown:
                    print(f"\n{table({column: results[column]})}", flush=True)
        print(facts(bench))
        if options.markdown:
            print(f"\n{table(files, many_files.LINES)}")
            print(f"\n{table(bus, coach.LINES)}")
            print(f"\n{table(listeners, events.LINES)}")
            if results:
                print(f"\n{table(results)}")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, ValueError) as error:
        sys.exit(f"bench: {error}")

#!/usr/bin/env python3
"""Times chock's update on sample coaches, beside what the usual tools need for the same work.

    bench.py CHOCK [--sizes 50,1000] [--folder DIR] [--markdown FILE] [--quick]

Everything is measured in one run on one machine, so the ratios mean something even where the
seconds do not. Nothing is asserted; a line that misses its target says so. Everything lives in one
temporary folder, which is removed at the end, however it ends.
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
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
MIGRATIONS = TOP / "migrations"
MAKE_SAMPLE = TOP / "Tests/SampleCoach/make-sample-coach.sh"
ATTESTATIONS = [
    word
    for reading in (
        "vehicle_speed=0",
        "parking_brake=engaged",
        "interlock.all=satisfied",
        "connections=0",
        "active_controls=none",
    )
    for word in ("--attest", reading)
]
PHASES = ["snapshot", "rehearse", "apply", "verify", "commit"]
# What the project promises.
WORKER_PEAK_MB, DAEMON_RSS_MB, WAKEUPS_PER_SECOND, STATUS_MS = 50, 30, 1, 20
RAM_DISKS = {"tmpfs", "ramfs", "devtmpfs"}


class Failed(Exception):
    """Something that was to be measured did not work."""


# MARK: Processes


class Processes:
    """Starts processes, and ends those that are still there, by their ids."""

    def __init__(self, environment):
        self.environment = environment
        self.running = []

    def start(self, argv, **options):
        # A session of its own: Ctrl-C reaches this script alone, which then ends them in order.
        process = subprocess.Popen(
            [str(word) for word in argv],
            env=self.environment,
            start_new_session=True,
            **options,
        )
        self.running.append(process)
        return process

    def end(self, process, grace=30):
        """Asks first: a chock that is told to stop rolls back and takes its worker along."""
        if process.returncode is None and process.poll() is None:
            for ask in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, ask)
                    process.wait(grace)
                    break
                except subprocess.TimeoutExpired:
                    continue
                except ProcessLookupError:
                    break
        if process in self.running:
            self.running.remove(process)

    def end_all(self):
        for process in list(self.running):
            self.end(process)


class Measured:
    """What one process took: seconds on the wall and of the processor, and its output."""

    def __init__(self, seconds, processor, output, worker_peak):
        self.seconds = seconds
        self.processor = processor
        self.output = output
        self.worker_peak = worker_peak


def children(pid):
    """The children of a process, whichever of its threads started them."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            words = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            found += [int(word) for word in words]
    except OSError:
        pass
    return found


def status_field(path, field):
    """A number of a /proc status file; None when the process has gone or has no such line."""
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


class WorkerWatch:
    """Reads the peak of the memory (VmHWM, in kB) of the `chock worker` below a process.

    The kernel keeps the peak itself, so only what happens after the last look can be missed.
    """

    def __init__(self, pid):
        self.pid = pid
        self.peak = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.done.wait(0.01):
            for child in children(self.pid):
                try:
                    words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                # Between fork and exec the child still looks like its parent.
                if words[1:2] != [b"worker"]:
                    continue
                now = status_field(f"/proc/{child}/status", "VmHWM")
                self.peak = max(self.peak or 0, now or 0)

    def stop(self):
        self.done.set()
        self.thread.join()
        return self.peak


class Bench:
    def __init__(self, chock, folder, socket_folder):
        self.chock = chock
        self.folder = folder
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CHOCK_")}
        environment["CHOCK_CONFIG"] = str(folder / "chock.toml")
        # Sorting goes to the same disk as everything else.
        environment["SQLITE_TMPDIR"] = str(folder)
        self.processes = Processes(environment)
        self.database = folder / "coach.db"
        (folder / "chock.toml").write_text(
            f"""environment = "production"
[database]
path = "{self.database}"
[migrations]
directory = "{MIGRATIONS}"
[state]
directory = "{folder}/state"
[update]
migration_timeout_seconds = 1800
[server]
listen = "127.0.0.1:0"
socket = "{socket_folder}/chock.sock"
"""
        )

    # MARK: Measuring

    def measure(self, *argv, text="", watch=False, settle=True):
        """Runs a program to its end; what it says is kept, and shown when it fails."""
        if settle:
            # What an earlier step has written is not to be counted here.
            os.sync()
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output, \
                tempfile.TemporaryFile() as errors:
            source.write(text.encode())
            source.seek(0)
            begin = time.perf_counter()
            process = self.processes.start(argv, stdin=source, stdout=output, stderr=errors)
            worker = WorkerWatch(process.pid) if watch else None
            try:
                _, ended, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - begin
                process.returncode = os.waitstatus_to_exitcode(ended)
            finally:
                peak = worker.stop() if worker else None
            self.processes.end(process)
            output.seek(0)
            errors.seek(0)
            said = output.read().decode(errors="replace")
            if process.returncode != 0:
                raise Failed(
                    f"{' '.join(map(str, argv))} ended with {process.returncode}:\n"
                    f"{said}{errors.read().decode(errors='replace')}"
                )
            return Measured(seconds, usage.ru_utime + usage.ru_stime, said, peak)

    def timed(self, *argv, text=""):
        return self.measure(*argv, text=text).seconds

    def run_chock(self, *words):
        """One run of chock with the worker watched; its document."""
        measured = self.measure(
            self.chock, words[0], *words[1:], "--offline", "--yes", "--json", *ATTESTATIONS,
            watch=True,
        )
        try:
            return measured, json.loads(measured.output)
        except ValueError as error:
            raise Failed(f"chock {words[0]} --json printed no JSON: {measured.output}") from error

    # MARK: One size

    def size(self, megabytes, with_daemon):
        """All figures of one size, by name; the files are gone afterwards."""
        figures = {}

        def say(what):
            print(f"bench: {megabytes} MB: {what}", file=sys.stderr, flush=True)

        say("making the sample coach")
        self.measure(MAKE_SAMPLE, self.database, megabytes)
        self.measure(self.chock, "adopt", "--at", "3")
        figures["database MB"] = self.database.stat().st_size / 1e6
        # Warm, like the rest: each step reads what the step before has read.
        self.measure("cat", self.database)

        copy = self.folder / "copy.db"
        say("cp, .backup, sha256sum, quick_check, the same SQL")
        figures["cp"] = self.timed(
            "sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", self.database, copy)
        statements = shell_script()
        figures["shell sql"] = self.timed("sqlite3", "-init", "/dev/null", copy, text=statements)
        self.remove(copy)
        figures["backup"] = self.timed(
            "sh", "-c", 'sqlite3 -init /dev/null "$1" ".backup \'$2\'" && sync "$2"', "sh",
            self.database, copy)
        self.remove(copy)
        figures["sha256sum"] = self.timed("sha256sum", self.database)
        figures["quick_check"] = self.timed(
            "sqlite3", "-init", "/dev/null", self.database, "PRAGMA quick_check")
        figures["fingerprint"] = self.timed(self.chock, "fingerprint", "--json")

        say("chock update")
        update, run = self.run_chock("update")
        if run.get("outcome") != "committed":
            raise Failed(f"The update was not committed: {json.dumps(run, indent=1)}")
        for phase in PHASES:
            figures[phase] = seconds_of(run, phase)
        figures["apply to commit"] = sum(figures[phase] for phase in ("apply", "verify", "commit"))
        figures["update"] = update.seconds
        figures["other"] = update.seconds - sum(figures[phase] for phase in PHASES)
        figures["update cpu"] = update.processor
        figures["update peak"] = megabytes_of(update.worker_peak)

        say("chock restore")
        restore, run = self.run_chock("restore", run["snapshot_id"])
        if run.get("outcome") != "restored":
            raise Failed(f"The snapshot was not restored: {json.dumps(run, indent=1)}")
        figures["restore"] = restore.seconds
        figures["restore cpu"] = restore.processor
        figures["restore peak"] = megabytes_of(restore.worker_peak)

        for phase, other in (
            ("snapshot", "backup"), ("rehearse", "shell sql"), ("apply to commit", "shell sql"),
            ("update", "shell sql"), ("restore", "backup"), ("fingerprint", "sha256sum"),
        ):
            figures[f"{phase} / {other}"] = figures[phase] / figures[other]

        if with_daemon:
            say("chock status, and the daemon at rest")
            figures |= self.status("alone")
            figures |= self.daemon()
        self.remove(self.database)
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        return figures

    def remove(self, database):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)

    # MARK: The daemon

    def status(self, how):
        """The time of `chock status` as a whole process, in milliseconds: the median of 20."""
        def median(*words):
            self.measure(self.chock, "status", *words)
            return 1000 * statistics.median(
                self.measure(self.chock, "status", *words, settle=False).seconds
                for _ in range(20)
            )

        return {f"status {how}": median(), f"status --json {how}": median("--json")}

    def daemon(self):
        """What the daemon takes while nothing happens."""
        # The service manager's side of sd_notify(3): READY=1 comes when the daemon serves.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(f"\0chock-bench-{os.getpid()}")
            notifications.settimeout(60)
            self.processes.environment["NOTIFY_SOCKET"] = f"@chock-bench-{os.getpid()}"
            with open(self.folder / "serve.log", "w+b") as log:
                try:
                    daemon = self.processes.start(
                        [self.chock, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                finally:
                    del self.processes.environment["NOTIFY_SOCKET"]
                try:
                    while b"READY=1" not in notifications.recv(4096).splitlines():
                        pass
                except TimeoutError as error:
                    log.seek(0)
                    raise Failed(
                        f"The daemon was not ready in a minute:\n{log.read().decode()}") from error
                figures = self.at_rest(daemon.pid)
                figures |= self.status("daemon")
                figures["daemon after"] = megabytes_of(
                    status_field(f"/proc/{daemon.pid}/status", "VmRSS"))
                self.processes.end(daemon)
        return figures

    def at_rest(self, pid):
        time.sleep(10)
        before, begin = switches(pid), time.monotonic()
        time.sleep(10)
        wakeups = (switches(pid) - before) / (time.monotonic() - begin)
        memory = status_field(f"/proc/{pid}/status", "VmRSS")
        if memory is None:
            raise Failed("The daemon ended by itself.")
        return {"daemon": megabytes_of(memory), "wakeups": wakeups}


def megabytes_of(kilobytes):
    """The kernel's kB are 1,024 bytes; a MB of this table is 1,000,000, for files and memory alike."""
    return None if kilobytes is None else kilobytes * 1024 / 1e6


def switches(pid):
    """How often the threads of a process have gone to sleep, and so have been woken."""
    return sum(
        status_field(f"/proc/{pid}/task/{task}/status", "voluntary_ctxt_switches") or 0
        for task in os.listdir(f"/proc/{pid}/task")
    )


def seconds_of(run, phase):
    """A phase may be entered twice, when the snapshot has to be taken again."""
    return sum(entry["seconds"] for entry in run["phases"] if entry["phase"] == phase)


def shell_script():
    """What the update does to the content, as somebody would do it by hand: one transaction."""
    lines = [
        ".bail on",
        # The update ends at COMMIT too; the checkpoint is the application's.
        ".dbconfig no_ckpt_on_close on",
        "PRAGMA journal_mode = WAL;",
        "PRAGMA wal_autocheckpoint = 0;",
        "PRAGMA synchronous = FULL;",
        "PRAGMA foreign_keys = OFF;",
        "BEGIN IMMEDIATE;",
    ]
    for path in sorted(MIGRATIONS.glob("[0-9]*.sql")):
        if path.name.endswith(".rollback.sql") or int(path.name.split("_")[0]) <= 3:
            continue
        section = None
        for line in path.read_text().splitlines():
            if line.startswith("-- @"):
                section = line[4:].strip()
            elif section == "migrate":
                lines.append(line)
    return "\n".join(lines + ["COMMIT;", ""])


# MARK: The table


def facts(bench):
    """Where and with what it was measured, as lines."""
    processor = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            processor = line.split(":", 1)[1].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    version = bench.measure(bench.chock, "--version").output.strip()
    shell = bench.measure("sqlite3", "--version").output.split()[0]
    return [
        f"Date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; chock {version}, "
        f"{bench.chock.stat().st_size / 1e6:.1f} MB",
        f"Machine: {os.cpu_count()} CPUs ({processor}), {pages / 1e9:.0f} GB, "
        f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f} before",
        f"SQLite: {library_version(bench)} in chock, {shell} in the shell; "
        f"file system: {file_system(bench.folder)}",
    ]


def library_version(bench):
    """Of the library in chock, from `chock doctor --json`, which may well find problems here."""
    process = bench.processes.start(
        [bench.chock, "doctor", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.communicate()[0]
    bench.processes.end(process)
    try:
        for finding in json.loads(output)["findings"]:
            if finding["subject"] == "SQLite":
                return finding["found"].removeprefix("version ").split(":")[0]
    except (ValueError, KeyError):
        pass
    return "unknown version"


def file_system(path):
    """The type of the file system that holds a path, from the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        point = left.split()[4].encode().decode("unicode_escape")
        inside = point == "/" or str(path) == point or str(path).startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


# Of each line: what it is, the name of its figure, unit, digits, the most that is wanted.
LINES = [
    ("Database", "database MB", "MB", 0, None),
    ("**chock update, by phase**", None, "", 0, None),
    ("snapshot", "snapshot", "s", 2, None),
    ("rehearse", "rehearse", "s", 2, None),
    ("apply", "apply", "s", 2, None),
    ("verify", "verify", "s", 2, None),
    ("commit", "commit", "s", 2, None),
    ("the rest (start, plan, safety, close)", "other", "s", 2, None),
    ("whole process", "update", "s", 2, None),
    ("processor time, user + system", "update cpu", "s", 2, None),
    ("peak memory of the worker", "update peak", "MB", 1, WORKER_PEAK_MB),
    ("**chock restore**", None, "", 0, None),
    ("whole process, with the rescue copy", "restore", "s", 2, None),
    ("processor time, user + system", "restore cpu", "s", 2, None),
    ("peak memory of the worker", "restore peak", "MB", 1, WORKER_PEAK_MB),
    ("**Beside it**", None, "", 0, None),
    ("`cp` and `sync`", "cp", "s", 2, None),
    ("`sqlite3 .backup` and `sync`", "backup", "s", 2, None),
    ("the same SQL in the `sqlite3` shell, to COMMIT", "shell sql", "s", 2, None),
    ("`sha256sum` of the file", "sha256sum", "s", 2, None),
    ("`PRAGMA quick_check` in the shell", "quick_check", "s", 2, None),
    ("`chock fingerprint`", "fingerprint", "s", 2, None),
    ("**Ratios**", None, "", 0, None),
    ("snapshot : `.backup` and `sync`", "snapshot / backup", "x", 2, None),
    ("rehearse : the SQL in the shell", "rehearse / shell sql", "x", 2, None),
    ("apply, verify, commit : the SQL in the shell", "apply to commit / shell sql", "x", 2, None),
    ("whole update : the SQL in the shell", "update / shell sql", "x", 2, None),
    ("restore : `.backup` and `sync`", "restore / backup", "x", 2, None),
    ("fingerprint : `sha256sum`", "fingerprint / sha256sum", "x", 2, None),
    ("**The daemon at rest, and a look at it**", None, "", 0, None),
    ("memory (VmRSS), 20 s after it was ready", "daemon", "MB", 1, DAEMON_RSS_MB),
    ("memory after 42 questions", "daemon after", "MB", 1, DAEMON_RSS_MB),
    ("wakeups of all its threads", "wakeups", "1/s", 2, WAKEUPS_PER_SECOND),
    ("`chock status`, daemon running", "status daemon", "ms", 1, STATUS_MS),
    ("`chock status --json`, daemon running", "status --json daemon", "ms", 1, STATUS_MS),
    ("`chock status`, no daemon", "status alone", "ms", 1, STATUS_MS),
    ("`chock status --json`, no daemon", "status --json alone", "ms", 1, STATUS_MS),
]


def table(results):
    """A Markdown table that can be read as it is: `results` holds the figures by size."""
    rows = [["What", *(f"{size} MB" for size in results), "Unit", "Note"]]
    for words, name, unit, digits, target in LINES:
        values = [figures.get(name) for figures in results.values()]
        if name is None:
            rows.append([words, *("" for _ in values), "", ""])
            continue
        note = ""
        if target is not None:
            is_over = any(value is not None and value > target for value in values)
            note = f"over the target: {target} {unit}" if is_over else f"target: {target} {unit}"
        cells = ["" if value is None else f"{value:.{digits}f}" for value in values]
        if any(cells):
            rows.append([words, *cells, unit, note])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row):
        cells = [
            cell.rjust(width) if 0 < column <= len(results) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [
        "-" * (width - 1) + ":" if 0 < column <= len(results) else "-" * width
        for column, width in enumerate(widths)
    ]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])


# MARK: The run


def arguments():
    parser = argparse.ArgumentParser(
        description="Times chock beside cp, .backup and the sqlite3 shell.")
    parser.add_argument("chock", type=Path, help="the release binary")
    parser.add_argument("--sizes", help="megabytes (default: 50,1000)")
    parser.add_argument("--folder", type=Path, help="a folder on the disk that is to be measured")
    parser.add_argument("--markdown", type=Path, help="a file to which the table is appended")
    parser.add_argument("--quick", action="store_true", help="10 MB only")
    options = parser.parse_args()
    try:
        words = (options.sizes or ("10" if options.quick else "50,1000")).split(",")
        options.sizes = [int(word) for word in words]
    except ValueError:
        parser.error("--sizes takes whole numbers of megabytes with commas in between")
    if not all(1 <= size <= 20_000 for size in options.sizes):
        parser.error("--sizes takes 1 to 20000 megabytes")
    options.chock = options.chock.resolve()
    if not os.access(options.chock, os.X_OK):
        parser.error(f"there is no program at {options.chock}; `make release` builds it")
    if options.folder and not options.folder.is_dir():
        parser.error(f"there is no folder {options.folder}")
    if not shutil.which("sqlite3"):
        parser.error("the sqlite3 shell is missing; install it: apt-get install sqlite3")
    return options


def run(options, folder, socket_folder):
    kind = file_system(folder)
    if kind in RAM_DISKS:
        raise Failed(f"{folder} is a RAM disk ({kind}); choose another one with --folder.")
    bench = Bench(options.chock, folder, socket_folder)
    try:
        heading = facts(bench)
        results = {}
        for size in sorted(set(options.sizes)):
            needed, free = 6 * size * 1_000_000, shutil.disk_usage(folder).free
            if free < needed:
                print(
                    f"bench: {size} MB is left out: it needs {needed // 1_000_000} MB on the disk, "
                    f"and {free // 1_000_000} MB are free",
                    file=sys.stderr,
                )
                continue
            results[size] = bench.size(size, with_daemon=not results)
    finally:
        bench.processes.end_all()
    if not results:
        raise Failed("Nothing was measured.")
    text = "\n".join([*(f"- {line}" for line in heading), "", table(results), ""])
    print(text)
    if options.markdown:
        with options.markdown.open("a") as file:
            file.write(text)


def main():
    options = arguments()

    def stop(number, _):
        # As an exception, so that everything on the way out is cleaned up.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    # Beside the build, which is on the disk of the source.
    above = options.folder or (TOP / ".build" if (TOP / ".build").is_dir() else TOP)
    try:
        # The socket has a folder of its own: its path may have 107 characters only.
        with tempfile.TemporaryDirectory(prefix="bench-", dir=above) as folder, \
                tempfile.TemporaryDirectory(prefix="chock-bench-") as socket_folder:
            run(options, Path(folder).resolve(), Path(socket_folder))
    except (Failed, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

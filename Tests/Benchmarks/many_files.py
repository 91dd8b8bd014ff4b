"""Many small migration files: planning with 1,000 of them, and 50 beside the same SQL by other means.

dbmate comes from PyPI, in a virtual environment in the benchmark's folder; GRDB's migrator is the
package beside this file.
"""

import contextlib
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "Adoption/requirements.txt"

SMALL = """CREATE TABLE note_{0} (
  id INTEGER PRIMARY KEY,
  body TEXT NOT NULL CHECK (length(body) > 0),
  written_at INTEGER NOT NULL
) STRICT;
INSERT INTO note_{0} (body, written_at) VALUES ('It''s note {0}; the first', 1700000000);
CREATE INDEX note_{0}_by_time ON note_{0} (written_at);
"""

# Everybody commits with EXTRA, as chock does: it also syncs the folder behind a rollback journal.
# In WAL mode FULL is the same.
NEW = """.bail on
PRAGMA synchronous = EXTRA;
BEGIN;
%s
COMMIT;
"""

# As in bench.LINES: what it is, the name of its figure, its unit, the most that is wanted.
LINES = [
    ("**1,000 small migration files, all of them applied**", None, "", None),
    ("`chock plan`", "plan 1000", "ms", 50),
    ("`chock status`", "status 1000", "ms", None),
    ("**50 small migrations of a new database, whole processes**", None, "", None),
    ("the same SQL in one transaction, `sqlite3` shell", "new shell", "ms", None),
    ("`chock init`", "new chock", "ms", None),
    ("dbmate", "new dbmate", "ms", None),
    ("GRDB's migrator", "new grdb", "ms", None),
    ("`chock init` : shell", "new chock : new shell", "x", 1.3),
    ("`chock init` : dbmate", "new chock : new dbmate", "x", 1),
    ("`chock init` : GRDB's migrator", "new chock : new grdb", "x", 1),
    ("**50 small migrations of a database in WAL mode that is in use**", None, "", None),
    ("the same SQL in one transaction, `sqlite3` shell", "wal shell", "ms", None),
    ("`chock update` without snapshot and rehearsal", "wal chock", "ms", None),
    ("- of it apply, verify and commit", "wal transaction", "ms", None),
    ("dbmate", "wal dbmate", "ms", None),
    ("GRDB's migrator", "wal grdb", "ms", None),
    ("- of it `migrate`", "wal migrate", "ms", None),
    ("apply, verify and commit : shell", "wal transaction : wal shell", "x", 1.3),
    ("apply, verify and commit : GRDB's `migrate`", "wal transaction : wal migrate", "x", 1),
    ("`chock update` : shell", "wal chock : wal shell", "x", 1.3),
    ("`chock update` : dbmate", "wal chock : wal dbmate", "x", 1),
    ("`chock update` : GRDB's migrator", "wal chock : wal grdb", "x", 1),
]


class ManyFiles:
    """`by_hand` is a script of the shell with a place for SQL, `offline` the words of an update."""

    def __init__(self, bench, by_hand, offline):
        self.bench, self.by_hand, self.offline = bench, by_hand, offline
        self.folder = bench.folder / "many"
        self.database = self.folder / "coach.db"
        self.folder.mkdir()

    def write(self, name, texts):
        """A folder of migration files."""
        folder = self.folder / name
        folder.mkdir()
        for number, text in enumerate(texts, 1):
            (folder / f"{number:04}_note_{number}.sql").write_text(text)

    def chock(self, files, *words):
        return self.bench.run(self.bench.chock, *words, settle=False, variables={
            "CHOCK_ENVIRONMENT": "development", "CHOCK_DATABASE_PATH": str(self.database),
            "CHOCK_MIGRATIONS_DIRECTORY": str(self.folder / files),
            "CHOCK_STATE_DIRECTORY": str(self.folder / "state"),
            "CHOCK_UPDATE_BACKUP_BEFORE_MIGRATE": "false", "CHOCK_UPDATE_REHEARSE": "false"})

    def renew(self):
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self.bench.remove(self.database)

    def planning(self):
        """Milliseconds of whole processes: the medians of many."""
        print("1,000 migration files", file=sys.stderr)
        # A schema of 100 tables: SQLite reads it whenever it opens the database.
        self.write("thousand", [
            f"-- Description: Notes, part {number}\n" + (
                SMALL.format(number) if number % 10 == 1 else
                f"INSERT INTO note_{(number - 1) // 10 * 10 + 1} (body, written_at)\n"
                f"VALUES ('It''s note {number}; not the first', 1700000000 + {number});\n")
            for number in range(1, 1001)])
        self.renew()
        self.chock("thousand", "init")
        figures = {}
        for verb in ("plan", "status"):
            seconds = [self.chock("thousand", verb).seconds for _ in range(31)]
            figures[f"{verb} 1000"] = 1000 * statistics.median(seconds[1:])
        return figures

    # MARK: Fifty

    @contextlib.contextmanager
    def application(self):
        """A database in WAL mode without tables, and an application that has it open: so whoever
        closes it does not empty the write-ahead log.
        """
        connection = sqlite3.connect(self.database)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            yield
        finally:
            connection.close()

    def made(self, run):
        """Runs on a disk at rest; what came of it is looked at."""
        self.bench.settle()
        result = run()
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            count, = connection.execute(
                "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'note%'").fetchone()
        if count != 100:
            raise ValueError(f"{count} of 100 tables and indexes were made")
        return result

    def ways(self, script, *chock):
        """The ways to make the 50 migrations, by name."""
        def run(*words, text=""):
            return self.bench.run(*words, text=text, settle=False)
        folder = self.folder / "fifty"
        return {
            "shell": lambda: run(
                "sqlite3", "-init", "/dev/null", self.database, text=script % self.sql),
            "chock": lambda: self.chock("fifty", *chock),
            # Without _sync it does not sync its commits in WAL mode.
            "dbmate": lambda: run(
                self.dbmate, "--url", f"sqlite:{self.database}?_sync=EXTRA", "--migrations-dir",
                folder, "--no-dump-schema", "up"),
            "grdb": lambda: run(self.grdb, self.database, folder),
        }

    def once(self):
        """Each of them once, one after the other: seconds by name."""
        seconds = {}
        for name, way in self.ways(NEW, "init").items():
            self.renew()
            seconds[f"new {name}"] = self.made(way).seconds
        for name, way in self.ways(self.by_hand, "update", *self.offline).items():
            self.renew()
            with self.application():
                took = self.made(way)
            seconds[f"wal {name}"] = took.seconds
            if name == "chock":
                seconds["wal transaction"] = sum(
                    p["seconds"] for p in json.loads(took.output)["phases"]
                    if p["phase"] in ("apply", "verify", "commit"))
            if name == "grdb":
                seconds["wal migrate"] = float(took.output)
        return seconds

    def fifty(self):
        """The medians of milliseconds, and of the ratios of things measured right after each other."""
        print("50 small migrations", file=sys.stderr)
        texts = [SMALL.format(number) for number in range(1, 51)]
        self.sql = "".join(texts)
        # In dbmate's format, which chock reads too.
        self.write("fifty", [f"-- migrate:up\n{text}-- migrate:down\n" for text in texts])
        self.dbmate, self.grdb = install_dbmate(self.folder), build_grdb_migrator()
        found = {}
        # The first is to warm up.
        for seconds in [self.once() for _ in range(16)][1:]:
            for name, value in seconds.items():
                found.setdefault(name, []).append(1000 * value)
            for _, name, unit, _ in LINES:
                if unit == "x":
                    one, other = name.split(" : ")
                    found.setdefault(name, []).append(seconds[one] / seconds[other])
        return {name: statistics.median(values) for name, values in found.items()}

    def figures(self):
        return self.planning() | self.fifty()


def install_dbmate(folder):
    dbmate, = (line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("dbmate"))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check",
                    dbmate], check=True)
    return folder / "venv/bin/dbmate"


def build_grdb_migrator():
    build = ["swift", "build", "-c", "release", "--static-swift-stdlib", "--package-path",
             HERE / "GRDBMigrator"]
    subprocess.run(build, check=True, stdout=sys.stderr)
    path = subprocess.run([*build, "--show-bin-path"], check=True, capture_output=True, text=True)
    return Path(path.stdout.strip()) / "GRDBMigrator"

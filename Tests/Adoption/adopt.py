#!/usr/bin/env python3
"""Lets real tools make real databases, and the real chock adopt and update them.

Alembic, Django, dbmate and yoyo come from PyPI, in a virtual environment in a temporary folder. goose,
golang-migrate, sqlx, Flyway and Rails are not on PyPI: their databases are made with the statements of
their sources, and their files are written as their documentation says.

    adopt.py CHOCK
"""

import hashlib
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import checks  # noqa: E402
from checks import check  # noqa: E402


class Coach:
    """A folder with a database, migration files and a config."""

    def __init__(self, name):
        print(name)
        # dbmate takes a comma for the next folder.
        self.folder = ROOT / "".join(c if c.isalnum() else "-" for c in name)
        self.migrations = self.folder / "migrations"
        self.migrations.mkdir(parents=True)
        self.database = self.folder / "coach.db"
        config = self.folder / "chock.toml"
        config.write_text(
            f'environment = "development"\n[database]\npath = "{self.database}"\n'
            f'[migrations]\ndirectory = "{self.migrations}"\n'
            f'[state]\ndirectory = "{self.folder}/state"\n'
            f'[server]\nsocket = "{self.folder}/chock.sock"\n[coach]\nrequired_gates = []\n')

    def write(self, files):
        for name, text in files.items():
            (self.migrations / name).write_text(text)

    def chock(self, *arguments, code=0):
        """Runs a verb with --json; gives its document."""
        run = subprocess.run(
            [CHOCK, *arguments, "--json"], capture_output=True, text=True,
            env={"CHOCK_CONFIG": str(self.folder / "chock.toml"), "PATH": os.environ["PATH"]})
        check(f"chock {' '.join(arguments)} ends with {code}", run.returncode == code,
              f"{run.returncode}\n{run.stdout}\n{run.stderr}")
        try:
            return json.loads(run.stdout)
        except ValueError:
            check(f"chock {' '.join(arguments)} prints a document", False, run.stdout)
            return {}

    def ask(self, answer, *arguments):
        """Runs a verb at a terminal, where a person answers its question; gives its end and its words."""
        person, terminal = pty.openpty()
        process = subprocess.Popen(
            [CHOCK, *arguments], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"CHOCK_CONFIG": str(self.folder / "chock.toml")})
        os.close(terminal)
        words = b""
        # What is typed before the question answers none.
        while b"[y/N]" not in words and (more := os.read(process.stdout.fileno(), 4096)):
            words += more
        os.write(person, answer.encode() + b"\n")
        words += process.communicate(timeout=60)[0]
        os.close(person)
        return process.returncode, words.decode()

    def sql(self, script):
        with sqlite3.connect(self.database) as connection:
            connection.executescript(script)
        connection.close()

    def value(self, query):
        with sqlite3.connect(self.database) as connection:
            row = connection.execute(query).fetchone()
        connection.close()
        return row[0] if row else None

    def digest(self):
        return hashlib.sha256(self.database.read_bytes()).hexdigest()

    # What every database has to go through.

    def look(self, tool, version):
        """Looking finds a version that is certain, and changes nothing."""
        before = self.digest()
        found = self.chock("adopt", code=77)
        check("the document says what it is", found.get("schema") == "chock.ADOPTION/1", found)
        check(f"the proposal is {version}", found.get("proposal") == version, found)
        check("it is certain", found.get("is_certain") is True, found)
        tools = [finding["tool"] for finding in found.get("findings", [])]
        check(f"{tool} is found", tools == ([tool] if tool else []), found)
        check("nothing was changed", self.digest() == before)
        return found

    def refuse(self, words):
        """Nothing is certain: --yes is refused too, and nothing is changed."""
        before = self.digest()
        for arguments in (["adopt"], ["adopt", "--yes"]):
            found = self.chock(*arguments, code=65)
            check("it is not certain", found.get("is_certain") is False, found)
            text = found.get("reason", "") + " ".join(found.get("warnings", []))
            check(f"it says: {words}", words in text, found)
            check("it says what to do", "--at VERSION" in found["error"]["how_to_clear"], found)
        check("nothing was changed", self.digest() == before)
        return found

    def adopt(self, version, pending):
        """Adopts at the proposal; status and plan then know where they are."""
        adopted = self.chock("adopt", "--yes")
        check(f"it is adopted at {version}", adopted.get("version") == version, adopted)
        status = self.chock("status")
        check("status has the version", status.get("current_version") == version, status)
        check("status has no problem", "problem" not in status, status)
        plan = self.chock("plan")
        files = [migration["version"] for migration in plan.get("migrations", [])]
        check(f"{pending} are pending", files == pending, plan)
        check("twice is refused", self.chock("adopt", "--yes", code=74) != {})

    def update(self, version):
        run = self.chock("update", "--yes", "--offline")
        check("the update is committed", run.get("outcome") == "committed", run)
        check(f"it is at {version}", run.get("to_version") == version, run)

    def rollback(self, version):
        run = self.chock("rollback", "--to", version, "--yes", "--offline")
        check("the rollback is committed", run.get("outcome") == "committed", run)
        check(f"it is at {version}", run.get("to_version") == version, run)


def tool(*arguments, cwd, **environment):
    """Runs a real tool."""
    run = subprocess.run(
        [str(VENV / "bin" / arguments[0]), *arguments[1:]], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, **environment})
    if run.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{run.stdout}\n{run.stderr}")
    return run.stdout


ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL);\n"
SIZE = "ALTER TABLE item ADD COLUMN size INTEGER;\n"
INDEX = "CREATE INDEX item_by_size ON item (size);\n"
ROW = "INSERT INTO item (body) VALUES ('the owner''s');"


# MARK: Real databases of real tools

def alembic():
    def made(coach, revision):
        folder = coach.folder / "alembic"
        tool("alembic", "init", str(folder / "scripts"), cwd=coach.folder)
        settings = coach.folder / "alembic.ini"
        settings.write_text("".join(
            f"sqlalchemy.url = sqlite:///{coach.database}\n" if line.startswith("sqlalchemy.url")
            else line for line in settings.read_text().splitlines(keepends=True)))
        head = 'import sqlalchemy as sa\nfrom alembic import op\ndef downgrade():\n    pass\n'
        (folder / "scripts/versions/one.py").write_text(
            head + 'revision = "167f01dae3e4"\ndown_revision = None\ndef upgrade():\n'
            '    op.create_table("item", sa.Column("id", sa.Integer, primary_key=True),\n'
            '      sa.Column("body", sa.Text, nullable=False))\n')
        (folder / "scripts/versions/two.py").write_text(
            head + 'revision = "5537d057c7dd"\ndown_revision = "167f01dae3e4"\ndef upgrade():\n'
            '    op.add_column("item", sa.Column("size", sa.Integer))\n'
            '    op.create_index("item_by_size", "item", ["size"])\n')
        tool("alembic", "upgrade", revision, cwd=coach.folder)
        coach.sql(ROW)

    def files(coach, *names):
        """The SQL that Alembic itself prints, without what it does to its own table."""
        revisions = ["base", "167f01dae3e4", "5537d057c7dd"]
        for start, end, name in zip(revisions, revisions[1:], names):
            sql = tool("alembic", "upgrade", f"{start}:{end}", "--sql", cwd=coach.folder)
            parts = [part for part in sql.split(";\n") if "alembic_version" not in part]
            coach.write({name: ";\n".join(parts)})
        coach.write({"0003_notes.sql": "CREATE TABLE note (text TEXT) STRICT;"})

    for revision, version, pending in [
            ("167f01dae3e4", "1", ["2", "3"]), ("5537d057c7dd", "2", ["3"])]:
        coach = Coach(f"Alembic at {revision}")
        made(coach, revision)
        files(coach, "0001_167f01dae3e4_items.sql", "0002_5537d057c7dd_size.sql")
        found = coach.look("Alembic", version)
        check("by its name", revision in found["findings"][0]["reason"], found)
        coach.adopt(version, pending)
        coach.update("3")
        check("the rows are there", coach.value("SELECT body FROM item") == "the owner's")
        check("Alembic's table is as it was",
              coach.value("SELECT version_num FROM alembic_version") == revision)

    coach = Coach("Alembic with files that do not name its revisions")
    made(coach, "5537d057c7dd")
    files(coach, "0001_items.sql", "0002_size.sql")
    found = coach.look("Alembic", "2")
    check("the revision is named", found["findings"][0]["unknown"] == ["5537d057c7dd"], found)
    coach.adopt("2", ["3"])

    coach = Coach("Alembic at a revision whose schema somebody changed")
    made(coach, "5537d057c7dd")
    coach.sql("DROP INDEX item_by_size")
    files(coach, "0001_167f01dae3e4_items.sql", "0002_5537d057c7dd_size.sql")
    found = coach.refuse("the schema differs from that version's in 1 place")
    check("the difference is named", found["differences"][0]["name"] == "item_by_size", found)
    adopted = coach.chock("adopt", "--at", "2")
    check("a person's word counts", adopted.get("version") == "2", adopted)
    check("with a warning", len(adopted.get("warnings", [])) == 1, adopted)

    coach = Coach("SQLAlchemy's create_all, without Alembic's table")
    (coach.folder / "all.py").write_text(
        "import sqlalchemy as sa\nmeta = sa.MetaData()\n"
        'sa.Table("item", meta, sa.Column("id", sa.Integer, primary_key=True),\n'
        '  sa.Column("body", sa.Text, nullable=False))\n'
        f'meta.create_all(sa.create_engine("sqlite:///{coach.database}"))\n')
    tool("python3", "all.py", cwd=coach.folder)
    other = Coach("Alembic only for its SQL")
    made(other, "5537d057c7dd")
    files(other, "0001_items.sql", "0002_size.sql")
    shutil.copytree(other.migrations, coach.migrations, dirs_exist_ok=True)
    coach.look(None, "1")
    coach.adopt("1", ["2", "3"])
    coach.update("3")


def django():
    def made(coach, apps):
        shop = coach.folder / "shop/migrations"
        shop.mkdir(parents=True)
        for folder in (shop, shop.parent):
            (folder / "__init__.py").touch()
        (coach.folder / "manage.py").write_text(
            "import sys, django\nfrom django.conf import settings\n"
            'settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3",\n'
            f'  "NAME": "{coach.database}"}}}}, INSTALLED_APPS={apps!r}, USE_TZ=True)\n'
            "django.setup()\nfrom django.core.management import call_command\n"
            "call_command(*sys.argv[1:])\n")
        head = "from django.db import migrations, models\nclass Migration(migrations.Migration):\n"
        (shop / "0001_initial.py").write_text(
            head + '    operations = [migrations.CreateModel("Item", [\n'
            '      ("id", models.AutoField(primary_key=True)), ("body", models.TextField())])]\n')
        (shop / "0002_item_size.py").write_text(
            head + '    dependencies = [("shop", "0001_initial")]\n'
            '    operations = [migrations.AddField("item", "size",\n'
            '      models.IntegerField(null=True, db_index=True))]\n')
        tool("python3", "manage.py", "migrate", cwd=coach.folder)
        # The SQL that Django itself prints, without its transaction.
        for name in ("0001_initial", "0002_item_size"):
            sql = tool("python3", "manage.py", "sqlmigrate", "shop", name[:4], cwd=coach.folder)
            coach.write({f"{name}.sql": sql.replace("BEGIN;", "").replace("COMMIT;", "")})
        coach.write({"0003_notes.sql": "CREATE TABLE note (text TEXT) STRICT;"})

    coach = Coach("Django")
    made(coach, ["shop"])
    found = coach.look("Django", "2")
    check("by the names of the app", "app shop" in found["findings"][0]["reason"], found)
    coach.adopt("2", ["3"])
    coach.update("3")

    coach = Coach("Django with an app that the files do not have")
    made(coach, ["django.contrib.contenttypes", "shop"])
    found = coach.refuse("Django says version 2, but the schema differs")
    names = [difference["name"] for difference in found["differences"]]
    check("what is extra is named", "django_content_type" in names, found)


def yoyo():
    coach = Coach("yoyo")
    coach.write({"0001_items.sql": ITEM, "0001_items.rollback.sql": "DROP TABLE item;\n",
                 "0002_size.sql": "-- depends: 0001_items\n" + SIZE})
    tool("yoyo", "apply", "--batch", "--no-config-file", "--database",
         f"sqlite:///{coach.database}", str(coach.migrations), cwd=coach.folder)
    coach.write({"0003_index.sql": "-- depends: 0002_size\n" + INDEX})
    coach.look("yoyo", "2")
    coach.adopt("2", ["3"])
    coach.update("3")


def dbmate():
    files = {
        "20250101120000_items.sql":
            f"-- migrate:up\n{ITEM}\n-- migrate:down\nDROP TABLE item;\n",
        "20250102120000_size.sql":
            f"-- migrate:up\n{SIZE}\n-- migrate:down\nALTER TABLE item DROP COLUMN size;\n",
    }
    later = {
        "20250103120000_trigger.sql":
            "-- migrate:up\nCREATE TABLE log (text TEXT NOT NULL);\n"
            "CREATE TRIGGER item_log AFTER INSERT ON item BEGIN\n"
            "  INSERT INTO log VALUES ('new; ' || new.body);\n"
            "  UPDATE item SET size = length(body) WHERE id = new.id;\nEND;\n"
            "-- migrate:down\nDROP TRIGGER item_log;\nDROP TABLE log;\n",
        "20250104120000_vacuum.sql": "-- migrate:up transaction:false\nVACUUM;\n-- migrate:down\n",
    }

    def up(coach):
        tool("dbmate", "--url", f"sqlite:{coach.database}", "--migrations-dir",
             str(coach.migrations), "--no-dump-schema", "up", cwd=coach.folder)

    coach = Coach("dbmate, on the files that it used")
    coach.write(files)
    up(coach)
    coach.sql(ROW)
    coach.write(later)
    coach.look("dbmate", "20250102120000")
    coach.adopt("20250102120000", ["20250103120000", "20250104120000"])
    coach.update("20250104120000")
    coach.sql(ROW)
    check("the trigger is whole", coach.value("SELECT text FROM log") == "new; the owner's")

    # What dbmate makes of the same files is the same.
    other = Coach("dbmate alone")
    other.write(files | later)
    up(other)
    query = ("SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE tbl_name NOT IN "
             "('schema_migrations', 'chock_migrations') ORDER BY type, name)")
    check("both made one schema", coach.value(query) == other.value(query))
    other.look("dbmate", "20250104120000")

    back = Coach("dbmate, and back by its down parts")
    back.write(files | {name: later[name] for name in list(later)[:1]})
    up(back)
    back.sql(ROW)
    back.look("dbmate", "20250103120000")
    back.adopt("20250103120000", [])
    back.rollback("20250101120000")
    check("the column is gone", "size" not in back.value(
        "SELECT sql FROM sqlite_schema WHERE name = 'item'"))
    check("the row is there", back.value("SELECT body FROM item") == "the owner's")
    back.update("20250103120000")

    lost = Coach("dbmate, whose table has lost a row")
    lost.write(files)
    up(lost)
    lost.sql("DELETE FROM schema_migrations WHERE version = '20250102120000'")
    lost.refuse("the schema is exactly that of version 20250102120000")


# MARK: Databases with the tables that the sources of the tools define

def made_by_statements(name, files, table, version, newest, back):
    """`files` are those of the tool; the ones up to `version` are applied as it would."""
    coach = Coach(name)
    coach.write(files)
    coach.sql(ITEM + SIZE + ROW + table)
    coach.look(name, version)
    coach.adopt(version, [newest])
    coach.update(newest)
    coach.rollback(back)
    check("the row is there", coach.value("SELECT body FROM item") == "the owner's")


def others():
    made_by_statements(
        "golang-migrate", {
            "000001_items.up.sql": ITEM, "000001_items.down.sql": "DROP TABLE item;",
            "000002_size.up.sql": SIZE, "000002_size.down.sql": "ALTER TABLE item DROP COLUMN size;",
            "000003_index.up.sql": INDEX, "000003_index.down.sql": "DROP INDEX item_by_size;",
        },
        "CREATE TABLE schema_migrations (version uint64,dirty bool);"
        "CREATE UNIQUE INDEX version_unique ON schema_migrations (version);"
        "INSERT INTO schema_migrations VALUES (2, 0);", "2", "3", "1")
    made_by_statements(
        "goose", {
            "00001_items.sql": f"-- +goose Up\n{ITEM}-- +goose Down\nDROP TABLE item;",
            "00002_size.sql":
                f"-- +goose Up\n{SIZE}-- +goose Down\nALTER TABLE item DROP COLUMN size;",
            "00003_trigger.sql":
                "-- +goose Up\n-- +goose StatementBegin\n"
                "CREATE TRIGGER item_size AFTER INSERT ON item BEGIN\n"
                "  UPDATE item SET size = length(body) WHERE id = new.id;\nEND;\n"
                "-- +goose StatementEnd\n-- +goose Down\nDROP TRIGGER item_size;",
        },
        "CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER "
        "NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));"
        "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1);",
        "2", "3", "1")
    made_by_statements(
        "sqlx", {
            "20250101120000_items.sql": ITEM, "20250102120000_size.up.sql": SIZE,
            "20250102120000_size.down.sql": "ALTER TABLE item DROP COLUMN size;",
            "20250103120000_vacuum.up.sql": "-- no-transaction\nVACUUM;",
            "20250103120000_vacuum.down.sql": "-- no-transaction\nVACUUM;",
        },
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, "
        "installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, "
        "checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);"
        "INSERT INTO _sqlx_migrations VALUES (20250101120000, 'items', '', TRUE, x'00', 1), "
        "(20250102120000, 'size', '', TRUE, x'00', 1);",
        "20250102120000", "20250103120000", "20250101120000")
    made_by_statements(
        "Flyway", {
            "V1__items.sql": ITEM, "V1.1__size.sql": SIZE,
            "U1.1__size.sql": "ALTER TABLE item DROP COLUMN size;",
            "V2__index.sql": INDEX, "U2__index.sql": "DROP INDEX item_by_size;",
        },
        'CREATE TABLE "flyway_schema_history" ("installed_rank" INT NOT NULL PRIMARY KEY, '
        '"version" VARCHAR(50), "description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL, '
        '"script" VARCHAR(1000) NOT NULL, "checksum" INT, "installed_by" VARCHAR(100) NOT NULL, '
        '"installed_on" TEXT NOT NULL DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f\',\'now\')), '
        '"execution_time" INT NOT NULL, "success" BOOLEAN NOT NULL);'
        'CREATE INDEX "flyway_schema_history_s_idx" ON "flyway_schema_history" ("success");'
        "INSERT INTO flyway_schema_history VALUES (1, '1', 'items', 'SQL', 'V1__items.sql', 7, '', '', 1, 1),"
        " (2, '1.1', 'size', 'SQL', 'V1.1__size.sql', 8, '', '', 1, 1);", "1.1", "2", "1")
    rails = ("CREATE TABLE \"schema_migrations\" (\"version\" varchar NOT NULL PRIMARY KEY);"
             "CREATE TABLE \"ar_internal_metadata\" (\"key\" varchar NOT NULL PRIMARY KEY, \"value\" "
             "varchar, \"created_at\" datetime(6) NOT NULL, \"updated_at\" datetime(6) NOT NULL);"
             "INSERT INTO schema_migrations VALUES ('20250101120000'), ('20250102120000');")
    made_by_statements(
        "Rails", {
            "20250101120000_items.sql": ITEM, "20250102120000_size.sql": SIZE,
            "20250102120000_size.rollback.sql": "ALTER TABLE item DROP COLUMN size;",
            "20250103120000_index.sql": INDEX,
            "20250103120000_index.rollback.sql": "DROP INDEX item_by_size;",
        }, rails, "20250102120000", "20250103120000", "20250101120000")

    coach = Coach("golang-migrate, dirty")
    coach.write({"1_items.up.sql": ITEM, "2_size.up.sql": SIZE})
    coach.sql(ITEM + "CREATE TABLE schema_migrations (version uint64,dirty bool);"
              "INSERT INTO schema_migrations VALUES (2, 1);")
    coach.refuse("dirty")

    coach = Coach("no tool, and two versions with one schema")
    coach.write({"1_items.sql": ITEM, "2_rows.sql": ROW, "3_size.sql": SIZE})
    coach.sql(ITEM + ROW)
    found = coach.refuse("they differ in rows only")
    check("none is proposed", "proposal" not in found, found)
    coach.chock("adopt", "--at", "2")
    coach.update("3")


def terminal():
    coach = Coach("a person at the terminal")
    coach.write({"1_items.sql": ITEM, "2_size.sql": SIZE})
    coach.sql(ITEM)
    before = coach.digest()
    for answer in ("", "n", "no"):
        code, words = coach.ask(answer, "adopt")
        check(f"{answer!r} is no", code == 77 and "[y/N]" in words, words)
        code, words = coach.ask(answer, "adopt", "--at", "2")
        check(f"{answer!r} is no to what differs", code == 77 and "changed table item" in words, words)
    check("nothing was changed", coach.digest() == before)
    code, words = coach.ask("y", "adopt")
    check("y is yes", code == 0 and "at version 1." in words, words)

    coach = Coach("a person at the terminal, whose word counts")
    coach.write({"1_items.sql": ITEM, "2_size.sql": SIZE})
    coach.sql(ITEM)
    code, words = coach.ask("y", "adopt", "--at", "2")
    check("y is yes", code == 0 and "at version 2." in words, words)


def main():
    global CHOCK, ROOT, VENV
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    CHOCK = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory(prefix="chock-adoption-") as folder:
        ROOT = Path(folder)
        VENV = ROOT / "venv"
        print("Installing the tools ...")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run(
            [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check",
             "--requirement", str(HERE / "requirements.txt")], check=True)
        for part in (alembic, django, yoyo, dbmate, others, terminal):
            part()
    sys.exit(checks.end("of adoption"))


main()

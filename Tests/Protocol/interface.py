#!/usr/bin/env python3
"""Checks the real daemon against the descriptions of its interface.

- openapi.json is OpenAPI 3.1, and schemathesis (PyPI) finds no answer that it does not describe.
- Every event of real runs is as asyncapi.json says, with no field more; also over a kill and a restart.
- promtool (Debian) accepts the metrics and the example alert rules.
- The example client of the documentation follows an update.

    interface.py CHOCK [PART...]
"""

import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "Tests"))
import checks  # noqa: E402
from checks import check  # noqa: E402
FAST = "-- migrate:up\nCREATE TABLE note{0} (text TEXT NOT NULL) STRICT;\n-- migrate:down\nDROP TABLE note{0};\n"
# Some seconds of work with the rows of the first table, and none without.
SLOW = ("-- migrate:up\nCREATE TABLE slow AS SELECT count(*) AS x FROM note1 a, note1 b, note1 c "
        "WHERE a.text || b.text < c.text;\n-- migrate:down\nDROP TABLE slow;\n")
PHASES = ["plan", "safety", "snapshot", "rehearse", "apply", "verify", "commit", "done"]

class Daemon:
    """A daemon with a coach of its own: three small migrations, of which one is applied."""

    def __init__(self, name, migrations=None, rehearse=True):
        self.folder = ROOT / name
        (self.folder / "migrations").mkdir(parents=True)
        self.database = self.folder / "coach.db"
        for number, text in (migrations or {n: FAST.format(n) for n in (1, 2, 3)}).items():
            (self.folder / f"migrations/{number}_step.sql").write_text(text)
        (self.folder / "chock.toml").write_text(
            f'environment = "development"\n[database]\npath = "{self.database}"\n'
            f'[migrations]\ndirectory = "{self.folder}/migrations"\n'
            f'[state]\ndirectory = "{self.folder}/state"\n'
            f'[update]\nrequire_explicit_consent = true\nrehearse = {str(rehearse).lower()}\n'
            f'[server]\nlisten = "127.0.0.1:0"\nsocket = "{self.folder}/chock.sock"\n'
            '[access]\nlocal = "owner"\n[coach]\nrequired_gates = ["parked"]\nparked_for_seconds = 0\n')
        with sqlite3.connect(self.database) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE note1 (text TEXT NOT NULL) STRICT")
            connection.executemany("INSERT INTO note1 VALUES (?)", [(str(n),) for n in range(1000)])
        connection.close()
        self.chock("adopt", "--at", "1")
        self.log = self.folder / "serve.log"

    def chock(self, *words):
        run = subprocess.run([CHOCK, *words], env=self.environment(), capture_output=True, text=True)
        check(f"chock {' '.join(words)} ends with 0", run.returncode == 0, run.stdout + run.stderr)
        return run.stdout

    def token(self, role):
        """The headers of a machine with that role."""
        made = json.loads(self.chock("token", "create", role, "--role", role, "--json"))
        return {"Authorization": f"Bearer {made['token']}"}

    def environment(self):
        return {"CHOCK_CONFIG": str(self.folder / "chock.toml"), "PATH": os.environ["PATH"]}

    def __enter__(self):
        self.log.write_text("")
        with self.log.open("a") as log:
            self.process = subprocess.Popen([CHOCK, "serve"], env=self.environment(), stdout=log, stderr=log)
        while not (found := re.search(r"panel is at (http://\S+)/", self.log.read_text())):
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.url = found.group(1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            check("the daemon ends when it is asked to", False, self.log.read_text()[-2000:])
            self.process.kill()

    def ask(self, method, path, body=None, headers=None):
        """The status and the document of an answer."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if data.startswith((b"{", b"[")) else data.decode()

    def park(self):
        controller = self.token("controller")
        for name, value in (("parking_brake", "engaged"), ("vehicle_speed", 0)):
            status, answer = self.ask(
                "PUT", f"/api/safety/readings/{name}", {"value": value, "ttl_seconds": 600}, controller)
            check(f"the reading of {name} is taken", status == 204, answer)

    def start_update(self):
        _, plan = self.ask("GET", "/api/database/plan")
        status, run = self.ask("POST", "/api/database/update", {"consent": True},
                               {"If-Match": f'"{plan["hash"]}"'})
        check("the update begins", status == 202, run)
        return run["id"]


class Listener:
    """Server-Sent Events, as they come."""

    def __init__(self, daemon, since=None):
        self.events, self.ids, self.names = [], [], []
        self.connection = http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=60)
        self.connection.request("GET", "/api/events", headers={"Last-Event-ID": str(since)} if since else {})
        self.answer = self.connection.getresponse()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for line in self.answer:
                word, _, rest = line.decode().rstrip("\n").partition(": ")
                if word == "id":
                    self.ids.append(int(rest))
                if word == "event":
                    self.names.append(rest)
                if word == "data":
                    self.events.append(json.loads(rest))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass

    def until(self, what, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for event in list(self.events):
                if condition(event):
                    return event
            time.sleep(0.02)
        check(what, False, json.dumps(self.events[-5:]))
        raise RuntimeError(f"waited in vain until {what}")


# MARK: Documents

class Descriptions:
    """Both descriptions, with objects that have no fields but those that are described."""

    def __init__(self, daemon):
        from jsonschema import Draft202012Validator, FormatChecker
        from referencing import Registry, Resource
        from referencing.jsonschema import DRAFT202012
        self.openapi = daemon.ask("GET", "/openapi.json")[1]
        self.asyncapi = daemon.ask("GET", "/asyncapi.json")[1]
        openapi, asyncapi = json.loads(json.dumps([self.openapi, self.asyncapi]))
        apart(openapi, openapi)
        close(openapi["components"]["schemas"])
        for message in asyncapi["components"]["messages"].values():
            message["payload"]["unevaluatedProperties"] = False
        registry = Registry().with_resources([
            ("http://chock/openapi.json", Resource(openapi, DRAFT202012)),
            ("http://chock/asyncapi.json", Resource(asyncapi, DRAFT202012))])
        self.validator = lambda place: Draft202012Validator(
            {"$ref": f"http://chock/{place}"}, registry=registry, format_checker=FormatChecker())

    def problems(self, document, place):
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
                for error in self.validator(place).iter_errors(document)]

    def check_event(self, event):
        where = f"asyncapi.json#/components/messages/{event.get('type')}/payload"
        known = event.get("type") in self.asyncapi["components"]["messages"]
        check(f"a {event.get('type')} event is as described", known and not self.problems(event, where),
              self.problems(event, where) if known else event)

    def check_document(self, daemon, path, schema):
        status, document = daemon.ask("GET", path)
        problems = self.problems(document, f"openapi.json#/components/schemas/{schema}")
        check(f"{path} is as described", status == 200 and not problems, problems or document)


def apart(schema, whole):
    """What is put together of several (`allOf`) gets copies of its parts: as a whole it says that it is closed."""
    if isinstance(schema, dict):
        for part in schema.get("allOf", []):
            if "$ref" in part:
                part["open"] = True
                part.update(json.loads(json.dumps(whole["components"]["schemas"][part.pop("$ref").split("/")[-1]])))
            part["open"] = True
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []:
        apart(value, whole)


def close(schema):
    """An object has the fields that are described and no others."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and not schema.pop("open", False):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)


def documents():
    from openapi_spec_validator import validate
    with Daemon("documents") as daemon:
        descriptions = Descriptions(daemon)
        try:
            validate(descriptions.openapi)
            check("openapi.json is OpenAPI 3.1", True)
        except Exception as error:
            check("openapi.json is OpenAPI 3.1", False, error)
        text = json.dumps(descriptions.asyncapi)
        for target in set(re.findall(r'"\$ref": "([^"]*)"', text)):
            file, _, pointer = target.partition("#/")
            place = descriptions.openapi if file else descriptions.asyncapi
            for part in pointer.split("/"):
                place = place.get(part) if isinstance(place, dict) else None
            check(f"asyncapi.json: {target} exists", place is not None)
        daemon.park()
        run = daemon.start_update()
        listener = Listener(daemon)
        listener.until("the update has ended", lambda e: e["type"] == "result" or
                       e["type"] == "state" and e["status"].get("run", {}).get("outcome"))
        for path, schema in [
                ("/api/database/status", "Status"), ("/api/database/plan", "Plan"),
                ("/api/database/plan?rollback_to=1", "Plan"), ("/api/database/history", "History"),
                ("/api/database/backups", "Snapshots"), ("/api/safety", "Safety"),
                (f"/api/database/update/{run}/progress", "Run")]:
            descriptions.check_document(daemon, path, schema)


# MARK: Events

def events():
    with Daemon("events") as daemon:
        descriptions = Descriptions(daemon)
        listener = Listener(daemon)
        listener.until("the state comes first", lambda e: e["type"] == "state")
        daemon.park()
        run = daemon.start_update()
        listener.until("the update ends", lambda e: e["type"] == "result" and e["run"] == run)
        seen = list(listener.events)
    numbers = [event["seq"] for event in seen]
    check("numbers grow by one", numbers == list(range(numbers[0], numbers[0] + len(numbers))), numbers)
    check("SSE's id and event are the number and the type", listener.ids[:len(seen)] == numbers
          and listener.names[:len(seen)] == [event["type"] for event in seen])
    for event in seen:
        descriptions.check_event(event)
    check("the state comes first", seen[0]["type"] == "state")
    phases = [event["phase"] for event in seen if event["type"] == "phase"]
    check("all phases come in order", phases == PHASES, phases)
    fractions = [event["fraction"] for event in seen if event.get("run") == run and "fraction" in event]
    check("a percentage never goes back", fractions == sorted(fractions), fractions)
    told = [event for event in seen if event["type"] == "database_update_progress"]
    percentages = [event["progress"] for event in told]
    check("CoachIQ's percentage never goes back and ends at 100",
          percentages == sorted(percentages) and percentages[-1:] == [100], told)
    check("CoachIQ is told in its words", {event["status"] for event in told} == {
        "initializing", "backing_up", "planning", "migrating", "verifying", "completed"}
        and {event["job_id"] for event in told} == {run}, told)
    check("the gates come", "gate" in {event["type"] for event in seen})
    restarts()


def restarts():
    daemon = Daemon("restarts", {1: FAST.format(1), 2: SLOW}, rehearse=False)
    with daemon:
        descriptions = Descriptions(daemon)
        listener = Listener(daemon)
        daemon.park()
        run = daemon.start_update()
        # Of what is done faster than a tenth of a second only the phases are told.
        progress = listener.until("its progress comes", lambda e: e["type"] == "progress" and e["phase"] == "apply")
        last = progress["seq"]
        descriptions.check_event(progress)
        # In this order: a worker that dies first is recovered at once.
        workers = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
        daemon.process.kill()
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)
        daemon.process.wait()
    results = []
    for life in ("after a kill", "after an orderly stop"):
        with daemon:
            listener = Listener(daemon, since=last)
            result = listener.until(f"the result comes {life}", lambda e: e["type"] == "result")
            seen = listener.events[:listener.events.index(result) + 1]
            check(f"first the state, then the gap {life}",
                  [event["type"] for event in seen[:2]] == ["state", "gap"], seen[:2])
            check(f"it is that run's {life}", result["run"] == run and
                  result["result"]["outcome"] == "rolled_back", result)
            numbers = [event["seq"] for event in seen]
            check(f"numbers go on above the last {life}", numbers == sorted(numbers) and
                  numbers[-1] > last, (last, numbers))
            for event in seen:
                descriptions.check_event(event)
            results.append(result["seq"])
            # Who has seen it does not get it again.
            later = Listener(daemon, since=result["seq"])
            later.until("the state comes", lambda e: e["type"] == "state")
            daemon.ask("PUT", "/api/safety/readings/parking_brake", {"value": "released", "ttl_seconds": 60})
            later.until("something new comes", lambda e: e["type"] == "gate")
            check(f"it comes once {life}", not any(e["type"] == "result" for e in later.events), later.events)
    check("it keeps its number", results[0] == results[1], results)


# MARK: Metrics

def metrics():
    promtool = find_promtool()
    with Daemon("metrics") as daemon:
        daemon.park()
        listener = Listener(daemon)
        run = daemon.start_update()
        listener.until("the update ends", lambda e: e["type"] == "result" and e["run"] == run)
        status, text = daemon.ask("GET", "/metrics")
    check("the metrics are there", status == 200)
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    check("the update is counted", values.get('chock_updates_total{kind="update",outcome="committed"}') == "1", text)
    check("the version is told", values.get('chock_schema_version{version="3"}') == "3", text)
    check("its phases are timed", values.get(
        'chock_phase_duration_seconds_count{kind="update",phase="apply"}') == "1", text)
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    table = set(re.findall(r"^\| `(chock_[a-z_]+)", (TOP / "docs/metrics.md").read_text(), re.M))
    check("docs/metrics.md has each of them, and no other", names == table, names ^ table)
    used = set(re.findall(r"chock_[a-z_]+", (TOP / "docs/alerts.yml").read_text()))
    check("the alert rules use what there is", used <= names, used - names)
    if not promtool:
        print("skipped: promtool's checks (it cannot be had from Debian here)")
        return
    for words, given in ((["check", "metrics"], text), (["check", "rules", TOP / "docs/alerts.yml"], "")):
        run = subprocess.run([promtool, *words], input=given, capture_output=True, text=True)
        check(f"promtool {words[1]} is content", run.returncode == 0 and not run.stderr.strip(),
              run.stdout + run.stderr)


def find_promtool():
    """The machine's, or Debian's, unpacked and not installed: its package would start a server."""
    if path := shutil.which("promtool"):
        return path
    if not shutil.which("apt-get"):
        return None
    folder = ROOT / "promtool"
    folder.mkdir()
    for command in (["apt-get", "download", "prometheus"], ["apt-get", "update"],
                    ["apt-get", "download", "prometheus"]):
        subprocess.run(command, cwd=folder, capture_output=True)
        if packages := list(folder.glob("prometheus_*.deb")):
            subprocess.run(["dpkg", "-x", packages[0], folder / "root"], check=True)
            return folder / "root/usr/bin/promtool"
    return None


# MARK: The example

def example():
    text = (TOP / "docs/examples/follow.py").read_text()
    check("the example has at most 60 lines", len(text.splitlines()) <= 60, len(text.splitlines()))
    with Daemon("example") as daemon:
        daemon.park()
        run = subprocess.run([sys.executable, TOP / "docs/examples/follow.py", daemon.url],
                             capture_output=True, text=True, timeout=120)
        check("the example follows an update to its end", run.returncode == 0 and
              "committed" in run.stdout and "apply" in run.stdout, run.stdout + run.stderr)
        check("the update is made", daemon.ask("GET", "/api/database/status")[1]["current_version"] == "3")


# MARK: Everything that can be asked

def schemathesis():
    with Daemon("schemathesis") as daemon:
        daemon.park()
        run = subprocess.run(
            [VENV / "bin/schemathesis", "run", f"{daemon.url}/openapi.json", "--url", daemon.url,
             # What a schema cannot say: the state of the coach, and which plan it is.
             "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", "15", "--phases", "examples,coverage,fuzzing",
             "--seed", "6", "--generation-database", "none", "--continue-on-failure",
             "--request-timeout", "20", "--suppress-health-check", "all",
             # As a technician, who may ask for everything.
             "--header", "Authorization: " + daemon.token("technician")["Authorization"],
             # They do not end.
             "--exclude-path", "/api/events", "--exclude-path", "/ws"],
            capture_output=True, text=True, cwd=ROOT, timeout=600)
        check("schemathesis finds nothing", run.returncode == 0,
              "\n".join(line for line in run.stdout.splitlines() if line.strip())[-9000:])
        if found := re.search(r"\d+ generated", run.stdout):
            print(f"  {found.group()}")
        check("the daemon is alive", daemon.ask("GET", "/livez")[0] == 200, daemon.log.read_text()[-2000:])


PARTS = {part.__name__: part for part in (documents, events, metrics, example, schemathesis)}


def main():
    global CHOCK, ROOT, VENV
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CHOCK = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory(prefix="chock-interface-") as folder:
        ROOT = Path(folder)
        VENV = ROOT / "venv"
        if "INTERFACE_VENV" in os.environ:
            VENV = Path(os.environ["INTERFACE_VENV"])
        else:
            print("Installing schemathesis ...", flush=True)
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            subprocess.run([VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check",
                            "--requirement", Path(__file__).with_name("requirements.txt")], check=True)
        sys.path.extend(map(str, VENV.glob("lib/python*/site-packages")))
        for name in sys.argv[2:] or PARTS:
            began = time.monotonic()
            print(name, flush=True)
            PARTS[name]()
            print(f"  {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(checks.end("of the interface"))


if __name__ == "__main__":
    main()

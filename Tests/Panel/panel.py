#!/usr/bin/env python3
"""Uses the panel as people do: a real browser against the real chock and a sample coach.

    panel.py CHOCK [--shots FOLDER] [SCENE...]

Installs Chromium (Debian) and Playwright (PyPI, in a virtual environment in a temporary folder). Pictures of every
view, size, theme and language are kept in FOLDER, or in one whose name is printed, for somebody to look at.
"""

import concurrent.futures
import datetime
import http.server
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import checks  # noqa: E402
from checks import check  # noqa: E402
PHONE, CAB, TABLET, DESK = (360, 740), (1024, 600), (768, 1024), (1440, 900)
SIZES = {"phone": PHONE, "cab": CAB, "tablet": TABLET, "desk": DESK}
PIN, TECHNICIANS_PIN = "135790", "246802"
# So long that a person, or a test, can do something in the middle of it.
SLOW = """-- Description: Count for a while
-- @migrate
CREATE TABLE slow AS WITH RECURSIVE count(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM count LIMIT 20000000)
SELECT sum(x) FROM count;
"""

def until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    check(what, found)
    return found


def free_port():
    """One that the kernel gives to nobody by itself, so that it stays free over a restart of the daemon."""
    while True:
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", random.randrange(20_000, 30_000)))
                return free.getsockname()[1]
            except OSError:
                pass


class Coach:
    """A sample coach with a daemon and a simulator of its own."""

    made = None

    def __init__(self, name, local="owner", slow=False, config="", version=3, environment={}):
        self.folder = ROOT / name
        self.folder.mkdir()
        self.migrations = self.folder / "migrations"
        shutil.copytree(TOP / "migrations", self.migrations)
        if slow:
            (self.migrations / "0020_slow.sql").write_text(SLOW)
        if Coach.made is None:
            Coach.made = ROOT / "made.db"
            self.run([TOP / "Tests/SampleCoach/make-sample-coach.sh", Coach.made, "3", "3"])
        self.database = self.folder / "coach.db"
        shutil.copy(Coach.made, self.database)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = self.folder / "simulator.json"
        (self.folder / "chock.toml").write_text(
            f'environment = "production"\n[database]\npath = "{self.database}"\n'
            f'[migrations]\ndirectory = "{self.migrations}"\n[state]\ndirectory = "{self.folder}/state"\n'
            f'[coach]\nparked_for_seconds = 0\n[access]\nlocal = "{local}"\n'
            f'[server]\nlisten = "127.0.0.1:{self.port}"\nsocket = "{self.folder}/chock.sock"\n{config}')
        self.environment = {**os.environ, "CHOCK_CONFIG": str(self.folder / "chock.toml"), **environment}
        if version:
            self.chock("adopt", "--at", str(version))
        self.simulator = self.daemon = None

    def run(self, command, **options):
        return subprocess.run(
            [str(word) for word in command], check=True, capture_output=True, text=True,
            env=getattr(self, "environment", None), **options).stdout

    def chock(self, *arguments, **options):
        return self.run([CHOCK, *arguments], **options)

    def __enter__(self):
        self.serve()
        self.simulator = subprocess.Popen(
            [sys.executable, str(TOP / "Tests/SampleCoach/simulator.py"), "--socket", str(self.folder / "chock.sock"),
             "--state", str(self.state)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until("the coach is parked", lambda: self.get("safety").get("is_safe"))
        return self

    def __exit__(self, *_):
        for process in (self.simulator, self.daemon):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                check("the daemon ends when it is asked to", False, process.args)
                process.kill()

    def serve(self):
        with open(self.folder / "serve.log", "a") as log:
            self.daemon = subprocess.Popen([CHOCK, "serve"], env=self.environment, stdout=log, stderr=log)
        until("the daemon answers", lambda: self.get("database/status"))

    def kill(self):
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def get(self, path):
        """A document of the daemon; an empty one while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(30)
                peer.connect(str(self.folder / "chock.sock"))
                peer.sendall(f"GET /api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: peer.recv(65536), b""))
            return json.loads(answer.partition(b"\r\n\r\n")[2])
        except (OSError, ValueError):
            return {}

    def switch(self, name, position):
        self.run([sys.executable, TOP / "Tests/SampleCoach/simulator.py", name, position, "--state", self.state])

    def phase(self):
        return (self.get("database/status").get("run") or {}).get("phase")


class Cable(threading.Thread):
    """Carries bytes between a browser and the daemon, until it is cut."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.to, self.is_cut, self.ends = port, False, []
        self.flows = threading.Event()
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            here, _ = self.listener.accept()
            if self.is_cut:
                here.close()
                continue
            try:
                there = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                here.close()
                continue
            self.ends += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=self.carry, args=(source, target), daemon=True).start()

    def carry(self, source, target):
        try:
            while data := source.recv(65536):
                self.flows.wait()
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.is_cut = True
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.ends = []

    def mend(self):
        self.is_cut = False


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, url, size=PHONE, locale="en-GB", theme=None, scheme="light", motion="reduce", **options):
        self.url, self.errors = url, []
        self.context = BROWSER.new_context(
            viewport={"width": size[0], "height": size[1]}, locale=locale, color_scheme=scheme,
            reduced_motion=motion, accept_downloads=True, **options)
        if theme:
            self.context.add_init_script(f"localStorage.setItem('chock.theme', '{theme}')")
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        self.page.goto(url)

    def heard(self, message):
        # What the browser itself notes of an answer or a connection is no fault of the page.
        if message.type in ("error", "warning") and not re.search(
                r"Failed to load resource|WebSocket connection to|net::ERR", message.text):
            self.errors.append(message.text)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.page.screenshot(path=str(SHOTS / "failed.png"))
        check("the console has no errors", not self.errors, "\n".join(self.errors))
        self.context.close()

    def press(self, name, exact=False):
        self.page.get_by_role("button", name=name, exact=exact).click()

    def go(self, view):
        self.page.goto(f"{self.url}/#{view}")

    def sees(self, text, seconds=60):
        """Waits for a text that is shown."""
        try:
            self.page.get_by_text(text).locator("visible=true").first.wait_for(timeout=seconds * 1000)
            check(f"“{text}” is shown", True)
            return True
        except Exception as error:
            check(f"“{text}” is shown", False, f"{self.page.inner_text('main')}\n{error}")
            return False

    def heading(self, text, seconds=120):
        """Waits for the heading of the view."""
        try:
            self.page.wait_for_function(
                "text => document.querySelector('main h1')?.textContent.includes(text)", arg=text, timeout=seconds * 1000)
            check(f"the heading is “{text}”", True)
        except Exception:
            check(f"the heading is “{text}”", False, self.page.inner_text("main"))

    def has(self, selector):
        return self.page.locator(selector).locator("visible=true").count() > 0

    def consent(self):
        self.page.wait_for_selector("#consent")
        self.page.click("#consent")

    def shot(self, name, whole=True):
        self.page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=whole)

    def pair(self, coach, role="owner", pin=None):
        """With a code from the device; the first of its role chooses the PIN."""
        self.go("more")
        self.page.get_by_label("Code").fill(json.loads(coach.chock("pair", "--role", role, "--json"))["code"])
        self.press("Pair")
        if pin:
            self.page.get_by_label("Choose a PIN").fill(pin)
            self.press("Pair")
        self.sees("Paired devices")

    def answer(self, button, **fields):
        """Fills in the question that is asked, and says yes."""
        box = self.page.locator("dialog")
        for name, value in fields.items():
            place = box.locator(f"[name={name}]")
            place.wait_for()
            (place.select_option if name == "role" else place.fill)(value)
        box.get_by_role("button", name=button, exact=True).click()

    def judge(self, name):
        """The rules of accessibility, and those of the house that they do not know."""
        found = [violation for violation in AXE.run(self.page).response["violations"]]
        check(f"axe finds nothing in {name}", not found, "\n".join(
            f"{v['id']}: {v['nodes'][0]['html'][:200]} {v['nodes'][0].get('failureSummary', '')[:300]}" for v in found))
        self.fits(name)

    def fits(self, name):
        """Nothing scrolls sideways, and what is to be pressed is big enough."""
        wide, small = self.page.evaluate("""() => [
          document.documentElement.scrollWidth > innerWidth
            ? [...document.querySelectorAll("main *, header *, footer *")].filter((n) => n.getBoundingClientRect().right > innerWidth + 1)
                .slice(0, 3).map((n) => n.outerHTML.slice(0, 120)) : [],
          [...document.querySelectorAll("a, button, select, summary, input:not([type=checkbox])")]
            .filter((n) => n.offsetParent && n.id !== "skip" && n.getBoundingClientRect().height < 47.5)
            .map((n) => n.outerHTML.slice(0, 120))]""")
        check(f"nothing is wider than the screen in {name}", not wide, wide)
        check(f"everything to press is 48 px high in {name}", not small, small)


# The scenes.

def update():
    """The whole update by clicks on a phone, measured before, stopped once, reloaded, and seen on a second tablet."""
    with Coach("update", slow=True) as coach, Person(coach.url) as owner:
        page = owner.page
        owner.heading("Update available")
        owner.sees("All clear: 12 conditions")
        owner.press("Check how long it takes")
        owner.sees("Rehearsal")
        owner.heading("Update available")
        owner.sees("at worst")
        check("the button says how long", "about" in page.inner_text("#consent"), page.inner_text("#consent"))
        owner.consent()
        owner.sees("Starting in")
        check("the focus is on Cancel", page.evaluate("document.activeElement.id") == "countdown-cancel")
        page.keyboard.press("Escape")
        page.wait_for_selector("#consent")
        check("the focus is back", page.evaluate("document.activeElement.id") == "consent")
        page.locator("select[name=weight_unit]").select_option("lb")
        owner.consent()
        owner.heading("Update to version 20")
        owner.sees("Do not move slides, jacks or awnings")
        owner.sees("Keep 12 V power on")
        until("it is applied", lambda: coach.phase() == "apply", 60)
        page.reload()
        owner.heading("Update to version 20")
        check("the bar has a label and words", page.evaluate(
            "(b => b.labels.length > 0 && b.getAttribute('aria-valuetext').length > 4)(document.getElementById('bar'))"))
        with Person(coach.url, TABLET) as other:
            other.heading("Update to version 20")
            values, said = [], set()
            while other.has("#bar"):
                said.add(other.page.inner_text("#announce"))
                values.append(other.page.evaluate("document.getElementById('bar')?.getAttribute('value')"))
                time.sleep(0.2)
            numbers = [int(value) for value in values if value]
            check("a percentage never goes back", numbers == sorted(numbers) and numbers, values)
            check("what is said politely was said", "Rehearsal" in str(said) or "Update" in str(said), said)
            other.heading("Updated to version 20")
            owner.heading("Updated to version 20")
            owner.page.wait_for_function("document.activeElement.tagName === 'H1'")
            owner.sees("You can undo it at least until")
            owner.press("Done")
            owner.heading("Up to date")
            other.heading("Up to date")
        check("the answer has arrived", any(
            run.get("inputs") == {"weight_unit": "lb"} for run in coach.get("database/history")))
        owner.press("Undo this update")
        owner.sees("Go back to version 3?")
        owner.sees("What was recorded since")
        owner.page.locator("dialog").get_by_role("button", name="Go back").click()
        owner.heading("Restored to version 3")
        owner.press("Done")
        # A consent counts once, so that the plan has another number by now: the page has asked for it.
        with page.expect_response("**/api/database/update") as answer:
            owner.consent()
        check("the second try is no changed plan", answer.value.status == 202, answer.value.status)
        owner.heading("Updated to version 20")


def brake():
    """The brake is released: before, during the countdown, and while the update is applied."""
    with Coach("brake", slow=True) as coach, Person(coach.url) as owner:
        owner.page.focus("#consent")
        coach.switch("brake", "off")
        owner.sees("The parking brake is released.")
        check("there is no button to press", not owner.has("#consent"))
        check("the focus is not lost with it", owner.page.evaluate("document.activeElement.localName") == "h1")
        check("who does not see it hears why", "parking brake" in owner.page.inner_text("#announce"),
              owner.page.inner_text("#announce"))
        owner.go("coach")
        owner.sees("1 of 12 in the way")
        owner.go("update")
        coach.switch("brake", "on")
        owner.consent()
        owner.sees("Starting in")
        coach.switch("brake", "off")
        owner.sees("Something changed during the countdown.")
        coach.switch("brake", "on")
        owner.consent()
        until("it is applied", lambda: coach.phase() == "apply", 60)
        coach.switch("brake", "off")
        owner.heading("Restored to version 3. Nothing was lost.")
        check("a failure is an alert", owner.has("[role=alert]"))
        owner.sees("CHK-")
        with owner.page.expect_download() as download:
            owner.page.get_by_role("link", name="Download diagnostics").click()
        check("the diagnostics hold a page that tells of it", any(
            name.endswith(".html") for name in zipfile.ZipFile(download.value.path()).namelist()))
        coach.switch("brake", "on")
        owner.press("Understood")
        owner.heading("Update available")


def cancel():
    """Cancel before the commit leaves everything as it was."""
    with Coach("cancel", slow=True) as coach, Person(coach.url, CAB) as owner:
        owner.consent()
        until("it is applied", lambda: coach.phase() == "apply", 60)
        check("Cancel is in sight on a low screen", owner.page.evaluate(
            "document.getElementById('cancel').getBoundingClientRect().bottom <= innerHeight"))
        owner.press("Cancel")
        owner.heading("Cancelled. Still at version 3.")
        owner.press("Done")
        owner.heading("Update available")


def refused():
    """What the daemon refuses is told, and nothing has started: a gate that closed, a plan that changed."""
    with Coach("refused") as coach, Person(coach.url) as owner:
        page = owner.page

        def brake_off(route):
            coach.switch("brake", "off")
            until("the daemon knows of the brake", lambda: not coach.get("safety").get("is_safe", True))
            route.continue_()

        page.route("**/api/database/update", brake_off)
        owner.consent()
        page.get_by_role("alert").get_by_text("The parking brake is released.").wait_for()
        check("the refusal is an alert", owner.has("[role=alert]"))
        page.unroute("**/api/database/update")
        coach.switch("brake", "on")

        def another_file(route):
            (coach.migrations / "0020_more.sql").write_text("-- Description: One more\n-- @migrate\nCREATE TABLE more (x);\n")
            route.continue_()

        page.route("**/api/database/update", another_file)
        with page.expect_response("**/api/database/update") as answer:
            owner.consent()
        check("another plan is 412", answer.value.status == 412, answer.value.status)
        page.get_by_role("alert").get_by_text("The plan is not the one that was confirmed").wait_for()
        page.unroute("**/api/database/update")
        owner.sees("One more")
        owner.consent()
        owner.heading("Updated to version 20")


def later():
    """What a person puts off is kept over a kill, and can be taken back."""
    with Coach("later", config='[update]\nmaintenance_window = "03:30-05:00"\n') as coach, Person(coach.url) as owner:
        def action():
            return (coach.get("database/status").get("schedule") or {}).get("action")

        owner.press("Tonight 03:30")
        owner.sees("Planned for")
        check("it is the window of the config", "3:30" in owner.page.inner_text("main"), owner.page.inner_text("main"))
        coach.kill()
        coach.serve()
        check("the consent for tonight is kept", action() == "window", action())
        owner.sees("Planned for")
        owner.shot("later")
        owner.press("Take this back")
        owner.press("Remind me tomorrow")
        owner.sees("You will be reminded")
        owner.press("Take this back")
        owner.press("Skip this version")
        owner.sees("You skip version 19.")
        check("the version is skipped", action() == "skip", action())
        owner.press("Take this back")
        until("nothing is put off", lambda: action() is None)


def connection():
    """The connection is late, lost and comes back; WebSocket fails and polling goes on; the daemon is killed."""
    with Coach("connection", slow=True) as coach:
        cable = Cable(coach.port)
        with Person(cable.url) as owner:
            page = owner.page
            page.clock.install()
            page.route("**/api/database/plan", lambda route: None)
            page.reload()
            owner.sees("Reading the plan")
            check("reading the plan is no obstacle", "Can't start" not in page.inner_text("main"))
            page.unroute_all()
            page.reload()
            page.wait_for_selector("#consent")
            page.wait_for_selector("[data-link=live]")
            # Its clock stands from here on, and goes when it is told to.
            page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 5)
            until("it is live", lambda: page.clock.run_for(500) or owner.has("[data-link=live]"))
            with page.expect_response("**/api/**"):
                page.clock.run_for(5000)
            cable.flows.clear()
            with page.expect_event("requestfailed"):
                page.clock.run_for(13_000)
            page.clock.run_for(500)
            check("an answer that is late is no lost connection", owner.has("[data-link=live]"))
            page.clock.run_for(15_000)
            page.wait_for_selector("[data-link=lost]")
            cable.flows.set()
        with Person(cable.url) as owner:
            owner.page.wait_for_selector("#consent")
            owner.page.wait_for_selector("[data-link=live]")
            cable.cut()
            owner.page.wait_for_selector("[data-link=lost]")
            owner.sees("Connection lost. You see what was known")
            check("nothing can be started", not owner.has("#consent"))
            check("nothing can be pressed", not owner.page.locator("main :is(button, input):enabled").count())
            check("who does not see it hears of it", "No connection" in owner.page.inner_text("#announce"))
            cable.mend()
            owner.page.wait_for_selector("[data-link=live]")
            owner.page.wait_for_selector("#consent")
        with Person(coach.url) as owner:
            owner.page.route_web_socket(re.compile("/ws"), lambda ws: ws.close())
            owner.page.reload()
            owner.page.wait_for_selector("[data-link=polling]")
            owner.consent()
            owner.heading("Update to version 20")
            until("it is applied", lambda: coach.phase() == "apply", 60)
            with Person(coach.url) as other:
                # What the daemon says at this moment, from then on.
                frozen = coach.get("database/status")
                other.page.route("**/api/database/status", lambda route: route.fulfill(json=frozen))
                other.page.route_web_socket(re.compile("/ws"), lambda ws: ws.close())
                other.page.clock.install()
                other.page.reload()
                other.page.wait_for_selector("#bar[value]")
                other.page.clock.fast_forward(11_000)
                other.page.wait_for_selector("#bar:not([value])")
                check("a bar that stands still says no number", "%" not in other.page.inner_text(".gauge"))
            coach.kill()
            owner.page.wait_for_selector("[data-link=lost]")
            coach.serve()
            owner.heading("Restored to version 3. Nothing was lost")
            check("the database is the old one", coach.get("database/status")["current_version"] == "3")
            owner.press("Understood")
            owner.heading("Update available")


def snapshots():
    """Snapshots are taken, checked and kept; an owner goes back to the one from before the newest update."""
    with Coach("snapshots") as coach, Person(coach.url, TABLET) as owner:
        owner.go("snapshots")
        owner.sees("No snapshot has been taken yet.")
        owner.press("Take a snapshot")
        owner.page.wait_for_selector(".row")
        until("it has ended", lambda: not coach.get("database/status")["migration_in_progress"])
        owner.press(re.compile("^Check"))
        until("it is checked", lambda: [run["kind"] for run in coach.get("database/history")].count("verify") == 1)
        owner.press(re.compile("^Keep for good"))
        owner.sees("Kept for good")
        check("an owner does not go back to it", not owner.page.get_by_role("button", name="Go back to it").count())
        owner.go("update")
        owner.consent()
        owner.heading("Updated to version 19")
        with Person(coach.url) as late:
            late.heading("Updated to version 19")
            late.sees("What is new")
        # However much has run since.
        for _ in range(16):
            coach.chock("snapshots", "verify")
        owner.press("Done")
        owner.heading("Up to date")
        owner.page.reload()
        owner.heading("Up to date")
        owner.page.get_by_role("button", name="Undo this update").wait_for()
        held = []
        owner.page.route("**/api/database/history?limit=30", lambda route: held.append(route))
        owner.go("history")
        check("the newest runs are shown", owner.page.locator("li.row").count() == 30)
        owner.press("Show older ones")
        until("all runs are shown", lambda: owner.page.locator("li.row").count() > 30)
        # What was asked before is answered after it.
        with owner.page.expect_response("**/api/database/history?limit=30"):
            held[0].continue_()
        owner.page.wait_for_timeout(500)
        check("a late answer does not take them away again", owner.page.locator("li.row").count() > 30)
        owner.page.unroute("**/api/database/history?limit=30")
        owner.go("snapshots")
        held = []
        owner.page.route("**/api/database/restore/*", lambda route: held.append(route) if route.request.method == "POST"
                         else route.continue_())
        owner.press(re.compile("^Go back to it"))
        dialog = owner.page.locator("dialog")
        owner.sees("It is being counted.")
        owner.sees("Rows added, changed, deleted since")
        dialog.get_by_role("button", name="Go back").click()
        # What is on its way is not taken back by closing the question.
        dialog.get_by_role("button", name="Cancel").and_(owner.page.locator(":disabled")).wait_for()
        owner.page.keyboard.press("Escape")
        owner.page.keyboard.press("Escape")
        until("the question stays until it is answered", dialog.is_visible)
        held[0].continue_()
        owner.heading("Restored to version 3")
        owner.sees("What was there before is kept in")
        owner.go("history")
        owner.sees("Restore")


def pairing():
    """A phone is paired, consents with its PIN, and a technician works on it; wrong PINs lock, over a restart too."""
    with Coach("pairing", local="viewer") as coach, Person(coach.url) as owner:
        page = owner.page
        owner.sees("This device may only look.")
        check("a viewer has no button", not owner.has("#consent"))
        page.get_by_role("link", name="Pair this device").click()
        page.get_by_label("Code").fill("00000000")
        owner.press("Pair")
        page.get_by_role("alert").wait_for()
        page.get_by_label("Code").fill(json.loads(coach.chock("pair", "--json"))["code"])
        owner.press("Pair")
        page.get_by_label("Choose a PIN").fill(PIN)
        owner.shot("pairing-phone")
        owner.judge("pairing")
        owner.press("Pair")
        owner.sees("Paired devices")
        owner.sees("Owner")
        owner.go("update")
        owner.consent()
        page.get_by_label("PIN").fill("999999")
        owner.judge("the question for the PIN")
        owner.shot("pin-phone", whole=False)
        owner.press("Go on")
        # The daemon says no before anything counts down, and the PIN is asked for again.
        page.locator("dialog [role=alert]").wait_for()
        check("a wrong PIN counts nothing down", not owner.has(".countdown"))
        page.get_by_label("PIN").fill(PIN)
        owner.press("Go on")
        owner.sees("Starting in")
        owner.heading("Updated to version 19")
        owner.press("Done")

        coach.chock("pin", "set", "--role", "technician", input=TECHNICIANS_PIN + "\n")
        owner.go("more")
        page.reload()
        owner.press("Sign in as a technician")
        page.get_by_label("Technician's PIN").fill(TECHNICIANS_PIN)
        owner.press("Go on")
        owner.sees("For a technician")
        owner.judge("a technician's view")
        owner.press("Hold updates back for 8 h")
        page.get_by_label("Reason").fill("The chassis is looked at")
        page.locator("dialog").get_by_role("button", name="Hold updates back").click()
        owner.sees("The chassis is looked at")
        owner.shot("technician-phone")
        owner.press("Break the lock")
        owner.sees("Nobody holds updates back.")
        page.get_by_label("Back to version").fill("18")
        owner.press("Look at it")
        owner.press("Count what would go")
        owner.go("more")
        page.get_by_role("button", name="Roll back to version 18").click()
        page.locator("dialog").get_by_label("PIN").fill(TECHNICIANS_PIN)
        page.locator("dialog").get_by_role("button", name="Roll back").click()
        owner.heading("Restored to version 18")
        owner.press("Done")
        owner.go("snapshots")
        kept = len(coach.get("database/backups")["snapshots"])
        page.get_by_role("button", name=re.compile("^Delete")).first.click()
        page.locator("dialog").get_by_role("button", name="Delete").click()
        until("a technician has deleted a snapshot", lambda: len(coach.get("database/backups")["snapshots"]) == kept - 1)
        owner.go("more")
        owner.press("Sign out")
        owner.press("Sign in as a technician")
        said = ""
        for _ in range(6):
            page.get_by_label("Technician's PIN").fill("111111")
            with page.expect_response("**/api/session") as answer:
                owner.press("Go on")
            said = answer.value.json()["detail"]
            page.wait_for_selector("dialog [role=alert]")
        coach.kill()
        coach.serve()
        page.get_by_label("Technician's PIN").fill(TECHNICIANS_PIN)
        with page.expect_response("**/api/session") as answer:
            owner.press("Go on")
        check("five wrong ones lock it, over a restart too", answer.value.status == 403, f"{said}\n{answer.value.text()}")
        owner.press("Cancel")


def approvals():
    """Where two have to agree, one phone approves and another one starts."""
    with Coach("approvals", local="viewer", environment={"CHOCK_ACCESS_APPROVALS": "2"}) as coach, \
            Person(coach.url) as one, Person(coach.url) as other:
        one.pair(coach, pin=PIN)
        other.pair(coach)
        one.go("update")
        other.go("update")
        for person in (one, other):
            person.sees("Two people have to say yes")
            check("what would be refused is not offered", not person.has("#consent") and not person.page.get_by_text("Tonight").count())
        one.judge("a word that is missing")
        one.shot("approval-phone")
        one.press("Approve")
        one.judge("the question before an approval")
        one.page.get_by_label("PIN").fill(PIN)
        one.page.locator("dialog").get_by_role("button", name="Approve").click()
        one.sees("Another person can start it now.")
        check("the one who approved does not start it", not one.has("#consent"))
        check("and does not approve it twice", not one.page.get_by_role("button", name="Approve").count())
        one.shot("approved-phone")
        # Without a look at its own: the word of the first has arrived there. Both phones have one name.
        other.sees("Approved by My phone (owner), until")
        other.consent()
        other.page.get_by_label("PIN").fill(PIN)
        other.press("Go on")
        other.heading("Updated to version 19")
        check("both are named", coach.get("database/history")[0]["requested_by"] == "My phone (owner), approved by My phone (owner)",
              coach.get("database/history")[0])
        one.heading("Updated to version 19")


def embedding():
    """Another panel shows how it stands, where the owner has named it, and nothing anywhere else."""
    pages = ROOT / "pages"
    pages.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(pages))

        def log_message(self, *_):
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) for _ in range(2)]
    named, other = [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with Coach("embedding", config=f'embed_origins = ["{named}"]\n') as coach:
        example = (TOP / "docs/chock-update.html").read_text()
        (pages / "index.html").write_text(example.replace("http://127.0.0.1:8765", coach.url))
        for url, text in ((named, "Update available: 3 → 19"), (other, "chock does not answer")):
            with Person(url) as person:
                person.sees(text)
                # What CORS forbids is an error on the console, and the browser's own.
                person.errors = [error for error in person.errors if "CORS policy" not in error]
                if url == named:
                    person.judge("another panel")
                    with person.context.expect_page() as opened:
                        person.page.get_by_role("link", name=text).click()
                    opened.value.wait_for_selector("#consent")
                    panel = opened.value
                    panel.get_by_role("button", name="Skip this version").click()
                    person.sees("Skipped: 3 → 19")
                    panel.get_by_role("button", name="Take this back").click()
                    for file in coach.folder.glob("coach.db*"):
                        file.rename(file.with_suffix(file.suffix + ".away"))
                    person.sees("No update possible")
                    for file in coach.folder.glob("coach.db*.away"):
                        file.rename(file.with_suffix(""))
    with Coach("unpaired", local="none", config=f'embed_origins = ["{named}"]\n') as coach:
        (pages / "index.html").write_text(example.replace("http://127.0.0.1:8765", coach.url))
        with Person(named) as person:
            person.sees("This browser is not paired with chock")
            person.errors = [error for error in person.errors if "CORS policy" not in error]
    for server in servers:
        server.shutdown()


def views():
    """Every view in each theme and language: looked at by axe, and kept as pictures in four sizes."""
    with Coach("views", slow=True) as coach, Coach("unadopted", version=None) as new:
        with Person(coach.url) as owner:
            owner.consent()
            owner.heading("Updated to version 20")
            owner.press("Undo this update")
            owner.shot("question-phone", whole=False)
            owner.judge("the question before going back")
            owner.page.locator("dialog").get_by_role("button", name="Go back").click()
            owner.heading("Restored to version 3")
            owner.press("Done")
            owner.heading("Update available")
        look_at_all(coach.url, "home", ["update", "coach", "history", "snapshots", "more"])
        look_at_all(new.url, "new", ["update"])
        coach.switch("brake", "off")
        until("the daemon knows of the brake", lambda: not coach.get("safety").get("is_safe", True))
        look_at_all(coach.url, "blocked", ["update", "coach"])
        coach.switch("brake", "on")
        with Person(coach.url) as owner:
            owner.consent()
            owner.heading("Update to version 20")
            until("it is applied", lambda: coach.phase() == "apply", 60)
            look_at_all(coach.url, "running", ["update"], axe=False)
            for theme in ("light", "dark", "night"):
                owner.page.select_option("#theme", theme)
                if owner.has("#bar"):
                    owner.judge(f"running, {theme}")
            owner.heading("Updated to version 20")
        look_at_all(coach.url, "result", ["update"])
        # 400 % of a desk's screen.
        with Person(coach.url, (320, 256)) as owner:
            for view in ("update", "coach", "history", "snapshots", "more"):
                owner.go(view)
                owner.page.wait_for_selector("h1")
                owner.judge(f"{view} at 400 %")
        with Person(coach.url, scheme="dark") as owner:
            check("the browser's theme is taken", owner.page.get_attribute("html", "data-theme") == "dark")
            owner.page.select_option("#theme", "night")
            owner.page.select_option("#language", "de")
            owner.heading("Jetzt auf Version 20")
            owner.page.reload(wait_until="commit")
            owner.page.wait_for_function("document.documentElement.dataset.theme === 'night'")
            owner.heading("Jetzt auf Version 20")
            check("the language is said", owner.page.get_attribute("html", "lang") == "de")


def look_at_all(url, name, shown, axe=True):
    for locale in ("en-GB", "de-DE"):
        for theme in ("light", "dark", "night"):
            with Person(url, locale=locale, theme=theme) as person:
                for view in shown:
                    person.go(view)
                    person.page.wait_for_selector("[data-link=live]")
                    person.page.wait_for_function(
                        "!document.querySelector('main').innerText.includes('…') && document.querySelector('main h1')")
                    if view == "update" and name == "home":
                        person.page.wait_for_selector("#consent")
                    for size, (width, height) in SIZES.items():
                        # Dark and Night are the same pictures in other colours.
                        if theme != "light" and size in ("tablet", "desk"):
                            continue
                        person.page.set_viewport_size({"width": width, "height": height})
                        person.shot(f"{name}-{view}-{size}-{theme}-{locale[:2]}")
                        if axe and (size == "phone" or (size == "cab" and theme == "light")):
                            person.judge(f"{name} {view} {size} {theme} {locale[:2]}")


def asleep():
    """A countdown that nobody saw to its end starts nothing: the phone slept, or the page was out of sight."""
    with Coach("asleep") as coach, Person(coach.url) as owner:
        page = owner.page
        page.clock.install()
        page.reload()
        owner.consent()
        owner.sees("Starting in")
        page.clock.fast_forward(3 * 3600 * 1000)
        owner.sees("This page was out of sight during the countdown.")
        owner.consent()
        owner.sees("Starting in")
        page.evaluate("""() => {
          Object.defineProperty(document, "hidden", { configurable: true, value: true });
          document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
          delete document.hidden;
        }""")
        owner.sees("This page was out of sight during the countdown.")
        check("nothing has started", not coach.get("database/history"), coach.get("database/history"))


def doomed():
    """A plan that failed, in a rehearsal or for good, is not offered as if nothing had been."""
    with Coach("doomed") as coach, Person(coach.url) as owner:
        (coach.migrations / "0020_bad.sql").write_text(
            "-- Description: Bad\n-- @migrate\nCREATE TABLE bad (x);\nINSERT INTO nowhere VALUES (1);\n")
        owner.sees("Bad")
        owner.press("Check how long it takes")
        owner.sees("The rehearsal of this update failed")
        time.sleep(6)
        owner.sees("The rehearsal of this update failed")
        owner.sees("0020_bad.sql")
        check("it is not offered again, nor for tonight", not owner.has("#consent") and not owner.page.get_by_text("Tonight").count())
        owner.judge("a rehearsal that failed")
        owner.shot("doomed-phone")
        (coach.migrations / "0020_bad.sql").unlink()
        coach.kill()
        coach.serve()
        owner.page.wait_for_selector("#consent")


def broken():
    """A database that is gone or damaged is what the page speaks of, soon, and before anything else."""
    with Coach("broken") as coach, Person(coach.url) as owner, Person(coach.url, locale="de-DE") as other:
        owner.consent()
        owner.heading("Updated to version 19")
        for file in coach.folder.glob("coach.db*"):
            file.rename(file.with_suffix(file.suffix + ".away"))
        owner.heading("The database is missing", 25)
        owner.sees("Updated to version 19")
        owner.judge("a result beside trouble")
        owner.press("Done")
        owner.heading("The database is missing")
        other.heading("Die Datenbank fehlt")
        owner.judge("trouble")
        owner.shot("missing-phone")
        coach.database.write_bytes(b"")
        owner.heading("The database is empty", 25)
        coach.database.write_bytes(os.urandom(100_000))
        owner.heading("The database is damaged", 25)
        check("trouble has its colour", owner.has(".verdict[data-tone=bad]"))


def german():
    """What is said in German is what is so: what nobody knows, and which part of parked is wrong."""
    with Coach("german") as coach, Person(coach.url, locale="de-DE") as owner:
        owner.page.wait_for_selector("#consent")
        coach.switch("brake", "off")
        owner.sees("Die Feststellbremse ist gelöst.")
        owner.sees("The parking brake is released.")
        coach.switch("brake", "on")
        owner.page.wait_for_selector("#consent")
        coach.simulator.send_signal(signal.SIGSTOP)
        owner.sees("Geparkt: nicht bekannt.", 60)
        owner.sees("Nachsehen, ob die Steuerung eingeschaltet und verbunden ist.")
        coach.simulator.send_signal(signal.SIGCONT)
        owner.go("coach")
        lines = owner.page.evaluate("""() => [...document.querySelectorAll(".gate h2")].map((n) => [n.textContent,
          Math.round(n.getBoundingClientRect().height / parseFloat(getComputedStyle(n).lineHeight))])""")
        check("no word is broken", all(" " in name or height == 1 for name, height in lines), lines)


def strangers():
    """A phone with a wrong clock, and a browser that keeps nothing."""
    with Coach("strangers") as coach:
        with Person(coach.url) as owner:
            owner.page.add_init_script("""(() => {
              const Real = Date, off = 864e5;
              window.Date = class extends Real {
                constructor(...given) { given.length ? super(...given) : super(Real.now() + off); }
                static now() { return Real.now() + off; }
              };
            })()""")
            owner.page.reload()
            owner.go("snapshots")
            owner.press("Take a snapshot")
            owner.page.wait_for_selector(".row")
            owner.sees("today")
            # Without a WebSocket too.
            owner.page.route_web_socket(re.compile("/ws"), lambda ws: ws.close())
            owner.page.reload()
            owner.page.wait_for_selector("[data-link=polling]")
            owner.sees("today")
        with Person(coach.url) as owner:
            owner.page.add_init_script(
                "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })")
            owner.page.reload()
            owner.page.select_option("#theme", "night")
            owner.page.select_option("#language", "de")
            owner.heading("Update verfügbar")
            check("the theme is chosen for this visit", owner.page.get_attribute("html", "data-theme") == "night")


def nearly_over(route):
    answer = route.fetch()
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
    route.fulfill(response=answer, json={**answer.json(), "expires_at": until.isoformat()})


def devices():
    """A device is paired by a code on another one's screen, and removed; the code goes when it is used."""
    with Coach("devices", local="none") as coach, Person(coach.url) as owner, Person(coach.url) as other:
        owner.pair(coach, pin=PIN)
        owner.press("Pair another device")
        owner.judge("the question before a code")
        owner.answer("Go on", role="viewer", pin=PIN)
        owner.page.wait_for_selector("#code")
        owner.sees("For one device,")
        owner.sees(coach.url)
        check("the code has the focus", owner.page.evaluate("document.activeElement.id") == "code")
        owner.judge("a code for another device")
        owner.shot("code-phone")
        other.page.get_by_label("Code").fill(owner.page.inner_text("#code"))
        other.page.get_by_label("Name of this device").fill("The tablet")
        check("an unpaired device is not said to connect", not other.has("[data-link]"))
        other.press("Pair")
        other.sees("May only look")
        owner.page.wait_for_selector("#code", state="detached")
        owner.sees("The tablet")
        owner.press("Remove: The tablet")
        owner.shot("remove-phone", whole=False)
        owner.answer("Remove")
        owner.page.get_by_role("button", name="Remove: The tablet").wait_for(state="detached")
        other.sees("8 digits, good for 2 minutes")
        check("its device is out", [entry["is_this"] for entry in coach.get("devices")["devices"]] == [False])
        # One that nobody uses lapses by itself.
        owner.page.route("**/api/pairing", nearly_over)
        owner.press("Pair another device")
        owner.answer("Go on", role="owner", pin=PIN)
        owner.page.wait_for_selector("#code")
        owner.page.wait_for_selector("#code", state="detached")


def technician():
    """A technician sets PINs, gives a program its token, goes back to any snapshot, and puts in what a rollback took."""
    with Coach("technician", local="none") as coach, Person(coach.url) as person:
        page = person.page
        person.pair(coach, "technician", TECHNICIANS_PIN)
        person.press("New PIN for owners")
        person.answer("Go on", pin=PIN)
        until("the owner has a PIN", lambda: page.evaluate("fetch('/api/session').then((a) => a.json())")["pins"]["owner"])
        person.press("New token")
        person.answer("New token", name="The weather", role="viewer", pin=TECHNICIANS_PIN)
        person.sees("Keep it now")
        secret = page.inner_text("dialog code")
        person.judge("a new token")
        person.shot("token-phone", whole=False)
        person.answer("Done")
        check("it is not shown again", not page.get_by_text(secret).count())
        tokens = coach.get("tokens")["tokens"]
        check("it has the name and the role", [(t["name"], t["role"]) for t in tokens] == [("The weather", "viewer")], tokens)
        person.judge("a technician's view with a token")
        person.shot("technician-tokens-phone")
        person.press("Revoke: The weather")
        person.answer("Revoke")
        until("the token is revoked", lambda: not coach.get("tokens")["tokens"])

        with page.expect_download() as download:
            page.get_by_role("link", name="Download diagnostics").click()
        name = download.value.suggested_filename
        check("the file has host and time in its name", re.fullmatch(r"chock-diagnostics-[\w-]+-\d{8}T\d{6}Z\.zip", name), name)
        folder = Path(download.value.path()).with_suffix(".unpacked")
        with zipfile.ZipFile(download.value.path()) as archive:
            check("the file is whole", archive.testzip() is None)
            archive.extractall(folder)
        summary = next(folder.glob("*/summary.html"))
        page.get_by_role("link", name="Download diagnostics").scroll_into_view_if_needed()
        person.shot("diagnostics-phone", whole=False)
        reader = page.context.new_page()
        reader.goto(summary.as_uri())
        check("the summary fits a phone", reader.evaluate("document.documentElement.scrollWidth <= innerWidth"))
        check("the summary says how it stands", "version 3" in reader.inner_text("dl"), reader.inner_text("dl"))
        check("each of its links leads to a file", all(
            (summary.parent / link.get_attribute("href")).is_file() for link in reader.locator("a").all()))
        reader.screenshot(path=str(SHOTS / "diagnostics-summary-phone.png"), full_page=True)
        reader.close()

        person.go("snapshots")
        person.press("Take a snapshot")
        page.wait_for_selector(".row")
        until("it is there", lambda: not coach.get("database/status")["migration_in_progress"])
        person.go("update")
        person.consent()
        person.answer("Go on", pin=TECHNICIANS_PIN)
        person.heading("Updated to version 19")
        person.press("Done")
        person.go("more")
        page.get_by_label("Back to version").fill("17")
        person.press("Look at it")
        person.press("Count what would go")
        page.get_by_role("button", name="Roll back to version 17").click()
        person.answer("Roll back", pin=TECHNICIANS_PIN)
        person.heading("Restored to version 17")
        person.press("Done")
        person.consent()
        person.answer("Go on", pin=TECHNICIANS_PIN)
        person.heading("Updated to version 19")
        person.press("Done")
        person.go("more")
        person.shot("import-phone")
        person.press("Put it in again")
        person.judge("the question before an import")
        person.answer("Put it in again", pin=TECHNICIANS_PIN)
        until("it is put in", lambda: coach.get("database/history")[0]["kind"] == "import"
              and coach.get("database/history")[0].get("outcome") in ("committed", "nothing_to_do"))
        person.press("Done")
        person.go("more")
        person.sees("For a technician")
        check("once is enough", not page.get_by_role("button", name="Put it in again").count())

        # The oldest one, which an owner may not go back to.
        person.go("snapshots")
        page.get_by_role("button", name=re.compile("^Go back to it")).last.click()
        person.answer("Go back", pin=TECHNICIANS_PIN)
        person.heading("Restored to version 3")


def word():
    """Where the chassis is silent, the owner looks, and gives a word for it."""
    with Coach("word", local="none") as coach, Person(coach.url) as owner:
        page = owner.page
        owner.pair(coach, pin=PIN)
        coach.switch("chassis", "off")
        owner.go("update")
        owner.sees("Can't start yet", 60)
        page.get_by_role("button", name="Give your word").first.click()
        page.wait_for_selector("details[open] fieldset")
        form = page.locator("details[open] form").first
        form.get_by_label("PIN").fill("999999")
        form.get_by_role("button", name="Give your word").click()
        check("nothing ticked says nothing", coach.get("safety")["gates"][0]["state"] != "satisfied")
        owner.judge("the form for a word")
        owner.shot("word-phone")
        for box in form.locator("input[type=checkbox]").all():
            box.check()
        form.get_by_role("button", name="Give your word").click()
        owner.sees("That did not work")
        owner.judge("a word that was refused")
        owner.answer("Understood")
        form.get_by_label("PIN").fill(PIN)
        form.get_by_role("button", name="Give your word").click()
        until("the word counts", lambda: any(
            reading.get("attested") for gate in coach.get("safety")["gates"] for reading in gate["readings"]))
        owner.sees("a person's word (My phone (owner))")


def questions():
    """What a plan asks is a number, a text or a choice; what does not do is not sent."""
    with Coach("questions") as coach:
        (coach.migrations / "0020_tanks.sql").write_text(
            "-- Description: Tanks by name\n-- Input: tanks INTEGER \"How many tanks has the coach?\" range 1..6\n"
            "-- Input: brand TEXT \"Who built it?\"\n-- @migrate\n"
            "CREATE TABLE tank_names (number INTEGER, brand TEXT);\nINSERT INTO tank_names VALUES (:tanks, :brand);\n")
        coach.kill()
        coach.serve()
        with Person(coach.url) as owner:
            owner.sees("How many tanks has the coach?")
            owner.consent()
            check("without an answer nothing counts down", not owner.has(".countdown"))
            owner.page.get_by_label("How many tanks has the coach?").fill("9")
            owner.page.get_by_label("Who built it?").fill("Robert'); DROP TABLE tanks;--")
            owner.page.click("#consent")
            check("nor with one out of range", not owner.has(".countdown"))
            owner.judge("questions")
            owner.shot("questions-phone")
            owner.page.get_by_label("How many tanks has the coach?").fill("4")
            owner.page.click("#consent")
            owner.heading("Updated to version 20")
            inputs = coach.get("database/history")[0]["inputs"]
            check("the answers have arrived", inputs.get("tanks") == 4 and "DROP" in inputs.get("brand", ""), inputs)


def reminder():
    """A reminder that comes due offers the update again; nothing else is asked meanwhile."""
    with Coach("reminder") as coach, Person(coach.url) as owner:
        owner.page.wait_for_selector("#consent")
        coach.chock("schedule", "remind", "--hours", "0.002")
        until("it came due", lambda: not coach.get("database/status").get("schedule"))
        owner.page.get_by_role("button", name="Remind me tomorrow").wait_for()
        owner.page.wait_for_selector("#consent")


def recovery():
    """In recovery mode the page says that a person has to look, and offers nothing."""
    coach = Coach("recovery")
    (coach.folder / "state").mkdir(exist_ok=True)
    (coach.folder / "state/run.json").write_text("{")
    with coach, Person(coach.url) as owner:
        until("it is recovery mode", lambda: coach.get("database/status")["mode"] == "recovery")
        if owner.page.get_by_role("button", name="Understood").count():
            owner.press("Understood")
        owner.heading("Recovery mode")
        check("nothing is offered", not owner.has("#consent"))
        check("it has its colour", owner.has(".verdict[data-tone=bad]"))
        owner.judge("recovery mode")
        owner.shot("recovery-phone")
        owner.go("snapshots")
        owner.page.wait_for_selector("main h1")
        check("no tool is offered", not owner.page.get_by_role("button", name="Take a snapshot").count())


def leaving():
    """A technician ends recovery mode, once, and not while something still asks for it."""
    trigger = ROOT / "leaving" / "CHOCK_RECOVERY"
    coach = Coach("leaving", local="none", config=f'[recovery]\ntriggers = ["{trigger}"]\n')
    trigger.touch()
    with coach, Person(coach.url) as person:
        person.pair(coach, "technician", TECHNICIANS_PIN)
        person.go("update")
        person.heading("Recovery mode")
        person.judge("recovery mode for a technician")
        person.shot("recovery-technician-phone")
        person.press("Leave recovery mode")
        person.sees("Only when all is well.")
        person.answer("Leave recovery mode")
        person.sees("still asks for recovery mode")
        trigger.unlink()
        person.answer("Leave recovery mode")
        person.heading("Update available")
        check("it is left", coach.get("database/status")["mode"] == "normal")
        check("once is enough", not person.page.get_by_role("button", name="Leave recovery mode").count())


def mending():
    """By clicks a technician adopts a database, accepts a changed file in recovery mode, and puts rows in again."""
    with Coach("mending", local="none", version=None) as coach, Person(coach.url) as person:
        page = person.page
        person.pair(coach, "technician", TECHNICIANS_PIN)
        person.go("update")
        person.heading("This database is new to chock")
        page.get_by_role("link", name="A technician's tools").click()
        person.press("Find out the version")
        person.sees("The schema is exactly that of version 3, and of no other.")
        page.get_by_label("The database is at version").select_option("2")
        person.sees("differences to version 2")
        person.sees("The schema differs from that of version 2")
        both(person, "adoption")
        page.get_by_label("The database is at version").select_option("3")
        person.press("Adopt at version 3")
        person.answer("Adopt at version 3", reason="Installed so", pin=TECHNICIANS_PIN)
        page.wait_for_selector("dialog", state="hidden")
        until("it is adopted", lambda: coach.get("database/status").get("current_version") == "3")
        person.go("update")
        page.wait_for_selector("#consent")

        coach.kill()
        with open(coach.migrations / "0002_tanks_and_sensors.sql", "a") as file:
            file.write("\n-- With a word of the dealer.\n")
        coach.serve()
        person.heading("Recovery mode")
        page.get_by_role("link", name="A technician's tools").click()
        person.press("Look for what has changed")
        person.sees("The file of version 2 changed after it was applied.")
        both(person, "accept")
        person.press("Accept", exact=True)
        person.answer("Accept", reason="Only a comment", pin=TECHNICIANS_PIN)
        page.wait_for_selector("dialog", state="hidden")
        entry = coach.get("database/audit")["entries"][0]
        check("it is accepted by name and with the reason", [entry[field] for field in ("action", "actor", "reason")]
              == ["accept_checksum", "My phone (technician)", "Only a comment"], entry)
        person.go("update")
        person.press("Leave recovery mode")
        person.answer("Leave recovery mode")
        page.wait_for_selector("#consent")

        before = json.loads(coach.chock("snapshots", "take", "--json"))["snapshot_id"]
        coach.run(["sqlite3", coach.database, "INSERT INTO profiles (name, created_at) VALUES ('Somebody', 1)"])
        copy = json.loads(coach.chock("restore", before, "--yes", "--json"))["rescue_copy"]
        person.heading("Restored to version 3")
        person.press("Done")
        person.go("more")
        person.press(re.compile("^Count: "))
        person.sees("Not in the database: 1 row.")
        person.press(re.compile("^Export: "))
        with page.expect_download() as download:
            page.get_by_role("link", name="rescue.sql").click()
        check("the file is the rows", "Somebody" in Path(download.value.path()).read_text())
        both(person, "rescue")
        person.press(re.compile("^Put in again: "))
        person.answer("Put in again", pin=TECHNICIANS_PIN)
        person.heading("Rows put in again: Went well")
        person.sees("profiles: 1 row put in, 0 left out")
        person.judge("rows put in again")
        person.shot("rescued-phone")
        run = coach.get("database/history")[0]
        check("they are there", run["kind"] == "rescue" and run["rescue_copy"] == copy and run["outcome"] == "committed", run)


def both(person, name):
    """On a phone by day, in both languages, and in the cab by night."""
    page = person.page
    person.judge(f"{name} on a phone")
    person.shot(f"{name}-phone-light-en")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": CAB[0], "height": CAB[1]})
    person.fits(f"{name} in the cab")
    person.shot(f"{name}-cab-dark-en")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.select_option("#language", "de")
    person.sees("Für Techniker")
    person.fits(f"{name} in German")
    person.shot(f"{name}-phone-light-de")
    page.select_option("#language", "en")
    person.sees("For a technician")


def tools():
    """A technician checks, tests all snapshots and salvages; an owner reads the errors since an update."""
    errors = [7]

    class Figures(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"app_errors_total {errors[0]}\n".encode())

        def log_message(self, *_):
            pass

    figures = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Figures)
    threading.Thread(target=figures.serve_forever, daemon=True).start()
    config = ("[application]\nmode = \"read_only\"\nwatch_interval_seconds = 1\n[[application.watch_metrics]]\n"
              f"url = \"http://127.0.0.1:{figures.server_port}/\"\nnames = [\"app_errors_total\"]\n")
    with Coach("tools", local="none", config=config) as coach, Person(coach.url) as person:
        page = person.page

        def ended(kind, count):
            return [run for run in coach.get("database/history") if run["kind"] == kind and run.get("outcome")][count - 1:]

        person.pair(coach, "technician", TECHNICIANS_PIN)
        for _ in range(2):
            coach.chock("snapshots", "take")
        page.reload()
        person.sees("Check and mend")
        for count, label in enumerate(("Check: quick", "Check: everything", "Check: references"), 1):
            person.press(label)
            until(f"“{label}” is done", lambda: ended("check", count))
            person.page.get_by_role("button", name=label).and_(page.locator(":enabled")).wait_for()
        tools = page.locator("section.part", has_text="Check and mend")
        until("their answers are shown", lambda: tools.locator("li.row", has_text="Went well").count() == 3)
        check("each says what was looked at", [tools.locator("li.row b").nth(place).inner_text() for place in range(3)]
              == ["Check: references", "Check: everything", "Check: quick"])
        person.press("Test all snapshots")
        until("all are tested", lambda: len([run for run in ended("verify", 1) if run.get("is_test_restored")]) == 2)
        until("both answers are shown", lambda: tools.locator("li.row code.sub").count() == 2)

        coach.run(["sqlite3", coach.database, "PRAGMA foreign_keys = OFF; CREATE TABLE parent (id INTEGER PRIMARY KEY);"
                   "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id));"
                   "INSERT INTO child VALUES (1, 7), (2, 7), (3, 7), (4, 7), (5, 7), (6, 7), (7, 7);"])
        person.press("Check: references")
        person.sees("7 rows point to nothing.")
        person.sees("Not good")
        tools.locator("summary", has_text="7 lines").click()
        person.sees("child: rowid 7 points to nothing in parent")

        # Held in the middle, so that it can be looked at.
        person.press("Salvage")
        worker = until("its worker is there", lambda: held(coach.daemon.pid))
        page.wait_for_selector("#tool")
        check("the buttons wait", tools.get_by_role("button", name="Check: quick").is_disabled())
        person.judge("a tool that runs")
        person.shot("tool-phone")
        os.kill(worker, signal.SIGCONT)
        until("it is salvaged", lambda: ended("salvage", 1))
        person.sees(re.compile(r"rows: snapshot \d{8}T"))
        person.judge("the tools")
        person.shot("tools-phone")
        page.set_viewport_size({"width": CAB[0], "height": CAB[1]})
        person.shot("tools-cab")
        person.fits("the tools in the cab")

        # One that is cancelled.
        person.press("Check: everything")
        worker = until("its worker is there", lambda: held(coach.daemon.pid))
        tools.get_by_role("button", name="Cancel").click()
        os.kill(worker, signal.SIGCONT)
        until("it is cancelled", lambda: ended("check", 1)[0].get("error", {}).get("code") == "CHK-STOPPED")
        until("that is shown", lambda: tools.locator("li.row", has_text="Cancelled").count() == 1)

        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        person.go("update")
        person.consent()
        person.answer("Go on", pin=TECHNICIANS_PIN)
        person.heading("Updated to version 19")
        counted = lambda: (coach.get("database/status").get("error_watch") or {}).get("counters", [{}])[0].get("errors")
        until("it is counted since the update", lambda: counted() == 0)
        errors[0] += 40
        until("they are counted", lambda: counted() == 40)
        person.press("Done")
        person.heading("Up to date")
        person.sees("Errors since the update")
        person.sees(re.compile("before: .* an hour; watched for 72 h", re.S))
        until("they are shown", lambda: "40" in page.inner_text("dl.facts"))
        person.judge("errors since an update")
        person.shot("errors-phone")
    with Coach("werkzeug", local="none") as coach, Person(coach.url, locale="de-DE") as person:
        person.go("more")
        person.page.get_by_label("Code").fill(json.loads(coach.chock("pair", "--role", "technician", "--json"))["code"])
        person.press("Anmelden")
        person.page.get_by_label("PIN wählen").fill(TECHNICIANS_PIN)
        person.press("Anmelden")
        person.sees("Prüfen und retten")
        person.press("Prüfen: alles")
        until("it is checked", lambda: [run["kind"] for run in coach.get("database/history") if run.get("outcome")] == ["check"])
        person.sees("Gelungen")
        person.judge("the tools in German")
        person.shot("tools-german-phone")
    figures.shutdown()


def pictures():
    """What docs/ shows to owners, without anybody's hand: `make pictures`. A phone, and a screen on a table."""
    summing = SLOW.replace("Count for a while", "Add up each year of travel, so that the overview opens at once")
    summing = summing.replace("20000000", "5000000")
    coach = Coach("pictures", local="none")
    (coach.migrations / "0020_yearly_travel.sql").write_text(summing)

    def shot(person, name, height=None):
        """From the top, as high as what it is about; without what the pointer is on."""
        person.page.mouse.move(0, 0)
        person.page.evaluate("scrollTo(0, 0)")
        size = person.page.viewport_size
        person.page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True, animations="disabled",
                               clip={"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]})

    with coach, Person(coach.url, (390, 780)) as owner:
        page = owner.page
        owner.go("more")
        page.get_by_label("Code").fill(json.loads(coach.chock("pair", "--json"))["code"])
        owner.press("Pair")
        page.get_by_label("Choose a PIN").fill(PIN)
        page.get_by_label("Name of this device").fill("Anna's phone")
        shot(owner, "pairing")
        owner.press("Pair")
        owner.sees("Paired devices")
        owner.go("update")
        owner.press("Check how long it takes")
        owner.sees("at worst")
        page.wait_for_selector("#consent")
        shot(owner, "available", 1040)
        coach.switch("brake", "off")
        owner.sees("The parking brake is released.")
        owner.go("coach")
        owner.sees("1 of 12 in the way")
        shot(owner, "conditions")
        owner.go("update")
        coach.switch("brake", "on")
        owner.press("Tonight 02:00")
        owner.answer("Tonight 02:00", pin=PIN)
        owner.sees("Planned for")
        shot(owner, "tonight", 560)
        owner.press("Take this back")
        owner.consent()
        page.get_by_label("PIN").fill(PIN)
        owner.press("Go on")
        owner.sees("Starting in")
        until("it is applied", lambda: coach.phase() == "apply", 60)
        page.wait_for_selector("#bar[value]")
        shot(owner, "running")
        coach.switch("brake", "off")
        owner.heading("Restored to version 3. Nothing was lost.")
        shot(owner, "put-back")
        coach.switch("brake", "on")
        owner.press("Understood")
        # A consent counts once: the plan that is offered from here on has another number.
        page.reload()
        owner.sees("All clear: 12 conditions")
        owner.consent()
        page.get_by_label("PIN").fill(PIN)
        owner.press("Go on")
        owner.sees("Starting in")
        owner.heading("Updated to version 20")
        owner.sees("You can undo it at least until")
        shot(owner, "updated")
    with Coach("picture", local="owner") as coach, Person(coach.url, (1024, 553), device_scale_factor=0.85) as owner:
        owner.press("Check how long it takes")
        owner.sees("at worst")
        page = owner.page
        page.wait_for_selector("#consent")
        shot(owner, "panel")
    for name in ("pairing", "available", "conditions", "tonight", "running", "put-back", "updated", "panel"):
        check(f"{name}.png is there, and small", 5_000 < (SHOTS / f"{name}.png").stat().st_size < 100_000,
              (SHOTS / f"{name}.png").stat().st_size)


def held(daemon):
    """The worker of a daemon, stopped; None while there is none."""
    for children in Path(f"/proc/{daemon}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                os.kill(int(child), signal.SIGSTOP)
                return int(child)
            except ProcessLookupError:
                pass
    return None


def notes():
    """Many release notes fold, and open with the keyboard."""
    with Coach("notes") as coach:
        for number in range(20, 45):
            (coach.migrations / f"00{number}_more.sql").write_text(
                f"-- Description: Note number {number}\n-- @migrate\nCREATE TABLE more_{number} (x);\n")
        coach.kill()
        coach.serve()
        with Person(coach.url) as owner:
            owner.sees("Show all 41 notes")
            check("they are folded", not owner.page.get_by_text("Note number 44").is_visible())
            owner.page.locator("summary", has_text="Show all 41 notes").press("Enter")
            owner.sees("Note number 44")
            owner.judge("many notes")


def senses():
    """Forced colours, reduced motion, and 400 % of a desk's screen in every view."""
    with Coach("senses") as coach:
        with Person(coach.url, forced_colors="active") as owner:
            for view in ("update", "coach", "history", "snapshots", "more"):
                owner.go(view)
                owner.page.wait_for_selector("main h1")
                owner.judge(f"{view} in forced colours")
                owner.shot(f"forced-{view}-phone")
        for motion, moves in (("reduce", False), ("no-preference", True)):
            with Person(coach.url, motion=motion) as owner:
                owner.consent()
                owner.page.wait_for_selector(".countdown")
                found = owner.page.evaluate("document.getAnimations().filter((a) => a.playState === 'running').length")
                check(f"what moves with {motion}", bool(found) == moves, found)
                owner.page.click("#countdown-cancel")
        coach.switch("brake", "off")
        until("the daemon knows of the brake", lambda: not coach.get("safety").get("is_safe", True))
        with Person(coach.url, (320, 256)) as owner:
            for view in ("update", "coach", "history", "snapshots", "more"):
                owner.go(view)
                owner.page.wait_for_selector("main h1")
                owner.fits(f"{view} at 400 %, blocked")


# The longest first.
SCENES = {scene.__name__: scene for scene in
          (views, update, pairing, devices, technician, word, brake, cancel, refused, later, reminder, connection,
           snapshots, approvals, questions, notes, recovery, leaving, mending, tools, senses, embedding, asleep, doomed, broken, german,
           strangers, pictures)}


# What it takes.

def missing():
    """Why there is no browser, after trying to install it; None when there is one."""
    if not shutil.which("chromium"):
        if os.getuid() != 0 or not shutil.which("apt-get"):
            return "chromium missing, and only root can install it"
        print("Installing chromium ...", flush=True)
        for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *command], capture_output=True)
    return None if shutil.which("chromium") else "there is no chromium for this machine"


def main():
    global ROOT, SHOTS
    scenes = sys.argv[2:]
    if "--shots" in scenes:
        place = scenes.index("--shots")
        SHOTS = Path(scenes[place + 1]).resolve()
        del scenes[place:place + 2]
    else:
        SHOTS = Path(tempfile.mkdtemp(prefix="chock-panel-shots-"))
    SHOTS.mkdir(parents=True, exist_ok=True)
    why = missing()
    if why:
        print(f"skipped: the panel in a browser ({why})")
        return 0
    with tempfile.TemporaryDirectory(prefix="chock-panel-") as folder:
        ROOT = Path(folder)
        if not importlib.util.find_spec("playwright"):
            install(ROOT / "venv")
        began = time.monotonic()
        if len(scenes) == 1:
            play(scenes[0])
        else:
            play_all(scenes or SCENES)
    return checks.end(f"in a browser in {time.monotonic() - began:.0f} s, with pictures in {SHOTS}")


def play(name):
    global BROWSER, AXE
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright
    AXE = Axe()
    with sync_playwright() as playwright:
        # A container's root has no sandbox of its own to give.
        BROWSER = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.getuid() == 0 else [])
        try:
            SCENES[name]()
        except Exception as error:
            check(f"{name} was played", False, f"{error!r}"[:1500])
        BROWSER.close()


def play_all(names):
    """Each in a process and a browser of its own, two at once: much of a scene is waiting."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def played(name):
        began = time.monotonic()
        process = subprocess.run([sys.executable, __file__, CHOCK, "--shots", str(SHOTS), name], env=environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return name, time.monotonic() - began, process

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in concurrent.futures.as_completed([pool.submit(played, name) for name in names]):
            name, seconds, process = future.result()
            *lines, last = process.stdout.splitlines() or [""]
            print(f"{name}, {seconds:.0f} s", *lines, sep="\n", flush=True)
            counts = re.match(r"(\d+) checks .* (\d+) failed", last)
            checks.made += int(counts[1]) if counts else 0
            checks.failed += int(counts[2]) if counts else 0
            if not counts or (process.returncode and counts[2] == "0"):
                check(f"{name} was played to its end", False, process.stdout)


def install(venv):
    print("Installing the browser's remote control ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run(
        [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--requirement",
         str(HERE / "requirements.txt")], check=True)
    sys.path.insert(0, str(next((venv / "lib").glob("python*/site-packages"))))


if __name__ == "__main__":
    CHOCK = str(Path(sys.argv[1]).resolve())
    sys.exit(main())

#!/usr/bin/env python3
"""Makes the Debian package, and lives through its life: in a Debian of its own that systemd has booted.

Installed, used, upgraded in the middle of an update, removed, purged; what the owner has is still there. Needs
root, and a machine on which systemd-nspawn works; where it does not, only the package itself is looked at.

    package.py CHOCK
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
import checks  # noqa: E402
from checks import check  # noqa: E402
PACKAGES = {
    "dpkg-shlibdeps": "dpkg-dev", "lintian": "lintian", "mandoc": "mandoc", "man": "man-db", "fish": "fish",
    "zsh": "zsh", "debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
SUITE = "bookworm"
# What a coach's Debian has before chock.
INSIDE = ["systemd", "systemd-sysv", "dbus", "polkitd", "libpam-systemd", "libsqlite3-0", "libstdc++6", "sqlite3", "curl"]
STATE = "/var/lib/chock"
# A statement that takes until it is stopped.
SLOW = """-- Description: Take long

-- @migrate
CREATE TABLE slow (number INTEGER) STRICT;
INSERT INTO slow WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n;
"""
BEGAN = time.monotonic()

def run(*words, code=0, **options):
    """The output of a program, which has to end with this code."""
    ended = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           **{"timeout": 600, **options})
    if code is not None and ended.returncode != code:
        check(f"{' '.join(map(str, words))} ends with {code}, not {ended.returncode}", False, ended.stdout)
    return ended.stdout


def until(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    check(what, found)
    return found


def part_of(name):
    print(f"{time.monotonic() - BEGAN:3.0f} s  {name}", flush=True)


def install_tools():
    missing = sorted({package for tool, package in PACKAGES.items() if shutil.which(tool) is None})
    if not Path("/usr/share/bash-completion/bash_completion").exists():
        missing.append("bash-completion")
    if missing:
        print(f"Installing {', '.join(missing)} ...", flush=True)
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        run(*sudo, "apt-get", "update", "-q")
        run(*sudo, "apt-get", "install", "-y", "-q", "--no-install-recommends", *missing,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


# The package.

def build(folder, revision="1"):
    # A package that nobody keeps need not be small.
    environment = {**os.environ, "REVISION": revision, "DPKG_DEB_COMPRESSOR_LEVEL": "1", "LOOSE": LOOSE}
    words = run(TOP / "systemd/debian/build.sh", CHOCK, folder, env=environment)
    return Path(words.strip().splitlines()[-1])


def looked_at(package, tree):
    version = run(CHOCK, "--version").strip()
    check("its version is that of the binary", package.name.startswith(f"chock_{version}-1_"), package)
    tags = ["--suppress-tags", "custom-library-search-path"] if LOOSE else []
    words = run("lintian", "--pedantic", "--allow-root", "--fail-on", "none", *tags, package)
    check("lintian has neither errors nor warnings", not re.search("^[EWP]: ", words, re.M), words)

    run("dpkg-deb", "--raw-extract", package, tree)
    control = (tree / "DEBIAN/control").read_text()
    depends = re.search("^Depends: (.*)$", control, re.M)[1]
    for name in ("libc6", "libsqlite3-0"):
        check(f"it depends on {name} with a version", re.search(rf"\b{name} \(>= [\d.]+\)", depends), depends)
    check("Swift's library is in the binary", LOOSE or "swift" not in depends, depends)
    check("only the config is a conffile", (tree / "DEBIAN/conffiles").read_text() == "/etc/chock/chock.toml\n")
    listed = run("dpkg-deb", "--contents", package)
    check("all of it belongs to root", all(" root/root " in line for line in listed.splitlines()), listed)
    check("others than the owner write nowhere", not re.search("^[d-].{4}w|^[d-].{7}w", listed, re.M), listed)
    units = "usr/lib/systemd/system"
    for name in ("usr/bin/chock", f"{units}/chock.service", f"{units}/chock.socket", f"{units}/coachiq.service.d/chock.conf",
                 "usr/lib/sysusers.d/chock.conf", "usr/lib/tmpfiles.d/chock.conf",
                 "usr/lib/systemd/catalog/chock.catalog", "usr/share/polkit-1/rules.d/50-chock.rules",
                 "usr/share/man/man1/chock.1.gz", "usr/share/man/man5/chock.toml.5.gz",
                 "usr/share/bash-completion/completions/chock", "usr/share/zsh/vendor-completions/_chock",
                 "usr/share/fish/vendor_completions.d/chock.fish", "usr/share/doc/chock/copyright",
                 "usr/share/doc/chock/changelog.gz", "usr/share/doc/chock/operations.md",
                 "usr/share/doc/chock/pictures/available.png"):
        check(f"{name} is in it", (tree / name).is_file())
    settings = [line for line in (tree / "etc/chock/chock.toml").read_text().splitlines()
                if line and not line.startswith(("#", "["))]
    check("its config sets nothing", settings == [], settings)
    links(tree / "usr/share/doc/chock")


def links(folder):
    """Each link of an installed page leads to something."""
    found = [(page, link) for page in folder.rglob("*.md")
             for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text())]
    dead = [f"{page.name}: {link}" for page, link in found if not (page.parent / link).is_file()]
    check("its pages lead to what is there", len(found) > 300 and not dead, f"{len(found)} links\n" + "\n".join(dead))


def elsewhere(folder):
    """`make install` below a place of one's own."""
    run("make", "--no-print-directory", "install", f"BINARY={CHOCK}", f"DESTDIR={folder}", "PREFIX=/opt/chock", cwd=TOP)
    own = folder / "opt/chock"
    check("make install tells the unit where the program is",
          "\nExecStart=/opt/chock/bin/chock serve\n" in (own / "lib/systemd/system/chock.service").read_text())
    for name in ("bin/chock", "share/man/man1/chock.1", "share/zsh/site-functions/_chock"):
        check(f"make install brings {name}", (own / name).is_file())
    links(own / "share/doc/chock")
    check("make install writes nothing elsewhere", [f.name for f in folder.iterdir()] == ["opt"])


def manual(tree):
    pages = [tree / "usr/share/man" / name for name in ("man1/chock.1.gz", "man5/chock.toml.5.gz")]
    for page in pages:
        check(f"mandoc finds nothing in {page.name}", run("mandoc", "-T", "lint", page, code=None) == "")
        words = run("sh", "-c", 'man --warnings -E UTF-8 -l -Tutf8 -Z "$1" >/dev/null', "sh", page,
                    env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
        check(f"groff finds nothing in {page.name}", words == "", words)
    wide = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "1000", "MAN_KEEP_FORMATTING": ""}
    text = run("man", "-l", pages[0], env=wide)
    for path, command in leaves(json.loads(run(CHOCK, "--experimental-dump-help"))["command"]):
        check(f"chock(1) has `{' '.join(path)}`", re.search(rf"^ +{' '.join(path)}\b", text, re.M))
        names = ["--" + n["name"] for a in command.get("arguments", []) for n in a.get("names", []) if n["kind"] == "long"]
        check(f"chock(1) has the options of `{' '.join(path)}`", all(name in text for name in names), names)
    text = run("man", "-l", pages[1], env=wide)
    for key in re.findall(r"^\| `(\w+)` ", (TOP / "docs/configuration.md").read_text(), re.M):
        check(f"chock.toml(5) has {key}", re.search(rf"^ +{key}\b", text, re.M))


def leaves(command, path=()):
    path = (*path, command["commandName"])
    inner = [c for c in command.get("subcommands", []) if c["shouldDisplay"] and c["commandName"] != "help"]
    if not inner:
        yield path, command
    for sub in inner:
        yield from leaves(sub, path)


def completions(tree):
    share = tree / "usr/share"
    script = f"""
        . /usr/share/bash-completion/bash_completion; . {share}/bash-completion/completions/chock
        COMP_WORDS=(chock snapshots ver); COMP_CWORD=2; COMP_LINE='chock snapshots ver'; COMP_POINT=${{#COMP_LINE}}
        eval "$(complete -p chock | sed 's/.*-F \\([^ ]*\\).*/\\1/') chock ver snapshots"; echo "${{COMPREPLY[@]}}" """
    found = run("bash", "-c", script).strip()
    check("bash completes a verb's verb", found == "verify", found)
    found = run("fish", "--no-config", "-c",
                f"source {share}/fish/vendor_completions.d/chock.fish; complete -C 'chock snapshots ver'",
                env={**os.environ, "PATH": f"{tree}/usr/bin:{os.environ['PATH']}"})
    check("fish completes a verb's verb", found.startswith("verify\t"), found)
    script = share / "zsh/vendor-completions/_chock"
    check("zsh reads it", run("zsh", "-n", script) == "" and script.read_text().startswith("#compdef chock"))


def dependencies(tree, venv):
    documents = tree / "usr/share/doc/chock"
    spdx = json.loads((documents / "chock.spdx.json").read_text())
    named = {package["name"]: package for package in spdx["packages"]}
    text = gzip.open(documents / "dependencies.txt.gz", "rt").read()
    pins = {pin["identity"]: pin["state"] for pin in json.loads((TOP / "Package.resolved").read_text())["pins"]}
    for name in ("hummingbird", "swift-argument-parser", "swift-crypto", "swift-nio", "tomlkit"):
        check(f"{name} is among the dependencies", name in named)
    for name in set(named) & set(pins):
        state = pins[name]
        check(f"{name} is as it was resolved", named[name]["versionInfo"] == state["version"]
              and named[name]["downloadLocation"].endswith("@" + state["revision"]), named[name])
        check(f"{name} is among the notices", f"\n{name} {state['version']}: " in text)
    for name in ("swift-runtime", "libsqlite3-0"):
        check(f"{name} is among the dependencies", name in named)
    print("Installing SPDX's own reader ...", flush=True)
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", HERE / "requirements.txt")
    words = run(venv / "bin/pyspdxtools", "-i", documents / "chock.spdx.json")
    check("SPDX's own reader finds nothing in the list", words.strip() == "", words)


# Its life.

def debian():
    """A Debian that nobody has used yet; kept for the next time."""
    for folder in (TOP / ".build/package/debian", TOP / ".build/device/debian"):
        if (folder / "var/lib/dpkg/status").exists() and all(
                (folder / f"var/lib/dpkg/info/{name}.list").exists()
                or list((folder / "var/lib/dpkg/info").glob(f"{name}:*.list")) for name in INSIDE):
            return folder
    folder = TOP / ".build/package/debian"
    print(f"Unpacking a Debian into {folder}, once; that takes some minutes ...", flush=True)
    shutil.rmtree(folder.with_suffix(".new"), ignore_errors=True)
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(INSIDE)}", SUITE, folder.with_suffix(".new")]
    subprocess.run(words, check=True, timeout=900, stdout=subprocess.DEVNULL)
    folder.with_suffix(".new").rename(folder)
    return folder


class Coach:
    """A Debian in a folder, booted by systemd in namespaces of its own."""

    def __init__(self, root):
        self.root = root
        self.process = None
        self.binds = ["--bind-ro=/opt/swift/usr/lib/swift/linux"] if LOOSE else []

    def unbooted(self, *words, **options):
        """Runs a program in it while nothing else runs: so images are made."""
        return run("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe", *self.binds, "-D", self.root,
                   *words, **options)

    def boot(self):
        self.log = open(self.root.parent / "boot.log", "w")
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot",
             "--console=pipe", *self.binds, "-D", self.root], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until("systemd is there", self.init)
        return until("the coach is booted", lambda: self.run("systemctl", "is-system-running", code=None).strip()
                     in ("running", "degraded"))

    def init(self):
        """The number of the coach's process 1 here; None when there is none yet."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            return next((c for c in children if Path(f"/proc/{c}/comm").read_text() == "systemd\n"), None)
        except OSError:
            return None

    def run(self, *words, **options):
        return run("nsenter", "--target", self.init() or "0", "--mount", "--uts", "--ipc", "--net", "--pid", "--root",
                   "--wd", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin", "DEBIAN_FRONTEND=noninteractive", *words, **options)

    def json(self, *words, **options):
        text = self.run("chock", *words, "--json", **options)
        try:
            return json.loads(text.splitlines()[-1])
        except (IndexError, ValueError):
            check(f"chock {' '.join(words)} answers with a document", False, text)
            return {}

    def shows(self, unit, key):
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).strip()

    def journal(self):
        return self.run("journalctl", "--no-pager", "--unit=chock", "--lines=25", code=None)

    def write(self, name, text):
        (self.root / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name.lstrip("/")).write_text(text)

    def has(self, name):
        return os.path.lexists(self.root / name.lstrip("/"))

    def end(self):
        if self.process and self.process.poll() is None:
            # SIGRTMIN+4: power off.
            init = self.init()
            if init:
                os.kill(int(init), signal.SIGRTMIN + 4)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def snapshots(coach):
    """Their files, with what is in them."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted((coach.root / "var/lib/chock/snapshots").glob("*"))}


def in_an_image(coach, package):
    words = coach.unbooted("dpkg", "--install", f"/root/{package.name}")
    check("it installs into an image", "error" not in words.lower(), words)
    check("it is enabled there", coach.has("/etc/systemd/system/multi-user.target.wants/chock.service"))
    coach.unbooted("dpkg", "--purge", "chock")
    check("a purge before the first start leaves nothing", not coach.has("/etc/chock")
          and not coach.has(STATE) and not coach.has("/etc/systemd/system/multi-user.target.wants/chock.service"))


def installed(coach, package):
    words = coach.run("dpkg", "--install", f"/root/{package.name}")
    check("the daemon runs", coach.shows("chock", "ActiveState") == "active", words + coach.journal())
    check("it starts again with the device", coach.shows("chock", "UnitFileState") == "enabled")
    # Keys of newer versions, which the unit explains; and there is no man in so small a Debian.
    words = [line for line in coach.run("systemd-analyze", "verify", "chock.service", code=None).splitlines()
             if "Unknown key 'Restart" not in line and "Command 'man " not in line]
    check("systemd has nothing else to say about the unit", words == [], words)
    check("what is installed is what the package has", coach.run("dpkg", "--verify", "chock") == "")
    check("the state belongs to the controller's user",
          coach.run("stat", "--format=%U %G %a", STATE).strip() == "coachiq coachiq 750")
    check("the journal knows chock's words", "chock has begun a run" in coach.run("journalctl", "--list-catalog"))
    status = coach.run("chock", "status", code=None)
    check("without a database it says so", "/var/lib/coachiq/database/coachiq.db" in status, status)
    check("it makes none", not coach.has("/var/lib/coachiq/database"))
    check("nothing has been done", coach.json("history").get("runs") == [])
    doctor = coach.run("chock", "doctor", code=None)
    check("the config is accepted", "/etc/chock/chock.toml" in doctor or "onfig" in doctor, doctor)


def used(coach):
    """A database that chock has adopted and taken a snapshot of, and a controller that uses it."""
    coach.write("/usr/share/coachiq/migrations/0001_first.sql",
                "-- Description: First\n\n-- @migrate\nCREATE TABLE trip (name TEXT NOT NULL) STRICT;\n")
    coach.write("/etc/systemd/system/coachiq.service",
                "[Service]\nUser=coachiq\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
    config = (coach.root / "etc/chock/chock.toml").read_text()
    config = config.replace("[application]\n", '[application]\nunits = ["coachiq.service"]\n')
    coach.write("/etc/chock/chock.toml", 'environment = "development"\n' + config
                + "[coach]\nrequired_gates = []\n[update]\nrehearse = false\n")
    coach.run("install", "-d", "-o", "coachiq", "-g", "coachiq", "/var/lib/coachiq", "/var/lib/coachiq/database")
    database = "/var/lib/coachiq/database/coachiq.db"
    coach.run("runuser", "-u", "coachiq", "--", "sqlite3", database,
              "PRAGMA journal_mode = WAL; CREATE TABLE trip (name TEXT NOT NULL) STRICT; INSERT INTO trip VALUES ('Yukon')")
    coach.run("systemctl", "daemon-reload")
    coach.run("systemctl", "enable", "--now", "--quiet", "coachiq")
    coach.run("systemctl", "restart", "chock")
    adopted = coach.run("runuser", "-u", "coachiq", "--", "chock", "adopt", "--at", "1", "--yes")
    check("a person adopts the database", coach.json("status").get("adopted") is True, adopted)
    check("a snapshot is taken", coach.json("snapshots", "take").get("outcome") == "finished")


def upgraded(coach, package):
    """In the middle of an update, over a config that was edited."""
    before = coach.json("fingerprint")
    kept = snapshots(coach)
    config = (coach.root / "etc/chock/chock.toml").read_text()
    coach.write("/usr/share/coachiq/migrations/0002_slow.sql", SLOW)
    pid = coach.shows("chock", "MainPID")
    update = subprocess.Popen(
        ["nsenter", "--target", coach.init(), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--",
         "chock", "update", "--yes", "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("an update is applied", lambda: (coach.json("status").get("run") or {}).get("phase") == "apply")
    check("the controller is stopped for it", coach.shows("coachiq", "ActiveState") == "inactive")
    began = time.monotonic()
    words = coach.run("dpkg", "--force-confold", "--install", f"/root/{package.name}")
    print(f"  The upgrade took {time.monotonic() - began:.1f} s.")
    is_new = until("the new daemon runs", lambda: coach.shows("chock", "MainPID") not in (pid, "0")
                   and coach.shows("chock", "ActiveState") == "active", 180)
    print(f"  The new daemon was there after {time.monotonic() - began:.1f} s.")
    if not is_new:
        print(coach.journal())
    update.wait(60)
    newest = (coach.json("history").get("runs") or [{}])[0]
    check("the update was put back", newest.get("kind") == "update" and newest.get("outcome") == "rolled_back",
          json.dumps(newest, indent=1))
    check("the database is what it was", coach.json("fingerprint").get("total") == before.get("total"))
    until("the controller runs again", lambda: coach.shows("coachiq", "ActiveState") == "active")
    check("nothing failed", coach.shows("chock", "Result") == "success", coach.journal())
    check("the config is still the owner's", (coach.root / "etc/chock/chock.toml").read_text() == config, words)
    check("the package's is beside it", coach.has("/etc/chock/chock.toml.dpkg-dist"))
    check("the snapshots are still there", kept.items() <= snapshots(coach).items(), snapshots(coach))

    coach.run("systemctl", "stop", "chock")
    coach.run("dpkg", "--force-confold", "--install", f"/root/{package.name}")
    check("a daemon that was stopped by hand stays down", coach.shows("chock", "ActiveState") == "inactive")
    coach.run("systemctl", "start", "chock")


def ask(coach, path):
    return run("nsenter", "--target", coach.init(), "--net", "curl", "-sS", "--max-time", "60",
               f"http://127.0.0.1{path}", code=None)


def listened(coach):
    """systemd opens the panel's port, one that chock may not open."""
    coach.write("/etc/systemd/system/chock.socket.d/port.conf", "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n")
    coach.run("systemctl", "daemon-reload")
    coach.run("systemctl", "stop", "chock")
    coach.run("systemctl", "enable", "--now", "--quiet", "chock.socket")
    # Whoever connects starts it, and waits for it.
    check("the panel is there without a number", json.loads(ask(coach, "/livez")) == {"alive": True}, coach.journal())
    check("it says so", coach.json("pair").get("addresses") == ["http://127.0.0.1:80/"], coach.journal())
    coach.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "chock")
    check("while it starts again nobody is refused", json.loads(ask(coach, "/livez")) == {"alive": True}, coach.journal())
    check("the socket of its commands is its own", coach.json("status").get("adopted") is True)


def removed(coach, package):
    kept = snapshots(coach)
    check("there are snapshots", len(kept) >= 2, kept)
    coach.run("dpkg", "--remove", "chock")
    running = coach.run("sh", "-c", "cat /proc/[0-9]*/comm").split()
    check("a removal stops the daemon", "chock" not in running and "systemd" in running, running)
    check("and the port", coach.shows("chock.socket", "ActiveState") == "inactive")
    check("a removal takes the program", not coach.has("/usr/bin/chock"))
    check("a removal leaves the config", coach.has("/etc/chock/chock.toml"))
    check("a removal leaves the snapshots", snapshots(coach) == kept)
    coach.write("/etc/chock/chock.toml", "nonsense = 1\n")
    words = coach.run("dpkg", "--force-confold", "--install", f"/root/{package.name}")
    check("a config that is wrong breaks no installation", coach.shows("chock", "ActiveState") == "failed", words)
    check("the journal says what is wrong with it", "chock.toml:1" in coach.journal(), coach.journal())
    words = coach.run("dpkg", "--purge", "chock")
    check("a purge takes the config", not coach.has("/etc/chock"))
    check("a purge leaves no unit enabled", not coach.has("/etc/systemd/system/multi-user.target.wants/chock.service")
          and not coach.has("/etc/systemd/system/chock.service"))
    check("a purge leaves the snapshots", snapshots(coach) == kept)
    check("a purge says where they are, and how they go", f"rm -r {STATE}" in words, words)
    check("a purge leaves the database", coach.has("/var/lib/coachiq/database/coachiq.db"))
    coach.run("dpkg", "--install", f"/root/{package.name}")
    found = coach.json("snapshots", "list").get("snapshots", [])
    check("installed again, it knows them", {f"{one['id']}.sqlite" for one in found} <= set(kept) and found, found)


def newer(package, folder):
    """The same with a higher revision and another config."""
    tree = folder / "newer"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("^(Version: .*)-1$", r"\1-2", control.read_text(), flags=re.M))
    with open(tree / "etc/chock/chock.toml", "a") as config:
        config.write("\n# Of a newer version.\n")
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / "newer.deb")
    return folder / "newer.deb"


def live(package, folder):
    if os.geteuid() != 0:
        print("Skipped: a Debian of its own needs root.")
        return
    root = folder / "debian"
    run("cp", "--archive", "--reflink=auto", debian(), root)
    second = newer(package, folder)
    for file in (package, second):
        shutil.copy(file, root / "root")
    coach = Coach(root)
    if "here" not in coach.unbooted("echo", "here", code=None):
        print("Skipped: systemd-nspawn does not work on this machine.")
        return
    try:
        part_of("in an image")
        in_an_image(coach, package)
        if not coach.boot():
            print((folder / "boot.log").read_text()[-3000:])
            return
        for name, part in (("installed", lambda: installed(coach, package)), ("used", lambda: used(coach)),
                           ("upgraded", lambda: upgraded(coach, second)),
                           ("listened", lambda: listened(coach)), ("removed", lambda: removed(coach, package))):
            part_of(name)
            part()
    finally:
        coach.end()


def main():
    if shutil.which("apt-get") is None:
        print("Skipped: packages of Debian are made and tried on Debian.")
        return 0
    install_tools()
    with tempfile.TemporaryDirectory(prefix="chock-package-") as name:
        folder = Path(name)
        part_of("built")
        package = build(folder / "first")
        again = build(folder / "second")
        check("built again, it is the same", package.read_bytes() == again.read_bytes())
        part_of("looked at")
        tree = folder / "tree"
        looked_at(package, tree)
        elsewhere(folder / "elsewhere")
        manual(tree)
        completions(tree)
        dependencies(tree, folder / "venv")
        live(package, folder)
    return checks.end(f"of the package in {time.monotonic() - BEGAN:.0f} s")


if __name__ == "__main__":
    CHOCK = Path(sys.argv[1]).resolve()
    # A debug build needs Swift's libraries, which no package has: the coach borrows this machine's.
    LOOSE = "1" if "libswiftCore.so" in run("ldd", CHOCK) else ""
    sys.exit(main())

#!/usr/bin/env python3
"""Holds the documentation to the truth: its links, its words, and every command in it.

    docs.py CHOCK [PAGE...]

A command stands in a block of `sh` (typed as it is) or `console` (`$ ` before it, and then what it prints), and is
run here, page by page and from the top, on a sample coach of its own; requests (`http`) are sent to its daemon. What
is shown has to come, but for numbers, digests and ids. What cannot be run here is listed below with what runs it
instead. Whatever begins with `chock ` in the text, in the daemon's own messages and in the units has to be a verb with
options that it has. With PAGE (docs/guide.md) only the commands of that page are run.
"""

import contextlib
import http.client
import json
import os
import pty
import re
import select
import shlex
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
TOP = HERE.parent.parent
LANGUAGES = {"sh", "console", "http", "sql", "toml", "json", "yaml", "html", "ini", "mermaid", "text", "swift", "diff",
             "ebnf", "js"}
# So long may a command take.
LIMIT = 240


class Elsewhere:
    """Commands that are not run here: where, which, why, and who runs them (a file, and what stands in it)."""

    def __init__(self, page, command, why, file, words):
        self.page, self.command, self.why, self.file, self.words = page, command, why, file, words
        self.is_used = False


ELSEWHERE = [
    Elsewhere("README.md", r"make run ", "the guide's own is run", "docs/guide.md", "$ make run SAMPLE=/tmp/coach"),
    Elsewhere("README.md", r"make test ", "it is run for every change", ".ci/run", "make test"),
    Elsewhere("docs/coach.md", r"chock coach record .*can0", "it needs a bus", "Tests/Coach/vcan.py",
              '"coach", "record"'),
    Elsewhere("docs/rescue.md", r"chock recover --factory", "it would erase the coach of the other pages",
              "Tests/Acceptance/FactoryStateTests.swift", '"--factory"'),
    Elsewhere("docs/install.md", r"sudo apt-get install \./", "it is installed into a Debian of its own",
              "Tests/Package/package.py", '"--install", f"/root/{package.name}"'),
    Elsewhere("docs/install.md", r"sudo apt-get install git make", "they are there, or this would not run", "Makefile",
              "apt-get install -y -q libsqlite3-dev"),
    Elsewhere("docs/install.md", r"make deb", "the package is built", "Tests/Package/package.py",
              "systemd/debian/build.sh"),
    Elsewhere("docs/install.md", r"sudo make install", "it is installed into a folder", "Tests/Package/package.py",
              '"make", "--no-print-directory", "install"'),
    Elsewhere("docs/install.md", r"sudo install .*chock.toml", "it would write to this machine's /etc",
              "systemd/debian/build.sh", "etc/chock/chock.toml"),
    Elsewhere("docs/install.md", r"sudo systemd-sysusers", "it would make users on this machine; the package does it",
              "systemd/debian/postinst", "systemd-sysusers"),
    Elsewhere("docs/install.md", r"sudo -u coachiq chock adopt", "this coach is adopted", "docs/adoption.md", "$ chock adopt"),
    Elsewhere("docs/install.md", r"sudo systemctl ", "a booted system is needed", "Tests/Package/package.py",
              '"systemctl", "restart", "chock"'),
]


# What the pages hold.

class Page:
    def __init__(self, name, text):
        self.name, self.text, self.lines = name, text, text.splitlines()
        self.blocks, self.prose = [], []  # (line, language, text); (line, text)
        inside = None
        for number, line in enumerate(self.lines, 1):
            fence = re.match(r"\s*(```+)(\w*)\s*$", line)
            if inside is None and fence:
                inside = (number, fence[2], [], fence[1])
            elif inside and line.strip() == inside[3]:
                self.blocks.append((inside[0], inside[1], "\n".join(inside[2])))
                inside = None
            elif inside:
                inside[2].append(line)
            else:
                self.prose.append((number, line))
        self.is_open = inside is not None

    def anchors(self):
        """As GitHub names headings; the second of a name gets -1."""
        found = {}
        for _, line in self.prose:
            heading = re.match(r"#+ (.*)", line)
            if heading:
                text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "").lower().strip()
                slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
                found[slug] = found.get(slug, -1) + 1
        return {slug if not number else f"{slug}-{number}" for slug, count in found.items() for number in range(count + 1)}

    def code(self):
        """What stands between backticks in the text."""
        for number, line in self.prose:
            for match in re.finditer(r"(`+)(.+?)\1(?!`)", line):
                yield number, match[2].strip().replace("\\|", "|")


def pages(top):
    names = ["README.md", "CHANGELOG.md"] + sorted(
        str(path.relative_to(top)) for folder in ("docs", "docs/decisions") for path in (top / folder).glob("*.md"))
    return [Page(name, (top / name).read_text()) for name in names if (top / name).exists()]


# Links, files, languages.

def links(top, all_pages):
    """What a link leads to is there, also the heading; and each file that is named."""
    by_name = {page.name: page for page in all_pages}
    targets = re.findall(r"^([a-z]+):", (top / "Makefile").read_text(), re.M) if (top / "Makefile").exists() else []
    for page in all_pages:
        if page.is_open:
            yield page.name, len(page.lines), "a block is not closed"
        folder = (top / page.name).parent
        for number, line in page.prose:
            for target in re.findall(r"(?:\]\(|<img src=\")([^)\s\"]+)", re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                there = (folder / path).resolve() if path else (top / page.name).resolve()
                if not there.exists():
                    yield page.name, number, f"the link {target} leads to nothing"
                    continue
                other = by_name.get(str(there.relative_to(top.resolve())))
                if anchor and (other is None or anchor not in other.anchors()):
                    yield page.name, number, f"the link {target} names a heading that is not there"
        if page.name.startswith("docs/decisions/") or page.name == "CHANGELOG.md":
            continue
        for number, code in page.code():
            if re.fullmatch(r"(Sources|Tests|docs|systemd|migrations|\.ci)/[\w./+-]*[\w/]", code) and not (top / code).exists():
                yield page.name, number, f"there is no {code}"
            for target in re.findall(r"^make ([a-z]+)", code):
                if target not in targets:
                    yield page.name, number, f"the Makefile has no {target}"
        for number, language, text in page.blocks:
            if language not in LANGUAGES:
                yield page.name, number, f"a block has to say what it is, not “{language}”: {', '.join(sorted(LANGUAGES))}"
            if language in ("text", "ebnf") and re.search(r"^\s*(\$ |sudo |make \w+$|curl )", text, re.M):
                yield page.name, number, "a command stands in a block that nobody runs"


# Verbs and options.

class Verbs:
    """What the binary itself says that it takes."""

    def __init__(self, chock):
        dump = subprocess.run([chock, "--experimental-dump-help"], check=True, capture_output=True, text=True).stdout
        self.root = json.loads(dump)["command"]

    @staticmethod
    def options(command):
        return {("-" if name["kind"] == "short" else "--") + name["name"]: argument
                for argument in command.get("arguments") or [] for name in argument.get("names") or []}

    @staticmethod
    def inner(command, name):
        return next((sub for sub in command.get("subcommands") or [] if sub["commandName"] == name), None)

    def all(self, command=None, path=()):
        command = command or self.root
        subs = [sub for sub in command.get("subcommands") or [] if sub["shouldDisplay"] and sub["commandName"] != "help"]
        if path and not subs:
            yield " ".join(path), command
        for sub in subs:
            yield from self.all(sub, (*path, sub["commandName"]))

    def problem(self, text):
        """Why `chock ...` is no command of ours; None when it is. Capitals, … and brackets stand for what they do in a usage."""
        text = re.sub(r"(?<=\w)\\\((?:[^()]|\([^()]*\))*\)", "", text)
        text = re.sub(r"\\\((?:[^()]|\([^()]*\))*\)|\$\{[^}]*\}", "X", text)  # a value that a message puts in
        text = re.sub(r"\s+(#|>|2>|\||&&|;).*", "", text) if "[" not in text and "(" not in text else text
        text = re.sub(r"(--[\w-]+) …", r"\1 X", text)
        text = re.sub(r"[\[\]()]|…|\.\.\.", " ", re.sub(r"\s*\|\s*", "|", text))
        try:
            words = shlex.split(text.replace("'", "\\'") if text.count("'") % 2 else text)
        except ValueError as error:
            return f"{error}"
        command, places, skip = self.root, 0, False
        # Of `A|B` each has to be an option, or a verb; of two values one stands for both.
        words = [word for part in words[1:] for word in (
            [part] if "=" in part else [one for number, one in enumerate(part.split("|")) if not number or one[0] == "-"])]
        known = self.options(command)
        for word in words:
            if skip:
                skip = False
                continue
            if word.startswith("-") and len(word) > 1:
                name, _, value = word.partition("=")
                default = self.inner(command, command.get("defaultSubcommand"))
                option = {**known, **self.options(default or {}), **self.options(command)}.get(name)
                if option is None:
                    return f"`chock {command['commandName']}` has no option {name}"
                skip = option["kind"] == "option" and not value
                continue
            sub = self.inner(command, word)
            if sub and not places:
                command = sub
                known = {**known, **self.options(sub)}
                continue
            if command is self.root and word in ("VERB", "OPTIONS", "ARGUMENTS", "X"):
                return None
            if command.get("subcommands") and not (self.inner(command, command.get("defaultSubcommand")) or {}).get("arguments"):
                return f"`{command['commandName']}` has no verb {word}"
            places += 1
            target = self.inner(command, command.get("defaultSubcommand")) or command
            positional = [argument for argument in target.get("arguments") or [] if argument["kind"] == "positional"]
            if not positional or (places > len(positional) and not positional[-1]["isRepeating"]):
                return f"`{command['commandName']}` does not take {word}"
        return None


def words(top, all_pages, verbs):
    """Commands in the text; in the program's own messages; in the units."""
    def look(name, number, code):
        code = re.sub(r"^(sudo( -u \w+)? )?", "", code)
        if code.startswith("chock "):
            why = verbs.problem(code)
            if why:
                yield name, number, f"`{code}`: {why}"

    for page in all_pages:
        if page.name.startswith("docs/decisions/") or page.name == "CHANGELOG.md":
            continue
        for number, code in page.code():
            yield from look(page.name, number, code)
    for folder, pattern in (("Sources", "**/*.swift"), ("Sources", "**/*.js"), ("systemd", "**/*"), ("docs", "*.toml")):
        for path in sorted((top / folder).glob(pattern)):
            if path.is_file():
                for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                    for code in re.findall(r"`((?:sudo )?chock [^`\n]+)`", line):
                        yield from look(str(path.relative_to(top)), number, code)


def complete(all_pages, verbs):
    """docs/command-line.md has each verb, with each of its options."""
    page = next((page for page in all_pages if page.name == "docs/command-line.md"), None)
    if page is None:
        return
    sections, section = {}, ""
    for _, line in page.prose:
        if line.startswith("#"):
            section = line if line.startswith("### `chock ") else ""
        if section:
            sections[section] = sections.get(section, "") + line + "\n"
    common = set.intersection(*({name for name in verbs.options(command)} for _, command in verbs.all()))
    for path, command in verbs.all():
        text = "".join(body for head, body in sections.items() if re.search(
            rf"`chock {re.escape(path.split()[0])}\b", head) and all(part in body for part in path.split()))
        if not text:
            yield page.name, 1, f"`chock {path}` is missing"
        for name in verbs.options(command):
            if name not in common and name.startswith("--") and name not in text:
                yield page.name, 1, f"`chock {path}` has {name}, which is missing"


def examples(top, all_pages):
    """The changes that are worked through in the text still fit the sources."""
    for page in all_pages:
        for number, language, text in page.blocks:
            if language == "diff":
                run = subprocess.run(["git", "apply", "--check", "-C1"], cwd=top, input=text + "\n",
                                     capture_output=True, text=True)
                if run.returncode:
                    yield page.name, number, f"this change does not fit the sources any more:\n{run.stderr}"


def screens(top, all_pages):
    """What the owners' page quotes of the panel (*in italics*) is what the panel says."""
    panel = (top / "Sources/ControlServer/Assets/en.js")
    page = next((page for page in all_pages if page.name == "docs/owners.md"), None)
    if page is None or not panel.exists():
        return
    said = {re.escape(text.rstrip(".")).replace(r"\{\}", ".+") for text in re.findall(r'"((?:[^"\\]|\\.)+)"', panel.read_text())}
    for number, line in page.prose:
        for words in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", line):
            if not any(re.fullmatch(pattern, words.rstrip(".")) for pattern in said):
                yield page.name, number, f"the panel does not say “{words}”"


# Commands, run.

def commands(page):
    """(line, command, what it is to print or None), block by block; http: (line, request, None)."""
    for number, language, text in page.blocks:
        if language == "console":
            command, start, shown = None, number, []
            for offset, line in enumerate(text.splitlines(), 1):
                if line.startswith("$ "):
                    if command:
                        yield "sh", start, command, shown
                    command, start, shown = line[2:], number + offset, []
                elif line.startswith("> ") and command and not shown:
                    command += "\n" + line[2:]
                elif command:
                    shown.append(line)
            if command:
                yield "sh", start, command, shown
        elif language == "sh":
            waiting, start = "", 0
            for offset, line in enumerate(text.splitlines(), 1):
                if not waiting and (not line.strip() or line.lstrip().startswith("#")):
                    continue
                start = start or number + offset
                waiting += ("\n" if waiting else "") + line
                # A command is whole when a shell finds it so.
                check = subprocess.run(["bash", "-n"], input=waiting + "\n", capture_output=True, text=True)
                if check.returncode == 0 and "here-document" not in check.stderr and not line.endswith("\\"):
                    yield "sh", start, waiting, None
                    waiting, start = "", 0
            if waiting:
                yield "sh", start, waiting, None
        elif language == "http":
            yield "http", number, text, None


# Progress: a phase that is over at once is not told.
PHASES = {"plan", "safety", "quiesce", "snapshot", "rehearse", "apply", "verify", "commit", "restore", "resume", "prove", "done"}

# What differs from one time to the next: ids of snapshots and runs, digests, numbers, and units of sizes and times.
CHANGING = re.compile(
    r"(?P<id>\d{8}T\d{6}Z-[\w-]+)|(?P<hex>\b[0-9a-f]{16,}\b)|(?P<number>(?<![a-z])\d[\d.,:]*(?:(?<=\d)(?: [kMG]?B| s| min| ms)\b)?)")


def expected(line, ids):
    """The pattern of a line that is shown. An id stands for the same thing wherever it stands."""
    pattern, end = "", 0
    for match in CHANGING.finditer(line):
        pattern += re.escape(line[end:match.start()])
        if match["id"]:
            pattern += re.escape(ids[match["id"]]) if match["id"] in ids else r"(\d{8}T\d{6}Z-[\w-]+)"
        elif match["hex"]:
            pattern += "[0-9a-f]{16,}"
        else:
            pattern += r"[\d][\d.,:]*(?: [kMG]?B| s| min| ms)?"
        end = match.end()
    return re.compile(pattern + re.escape(line[end:]) + r"\s*")


def compare(shown, printed, ids):
    """None, or the first line that is not as shown. `...` stands for any lines.

    printed: standard output and standard error. In a terminal they come as they are written, in a pipe they do not.
    """
    streams = [[line.rstrip() for line in text.splitlines() if line.strip() and line.strip() not in PHASES]
               for text in printed]
    places, anywhere = [0, 0], False
    for line in (line for line in shown if line.strip() and line.strip() not in PHASES):
        if line.strip() in ("...", "…"):
            anywhere = True
            continue
        pattern = expected(line, ids)
        found = next(((stream, at) for stream, lines in enumerate(streams)
                      for at in range(places[stream], len(lines) if anywhere else min(places[stream] + 1, len(lines)))
                      if pattern.fullmatch(lines[at])), None)
        if found is None:
            came = [lines[place] for lines, place in zip(streams, places) if place < len(lines)]
            return f"“{line}” is shown, and “{'” or “'.join(came) or 'nothing'}” came"
        stream, at = found
        new = [match["id"] for match in CHANGING.finditer(line) if match["id"] and match["id"] not in ids]
        ids.update(zip(dict.fromkeys(new), dict.fromkeys(pattern.fullmatch(streams[stream][at]).groups())))
        places[stream], anywhere = at + 1, False
    for lines, place in zip(streams, places):
        if place < len(lines) and not anywhere and shown:
            return f"“{lines[place]}” came, and is not shown"
    return None


class Shell:
    """One shell for a page, in which what one command sets is there for the next. A person sits at it, who says yes."""

    def __init__(self, folder, environment):
        self.terminal, self.child = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, pass_fds=[self.child])

    def run(self, command):
        """What it prints, on standard output and standard error, and its exit code; None when it does not end."""
        mark = f"--end-{time.monotonic_ns()}--"
        script = f"{{ {command}\n}} <&{self.child}\nprintf '\\n{mark} %d\\n' $? | tee /dev/stderr\n"
        self.process.stdin.write(script.encode())
        self.process.stdin.flush()
        files = [self.process.stdout, self.process.stderr]
        printed, asked, deadline = [b"", b""], 0, time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            for file in select.select(files, [], [], 0.2)[0]:
                data = os.read(file.fileno(), 65536)
                if not data:
                    return [text.decode(errors="replace") for text in printed], None
                printed[files.index(file)] += data
            ends = [re.search(rf"\n?{mark} (\d+)\n".encode(), text) for text in printed]
            if all(ends):
                # A terminal would show what is typed, on the same line.
                return [re.sub(r"\[y/N\] ?\n?", "[y/N] y\n", text[:end.start()].decode(errors="replace"))
                        for text, end in zip(printed, ends)], int(ends[0][1])
            if sum(text.count(b"[y/N]") for text in printed) > asked:
                os.write(self.terminal, b"y\n")
                asked += 1
        return [text.decode(errors="replace") for text in printed], None

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.terminal)
        os.close(self.child)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Coach:
    """The sample, as `make run` starts it."""

    def __init__(self, chock, folder):
        self.chock, self.folder, self.port, self.process = chock, Path(folder), free_port(), None
        self.sample = self.folder / "coach"
        tools = self.folder / "tools"
        tools.mkdir()
        # What a person has to be root for, the test is, or needs not be: its folders are its own.
        (tools / "sudo").write_text('#!/bin/sh\nwhile [ "$1" = -u ]; do shift 2; done\nexec "$@"\n')
        (tools / "sudo").chmod(0o755)
        (tools / "chock").symlink_to(chock)
        # What `make run` would build is built: it starts the binary that this is about.
        (tools / "swift").write_text(f'#!/bin/sh\ncase "$*" in *--show-bin-path*) echo {tools};; esac\n')
        (tools / "swift").chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SAMPLE_PORT": str(self.port),
                            "SAMPLE_MEGABYTES": "3", "SAMPLE_HOST": "127.0.0.1", "NO_COLOR": "1", "HOME": str(self.folder)}

    def start(self, command):
        """`make run` stays until Ctrl-C: it is left running when it has shown its code."""
        log = open(self.folder / "run.log", "w+")
        self.process = subprocess.Popen(["bash", "-c", command], cwd=TOP, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and self.process.poll() is None:
            text = (self.folder / "run.log").read_text()
            if "simulator: publishing" in text and self.is_safe():
                self.environment["CHOCK_CONFIG"] = str(self.sample / "chock.toml")
                return text
            time.sleep(0.2)
        return (self.folder / "run.log").read_text()

    def ask(self, method, path, headers={}, body=None):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.sample / "chock.sock"))
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def get(self, path):
        try:
            return json.loads(self.ask("GET", path)[1])
        except (OSError, ValueError):
            return {}

    def wait(self, condition, pause=0.1, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < deadline:
            time.sleep(pause)
        return found

    def is_safe(self):
        return self.get("/api/safety").get("is_safe", False)

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)


def value(coach, name):
    """What a word in capitals stands for, which a reader puts in: the newest snapshot, the newest rescue copy."""
    if name == "FOLDER":
        return tempfile.mkdtemp(dir=coach.folder)
    reason = {"SNAPSHOT": "before_update", "ID": "before_restore"}.get(name)
    return next((snapshot["id"] for snapshot in coach.get("/api/database/backups").get("snapshots", [])
                 if snapshot["reason"] == reason), None)


# What has to be so before a command: what a reader has done, or has, at this point.

def owner_updates(coach):
    """Anna pairs her phone, and updates in the panel."""
    def ask(path, body, cookie="", **fields):
        peer = http.client.HTTPConnection("127.0.0.1", coach.port, timeout=30)
        with contextlib.closing(peer):
            peer.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "Cookie": cookie, **fields})
            answer = peer.getresponse()
            answer.read()
            return answer.status, (answer.headers.get("Set-Cookie") or "").partition(";")[0]

    code = json.loads(subprocess.run([coach.chock, "pair", "--json"], env=coach.environment, check=True,
                                     capture_output=True, text=True).stdout)["code"]
    _, cookie = ask("/api/pair", {"code": code, "name": "Anna's phone", "pin": "135790"})
    plan = coach.get("/api/database/plan")["hash"]
    ask("/api/database/update", {"consent": True, "pin": "135790"}, cookie, **{"If-Match": f'"{plan}"'})
    coach.wait(lambda: coach.get("/api/database/history") and not coach.get("/api/database/status")["migration_in_progress"])


def brake_in_the_middle(coach):
    """The worker is stopped when it applies, until the brake is released: no machine is too fast for that."""
    journal = coach.sample / "state/run.json"

    def watch():
        if not coach.wait(lambda: journal.exists() and '"apply"' in journal.read_text(errors="replace"), 0.001):
            return
        processes = subprocess.run(["ps", "-o", "pid=,args=", "-s", str(coach.process.pid)], capture_output=True, text=True)
        own = [int(line.split()[0]) for line in processes.stdout.splitlines() if line.split()[2:3] == ["worker"]]
        for worker in own:
            os.kill(worker, signal.SIGSTOP)
        simulate(coach, "brake", "off")
        coach.wait(lambda: not coach.is_safe())
        for worker in own:
            os.kill(worker, signal.SIGCONT)

    threading.Thread(target=watch, daemon=True).start()


def parked_for_a_while(coach):
    coach.wait(coach.is_safe)


def made_by_dbmate(coach, extra=""):
    """A database of two versions of three, as dbmate leaves it."""
    folder = coach.folder / "own"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "migrations").mkdir(parents=True)
    tables = ["CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT);", "CREATE TABLE place (id INTEGER PRIMARY KEY);",
              "CREATE TABLE note (id INTEGER PRIMARY KEY);"]
    for number, sql in enumerate(tables, 1):
        (folder / f"migrations/2025010{number}120000_change.sql").write_text(f"-- migrate:up\n{sql}\n")
    with contextlib.closing(sqlite3.connect(folder / "app.db")) as database:
        database.executescript("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);"
                               "INSERT INTO schema_migrations VALUES ('20250101120000'), ('20250102120000');"
                               + tables[0] + tables[1] + extra)
    (folder / "chock.toml").write_text(
        f'[database]\npath = "{folder}/app.db"\n[migrations]\ndirectory = "{folder}/migrations"\n'
        f'[state]\ndirectory = "{folder}/state"\n[server]\nsocket = "{folder}/chock.sock"\n')
    return {"CHOCK_CONFIG": str(folder / "chock.toml"), "VERSION": "20250102120000"}


def changed_by_hand(coach):
    return made_by_dbmate(coach, "CREATE TABLE favourite (id INTEGER PRIMARY KEY); CREATE INDEX own ON item (name);")


def simulate(coach, *words):
    subprocess.run([sys.executable, TOP / "Tests/SampleCoach/simulator.py", *words, "--state",
                    coach.sample / "simulator.json"], check=True, capture_output=True)


def silent_chassis(coach):
    """The ignition is off, and nothing is heard any more."""
    simulate(coach, "chassis", "off")
    coach.wait(lambda: all(reading["stale"] for reading in coach.get("/api/safety").get("readings", [])
                           if reading["signal"] in ("parking_brake", "vehicle_speed")))


def old_version(coach):
    """An update is there, and nothing in its way."""
    simulate(coach, "chassis", "on")
    coach.ask("DELETE", "/api/safety/locks/supper")
    if coach.get("/api/database/status").get("current_version") != "3":
        oldest = coach.get("/api/database/backups")["snapshots"][-1]["id"]
        subprocess.run([coach.chock, "restore", oldest, "--yes"], env=coach.environment, capture_output=True)
    coach.wait(coach.is_safe)


def new_version(coach):
    """An update, and what it replaced: there is something to compare and to bring back."""
    old_version(coach)
    subprocess.run([coach.chock, "update", "--yes"], env=coach.environment, capture_output=True)


BEFORE = [
    ("docs/guide.md", r"chock history$", 0, owner_updates),
    ("docs/guide.md", r"chock update --yes", 0, brake_in_the_middle),
    ("docs/guide.md", r"chock update --yes", 2, parked_for_a_while),
    ("docs/adoption.md", r"chock adopt$", 0, made_by_dbmate),
    ("docs/adoption.md", r"chock adopt --at VERSION$", 0, made_by_dbmate),
    ("docs/adoption.md", r"chock adopt --yes$", 0, changed_by_hand),
    ("docs/coach.md", r"chock coach attest", 0, silent_chassis),
    ("docs/protocol.md", r"POST /api/database/update", 0, old_version),
    ("docs/rescue.md", r"chock diff SNAPSHOT live", 0, new_version),
]


def play(coach, page, ids):
    """Runs the commands of a page. Yields what is not as it stands there."""
    home = coach.folder / Path(page.name).stem
    home.mkdir(exist_ok=True)
    places = {"/tmp/chock/.build/debug": str(coach.folder / "tools"), "/tmp/chock": str(TOP), "/tmp/coach": str(coach.sample),
              "/tmp/own": str(coach.folder / "own"), "/media/stick": str(home), ":8765": f":{coach.port}"}
    shell, times, variables = None, {}, {}
    try:
        for kind, number, command, shown in commands(page):
            first = command.split("\n")[0]
            other = next((other for other in ELSEWHERE if other.page == page.name and re.match(other.command, first)), None)
            if other:
                other.is_used = True
                continue
            for name, pattern, at, prepare in BEFORE:
                if name == page.name and re.match(pattern, first):
                    if times.get((pattern, at), 0) == at:
                        variables.update(prepare(coach) or {})
                    times[pattern, at] = times.get((pattern, at), 0) + 1
            for there, here in places.items():
                command = command.replace(there, here)
                shown = shown and [line.replace(there, here) for line in shown]
            for known, own in ids.items():
                command = command.replace(known, own)
            if kind == "http":
                yield from send(coach, page, number, command)
                continue
            if command.startswith("make run "):
                printed = coach.start(command)
                if not coach.is_safe():
                    yield page.name, number, f"{first} did not start:\n{printed[-2000:]}"
                    return
                continue
            command = re.sub(r" \[[A-Z]+\]", "", command.split(" #")[0] if "\n" not in command else command)
            for name in dict.fromkeys(re.findall(r"(?<![\w$/=.-])(SNAPSHOT|ID|FOLDER|VERSION)(?=\s|$)", command)):
                found = variables.get(name) or value(coach, name)
                if not found:
                    yield page.name, number, f"{first}: nothing here is a {name}"
                command = re.sub(rf"(?<![\w$/=.-]){name}(?=\s|$)", found or name, command)
            shell = shell or Shell(home, coach.environment)
            if "CHOCK_CONFIG" in variables:
                shell.run(f"export CHOCK_CONFIG={variables.pop('CHOCK_CONFIG')}")
            printed, code = shell.run(command)
            if code is None:
                yield page.name, number, f"{first} did not end:\n{''.join(printed)[-1500:]}"
                shell.close()
                shell = None
                continue
            # What is shown may be a failure; else a command ends well, and `diff` says with 1 that there is a difference.
            if not shown and code and not (code == 1 and first.startswith("chock diff ")):
                yield page.name, number, f"{first} ended with {code}:\n{''.join(printed)[-1500:]}"
            elif shown:
                why = compare(shown, printed, ids)
                if why:
                    yield page.name, number, f"{first}: {why}\n{''.join(printed)[-3000:]}"
    finally:
        if shell:
            shell.close()


def send(coach, page, number, text):
    """A request as it stands there; the number of a plan is that of the plan here."""
    head, _, body = text.partition("\n\n")
    if not body and "\n{" in head:
        head, _, rest = head.partition("\n{")
        body = "{" + rest
    line, *fields = head.splitlines()
    method, path = line.split()[:2]
    headers = dict(field.split(": ", 1) for field in fields)
    headers.setdefault("Content-Type", "application/json")
    if "If-Match" in headers:
        headers["If-Match"] = f'"{coach.get("/api/database/plan").get("hash")}"'
    status, answer = coach.ask(method, path, headers, body or None)
    if status // 100 != 2:
        yield page.name, number, f"{line} was answered with {status}: {answer[:500]}"


def unneeded(all_pages, top):
    for other in ELSEWHERE:
        if not other.is_used:
            yield other.page, 0, f"no command is like {other.command}, which is not run here ({other.why}): remove the exception"
        elif not (top / other.file).exists() or other.words not in (top / other.file).read_text():
            yield other.page, 0, f"{other.command} is not run here ({other.why}), and {other.file} does not have “{other.words}”"


# The checks can fail.

BROKEN = """# Broken

See [nothing](nothing.md), [a heading](#broken) and [none](#none), `Sources/Nothing.swift`, `make nothing`,
`chock doctor --integrity` and `chock doctor --full`, `chock snapshots keep ID`, `chock restore A B`.
<img src="nothing.png" alt="Nothing">

```
chock status
```

```text
sudo rm -r /
```

```sh
true
false
```

```diff
--- a/docs/command-line.md
+++ b/docs/command-line.md
@@ -1,1 +1,1 @@
-What is not there.
+What will not be.
```

```console
$ echo 1 of 20261121T192931Z-v3-9f5e
7 of 20260101T000000Z-v1-0000
$ echo done
gone
$ printf 'one\\ntwo\\n'
one
```
"""


def can_fail(verbs):
    """What these checks find in a page in which all of it is wrong, and in nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "docs").mkdir()
        (top / "Makefile").write_text("test:\n")
        (top / "docs/broken.md").write_text(BROKEN)
        (top / "docs/owners.md").write_text("Press *Update*, then *Go away*; *Restored to version 3.*\n")
        (top / "Sources/ControlServer/Assets").mkdir(parents=True)
        (top / "Sources/ControlServer/Assets/en.js").write_text('{a: "Update", b: "Restored to version {}."}')
        (top / "docs/command-line.md").write_text("### `chock doctor`\nWithout its option.\n")
        all_pages = pages(top)
        coach = Coach(verbs.chock, tempfile.mkdtemp(dir=folder))
        # An id that was seen is the same everywhere: here it is another.
        ids = {"20260101T000000Z-v1-0000": "20260101T000000Z-v1-0001"}
        found = [why for check in (
            links(top, all_pages), words(top, all_pages, verbs), complete(all_pages, verbs), examples(top, all_pages),
            screens(top, all_pages), play(coach, all_pages[0], ids))
            for _, _, why in check]
    wanted = ["nothing.md leads to nothing", "nothing.png leads to nothing", "#none names a heading", "no Sources/Nothing.swift", "Makefile has no nothing",
              "has to say what it is", "in a block that nobody runs", "no option --full", "does not take keep",
              "does not take B", "`chock doctor` has --integrity, which is missing", "`chock update` is missing",
              "does not fit the sources", "does not say “Go away”", "false ended with 1", "is shown, and “1 of", "“gone” is shown", "“two” came, and is not shown"]
    for what in wanted:
        if not any(what in why for why in found):
            yield "Tests/Docs/docs.py", 0, f"a mistake was not found: {what}"
    extra = [why for why in found if not any(what in why for what in wanted) and not why.startswith("`chock ")]
    if extra:
        yield "Tests/Docs/docs.py", 0, f"more was found than is wrong: {extra}"


def main():
    chock = str(Path(sys.argv[1]).resolve())
    chosen = sys.argv[2:]
    began = time.monotonic()
    all_pages = pages(TOP)
    verbs = Verbs(chock)
    verbs.chock = chock
    problems = [*links(TOP, all_pages), *words(TOP, all_pages, verbs), *complete(all_pages, verbs), *examples(TOP, all_pages),
                *screens(TOP, all_pages), *can_fail(verbs)]
    count = 0
    with tempfile.TemporaryDirectory(prefix="chock-docs-") as folder:
        coach = Coach(chock, folder)
        ids = {}
        try:
            # The guide starts the coach on which the others are run.
            order = sorted(all_pages, key=lambda page: page.name != "docs/guide.md")
            for page in order:
                if page.name.startswith("docs/decisions/") or (chosen and page.name not in [*chosen, "docs/guide.md"]):
                    continue
                count += len(list(commands(page)))
                problems += play(coach, page, ids)
        finally:
            coach.stop()
    if not chosen:
        problems += unneeded(all_pages, TOP)
    for name, number, why in problems:
        print(f"{name}:{number}: {why}")
    print(f"{len(all_pages)} pages and {count} commands in {time.monotonic() - began:.0f} s, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

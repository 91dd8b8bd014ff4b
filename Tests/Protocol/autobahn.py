#!/usr/bin/env python3
"""Lets the Autobahn test suite talk RFC 6455 to chock's server, with an echo in place of its events.

The suite is of Python 2.7. Where the machine has none, that of Debian 11 is unpacked into a temporary folder,
without installing it; the suite comes from PyPI.

    autobahn.py ECHO [CASE...]       ECHO is the program WebSocketEcho; a case may end with *
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, and auto-fragmentation. The others
# are about speed (9) and compression (12, 13), which chock does not have.
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
SUITE = "autobahntestsuite==0.8.2"
# The newest that makes environments for Python 2.7.
VIRTUALENV = "virtualenv==20.15.1"
# With a key of Debian that the machine has.
ARCHIVE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main"
PACKAGES = ["python2.7-minimal", "libpython2.7-minimal", "libpython2.7-stdlib", "libssl1.1", "libffi7"]


class Impossible(Exception):
    """The machine cannot run the suite."""


def run(*command, **options):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise Impossible(f"{command[0]} ended with {result.returncode}: {result.stderr.strip()[-300:]}")
    return result.stdout


def old_python(folder):
    """A Python 2.7: the machine's, or one that is unpacked; and the environment that it needs."""
    candidates = [shutil.which("python2.7"), *map(str, Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))]
    for path in filter(None, candidates):
        if subprocess.run([path, "-c", "import ssl, zlib"], capture_output=True).returncode == 0:
            return path, dict(os.environ)
    if not shutil.which("apt-get"):
        raise Impossible("there is no Python 2.7, and no apt-get to get one")
    print("Unpacking Python 2.7 ...", flush=True)
    for name in ("lists/partial", "archives/partial"):
        (folder / "apt" / name).mkdir(parents=True)
    (folder / "apt/sources.list").write_text(ARCHIVE + "\n")
    options = [word for option in (
        f"Dir::Etc::SourceList={folder}/apt/sources.list", "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={folder}/apt/lists", f"Dir::Cache={folder}/apt",
        "APT::Sandbox::User=") for word in ("-o", option)]
    run("apt-get", *options, "update")
    run("apt-get", *options, "download", *PACKAGES, cwd=folder)
    for package in folder.glob("*.deb"):
        run("dpkg", "-x", package, folder / "root")
    libraries = ":".join(str(path) for path in folder.glob("root/usr/lib/*-linux-*"))
    return folder / "root/usr/bin/python2.7", os.environ | {"LD_LIBRARY_PATH": libraries}


def install(folder):
    """The suite's program, and the environment that it needs."""
    python, environment = old_python(folder)
    print("Installing the Autobahn test suite ...", flush=True)
    run(sys.executable, "-m", "venv", folder / "tools")
    run(folder / "tools/bin/pip", "install", "--quiet", "--disable-pip-version-check", VIRTUALENV)
    run(folder / "tools/bin/virtualenv", "--quiet", "--no-periodic-update", "-p", python, folder / "suite",
        env=environment)
    run(folder / "suite/bin/pip", "install", "--quiet", "--disable-pip-version-check", SUITE,
        env=environment)
    return folder / "suite/bin/wstest", environment


def play(echo, cases, folder):
    wstest, environment = install(folder)
    server = subprocess.Popen([echo], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        (folder / "spec.json").write_text(json.dumps({
            "outdir": str(folder / "reports"), "cases": cases, "exclude-cases": [],
            "exclude-agent-cases": {},
            "servers": [{"agent": "chock", "url": f"ws://127.0.0.1:{port}/ws"}]}))
        run(wstest, "-m", "fuzzingclient", "-s", folder / "spec.json", cwd=folder, timeout=600,
            env=environment)
    finally:
        server.terminate()
        server.wait()
    return json.loads((folder / "reports/index.json").read_text())["chock"]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="chock-autobahn-") as folder:
        try:
            results = play(Path(sys.argv[1]).resolve(), sys.argv[2:] or CASES, Path(folder))
        except (Impossible, OSError) as error:
            print(f"skipped: the Autobahn test suite ({error})")
            return 0
        failures = 0
        for case in sorted(results, key=lambda name: [int(part) for part in name.split(".")]):
            result = results[case]
            # To close in another way than asked is a fault, too.
            if not {result["behavior"], result["behaviorClose"]} <= {"OK", "INFORMATIONAL"}:
                failures += 1
                print(f"  FAILED: case {case}: {result['behavior']}, closing {result['behaviorClose']}")
                report = json.loads((Path(folder) / "reports" / result["reportfile"]).read_text())
                print(f"    {report['description'][:200]}\n    expected {str(report['expected'])[:300]}")
                print(f"    received {str(report['received'])[:300]}\n    {report['resultClose']}")
        print(f"{len(results)} cases of the Autobahn test suite, {failures} failed")
        return 1 if failures or not results else 0


if __name__ == "__main__":
    sys.exit(main())

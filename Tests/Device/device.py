#!/usr/bin/env python3
"""chock on a booted device: systemd as the first process, a controller that is a unit, a CAN bus, and power that
can be cut.

A second kernel (user-mode-linux) boots a small Debian as an ordinary process. chock's package is installed there,
and a program in there does what the scenes ask for.

    device.py CHOCK [SCENE...]
"""

import functools
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

TOP = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import checks  # noqa: E402
from checks import check  # noqa: E402
# Debian, unpacked once. It is not part of the project, and `make clean` removes it.
SYSTEM = TOP / ".build/device"
PACKAGES = {"linux.uml": "user-mode-linux", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs",
            "dpkg-shlibdeps": "dpkg-dev"}
INSIDE = ("systemd,systemd-sysv,dbus,libpam-systemd,polkitd,udev,iproute2,kmod,can-utils,sqlite3,libsqlite3-0,curl,"
          "dosfstools,python3-minimal,libpython3-stdlib")
PIN = "271828"
RELEASED = "19FFF49C#C02B0032FCFD7E7E"
DATABASE = "/var/lib/coachiq/database/coachiq.db"
WRITTEN = "/var/lib/coachiq/written"


def run(*command, **options):
    try:
        return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True,
                              **options).stdout
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        raise


# The image.

def missing():
    """Why there can be no second kernel, after trying to install it; None when there can."""
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    os.environ["PATH"] = search
    wanted = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if os.getuid() != 0:
        return "only root can make a system for it"
    if wanted:
        if not shutil.which("apt-get"):
            return f"{' '.join(wanted)} missing"
        print(f"Installing {' '.join(wanted)} ...", flush=True)
        for command in (["update", "-q"], ["install", "-y", "-q", *wanted]):
            subprocess.run(["apt-get", *command], capture_output=True)
    wanted = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if wanted:
        return f"{' '.join(wanted)} cannot be installed"
    try:
        debian()
    except subprocess.CalledProcessError:
        return f"Debian cannot be unpacked: {SYSTEM / 'debian.log'}"
    return None


def debian():
    """The folder with an unpacked Debian, which has these packages."""
    system, contents = SYSTEM / "debian", SYSTEM / "packages"
    if not system.exists() or not contents.exists() or contents.read_text() != INSIDE:
        print("Unpacking Debian (a minute or two) ...", flush=True)
        SYSTEM.mkdir(parents=True, exist_ok=True)
        for folder in (system, SYSTEM / "debian.new"):
            shutil.rmtree(folder, ignore_errors=True)
        with open(SYSTEM / "debian.log", "w") as log:
            subprocess.run(["mmdebstrap", "--variant=minbase", f"--include={INSIDE}", "bookworm",
                            str(SYSTEM / "debian.new")], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        (SYSTEM / "debian.new").rename(system)
        contents.write_text(INSIDE)
    return system


def package(chock, folder, revision):
    """The package of this binary."""
    # One that nobody keeps need not be small; and of a debug build's libraries no package knows.
    environment = os.environ | {"REVISION": str(revision), "COMPRESSION": "none", "LOOSE": "1"}
    words = run(TOP / "systemd/debian/build.sh", chock, folder / f"package-{revision}", env=environment)
    return Path(words.splitlines()[-1])


def image(chock, folder, megabytes=3):
    """A disk with Debian, chock's package, a controller and its database of version 3."""
    root = folder / "root"
    run("cp", "-a", debian(), root)
    # A binary that is not static brings the libraries of Swift along.
    for library in re.findall(r"=> (/\S+)", run("ldd", chock)):
        if not library.startswith(("/lib/", "/usr/lib/")):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    shutil.copy(package(chock, folder, 1), root / "chock.deb")
    run("chroot", root, "dpkg", "--install", "/chock.deb")
    (root / "chock.deb").unlink()
    security = subprocess.run(["chroot", root, "systemd-analyze", "security", "--no-pager", "--offline=true",
                               "--threshold=12", "/usr/lib/systemd/system/chock.service"], capture_output=True, text=True)
    check("the unit is as closed as it says: 1.2", security.returncode == 0, security.stdout + security.stderr)
    shutil.copytree("/usr/lib/uml/modules", root / "usr/lib/modules", dirs_exist_ok=True)
    shutil.copytree(TOP / "migrations", root / "usr/share/coachiq/migrations")
    (root / "var/lib/coachiq/database").mkdir(parents=True)
    run(TOP / "Tests/SampleCoach/make-sample-coach.sh", root / DATABASE[1:], str(megabytes), "3")
    shutil.copy(TOP / "Tests/SampleCoach/writer.py", root / "usr/lib/writer.py")
    for kind, place in {"toml": "etc/chock", "sh": "usr/lib", "service": "usr/lib/systemd/system"}.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        for file in HERE.glob(f"*.{kind}"):
            shutil.copy(file, root / place)
    # As coach.md says.
    (root / "etc/systemd/system/chock.service.d").mkdir(parents=True)
    (root / "etc/systemd/system/chock.service.d/can.conf").write_text("[Service]\nRestrictAddressFamilies=AF_CAN\n")
    for command in (["chown", "-R", "coachiq:coachiq", "/var/lib/coachiq"],
                    ["systemctl", "enable", "coachiq", "coach", "device"]):
        run("chroot", root, *command)
    disk = folder / "disk.img"
    run("mke2fs", "-q", "-t", "ext4", "-d", root, disk, "1200M")
    shutil.rmtree(root)
    return disk


class Device:
    """A machine with a disk of its own that begins as the image."""

    def __init__(self, name, memory="512M"):
        self.folder, self.memory, self.boots = FOLDER / name, memory, 0
        self.folder.mkdir()
        self.kernel = None

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            # Nobody leaves what was never entered.
            self.cut()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.off()
            return
        if kind is not SystemExit:
            print(self.word())
        self.cut()

    def boot(self):
        self.boots += 1
        self.host, self.calls = self.folder / f"host-{self.boots}", 0
        self.host.mkdir()
        with open(self.folder / "console", "a") as console:
            self.kernel = subprocess.Popen(
                ["linux.uml", f"mem={self.memory}", f"ubd0={self.folder}/disk.cow,{DISK}", "root=/dev/ubda", "rw",
                 "con=null", "con0=null,fd:1", "con1=null", "ssl=null", "quiet", f"uml_dir={self.folder}",
                 f"device.host={self.host}"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        self.wait("it has booted", lambda: (self.host / "up").exists(), 180)

    def wait(self, what, condition, seconds=120):
        """Returns once it is so; a failure, and the end of the scene, when it does not become so."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.kernel.poll() is not None:
                check(what, False, (self.folder / "console").read_text(errors="replace"))
                raise TimeoutError(what)
            time.sleep(0.01)
        check(what, True)

    def begin(self, script):
        """Has the script run in there; returns where its output and its end will be."""
        call, self.calls = self.host / str(self.calls), self.calls + 1
        new = call.with_suffix(".new")
        new.write_text(script)
        new.rename(call.with_suffix(".sh"))
        return call

    def run(self, script, seconds=120):
        """Runs it to its end: its exit code and its output."""
        call = self.begin(script)
        deadline = time.monotonic() + seconds
        while not call.with_suffix(".end").exists():
            if time.monotonic() > deadline or self.kernel.poll() is not None:
                raise TimeoutError(f"{script}: {(self.folder / 'console').read_text(errors='replace')[-1500:]}")
            time.sleep(0.05)
        return int(call.with_suffix(".end").read_text()), call.with_suffix(".out").read_text(errors="replace")

    def out(self, script):
        return self.run(script)[1].strip()

    def word(self):
        """What a person wants to see of a scene that went wrong."""
        try:
            return self.run("date; cat /run/coach/answer; chock status; systemctl --no-pager status chock coachiq "
                            "coach; journalctl --no-pager -u chock -n 40", 20)[1]
        except (TimeoutError, OSError):
            return (self.folder / "console").read_text(errors="replace")[-1500:]

    def cut(self):
        """The power is gone."""
        if self.kernel and self.kernel.poll() is None:
            os.killpg(self.kernel.pid, signal.SIGKILL)
            self.kernel.wait()

    def off(self):
        try:
            self.begin("systemctl poweroff --no-block")
            self.kernel.wait(90)
        except subprocess.TimeoutExpired:
            check("it can be switched off", False, (self.folder / "console").read_text(errors="replace")[-1500:])
            self.cut()

    # What the scenes ask.

    def status(self):
        code, text = self.run("chock status --json")
        try:
            return json.loads(text)
        except ValueError:
            return {"failed": f"{code} {text}"}

    def park(self):
        self.wait("the coach is safe", lambda: self.status().get("is_safe_to_migrate"), 60)

    def ready(self):
        self.wait("chock is ready", lambda: self.out("systemctl is-active chock") == "active")

    def drive_off(self):
        self.run(f"echo {RELEASED} >/run/coach/frame; cansend vcan0 {RELEASED}")

    def adopt(self):
        # At its start it looks for an interrupted run.
        self.ready()
        code, text = self.run("runuser -u coachiq -- chock adopt --at 3 --yes")
        check("it is adopted", code == 0, text)

    def consent(self):
        """An owner pairs a browser, reads the plan, and says yes over HTTP: the id of the run."""
        code, text = self.run(f"""
ask() {{ curl -sS -b /tmp/jar -c /tmp/jar -H Content-Type:application/json -H Host:127.0.0.1:8765 "$@"; }}
at=http://127.0.0.1:8765/api
[ -e /tmp/jar ] || ask $at/pair -d "{{\\"code\\":\\"$(chock pair --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["code"])')\\",\\"name\\":\\"phone\\",\\"pin\\":\\"{PIN}\\"}}" >/tmp/paired
for try in 1 2 3 4 5 6 7 8 9 10; do
hash=$(ask $at/database/plan | python3 -c 'import json,sys; print(json.load(sys.stdin)["hash"])')
ask $at/database/update -H "If-Match: \\"$hash\\"" -d "{{\\"consent\\":true,\\"pin\\":\\"{PIN}\\"}}" >/tmp/answer
# On a busy machine a reading may be too old just now.
grep -q CHK-GATE-CLOSED /tmp/answer || break
sleep 1
done
cat /tmp/answer
""")
        try:
            return json.loads(text.splitlines()[-1])["id"]
        except (ValueError, KeyError, IndexError):
            check("the consent is taken", False, text + self.out("cat /tmp/paired"))
            raise

    def ended(self, run, seconds=180):
        """How the run ended."""
        found = {}

        def is_over():
            found.update(self.status().get("run") or {})
            return found.get("id") == run and found.get("outcome")
        self.wait("the run ends", is_over, seconds)
        return found

    def judge(self, version, after_cut=False):
        """The database is whole, of that version, used by its controller, and has every row that the controller got an
        OK for; after a power cut, every one that had been synced."""
        status = self.status()
        check(f"it is at version {version}", status.get("current_version") == version, status)
        check("the controller runs", self.out("systemctl is-active coachiq") == "active")
        check("the database is sound", self.out(f"sqlite3 {DATABASE} 'PRAGMA integrity_check'") == "ok")
        written = self.synced if after_cut else self.out(f"cat {WRITTEN}").splitlines()
        there = set(self.out(f"sqlite3 {DATABASE} 'SELECT event_id FROM notifications'").splitlines())
        gone = [line for line in written if line not in there]
        check("no row is lost", not gone, f"{len(gone)} of {len(written)}: {gone[:5]}")
        check("the controller has written", len(written) > 5, written)


# The scenes.

def update(device):
    """An owner's yes over HTTP, with a bus that says parked, a controller that is stopped and started, and its log."""
    device.adopt()
    device.park()
    before = device.out("systemctl show -P MainPID coachiq")
    run = device.consent()
    result = device.ended(run)
    check("it is updated", result["outcome"] == "committed", result)
    device.judge("19")
    check("the controller was started again", device.out("systemctl show -P MainPID coachiq") != before)
    text = device.out(f"journalctl -x CHOCK_RUN={run}")
    for words in ("chock has begun a run", "chock has done what it was asked for"):
        check(f"the journal explains: {words}", words in text, text)
    code, text = device.run("runuser -u coachiq -- systemctl stop --no-ask-password device")
    check("no other unit obeys", code != 0, text)
    check("nothing is failed", "0 loaded" in device.out("systemctl --failed"), device.out("systemctl --failed"))


TAKEN_BACK = ("rolled_back", "refused")


def begun(device, phase="apply"):
    """An update to version 20, which takes a while to apply, is in this phase: the id of the run."""
    # Adoption tries every file that there is.
    device.adopt()
    device.run("cat > /usr/share/coachiq/migrations/0020_slow.sql <<'.'\n-- Description: Count for a while\n-- @migrate\n"
               "CREATE TABLE slow AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000000) "
               "SELECT max(x) AS x FROM n;\n.\nsystemctl restart chock")
    device.park()
    device.synced = device.out(f"cat {WRITTEN}; sync").splitlines()
    # Some phases are over before anybody could ask for the status.
    device.run(f"""(python3 -c 'import re, time
while True:
    try:
        with open("/var/lib/chock/run.json") as file:
            if re.search("^  .phase. ?: .{phase}.,?$", file.read(), re.M): break
    except OSError: pass
    time.sleep(0.002)'
touch /host/caught) >/dev/null 2>&1 &""")
    run = device.consent()
    device.wait(f"the phase {phase}", lambda: (device.host / "caught").exists(), 300)
    return run


def driving_off(device):
    """The brake is released while the update is applied."""
    run = begun(device)
    device.drive_off()
    result = device.ended(run)
    check("it is taken back", result["outcome"] in TAKEN_BACK, result)
    device.judge("3")


def stop(device):
    """The service is stopped in the middle, and started again."""
    run = begun(device)
    code, text = device.run("systemctl stop chock")
    check("it stops", device.out("systemctl show -P Result chock") == "success", text)
    device.run("systemctl start chock")
    check("it is taken back", device.ended(run)["outcome"] in TAKEN_BACK)
    device.judge("3")


def watchdog(device):
    """A daemon that stands still is ended by systemd, and its run put back by the next one."""
    device.run("mkdir -p /run/systemd/system/chock.service.d; printf '[Service]\\nWatchdogSec=15\\n' "
               "> /run/systemd/system/chock.service.d/w.conf; systemctl daemon-reload")
    run = begun(device)
    device.run("kill -STOP $(systemctl show -P MainPID chock)")
    device.wait("systemd starts it again", lambda: device.out("systemctl show -P NRestarts chock") == "1", 180)
    device.ready()
    check("it is taken back", device.ended(run)["outcome"] in TAKEN_BACK)
    device.judge("3")


def memory(device):
    """What takes too much memory is killed, and the database put back."""
    run = begun(device)
    device.run("systemctl set-property --runtime chock MemoryMax=8M MemorySwapMax=0")
    device.wait("the kernel kills", lambda: "oom_kill 0" not in device.out(
        "cat /sys/fs/cgroup/system.slice/chock.service/memory.events; systemctl is-active chock"))
    device.run("systemctl set-property --runtime chock MemoryMax=200M; systemctl is-active chock || systemctl start chock")
    result = device.ended(run)
    check("it is taken back", result["outcome"] in TAKEN_BACK, result)
    device.judge("3")


def full_disk(device):
    """The card is full to its last block while the update is applied."""
    run = begun(device)
    device.run("dd if=/dev/zero of=/var/fill bs=1M; dd if=/dev/zero of=/var/fill2 bs=1k; sync")
    result = device.ended(run, 300)
    device.run("rm /var/fill /var/fill2")
    is_new = result["outcome"] == "committed"
    check("it is told", is_new or result["outcome"] in TAKEN_BACK, result)
    device.judge("20" if is_new else "3")


def read_only(device):
    """The card can only be read from one moment to the next, as after an error of it; then somebody pulls the plug."""
    run = begun(device)
    device.run("echo u >/proc/sysrq-trigger; sleep 5")
    device.cut()
    after_cut(device, run)


def clock(device):
    """The clock jumps while the update is applied: a Pi without a battery for it, and a wrong time server."""
    run = begun(device)
    device.run("date -s 1970-01-02; sleep 2; date -s 2099-12-31; sleep 2; date -s '@%d'" % time.time())
    result = device.ended(run)
    is_new = result["outcome"] == "committed"
    check("it is told", is_new or result["outcome"] in TAKEN_BACK, result)
    device.judge("20" if is_new else "3")


def upgrade(device):
    """A newer package is installed while the update is applied."""
    run = begun(device)
    before = device.out("systemctl show -P MainPID chock")
    newer = package(CHOCK, FOLDER, 2)
    shutil.copy(newer, device.host / "chock.deb")
    code, text = device.run("dpkg --install /host/chock.deb")
    check("it installs", code == 0, text)
    device.wait("the daemon is started again",
                lambda: device.out("systemctl show -P MainPID chock") not in (before, "0"))
    device.ready()
    result = device.ended(run)
    is_new = result["outcome"] == "committed"
    check("it is told", is_new or result["outcome"] in TAKEN_BACK, result)
    check("the newer package is there", device.out("dpkg-query -W -f '${Version} ${Status}' chock")
          == f"{newer.name.split('_')[1]} install ok installed")
    # Of a file that has been replaced, it would say "(deleted)".
    check("the daemon is the newer one",
          device.out("readlink /proc/$(systemctl show -P MainPID chock)/exe") == "/usr/bin/chock")
    device.judge("20" if is_new else "3")


def after_cut(device, run):
    device.boot()
    device.ready()
    found = device.ended(run)
    is_new = found["outcome"] == "committed"
    check("it is told", is_new or found["outcome"] in (*TAKEN_BACK, "restored"), found)
    device.judge("20" if is_new else "3", after_cut=True)


def power(device, phase):
    run = begun(device, phase)
    device.cut()
    after_cut(device, run)


LABEL = "COACH-COPY"
# As operations.md has it set up.
MANUAL = (TOP / "docs/operations.md").read_text()
FSTAB = re.search(rf"`(LABEL={LABEL} (/mnt/\S+) vfat [^`]*)`", MANUAL)
STICK = FSTAB[2]
PULLED = re.search(r"`(\w+=\w+)` in `(\[Mount\])` of `(\S+)/(\S+)`", MANUAL)


def stick(device):
    """A USB stick with FAT, as operations.md has it set up, and a share: copied to, filled, pulled in the middle,
    restored from, asking for recovery mode, and silent. The stick is a SCSI disk of the kernel's that can be taken out
    and put in; the share is a mount in memory: nothing here is a network."""
    code, text = device.run(f"""set -e
modprobe sd_mod; modprobe scsi_debug dev_size_mb=48 delay=0; udevadm settle
mkfs.vfat -n {LABEL} /dev/sda; udevadm trigger --settle /dev/sda
echo '{FSTAB[1]}' >>/etc/fstab
mkdir -p {PULLED[3]}; printf '%s\n' '{PULLED[2]}' {PULLED[1]} >{PULLED[3]}/{PULLED[4]}
mkdir -p /mnt/share; mount -t tmpfs -o uid=coachiq share /mnt/share
systemctl daemon-reload; systemctl start local-fs.target; findmnt -t autofs {STICK}""")
    check("the stick is set up", code == 0, text)

    def places(table):
        device.run("sed -i '/^#places/,$d' /etc/chock/chock.toml; cat >>/etc/chock/chock.toml <<'.'\n#places\n"
                   f"{table}\n.\nsystemctl restart chock")
        device.ready()

    def place(name=STICK):
        return next((each for each in device.status().get("copies", []) if each["place"] == name), {})

    def copies(folder=f"{STICK}/chock-snapshots"):
        return [name[:-7] for name in device.out(f"ls {folder}").splitlines() if name.endswith(".sqlite")]

    def take():
        code, text = device.run("chock snapshots take --json")
        try:
            return json.loads(text.splitlines()[-1])["snapshot_id"]
        except (ValueError, KeyError, IndexError):
            check("a snapshot is taken", False, f"{code} {text}")
            raise

    def copied(id, name=STICK, root=None):
        device.wait(f"it is copied to {name}", lambda: id in copies(f"{root or name}/chock-snapshots")
                    and not place(name).get("is_copying"), 400)
        check("nothing is amiss with it", not place(name).get("problem"), place(name))

    device.adopt()
    paths = f'[[snapshots.copies]]\npath = "{STICK}"\nkeep_at_least = 2\ntimeout_seconds = 300\n'
    places(paths + '[[snapshots.copies]]\npath = "/mnt/share"')
    first = take()
    for name in (STICK, "/mnt/share"):
        copied(first, name)
        check("it is the same there", "OK" in device.out(
            f"echo $(sha256sum </var/lib/chock/snapshots/{first}.sqlite) | sed 's| .*|  {name}/chock-snapshots/{first}"
            ".sqlite|' | sha256sum -c"))
    check("it is FAT", "vfat" in device.out(f"findmnt -n -o FSTYPE -T {STICK}/chock-snapshots"))

    # Full: the oldest goes, the newest comes. The snapshots grow as the controller writes.
    device.run(f"dd if=/dev/zero of={STICK}/other bs=1M count=30")
    ids = [take() for _ in range(5)]
    device.run("chock snapshots copy", 400)
    copied(ids[-1])
    check("the oldest were given up", first not in copies() and ids[-1] in copies() and len(copies()) >= 2, copies())
    check("the share has all", len(copies("/mnt/share/chock-snapshots")) == 6)
    device.run(f"rm {STICK}/other")

    # Pulled in the middle of a copy.
    device.run("echo 30 >/sys/bus/pseudo/drivers/scsi_debug/delay")
    pulled = take()
    device.wait("it is being copied", lambda: ".partial" in device.out(f"ls {STICK}/chock-snapshots"), 120)
    device.run("echo 1 >/sys/block/sda/device/delete")
    device.wait("it is told", lambda: place().get("problem"), 400)
    check("as a place that is not there", place()["problem"]["code"] == "CHK-COPY-PLACE", place())
    code, text = device.run("chock status")
    check("the status says so", STICK in text, text)
    check("chock lives", device.out("systemctl show -P NRestarts chock") == "0")
    device.wait("the share has it", lambda: pulled in copies("/mnt/share/chock-snapshots"), 400)
    # Put in again.
    device.run("echo 0 >/sys/bus/pseudo/drivers/scsi_debug/delay; "
               "for host in /sys/class/scsi_host/*; do echo '- - -' >$host/scan; done; udevadm settle")
    device.wait("it is there again", lambda: device.run(f"ls {STICK}/chock-snapshots")[0] == 0, 120)
    code, text = device.run("chock snapshots copy", 400)
    check("it is copied to again", code == 0, text)
    copied(pulled)
    check("nothing is left of what was begun", ".partial" not in device.out(f"ls {STICK}/chock-snapshots"))
    check("what is there is whole", device.out(
        f"sha256sum <{STICK}/chock-snapshots/{pulled}.sqlite") == device.out(
        f"sha256sum </var/lib/chock/snapshots/{pulled}.sqlite"))

    # By its label, where it is mounted; the unit may not mount it.
    places(f'[[snapshots.copies]]\nlabel = "{LABEL}"\nkeep_at_least = 2')
    newest = take()
    device.run("chock snapshots copy", 400)
    copied(newest, LABEL, STICK)
    device.run(f"systemctl stop $(systemd-escape -p --suffix=automount {STICK}) "
               f"$(systemd-escape -p --suffix=mount {STICK})")
    code, text = device.run("chock snapshots copy")
    check("where it is not, it is said what to do", code == 75 and "/etc/fstab" in text, text)

    # On a new card.
    device.run("rm -r /var/lib/chock/snapshots; systemctl restart chock")
    device.ready()
    device.park()
    code, text = device.run(f"chock snapshots list --from /mnt/share; chock restore --from /mnt/share:{first} --yes", 300)
    check("it is brought back", code == 0, text)
    code, text = device.run(f"systemctl start local-fs.target; chock restore --from {STICK}:{newest} --yes", 300)
    check("also from the stick", code == 0, text)
    check("it is what it was", device.status().get("current_version") == "3", device.status())

    # A technician asks for recovery mode.
    for ask, end in ((f"umount {STICK}; fatlabel /dev/sda CHOCK_RECOV; udevadm trigger --settle /dev/sda",
                      f"fatlabel /dev/sda {LABEL}; udevadm trigger --settle /dev/sda"),
                     ("mkdir -p /boot/firmware; touch /boot/firmware/CHOCK_RECOVERY",
                      "rm /boot/firmware/CHOCK_RECOVERY")):
        device.run(f"{ask}; systemctl restart chock")
        device.ready()
        check("it is in recovery mode", device.status().get("mode") == "recovery", device.status())
        check("and stays there", device.run("chock recover --leave")[0] != 0)
        code, text = device.run(f"{end}; chock recover --leave")
        check("until its cause is gone", code == 0 and device.status().get("mode") != "recovery", text)

    # It does not answer: longer than anybody waits.
    places(paths.replace("300", "20"))
    device.run("echo 3000 >/sys/bus/pseudo/drivers/scsi_debug/delay")
    take()
    device.wait("it is told", lambda: place().get("problem"), 180)
    check("as too slow", "too slow" in place()["problem"]["message"], place())
    check("chock lives", device.out("systemctl show -P NRestarts chock") == "0")
    device.run("echo 0 >/sys/bus/pseudo/drivers/scsi_debug/delay", 180)
    places(paths)
    code, text = device.run("chock snapshots copy", 400)
    check("it is copied to again", code == 0, text)


SCENES = {scene.__name__: scene for scene in (
    update, driving_off, stop, watchdog, memory, full_disk, read_only, clock, upgrade, stick)}
SCENES |= {f"power_{phase}": functools.partial(power, phase=phase) for phase in (
    "quiesce", "snapshot", "rehearse", "apply", "verify", "commit", "resume", "prove")}


def main():
    global CHOCK, FOLDER, DISK
    # The kernels must not live on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if why := missing():
        print(f"skipped: the device ({why})")
        return 0
    names = sys.argv[2:] or list(SCENES)
    with tempfile.TemporaryDirectory(prefix="chock-device-") as folder:
        FOLDER = Path(folder)
        CHOCK = Path(sys.argv[1]).resolve()
        DISK = image(CHOCK, FOLDER)
        for name in names:
            began, before = time.monotonic(), checks.failed
            try:
                with Device(name) as device:
                    SCENES[name](device)
            except (TimeoutError, ValueError, KeyError, IndexError) as error:
                check(f"{name} comes to its end", False, error)
            print(f"{name}, {time.monotonic() - began:.0f} s{', FAILED' if checks.failed > before else ''}", flush=True)
    return checks.end("on a booted device")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Writes scenes/*.log: what buses of motorhomes say, in candump's log format.

The facts are RV-C's: CHASSIS_MOBILITY_STATUS is 1FFF4, SLIDE_STATUS 1FFE8, SLIDE_COMMAND 1FFE7,
DC_SOURCE_STATUS_1 1FFFD. A field of ones is "not available". `chock coach replay` takes the files too.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "scenes"
CHASSIS, SLIDE, SLIDE_COMMAND, BATTERY = 0x1FFF4, 0x1FFE8, 0x1FFE7, 0x1FFFD


def status(kmh=0, rpm=0, brake=True, ignition=True, gear=251):
    """The eight bytes of CHASSIS_MOBILITY_STATUS; gear 251 is park, 125 neutral, 126 the first one."""
    speed, engine = int(kmh * 256), int(rpm * 8)
    return bytes([
        engine & 0xFF, engine >> 8, speed & 0xFF, speed >> 8, 0xFC | (1 if brake else 0),
        0xFC | (1 if ignition else 0), gear, gear])


class Scene:
    def __init__(self, name, words):
        self.path, self.lines, self.time = FOLDER / f"{name}.log", [f"# {words}"], 1_750_000_000.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.path.write_text("\n".join(self.lines) + "\n")

    def note(self, words):
        self.lines.append(f"# {words}")

    def raw(self, text, after=0.1):
        self.lines.append(f"({self.time:.6f}) vcan0 {text}")
        self.time += after

    def say(self, dgn, data, source=0x9C, after=0.1, priority=6):
        self.raw(f"{priority << 26 | dgn << 8 | source:08X}#{data.hex().upper()}", after)


FOLDER.mkdir(exist_ok=True)

with Scene("parking", "A coach rolls out, stops, and is put in park with its brake set.") as scene:
    for kmh in (50, 30, 12, 3):
        scene.say(CHASSIS, status(kmh, rpm=1400, brake=False, gear=126))
    scene.note("It stands, in gear.")
    scene.say(CHASSIS, status(0, rpm=700, brake=False, gear=126))
    scene.note("Park, brake, engine off.")
    scene.say(CHASSIS, status(0, rpm=700))
    scene.say(CHASSIS, status(0, rpm=0))
    scene.say(SLIDE, bytes([1, 0, 0, 0xFC, 255, 255, 255, 255]), source=0x40)
    scene.say(BATTERY, bytes([1, 120]) + (13 * 20).to_bytes(2, "little") + b"\xFF" * 4, source=0x44)
    scene.say(CHASSIS, status(0, rpm=0))

with Scene("driving_off", "The brake is released and the coach drives off.") as scene:
    scene.say(CHASSIS, status(0, rpm=700))
    scene.say(CHASSIS, status(0, rpm=700, brake=False, gear=126))
    for kmh in (1, 4, 9, 15):
        scene.say(CHASSIS, status(kmh, rpm=1200, brake=False, gear=126))

with Scene("multiplexed", "Byte 0 tells which frame it is: F1 the ignition, F2 the parking brake.") as scene:
    for _ in range(3):
        scene.say(CHASSIS, bytes([0xF1, 255, 255, 255, 255, 0xFD, 255, 255]), after=0.05)
        scene.say(CHASSIS, bytes([0xF2, 255, 255, 255, 0xFD, 255, 255, 255]), after=0.05)

with Scene("sentinels", "Parked; then every field says error or not available.") as scene:
    scene.say(CHASSIS, status())
    scene.note("Error: FFFE in 16 bits, FE in 8, 10 in two.")
    scene.say(CHASSIS, bytes([0xFE, 0xFF, 0xFE, 0xFF, 0xAA, 0xAA, 0xFE, 0xFE]))
    scene.note("Not available: all ones.")
    scene.say(CHASSIS, bytes([0xFF] * 8))

with Scene("strange_frames", "Parked; then frames that say nothing of it.") as scene:
    scene.say(CHASSIS, status())
    released = status(90, brake=False)
    identifier = f"{6 << 26 | CHASSIS << 8 | 0x9C:08X}"
    scene.note("A request of the same identifier carries no data.")
    scene.raw(f"{identifier}#R")
    scene.note("No data at all, and too few bytes for the brake.")
    scene.raw(f"{identifier}#")
    scene.raw(f"{identifier}#00000000")
    scene.note("11 bits of identifier, and other data groups beside this one.")
    scene.raw(f"7F4#{released.hex().upper()}")
    scene.say(CHASSIS + 1, released)
    scene.say(CHASSIS - 1, released)

with Scene("errors", "The controller of the bus warns, leaves the bus, and comes back.") as scene:
    scene.say(CHASSIS, status())
    scene.raw("20000004#0004000000000000")
    scene.raw("20000040#0000000000000000")

with Scene("spoofed", "A second node says the opposite of the chassis.") as scene:
    for _ in range(5):
        scene.say(CHASSIS, status())
        scene.say(CHASSIS, status(brake=False), source=0x21)

with Scene("babbling", "A node that talks without end, with one change in it.") as scene:
    for index in range(900):
        if index in (300, 600):
            scene.note("The brake is released." if index == 300 else "It is set again.")
        frame = status(brake=not 300 <= index < 600, rpm=index % 700)
        scene.say(CHASSIS, frame, after=1 / 1800)

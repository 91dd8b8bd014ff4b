#!/usr/bin/env python3
"""Writes what chock is made of: chock.spdx.json (SPDX 2.3) and dependencies.txt, with the notices that go with it.

Of the packages that were resolved, those whose modules are linked into the binary.

    dependencies.py CHOCK FOLDER
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKOUTS = ROOT / ".build/checkouts"
OWN = {"chock": "chock"}


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def linked_modules(chock):
    """From the list that the linker was given, which SwiftPM keeps beside the binary."""
    objects = (chock.parent / "chock.product/Objects.LinkFileList").read_text()
    return set(re.findall(r"/([^/\n]+)\.build/", objects))


def packages(modules):
    """The resolved packages of which a module is linked, and those modules."""
    pins = json.loads((ROOT / "Package.resolved").read_text())["pins"]
    unknown = modules - {folder.name for folder in (ROOT / "Sources").iterdir()}
    found = []
    for pin in pins:
        checkout = next(f for f in CHECKOUTS.iterdir() if f.name.lower() == pin["identity"])
        manifest = "".join(f.read_text() for f in checkout.glob("Package*.swift"))
        here = {m for m in unknown
                if (checkout / "Sources" / m).is_dir()
                or re.search(rf'\.(target|executableTarget)\(\s*name:\s*"{re.escape(m)}"', manifest)
                or re.search(rf'kind: \.[a-z]+,\s*name: "{re.escape(m)}"', manifest)}
        unknown -= here
        if here:
            found.append((pin, checkout, sorted(here)))
    if unknown:
        sys.exit(f"Nobody knows where these modules come from: {', '.join(sorted(unknown))}")
    return found


def licence(text):
    if "Apache License" in text:
        return "Apache-2.0 WITH Swift-exception" if "Runtime Library Exception" in text else "Apache-2.0"
    if "Permission is hereby granted, free of charge" in text:
        return "MIT"
    sys.exit(f"This licence is not one of those that chock's dependencies have had: {text[:200]}")


def notices(checkout, modules):
    """What has to go along: NOTICE, licences that are not Apache's, also of parts of a package."""
    texts = [f.read_text() for f in sorted(checkout.glob("NOTICE*"))]
    files = sorted(checkout.glob("LICENSE*")) + sorted(
        f for m in modules for f in (checkout / "Sources" / m).rglob("LICENSE*"))
    texts += [text for text in (f.read_text() for f in files) if "Apache License" not in text]
    # toml++ has its licence at the head of its only file.
    for header in checkout.glob("Sources/CTOML/**/toml.hpp"):
        lines = header.read_text().split("\n//-----")[2:]
        texts += [re.sub(r"^// ?", "", part, flags=re.M) for part in lines if "MIT License" in part][:1]
    # Sources that were taken over say it in a comment at their head.
    for module in modules:
        for source in sorted((checkout / "Sources" / module).rglob("*.c")):
            comments = re.findall(r"/\*.*?\*/", source.read_text(errors="replace"), re.S)
            texts += [f"{source.name}:\n{comment}" for comment in comments if BSD in comment]
    return [text.strip() for text in texts]


BSD = "Redistribution and use in source and binary forms"


def swift_version(chock):
    """Of the compiler that has built it, which SwiftPM notes beside the binary: here there may be none."""
    note = next(chock.parent.glob("swift-version-*.txt")).read_text()
    return re.search(r"Swift version (\S+)", note).group(1)


# What may be linked when chock starts.
SYSTEM = {"libsqlite3-0": ("https://www.sqlite.org/", "blessing"),
          "libc6": ("https://www.gnu.org/software/libc/", "LGPL-2.1-or-later"),
          "libgcc-s1": ("https://gcc.gnu.org/", "GPL-3.0-or-later WITH GCC-exception-3.1"),
          "libstdc++6": ("https://gcc.gnu.org/", "GPL-3.0-or-later WITH GCC-exception-3.1")}


def system_packages(chock):
    """The packages of the system whose libraries are linked when chock starts, and their versions."""
    names = set()
    for library in re.findall(r"(/\S+) \(0x", run("ldd", str(chock))):
        # Merged folders: a package may know its file by either name.
        for path in (library, "/usr" + library, library.removeprefix("/usr")):
            found = subprocess.run(["dpkg-query", "--search", path], capture_output=True, text=True).stdout
            names |= {line.split(":")[0] for line in found.splitlines()}
    if unknown := names - SYSTEM.keys():
        sys.exit(f"Nobody has said yet where these come from, and their licences (SYSTEM): {', '.join(sorted(unknown))}")
    # Swift's own, in a debug build, are of no package.
    return {name: run("dpkg-query", "--show", "--showformat=${Version}\n", name).split()[0] for name in sorted(names)}


def package(name, version, location, licence_, comment=None, purl=None):
    entry = {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]", "-", name), "name": name, "versionInfo": version,
        "downloadLocation": location, "filesAnalyzed": False, "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence_, "copyrightText": "NOASSERTION", "supplier": "NOASSERTION"}
    if comment:
        entry["comment"] = comment
    if purl:
        entry["externalRefs"] = [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]
    return entry


def main():
    chock, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    version = run(str(chock), "--version").strip()
    built = packages(linked_modules(chock))
    entries = [package("chock", version, "NOASSERTION", "Apache-2.0")]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-chock")]
    text = [f"What is linked into chock {version}. What is of the system says so; all else is a part of the binary."]

    for pin, checkout, modules in built:
        state, location = pin["state"], pin["location"]
        declared = licence(next(checkout.glob("LICENSE*")).read_text())
        texts = notices(checkout, modules)
        if any(BSD in text for text in texts):
            declared += " AND BSD-3-Clause"
        path = location.removeprefix("https://").removesuffix(".git")
        entry = package(
            pin["identity"], state["version"], f"git+{location}@{state['revision']}", declared,
            f"Modules: {', '.join(modules)}", f"pkg:swift/{path}@{state['version']}")
        entries.append(entry)
        relations.append(("SPDXRef-chock", "STATIC_LINK", entry["SPDXID"]))
        text += ["\n" + "=" * 78, f"{pin['identity']} {state['version']}: {declared}", location,
                 *(f"\n{notice}" for notice in texts)]

    swift = package("swift-runtime", swift_version(chock), "https://github.com/swiftlang/swift",
                    "Apache-2.0 WITH Swift-exception",
                    "Standard library, Dispatch and Foundation of the toolchain, linked statically.")
    system = [package(name, number, *SYSTEM[name], "Of the system; linked at the start.",
                      f"pkg:deb/debian/{name}@{number}") for name, number in system_packages(chock).items()]
    for entry, relation in [(swift, "STATIC_LINK"), *((entry, "DYNAMIC_LINK") for entry in system)]:
        entries.append(entry)
        relations.append(("SPDXRef-chock", relation, entry["SPDXID"]))
        text += ["\n" + "=" * 78, f"{entry['name']} {entry['versionInfo']}: {entry['licenseDeclared']}",
                 entry["downloadLocation"], entry["comment"]]

    content = json.dumps([entries, relations], sort_keys=True).encode()
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"])))
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"chock-{version}",
        # As the specification wants it: unique to these contents.
        "documentNamespace": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=5)}",
        "creationInfo": {"created": created, "creators": ["Tool: chock-dependencies"]},
        "packages": entries,
        "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b}
                          for a, kind, b in relations]}
    (folder / "chock.spdx.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "dependencies.txt").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()

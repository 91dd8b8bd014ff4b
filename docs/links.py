#!/usr/bin/env python3
"""Has the links of installed pages lead to what is installed: what lies elsewhere there is found by its name, and of
what is not there at all (sources, tests) only the words stay.

    links.py FOLDER
"""

import os
import re
import sys
from pathlib import Path

# As Debian names them.
OTHERS = {"CHANGELOG.md": "changelog.gz", "LICENSE": "copyright"}
LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def main():
    folder = Path(sys.argv[1])
    files = {path.name: path for path in folder.rglob("*") if path.is_file()}
    for page in folder.rglob("*.md"):
        def lead(link):
            picture, words, target, heading = link.groups()
            parts = [part for part in Path(target).parts if part != ".."]
            places = [page.parent / target, *(folder.joinpath(*parts[n:]) for n in range(len(parts)))]
            found = next((place for place in places if place.is_file()), None)
            found = found or files.get(parts[-1]) or files.get(OTHERS.get(parts[-1]))
            if not found:
                return words
            return f"{picture}[{words}]({os.path.relpath(found, page.parent)}{heading or ''})"
        page.write_text(LINK.sub(lead, page.read_text()))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes the manual pages: chock(1) of the command definitions in the binary, chock.toml(5) of configuration.md.

    man.py CHOCK FOLDER      writes FOLDER/man1/chock.1 and FOLDER/man5/chock.toml.5
"""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATE = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))


def plain(text):
    """Text as roff has it. A dash stays the one that can be typed."""
    for char, name in (("\\", "\\e"), ("-", "\\-"), ("–", "\\(en"), ("…", "..."), ("'", "\\(aq")):
        text = text.replace(char, name)
    return text


def marked(text):
    """Markdown within a line: code and bold are bold, of links their words are left."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
    return "".join(
        "\\fB" + plain(part.strip("`*" if part[:2] == "**" else "`")) + "\\fR" if index % 2 else plain(part)
        for index, part in enumerate(parts))


def lines(text):
    """A paragraph, in lines that none takes for a request."""
    return [re.sub(r"^(?=[.\\']\w)", r"\&", line) if not line.startswith("\\") else line
            for line in textwrap.wrap(marked(" ".join(text.split())), 76, break_long_words=False,
                                      break_on_hyphens=False)]


def paragraphs(text, before=".PP"):
    result = []
    for number, paragraph in enumerate(p for p in text.split("\n\n") if p.strip()):
        result += ([before] if number else []) + lines(paragraph)
    return result


def tagged(tag, *texts):
    """A tag and what it means: `texts` are paragraphs."""
    return [".TP", tag, *paragraphs("\n\n".join(text for text in texts if text), ".IP")]


# chock(1)

def spelled(argument):
    """Such as `-y, --yes` or `--to VERSION`."""
    if argument["kind"] == "positional":
        return f"\\fI{plain(argument['valueName'].upper())}\\fR"
    names = sorted(("-" if name["kind"] == "short" else "--") + name["name"] for name in argument["names"])
    names.sort(key=len)
    value = "" if argument["kind"] == "flag" else f" \\fI{plain(argument['valueName'].upper())}\\fR"
    return ", ".join(f"\\fB{plain(name)}\\fR" for name in names) + value


def synopsis(path, arguments):
    words = [f"\\fB{plain(' '.join(path))}\\fR"]
    for argument in arguments:
        word = spelled(argument).split(", ")[-1] + ("..." if argument["isRepeating"] else "")
        words.append(f"[{word}]" if argument["isOptional"] else word)
    return " ".join(words)


def about(argument):
    text = argument.get("abstract", "")
    if argument.get("defaultValue") and argument["kind"] != "flag":
        text += f" Default: {argument['defaultValue'].removesuffix('.0')}."
    return text


def leaves(command, path=()):
    """Every verb that does something, with its path and what those above it say."""
    path = (*path, command["commandName"])
    inner = [c for c in command.get("subcommands", []) if c["shouldDisplay"] and c["commandName"] != "help"]
    if not inner:
        yield path, command
    for sub in inner:
        yield from leaves(sub, path)


def shown(command):
    return [a for a in command.get("arguments", []) if a["shouldDisplay"]]


def groups(command, path=()):
    for sub in command.get("subcommands", []):
        if sub["shouldDisplay"] and sub.get("subcommands"):
            yield (*path, command["commandName"], sub["commandName"]), sub
            yield from groups(sub, (*path, command["commandName"]))


def chock_page(command, version):
    verbs = list(leaves(command))
    key = json.dumps
    common = set.intersection(*({key(a, sort_keys=True) for a in shown(verb)} for _, verb in verbs))
    everywhere = [a for a in shown(verbs[0][1]) if key(a, sort_keys=True) in common]
    described = [p for p in command["discussion"].split("\n\n") if not p.startswith("Exit codes:")]
    codes = command["discussion"].split("Exit codes: ")[1].rstrip(".").split("; ")
    page = [f'.TH CHOCK 1 {DATE} "chock {version}" "chock"', ".SH NAME",
            f"chock \\- {plain(lower(command['abstract']))}", ".SH SYNOPSIS",
            "\\fBchock\\fR [\\fIOPTIONS\\fR] \\fIVERB\\fR [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]",
            ".SH DESCRIPTION", *paragraphs(command["abstract"] + " " + "\n\n".join(described)), ".PP",
            *lines("`chock serve` is the daemon. The other verbs ask it over its unix socket, where they need it or "
                   "where it runs. Results go to standard output; progress, questions and failures go to standard "
                   "error."),
            ".SH OPTIONS", "These stand behind any verb, or before it.",
            *(line for a in everywhere for line in tagged(spelled(a), about(a))), ".SH VERBS"]
    above = dict(groups(command))
    for path, verb in verbs:
        group = path[:-1]
        if group in above:
            head = above.pop(group)
            page += [f".SS {plain(' '.join(group))}", *paragraphs(head["abstract"] + "\n\n" + head.get("discussion", ""))]
            if head.get("defaultSubcommand"):
                page += [".PP", *lines(f"Without a further word: `{head['defaultSubcommand']}`.")]
        own = [a for a in shown(verb) if key(a, sort_keys=True) not in common]
        if len(group) == 1:
            page += [f".SS {plain(' '.join(path))}", synopsis(path, own)]
        else:
            page += [".PP", synopsis(path, own)]
        page += [".PP", *paragraphs(verb["abstract"] + "\n\n" + verb.get("discussion", ""))]
        for argument in own:
            if about(argument):
                page += tagged(spelled(argument), about(argument))
    page += [".SH EXIT STATUS"]
    for code in codes:
        number, meaning = code.split(" ", 1)
        page += tagged(f"\\fB{number}\\fR", meaning[0].upper() + meaning[1:] + ".")
    page += [".SH ENVIRONMENT",
             *tagged("\\fBCHOCK_CONFIG\\fR", "The config file."),
             *tagged("\\fBCHOCK_\\fR\\fI...\\fR", "Each key of the config: see chock.toml(5)."),
             *tagged("\\fBNO_COLOR\\fR", "No colours."),
             ".SH FILES",
             *tagged("\\fI/etc/chock/chock.toml\\fR", "The config, chock.toml(5)."),
             *tagged("\\fI/var/lib/chock\\fR", "Journal, snapshots, history."),
             *tagged("\\fI/run/chock/chock.sock\\fR", "The socket of the daemon."),
             *tagged("\\fI/usr/share/doc/chock\\fR", "The documentation; begin with operations.md."),
             ".SH SEE ALSO", ".BR chock.toml (5),", ".BR systemctl (1),", ".BR journalctl (1)"]
    return page


def lower(sentence):
    return sentence[0].lower() + sentence[1:].rstrip(".")


# chock.toml(5)

def toml_page(document, version):
    page = [f'.TH CHOCK.TOML 5 {DATE} "chock {version}" "chock"', ".SH NAME",
            "chock.toml \\- the configuration of chock(1)", ".SH SYNOPSIS", "\\fI/etc/chock/chock.toml\\fR",
            ".SH DESCRIPTION"]
    head, *sections = re.split(r"^## ", document, flags=re.M)
    page += paragraphs(head.split("\n", 1)[1]) + [".SH KEYS"]
    for section in sections:
        name, body = section.split("\n", 1)
        page += [f".SS {plain(name)}"]
        text, example = re.match(r"(.*?)```toml\n(.*?)```", body, re.S).groups()
        rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
        page += paragraphs("\n".join(line for line in text.splitlines() if not line.startswith("|")))
        for key, initial, values, meaning in rows:
            when = {"–": "not set", "needed": "needed"}.get(initial, f"default: {initial}")
            page += tagged(f"\\fB{plain(key.strip('`'))}\\fR", f"{values}; {when}", meaning)
        page += [".PP", ".EX", *(plain(line) for line in example.splitlines()), ".EE"]
    return page + [".SH SEE ALSO", ".BR chock (1)", ".PP",
                   "\\fI/usr/share/doc/chock/examples/chock.example.toml\\fR has every key with a comment."]


def main():
    chock, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    run = lambda *words: subprocess.run([chock, *words], check=True, capture_output=True, text=True).stdout
    version = run("--version").strip()
    command = json.loads(run("--experimental-dump-help"))["command"]
    document = (HERE / "configuration.md").read_text()
    for name, page in (("chock.1", chock_page(command, version)), ("chock.toml.5", toml_page(document, version))):
        place = folder / f"man{name[-1]}" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(line for line in page if line) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Starts the update that chock offers, once a person says yes, and follows it to its end.

    follow.py [http://127.0.0.1:8765] [TOKEN]
"""
import http.client
import json
import sys
import time

ADDRESS = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765").removeprefix("http://")
HEADERS = {"Authorization": f"Bearer {sys.argv[2]}"} if len(sys.argv) > 2 else {}


def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(ADDRESS, timeout=30)
    headers = HEADERS | headers | {"Content-Type": "application/json"} if body else HEADERS
    connection.request(method, path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    document = json.load(answer)
    if answer.status >= 400:
        clear = [blocker.get("clear") or blocker["detail"] for blocker in document["blockers"]]
        sys.exit("\n".join([document["detail"], *clear]))
    return document


def events(since=None):
    """The event stream. It comes back by itself, with the number of the last event that it saw."""
    while True:
        connection = http.client.HTTPConnection(ADDRESS, timeout=45)  # a comment comes every 15 s
        try:
            seen = {"Last-Event-ID": str(since)} if since else {}
            connection.request("GET", "/api/events", headers=HEADERS | seen)
            for line in connection.getresponse():
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    since = event["seq"]
                    yield event
        except (OSError, http.client.HTTPException):
            print("The connection is lost ...")
        time.sleep(2)


plan = ask("GET", "/api/database/plan")
if not plan["migrations"]:
    sys.exit("There is nothing to do.")
print(f"{plan['from_version']} -> {plan['to_version']}:", ", ".join(m["file"] for m in plan["migrations"]))
if sys.stdin.isatty() and input("Now? [y/N] ") != "y":
    sys.exit("Nothing was done.")
run = ask("POST", "/api/database/update", {"consent": True}, **{"If-Match": f'"{plan["hash"]}"'})["id"]
for event in events():
    if event["type"] == "state":  # the first event: the run may have ended before we listened
        event["result"] = event["status"].get("run", {})
    elif event.get("run") == run and event["type"] in ("phase", "progress"):
        print(f"{event.get('fraction', 0):4.0%} {event['phase']} {event.get('message', '')}")
    if event.get("result", {}).get("id") == run and "outcome" in event["result"]:
        print(event["result"]["outcome"], event["result"].get("error", {}).get("message", ""))
        sys.exit(event["result"]["outcome"] != "committed")

"""What the suites in Python count: their checks, and those that failed."""

made = 0
failed = 0


def check(what, is_good, detail="", say=print):
    """Counts one, says what failed and the end of why; returns whether it is good."""
    global made, failed
    made += 1
    if not is_good:
        failed += 1
        say(f"  FAILED: {what}", flush=True)
        for line in str(detail).splitlines()[-80:]:
            say(f"    {line[:500]}", flush=True)
    return bool(is_good)


def end(of):
    """Says how it ended; the exit code."""
    print(f"{made} checks {of}, {failed} failed.")
    return 1 if failed else 0

#!/usr/bin/env bash
# Starts chock on a sample coach with an older database, beside a simulator of the parked coach.
#   run.sh CHOCK FOLDER
# $SAMPLE_PORT and $SAMPLE_MEGABYTES change the usual 8765 and 50; SAMPLE_HOST=127.0.0.1 keeps it on this
# machine, where no phone reaches it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
chock=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
port=${SAMPLE_PORT:-8765}

cat >"$folder/chock.toml" <<TOML
environment = "production"
[database]
path = "$folder/coach.db"
[migrations]
directory = "$top/migrations"
[state]
directory = "$folder/state"
[coach]
# A minute is right for a coach; here nobody wants to wait for it.
parked_for_seconds = 5
[server]
# From the network only the page is there until a device is paired.
listen = "${SAMPLE_HOST:-0.0.0.0}:$port"
socket = "$folder/chock.sock"
TOML
export CHOCK_CONFIG="$folder/chock.toml"

if ! [ -e "$folder/coach.db" ]; then
  "$here/make-sample-coach.sh" "$folder/coach.db" "${SAMPLE_MEGABYTES:-50}" 3
fi
if "$chock" status --json | grep -q '"adopted":false'; then "$chock" adopt --at 3; fi

"$chock" serve &
daemon=$!
python3 "$here/simulator.py" --socket "$folder/chock.sock" --state "$folder/simulator.json" </dev/null &
simulator=$!
# Only what this script has started is ended, by its number.
trap 'kill "$simulator" "$daemon" 2>/dev/null || true; wait' EXIT
trap 'exit 0' INT TERM

# bash opens this as a TCP connection: the panel is up when it succeeds.
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
  kill -0 "$daemon" 2>/dev/null || { wait "$daemon"; exit 1; }
  sleep 0.2
done
echo
"$chock" pair | sed 's/^/  /'
cat <<TEXT

  On this machine the panel is at http://127.0.0.1:$port/

  In another terminal, from this folder:
    export CHOCK_CONFIG=$folder/chock.toml
    $chock pair                          # another code: each is for one device and two minutes
    $chock status
    python3 $here/simulator.py brake off --state $folder/simulator.json     # releases the parking brake
    python3 $here/simulator.py brake on --state $folder/simulator.json

  To start over with the old database: stop this with Ctrl-C, remove $folder, make run.

TEXT
wait "$daemon"

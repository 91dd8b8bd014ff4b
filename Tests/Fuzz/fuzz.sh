#!/bin/bash
# Feeds the decoder what libFuzzer invents: fuzz.sh SECONDS
# The corpus grows in .build/fuzz and is not committed. What stopped the decoder is left there as crash-*,
# and run again by naming it: fuzz.sh .build/fuzz/crash-...
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$PWD/.build/fuzz
corpus=$build/corpus
mkdir -p "$corpus"

# One input for each door (see DecoderFuzz.swift), from which the others are bred.
for profile in Sources/Coach/Profiles/*.toml; do
  { printf P; cat "$profile"; } > "$corpus/$(basename "$profile")"
done
printf 'F\x9c\xf4\xff\x99\x08\0\0\0\0\0\0\0\x01\x05\xfb\xfb' > "$corpus/frame"
printf 'J{"emergency_stop_active": false, "interlocks": {"a": {"engaged": true}}, "system_state":
  {"vehicle_speed": 0.5, "transmission_gear": "PARK"}, "pending_operations_count": 1}' > "$corpus/json"
printf 'S0x50005\n' > "$corpus/file"
printf 'C(1436509052.249713) can0 19FFF494#0102030405060708_E R' > "$corpus/candump"

# Not -c debug: four times as many inputs. Overflows and assertions stop a release build, too.
swift build -c release --sanitize fuzzer --package-path Tests/Fuzz --scratch-path "$build/build"
fuzzer=$(swift build -c release --sanitize fuzzer --package-path Tests/Fuzz \
  --scratch-path "$build/build" --show-bin-path)/DecoderFuzz
# Swift's own backtraces would come before libFuzzer keeps the input.
export SWIFT_BACKTRACE=enable=no
if [ -e "${1:-}" ]; then exec "$fuzzer" "$1"; fi
# TOMLKit never frees what it read: that is no finding, and the reason for the limit.
exec "$fuzzer" -max_total_time="${1:-60}" -dict=Tests/Fuzz/profile.dict -max_len=2048 -timeout=10 \
  -detect_leaks=0 -rss_limit_mb=4096 -artifact_prefix="$build/" -print_final_stats=1 "$corpus"

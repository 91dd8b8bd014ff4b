#!/bin/sh
# Makes the database of a sample coach: a WAL database as an RV controller left it, filled with
# two years of readings, trips and notifications. It has no ledger: `chock adopt --at VERSION`
# comes afterwards, as on a real coach.
#
# The same arguments give the same content, always: no random(), no clock.
set -eu

usage() {
  echo "usage: make-sample-coach.sh FILE [MEGABYTES=50] [VERSION=3]" >&2
  echo "  FILE       must not exist yet" >&2
  echo "  MEGABYTES  about how large it gets at version 3, 1 to 20000" >&2
  echo "  VERSION    the newest migration that is applied, 1 to the newest there is" >&2
  exit 64
}

is_number() { case $1 in '' | *[!0-9]* | ?????????*) return 1 ;; esac; }

case ${1-} in '' | -*) usage ;; esac
[ $# -le 3 ] || usage
file=$1
megabytes=${2-50}
version=${3-3}
is_number "$megabytes" && [ "$megabytes" -ge 1 ] && [ "$megabytes" -le 20000 ] || usage
is_number "$version" && [ "$version" -ge 1 ] || usage

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
migrations=$here/../../migrations

newest=0
for migration in "$migrations"/[0-9]*.sql; do
  case $migration in *.rollback.sql) continue ;; esac
  newest=$((newest + 1))
done
if [ "$version" -gt "$newest" ]; then
  echo "make-sample-coach: there is no version $version; the newest of $migrations is $newest" >&2
  exit 64
fi
if ! command -v sqlite3 >/dev/null; then
  echo "make-sample-coach: the sqlite3 shell is missing; install it: apt-get install sqlite3" >&2
  exit 69
fi
for leftover in "$file" "$file-wal" "$file-shm" "$file-journal"; do
  if [ -e "$leftover" ]; then
    echo "make-sample-coach: $leftover exists already; remove it first or choose another name" >&2
    exit 73
  fi
done

# Under a temporary name until it is complete: FILE is there as a whole or not at all.
partial=$file.partial.$$
trap 'rm -f "$partial" "$partial-wal" "$partial-shm"' EXIT
trap 'exit 1' HUP INT TERM

# apply VERSION: prints the statements of that migration, or nothing when it is not wanted.
apply() {
  [ "$1" -le "$version" ] || return 0
  for migration in "$migrations/$(printf %04d "$1")"_*.sql; do
    case $migration in *.rollback.sql) continue ;; esac
    # A file without section marks is one @migrate section.
    awk '/^-- @/ { marked = 1; wanted = ($2 == "@migrate"); next }
         { line[NR] = $0; keep[NR] = wanted }
         END { for (n = 1; n <= NR; n++) if (!marked || keep[n]) print line[n] }' "$migration"
  done
}

fill_1() {
  cat <<'SQL'
INSERT INTO profiles
  (id, name, email, distance_unit, temperature_unit, volume_unit, created_at)
VALUES
  (1, 'Robin Keller', 'robin@example.com', 'mi', 'F', 'gal', 1677628800),
  (2, 'Sam Keller', 'sam@example.com', 'mi', 'F', 'gal', 1677628800),
  (3, 'Guest', NULL, 'km', 'C', 'L', 1685577600);
INSERT INTO coach
  (id, owner_profile_id, vin, make, model, model_year, body, length_mm, height_mm,
   empty_mass_kg, gross_mass_kg, created_at)
VALUES
  (1, 1, '4VZSAMPLE0C000001', 'Sample Coachworks', 'Prairie 36', 2021, 'class_a', 11250, 3860,
   12450, 14970, 1677628800);
INSERT INTO settings (profile_id, key, value, updated_at) VALUES
  (1, 'panel_brightness', '70', 1690848000),
  (1, 'panel_night_mode', '{"from":"20:30","to":"06:45"}', 1690848000),
  (1, 'thermostat', '{"heat_below":64,"cool_above":77,"unit":"F"}', 1704067200),
  (1, 'generator_auto_start', '{"below_volts":11.9,"quiet_from":"22:00","quiet_to":"08:00"}',
   1704067200),
  (1, 'home', '{"latitude":44.05,"longitude":-121.31}', 1677628800),
  (2, 'panel_brightness', '45', 1690848000),
  (2, 'notify_by', '["panel","push"]', 1690848000),
  (3, 'panel_brightness', '60', 1690848000);
SQL
}

# Two years, from 2023-03-01 on, however many readings there are.
fill_2() {
  sensors=16
  readings_per_megabyte=22600
  ticks=$((megabytes * readings_per_megabyte / sensors))
  cat <<'SQL'
INSERT INTO tanks (id, kind, name, capacity_ml, warn_percent) VALUES
  (1, 'fresh', 'Fresh water', 378541, 20),
  (2, 'grey', 'Grey water', 246052, 80),
  (3, 'black', 'Black water', 189271, 75),
  (4, 'propane', 'Propane', 132489, 25),
  (5, 'fuel', 'Diesel', 567812, 20);
CREATE TEMP TABLE wave (
  sensor_id INTEGER PRIMARY KEY, tank_id INTEGER, code TEXT, name TEXT, unit TEXT,
  low INTEGER, height INTEGER, period INTEGER
);
-- Each sensor swings between low and low + height (in tenths), once in `period` readings.
INSERT INTO wave VALUES
  (1, 1, 'fresh_level', 'Fresh water level', '%', 150, 850, 1511),
  (2, 2, 'grey_level', 'Grey water level', '%', 0, 900, 1301),
  (3, 3, 'black_level', 'Black water level', '%', 0, 850, 2203),
  (4, 4, 'propane_level', 'Propane level', '%', 180, 800, 5003),
  (5, 5, 'fuel_level', 'Diesel level', '%', 200, 780, 809),
  (6, NULL, 'house_voltage', 'House battery', 'V', 119, 24, 193),
  (7, NULL, 'house_current', 'House battery current', 'A', -450, 900, 191),
  (8, NULL, 'chassis_voltage', 'Chassis battery', 'V', 121, 22, 401),
  (9, NULL, 'inside_temperature', 'Living room', 'F', 620, 170, 197),
  (10, NULL, 'outside_temperature', 'Outside', 'F', 180, 780, 199),
  (11, NULL, 'fridge_temperature', 'Refrigerator', 'F', 340, 80, 61),
  (12, NULL, 'freezer_temperature', 'Freezer', 'F', -40, 90, 67),
  (13, NULL, 'water_pressure', 'Water pressure', 'psi', 380, 190, 31),
  (14, NULL, 'solar_power', 'Solar panels', 'W', 0, 9800, 211),
  (15, NULL, 'propane_gas', 'Propane detector', 'ppm', 0, 120, 701),
  (16, NULL, 'generator_hours', 'Generator hours', 'h', 4120, 3900, 99991);
INSERT INTO sensors (id, tank_id, code, name, unit, installed_at)
SELECT sensor_id, tank_id, code, name, unit, 1677628800 FROM wave ORDER BY sensor_id;
SQL
  cat <<SQL
INSERT INTO sensor_readings (sensor_id, recorded_at, raw_value, is_suspect)
WITH RECURSIVE tick (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM tick WHERE n + 1 < $ticks)
SELECT
  sensor_id,
  1677628800 + n * 63072000 / $ticks + sensor_id % 7,
  -- A triangle and a little noise out of whole numbers: the same on every machine.
  max(low, min(low + height, low + height * abs(n % (2 * period) - period) / period
    + (n * 7919 + sensor_id * 104729) % 11 - 5)) / 10.0,
  (n * 31 + sensor_id * 17) % 997 = 0
FROM tick CROSS JOIN wave;
SQL
}

fill_3() {
  notifications=$((megabytes * 300))
  cat <<SQL
INSERT INTO trips
  (id, driver_profile_id, title, started_at, ended_at, start_odometer_m, end_odometer_m)
WITH RECURSIVE trip (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM trip WHERE n < 120)
SELECT
  n,
  1 + n % 2,
  CASE n % 8
    WHEN 0 THEN 'Coast road' WHEN 1 THEN 'Weekend at the lake' WHEN 2 THEN 'Family visit'
    WHEN 3 THEN 'High desert' WHEN 4 THEN 'Redwoods' WHEN 5 THEN 'Hot springs'
    WHEN 6 THEN 'Canyon loop' ELSE 'To the workshop and back'
  END || ' ' || (2023 + n / 61),
  1677686400 + n * 522000,
  -- The last one is still on the road.
  CASE WHEN n < 120 THEN 1677686400 + n * 522000 + 86400 * (1 + n % 5) END,
  61200000 + n * 410000,
  CASE WHEN n < 120 THEN 61200000 + n * 410000 + 180000 + n % 17 * 11500 END
FROM trip;

INSERT INTO trip_stops
  (trip_id, position, kind, name, latitude, longitude, odometer_m, arrived_at, departed_at, notes)
WITH RECURSIVE position (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM position WHERE n < 7)
SELECT
  trips.id,
  position.n,
  CASE
    WHEN trips.id % 8 = 7 AND position.n = 3 THEN 'service'
    ELSE CASE (trips.id + position.n) % 5
      WHEN 0 THEN 'campground' WHEN 1 THEN 'fuel' WHEN 2 THEN 'rest' WHEN 3 THEN 'sight'
      ELSE 'dump_station' END
  END,
  CASE
    WHEN trips.id % 8 = 7 AND position.n = 3 THEN 'Coach workshop, bay ' || (1 + trips.id % 4)
    ELSE CASE (trips.id + position.n) % 5
      WHEN 0 THEN 'Pine Hollow campground' WHEN 1 THEN 'Truck stop, exit '
      WHEN 2 THEN 'Rest area, mile ' WHEN 3 THEN 'Lookout '
      ELSE 'Dump station ' END || (trips.id * 7 + position.n * 13) % 290
  END,
  (42000 + (trips.id * 373 + position.n * 97) % 5000) / 1000.0,
  (-124000 + (trips.id * 619 + position.n * 211) % 9000) / 1000.0,
  trips.start_odometer_m + position.n * 24000,
  trips.started_at + position.n * 10800,
  trips.started_at + position.n * 10800 + 1800 + (trips.id + position.n) % 9 * 600,
  CASE WHEN (trips.id + position.n) % 6 = 0 THEN 'Level site, 50 A, quiet at night.' END
FROM trips CROSS JOIN position
WHERE position.n <= 3 + trips.id % 5;

INSERT INTO notifications
  (id, event_id, profile_id, trip_id, kind, title, body, is_urgent, created_at, read_at)
WITH RECURSIVE
  event (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM event WHERE n < $notifications),
  dated (n, at) AS (SELECT n, 1677628800 + n * 63072000 / ($notifications + 1) FROM event)
SELECT
  n,
  printf('coach-%08d', n),
  CASE WHEN n % 3 > 0 THEN n % 3 END,
  CASE WHEN n % 7 = 0 THEN 1 + n % 120 END,
  CASE
    WHEN n % 211 = 0 THEN 'propane_alarm'
    ELSE CASE n % 7 WHEN 0 THEN 'trip' WHEN 1 THEN 'tank_low' WHEN 2 THEN 'tank_full'
      WHEN 3 THEN 'battery_low' WHEN 4 THEN 'freeze_risk' WHEN 5 THEN 'shore_power'
      ELSE 'system' END
  END,
  CASE
    WHEN n % 211 = 0 THEN 'Propane detected'
    ELSE CASE n % 7 WHEN 0 THEN 'Stop reached' WHEN 1 THEN 'Fresh water is low'
      WHEN 2 THEN 'Grey water is nearly full' WHEN 3 THEN 'House battery is low'
      WHEN 4 THEN 'Frost expected tonight' WHEN 5 THEN 'Shore power came back'
      ELSE 'Controller restarted' END
  END,
  CASE
    WHEN n % 211 = 0
    THEN 'The detector in the galley measures ' || (40 + n % 90) || ' ppm. Open the windows.'
    ELSE CASE n % 7 WHEN 0 THEN 'Leg ' || (1 + n % 6) || ' of the trip is done.'
      WHEN 1 THEN (8 + n % 12) || ' % are left.'
      WHEN 2 THEN (80 + n % 15) || ' % are used.'
      WHEN 3 THEN 'It is at 11.' || (n % 9) || ' V; the generator starts below 11.9 V.'
      WHEN 4 THEN 'The forecast says ' || (18 + n % 14) || ' F. Tank heating is on.'
      WHEN 5 THEN 'It was away for ' || (1 + n % 240) || ' minutes.'
      ELSE 'It was up for ' || (1 + n % 60) || ' days before.' END
  END,
  n % 211 = 0,
  at,
  -- The newest forty wait to be read.
  CASE WHEN n <= $notifications - 40 AND n % 50 > 0 THEN at + 60 + n % 86400 END
FROM dated;

INSERT INTO notification_deliveries (notification_id, channel, delivered_at, error)
SELECT id, 'panel', created_at + 1, NULL FROM notifications;
INSERT INTO notification_deliveries (notification_id, channel, delivered_at, error)
SELECT
  id,
  CASE WHEN is_urgent THEN 'horn' WHEN id % 2 THEN 'email' ELSE 'push' END,
  CASE WHEN id % 29 > 0 THEN created_at + 5 + id % 20 END,
  CASE WHEN id % 29 = 0 THEN 'no network' END
FROM notifications
WHERE id % 4 = 0 OR is_urgent;
SQL
}

# The journal is off because a half-made file is thrown away anyway.
{
  cat <<'SQL'
.bail on
PRAGMA page_size = 4096;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
PRAGMA foreign_keys = OFF;
BEGIN;
SQL
  step=1
  while [ "$step" -le "$version" ]; do
    apply "$step"
    if [ "$step" -le 3 ]; then "fill_$step"; fi
    step=$((step + 1))
  done
  cat <<'SQL'
COMMIT;
PRAGMA journal_mode = WAL;
SQL
} | sqlite3 -init /dev/null "$partial" >/dev/null

# -n: a file that appeared in the meantime is not replaced.
mv -n "$partial" "$file"
if [ -e "$partial" ]; then
  echo "make-sample-coach: $file appeared in the meantime; it was left alone" >&2
  exit 73
fi
sync "$file"
echo "$file: version $version, $(($(wc -c <"$file") / 1000000)) MB"

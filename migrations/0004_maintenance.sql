-- Description: Plan the maintenance of your coach and keep its service history
-- Requires: 0003
-- Timeout: 30 s
-- Expect: trips rows unchanged
-- Expect: trip_stops rows unchanged

-- @preflight
-- Every service stop that took place becomes an entry of the history, which needs its odometer.
SELECT 'The service stop "' || name || '" (stop ' || id || ') has no odometer reading; enter it'
FROM trip_stops
WHERE kind = 'service' AND arrived_at IS NOT NULL AND odometer_m IS NULL
ORDER BY id
LIMIT 20;

-- @migrate
CREATE TABLE maintenance_tasks (
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL CHECK (length(trim(title)) > 0),
  interval_days INTEGER CHECK (interval_days > 0),
  interval_m INTEGER CHECK (interval_m > 0),
  interval_km REAL GENERATED ALWAYS AS (interval_m / 1000.0) VIRTUAL,
  is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1))
) STRICT;

INSERT INTO maintenance_tasks (code, title, interval_days, interval_m) VALUES
  ('service', 'Workshop service', NULL, NULL),
  ('engine_oil', 'Engine oil and filter', 365, 15000000),
  ('generator_oil', 'Generator oil', 365, NULL),
  ('roof_seals', 'Inspect and clean the roof seals', 180, NULL),
  ('slide_seals', 'Lubricate slide seals and gears', 180, NULL),
  ('wheel_torque', 'Check the torque of the wheel nuts', NULL, 5000000),
  ('brakes', 'Inspect the brakes', 730, 40000000),
  ('propane_leak', 'Propane leak test', 365, NULL),
  ('smoke_alarm', 'Test smoke, gas and carbon monoxide alarms', 30, NULL),
  ('sanitize_water', 'Sanitise the fresh water system', 180, NULL);

CREATE TABLE maintenance_records (
  id INTEGER PRIMARY KEY,
  task_id INTEGER NOT NULL REFERENCES maintenance_tasks (id) ON DELETE RESTRICT,
  stop_id INTEGER UNIQUE REFERENCES trip_stops (id) ON DELETE SET NULL,
  profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  performed_at INTEGER NOT NULL CHECK (performed_at > 0),
  odometer_m INTEGER NOT NULL CHECK (odometer_m >= 0),
  cost_cents INTEGER CHECK (cost_cents >= 0),
  notes TEXT
) STRICT;

CREATE INDEX maintenance_records_by_task ON maintenance_records (task_id, performed_at);
CREATE INDEX maintenance_records_by_profile ON maintenance_records (profile_id);

-- The service history begins with the stops at a workshop.
INSERT INTO maintenance_records (task_id, stop_id, profile_id, performed_at, odometer_m, notes)
SELECT task.id, stop.id, trip.driver_profile_id, stop.arrived_at, stop.odometer_m, stop.name
FROM trip_stops AS stop
JOIN trips AS trip ON trip.id = stop.trip_id
JOIN maintenance_tasks AS task ON task.code = 'service'
WHERE stop.kind = 'service' AND stop.arrived_at IS NOT NULL
ORDER BY stop.arrived_at, stop.id;

-- @validate
SELECT 'The service stop "' || stop.name || '" is missing from the service history'
FROM trip_stops AS stop
JOIN trips AS trip ON trip.id = stop.trip_id
WHERE stop.kind = 'service' AND stop.arrived_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM maintenance_records AS record WHERE record.stop_id = stop.id);

SELECT 'The list of standard maintenance tasks has ' || count(*) || ' entries instead of 10'
FROM maintenance_tasks
HAVING count(*) <> 10;

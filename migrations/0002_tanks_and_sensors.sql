-- Description: Show the level of every tank and keep what the sensors measured
-- Requires: 0001
-- Timeout: 30 s
-- Expect: coach rows unchanged
-- Expect: profiles rows unchanged

-- @migrate
CREATE TABLE tanks (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('fresh', 'grey', 'black', 'propane', 'fuel', 'def')),
  name TEXT NOT NULL UNIQUE CHECK (length(trim(name)) > 0),
  capacity_ml INTEGER NOT NULL CHECK (capacity_ml > 0),
  capacity_l REAL GENERATED ALWAYS AS (capacity_ml / 1000.0) VIRTUAL,
  -- Warn below this level for supplies and above it for waste.
  warn_percent INTEGER NOT NULL CHECK (warn_percent BETWEEN 0 AND 100),
  is_waste INTEGER GENERATED ALWAYS AS (kind IN ('grey', 'black')) VIRTUAL
) STRICT;

-- A sensor outlives its tank, because what it measured stays interesting.
CREATE TABLE sensors (
  id INTEGER PRIMARY KEY,
  tank_id INTEGER REFERENCES tanks (id) ON DELETE SET NULL,
  code TEXT NOT NULL UNIQUE CHECK (code GLOB '[a-z]*' AND code NOT GLOB '*[^a-z0-9_]*'),
  name TEXT NOT NULL,
  unit TEXT NOT NULL CHECK (length(unit) BETWEEN 1 AND 8),
  installed_at INTEGER NOT NULL CHECK (installed_at > 0)
) STRICT;

CREATE INDEX sensors_by_tank ON sensors (tank_id);

-- The large table. Values are kept in the unit in which the sensor reports.
CREATE TABLE sensor_readings (
  id INTEGER PRIMARY KEY,
  sensor_id INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
  recorded_at INTEGER NOT NULL CHECK (recorded_at > 0),
  raw_value REAL NOT NULL,
  is_suspect INTEGER NOT NULL DEFAULT 0 CHECK (is_suspect IN (0, 1))
) STRICT;

-- Serves the foreign key and every question about one sensor over a span of time.
CREATE INDEX sensor_readings_by_sensor ON sensor_readings (sensor_id, recorded_at);

-- Description: Convert all sensor readings to metric units, so that charts by day open at once
-- Requires: 0004
-- Timeout: 240 s
-- Expect: sensor_readings rows unchanged
-- Expect: sensors rows unchanged

-- @preflight
SELECT 'The sensor "' || name || '" reports in "' || unit || '", which cannot be converted; '
  || 'change the unit in the settings of the sensor'
FROM sensors
WHERE unit NOT IN ('%', 'V', 'A', 'W', 'C', 'F', 'kPa', 'psi', 'L', 'gal', 'ppm', 'h')
ORDER BY id;

-- @migrate
-- metric = raw * factor + shift
CREATE TABLE units (
  unit TEXT PRIMARY KEY,
  metric_unit TEXT NOT NULL,
  factor REAL NOT NULL CHECK (factor > 0),
  shift REAL NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

INSERT INTO units (unit, metric_unit, factor, shift) VALUES
  ('%', '%', 1, 0),
  ('V', 'V', 1, 0),
  ('A', 'A', 1, 0),
  ('W', 'W', 1, 0),
  ('C', 'C', 1, 0),
  ('F', 'C', 5.0 / 9.0, -160.0 / 9.0),
  ('kPa', 'kPa', 1, 0),
  ('psi', 'kPa', 6.894757293168, 0),
  ('L', 'L', 1, 0),
  ('gal', 'L', 3.785411784, 0),
  ('ppm', 'ppm', 1, 0),
  ('h', 'h', 1, 0);

-- Without a value only where the sensor itself is unknown.
ALTER TABLE sensor_readings ADD COLUMN metric_value REAL;

-- Days since 1970 in UTC. Computed from the time, so it cannot disagree with it.
ALTER TABLE sensor_readings
  ADD COLUMN day INTEGER GENERATED ALWAYS AS (recorded_at / 86400) VIRTUAL;

UPDATE sensor_readings SET metric_value = (
  SELECT sensor_readings.raw_value * units.factor + units.shift
  FROM sensors JOIN units ON units.unit = sensors.unit
  WHERE sensors.id = sensor_readings.sensor_id
);

-- After the backfill, because building it once is faster than keeping it up row by row.
-- It holds all that a chart by day needs.
CREATE INDEX sensor_readings_by_day ON sensor_readings (sensor_id, day, metric_value);

-- A controller that does not know the new column yet goes on writing without it.
CREATE TRIGGER sensor_readings_to_metric
AFTER INSERT ON sensor_readings
WHEN new.metric_value IS NULL
BEGIN
  UPDATE sensor_readings SET metric_value = (
    SELECT new.raw_value * units.factor + units.shift
    FROM sensors JOIN units ON units.unit = sensors.unit
    WHERE sensors.id = new.sensor_id
  )
  WHERE id = new.id;
END;

-- @validate
SELECT 'The sensor "' || name || '" has readings without a metric value'
FROM sensors
WHERE id IN (SELECT sensor_id FROM sensor_readings WHERE metric_value IS NULL)
ORDER BY id;

SELECT 'The index for charts by day is missing'
WHERE NOT EXISTS (
  SELECT 1 FROM pragma_index_list('sensor_readings') WHERE name = 'sensor_readings_by_day'
);

-- Description: Remove the metric sensor readings again; what the sensors reported stays as it is
-- Timeout: 240 s
-- Expect: sensor_readings rows unchanged
-- Expect: sensors rows unchanged

-- @migrate
-- The trigger and the index name the columns, so they go first.
DROP TRIGGER sensor_readings_to_metric;
DROP INDEX sensor_readings_by_day;
ALTER TABLE sensor_readings DROP COLUMN day;
ALTER TABLE sensor_readings DROP COLUMN metric_value;
DROP TABLE units;

-- @validate
SELECT 'The column ' || name || ' of sensor_readings is still there'
FROM pragma_table_xinfo('sensor_readings')
WHERE name IN ('day', 'metric_value');

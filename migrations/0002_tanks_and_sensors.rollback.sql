-- Description: Remove tanks, sensors and all that they measured; coach and people stay
-- Timeout: 240 s
-- Destructive: yes
-- Expect: coach rows unchanged
-- Expect: profiles rows unchanged

-- @migrate
-- The readings refer to the sensors, and these to the tanks.
DROP TABLE sensor_readings;
DROP TABLE sensors;
DROP TABLE tanks;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'sensor_readings', 'sensor_readings_by_sensor', 'sensors', 'sensors_by_tank', 'tanks'
)
ORDER BY name;

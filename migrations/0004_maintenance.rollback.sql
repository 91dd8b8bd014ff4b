-- Description: Remove the maintenance plan and the service history; trips and stops stay
-- Timeout: 30 s
-- Destructive: yes
-- Expect: trips rows unchanged
-- Expect: trip_stops rows unchanged

-- @migrate
DROP TABLE maintenance_records;
DROP TABLE maintenance_tasks;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'maintenance_records', 'maintenance_records_by_profile', 'maintenance_records_by_task',
  'maintenance_tasks'
)
ORDER BY name;

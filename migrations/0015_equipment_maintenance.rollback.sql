-- Description: Remove the service history of the gear again; the gear itself stays
-- Timeout: 30 s
-- Destructive: yes
-- Expect: equipment content unchanged
-- Expect: widget_library rows -1
-- Expect: dashboard_widgets rows >= 0

-- @migrate
DROP VIEW equipment_due;
DROP TABLE equipment_maintenance_files;
DROP TABLE equipment_maintenance;

DELETE FROM widget_library WHERE key = 'equipment_due';
-- Foreign keys are off, so nothing follows by itself.
DELETE FROM dashboard_widgets WHERE widget_id NOT IN (SELECT id FROM widget_library);

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'equipment_due', 'equipment_maintenance', 'equipment_maintenance_by_equipment',
  'equipment_maintenance_by_profile', 'equipment_maintenance_by_time',
  'equipment_maintenance_files'
)
ORDER BY name;

SELECT 'The widget "equipment_due" is still there' FROM widget_library
WHERE key = 'equipment_due';

-- Description: Forget the downloaded maps again; their files stay on the controller, trip plans too
-- Timeout: 30 s
-- Destructive: yes
-- Expect: trip_plans content unchanged
-- Expect: profiles content unchanged
-- Expect: feature_definitions rows -1
-- Expect: feature_change_log content unchanged
-- Expect: feature_settings rows >= 0
-- Expect: feature_usage rows >= 0
-- Expect: feature_dependencies rows >= 0
-- Expect: feature_conflicts rows >= 0
-- Expect: feature_template_settings rows >= 0
-- Expect: widget_library rows >= 0
-- Expect: dashboard_widgets rows >= 0

-- @migrate
DROP VIEW offline_map_storage;
DROP TABLE offline_map_downloads;

-- Foreign keys are off, so nothing follows by itself. The settings refuse a DELETE while their
-- feature is there, so that goes first. The record of changes stays.
DELETE FROM feature_definitions WHERE key = 'offline_maps';
DELETE FROM feature_settings WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_usage WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_dependencies
WHERE feature_id NOT IN (SELECT id FROM feature_definitions)
  OR required_feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_conflicts
WHERE feature_id NOT IN (SELECT id FROM feature_definitions)
  OR other_feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_template_settings
WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM widget_library
WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM dashboard_widgets WHERE widget_id NOT IN (SELECT id FROM widget_library);

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'offline_map_downloads', 'offline_map_downloads_by_expiry', 'offline_map_downloads_by_plan',
  'offline_map_downloads_by_profile', 'offline_map_downloads_keep_area',
  'offline_map_downloads_open', 'offline_map_storage'
)
ORDER BY name;

SELECT 'The feature "offline_maps" is still there' FROM feature_definitions
WHERE key = 'offline_maps';

SELECT 'The widget "offline_maps" is still there' FROM widget_library
WHERE key = 'offline_maps';

-- Description: Switch trip planning, gear, checklists and offline maps off again, unless you have decided otherwise
-- Timeout: 30 s
-- Expect: feature_definitions rows unchanged
-- Expect: feature_settings content unchanged

-- @migrate
UPDATE feature_definitions SET default_value = 'false'
WHERE key IN (
  'gpx_import_export', 'route_versioning', 'collaborative_editing', 'community_sharing',
  'equipment_management', 'readiness_checklists', 'offline_maps'
);

-- @validate
SELECT 'The feature "' || title || '" is still on by default'
FROM feature_definitions
WHERE category = 'planning' AND default_value = 'true'
ORDER BY id;

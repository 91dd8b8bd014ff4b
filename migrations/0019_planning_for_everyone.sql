-- Description: Switch on trip planning, gear, checklists and offline maps, unless you have decided otherwise
-- Phase: 4
-- Requires: 0011, 0014, 0017, 0018
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: feature_definitions rows unchanged
-- Expect: feature_settings rows unchanged

-- @preflight
SELECT 'The feature "' || wanted.key || '", which this update switches on, is missing; '
  || 'ask whoever maintains the software of your coach'
FROM (
  SELECT 'gpx_import_export' AS key
  UNION ALL SELECT 'route_versioning'
  UNION ALL SELECT 'collaborative_editing'
  UNION ALL SELECT 'community_sharing'
  UNION ALL SELECT 'equipment_management'
  UNION ALL SELECT 'readiness_checklists'
  UNION ALL SELECT 'offline_maps'
) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM feature_definitions WHERE key = wanted.key);

-- @migrate
-- The defaults alone. What a person or the owner has decided goes before them and is not touched.
-- Sharing is offered by this, not done: a trip is shared by a row of trip_shares.
UPDATE feature_definitions SET default_value = 'true'
WHERE key IN (
  'gpx_import_export', 'route_versioning', 'collaborative_editing', 'community_sharing',
  'equipment_management', 'readiness_checklists', 'offline_maps'
);

-- @validate
SELECT 'The feature "' || title || '" is still off by default'
FROM feature_definitions
WHERE category = 'planning' AND default_value = 'false'
ORDER BY id;

-- Nothing of what may hurt somebody has been switched on.
SELECT 'The feature "' || title || '" is on by default'
FROM feature_definitions
WHERE classification <> 'ordinary' AND default_value <> 'false'
ORDER BY id;

-- Description: Stop checking who may change a trip plan; plans and invitations stay
-- Timeout: 30 s
-- Expect: trip_plans content unchanged
-- Expect: route_versions content unchanged
-- Expect: trip_collaborators content unchanged

-- @migrate
-- The triggers ask the view, so they go first.
DROP TRIGGER trip_collaborators_by_owners;
DROP TRIGGER route_versions_by_editors;
DROP VIEW trip_permissions;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'route_versions_by_editors', 'trip_collaborators_by_owners', 'trip_permissions'
)
ORDER BY name;

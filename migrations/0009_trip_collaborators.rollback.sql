-- Description: Remove the invitations to trip plans again; the plans stay with their owners
-- Timeout: 30 s
-- Destructive: yes
-- Expect: trip_plans rows unchanged

-- @migrate
-- It belongs to trip_plans and so does not go with the table.
DROP TRIGGER trip_plans_change_owner;
DROP TABLE trip_collaborators;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'trip_collaborators', 'trip_collaborators_by_inviter', 'trip_collaborators_by_profile',
  'trip_collaborators_in_order', 'trip_collaborators_not_the_owner', 'trip_collaborators_stay',
  'trip_plans_change_owner'
)
ORDER BY name;

-- Description: Whoever may only look at a trip plan can no longer change it by mistake
-- Phase: 2
-- Requires: 0007, 0009
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: trip_plans rows unchanged
-- Expect: route_versions rows unchanged
-- Expect: trip_collaborators rows unchanged

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'route_versions_by_editors', 'trip_collaborators_by_owners', 'trip_permissions'
)
ORDER BY name;

-- Who may change a plan is answered from here on, so each needs somebody who may.
SELECT 'The plan "' || title || '" (number ' || id || ') belongs to nobody; '
  || 'enter the owner of the coach first'
FROM trip_plans
WHERE owner_profile_id IS NULL AND NOT EXISTS (SELECT 1 FROM coach)
ORDER BY id
LIMIT 20;

-- @migrate
-- Who may do what with a plan: 3 owns it, 2 changes it, 1 looks at it. No row: nothing. The owner
-- of the coach owns every plan, because the device is theirs.
CREATE VIEW trip_permissions AS
SELECT
  plan_id, profile_id, max(level) AS level,
  CASE max(level) WHEN 3 THEN 'owner' WHEN 2 THEN 'editor' ELSE 'viewer' END AS role
FROM (
  SELECT id AS plan_id, owner_profile_id AS profile_id, 3 AS level
  FROM trip_plans
  WHERE owner_profile_id IS NOT NULL
  UNION ALL
  SELECT trip_plans.id, coach.owner_profile_id, 3
  FROM trip_plans
  CROSS JOIN coach
  UNION ALL
  SELECT plan_id, profile_id, CASE role WHEN 'owner' THEN 3 WHEN 'editor' THEN 2 ELSE 1 END
  FROM trip_collaborators
  WHERE status = 'accepted'
)
GROUP BY plan_id, profile_id;

-- These catch a mistake of the application. They do not keep anybody out: SQLite does not know
-- who is asking. What is stored already stays, and so does what names no person.
CREATE TRIGGER route_versions_by_editors
BEFORE INSERT ON route_versions
WHEN new.author_profile_id IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM trip_permissions
  WHERE plan_id = new.plan_id AND profile_id = new.author_profile_id AND level >= 2
)
BEGIN
  SELECT raise(ABORT, 'this person may look at the plan, not change it');
END;

CREATE TRIGGER trip_collaborators_by_owners
BEFORE INSERT ON trip_collaborators
WHEN new.invited_by_profile_id IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM trip_permissions
  WHERE plan_id = new.plan_id AND profile_id = new.invited_by_profile_id AND level = 3
)
BEGIN
  SELECT raise(ABORT, 'only an owner invites others to a plan');
END;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'view' AS type, 'trip_permissions' AS name
  UNION ALL SELECT 'trigger', 'route_versions_by_editors'
  UNION ALL SELECT 'trigger', 'trip_collaborators_by_owners'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'Nobody may change the plan "' || title || '" (number ' || id || ')'
FROM trip_plans
WHERE id NOT IN (SELECT plan_id FROM trip_permissions WHERE level = 3)
ORDER BY id
LIMIT 20;

-- Description: Plan a trip together, and say who may change it and who may only look
-- Phase: 1
-- Requires: 0007
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: trip_plans rows unchanged
-- Expect: profiles content unchanged

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'trip_collaborators', 'trip_collaborators_by_inviter', 'trip_collaborators_by_profile',
  'trip_collaborators_in_order', 'trip_collaborators_not_the_owner', 'trip_collaborators_stay',
  'trip_plans_change_owner'
)
ORDER BY name;

-- @migrate
CREATE TABLE trip_collaborators (
  id INTEGER PRIMARY KEY,
  plan_id INTEGER NOT NULL REFERENCES trip_plans (id) ON DELETE CASCADE,
  profile_id INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
  invited_by_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  -- An owner here is a second one, beside the one that the plan names.
  role TEXT NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
  status TEXT NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'accepted', 'declined', 'revoked')),
  invited_at INTEGER NOT NULL CHECK (invited_at > 0),
  answered_at INTEGER CHECK (answered_at > 0),
  -- An invitation that is withdrawn before its answer has none.
  CHECK (CASE status
    WHEN 'pending' THEN answered_at IS NULL
    WHEN 'revoked' THEN 1
    ELSE answered_at IS NOT NULL
  END),
  -- Its index serves the foreign key to the plan.
  UNIQUE (plan_id, profile_id)
) STRICT;

CREATE INDEX trip_collaborators_by_profile ON trip_collaborators (profile_id, status);
CREATE INDEX trip_collaborators_by_inviter ON trip_collaborators (invited_by_profile_id);

CREATE TRIGGER trip_collaborators_not_the_owner
BEFORE INSERT ON trip_collaborators
WHEN new.profile_id = (SELECT owner_profile_id FROM trip_plans WHERE id = new.plan_id)
BEGIN
  SELECT raise(ABORT, 'the owner of a plan is not invited to it');
END;

CREATE TRIGGER trip_collaborators_stay
BEFORE UPDATE OF plan_id, profile_id ON trip_collaborators
WHEN new.plan_id IS NOT old.plan_id OR new.profile_id IS NOT old.profile_id
BEGIN
  SELECT raise(ABORT, 'an invitation keeps its plan and its person');
END;

-- Whoever declined or was removed is asked again before the plan opens.
CREATE TRIGGER trip_collaborators_in_order
BEFORE UPDATE OF status ON trip_collaborators
WHEN new.status <> old.status AND NOT (
  (old.status = 'pending' AND new.status IN ('accepted', 'declined', 'revoked'))
  OR (old.status = 'accepted' AND new.status = 'revoked')
  OR (old.status IN ('declined', 'revoked') AND new.status = 'pending')
)
BEGIN
  SELECT raise(ABORT, 'an invitation is answered once; invite again');
END;

-- A new owner needs no invitation any more.
CREATE TRIGGER trip_plans_change_owner
AFTER UPDATE OF owner_profile_id ON trip_plans
WHEN new.owner_profile_id IS NOT NULL
BEGIN
  DELETE FROM trip_collaborators
  WHERE plan_id = new.id AND profile_id = new.owner_profile_id;
END;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'trip_collaborators' AS name
  UNION ALL SELECT 'index', 'trip_collaborators_by_profile'
  UNION ALL SELECT 'index', 'trip_collaborators_by_inviter'
  UNION ALL SELECT 'trigger', 'trip_collaborators_not_the_owner'
  UNION ALL SELECT 'trigger', 'trip_collaborators_stay'
  UNION ALL SELECT 'trigger', 'trip_collaborators_in_order'
  UNION ALL SELECT 'trigger', 'trip_plans_change_owner'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

-- Description: Let each person choose how planning, packing and map downloads work for them
-- Phase: 1
-- Requires: 0001
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Input: weight_unit TEXT "In which unit do you weigh what you carry?" default 'kg' choices 'kg', 'lb'
-- Expect: profiles content unchanged
-- Expect: settings content unchanged

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'planning_preferences', 'profiles_get_preferences'
)
ORDER BY name;

-- @migrate
-- Columns rather than one JSON value: each has its type, its limits and its default here. The
-- free form of settings stays for what a panel wants to remember.
CREATE TABLE planning_preferences (
  profile_id INTEGER PRIMARY KEY REFERENCES profiles (id) ON DELETE CASCADE,
  -- For display. Masses are stored in grams.
  weight_unit TEXT NOT NULL DEFAULT 'kg' CHECK (weight_unit IN ('kg', 'lb')),
  suggests_packing INTEGER NOT NULL DEFAULT 1 CHECK (suggests_packing IN (0, 1)),
  reminds_of_maintenance INTEGER NOT NULL DEFAULT 1 CHECK (reminds_of_maintenance IN (0, 1)),
  creates_checklists INTEGER NOT NULL DEFAULT 1 CHECK (creates_checklists IN (0, 1)),
  checklist_days_before INTEGER NOT NULL DEFAULT 7 CHECK (checklist_days_before BETWEEN 0 AND 60),
  downloads_maps INTEGER NOT NULL DEFAULT 0 CHECK (downloads_maps IN (0, 1)),
  map_storage_mib INTEGER NOT NULL DEFAULT 5120 CHECK (map_storage_mib BETWEEN 0 AND 1048576),
  map_style TEXT NOT NULL DEFAULT 'streets'
    CHECK (map_style IN ('streets', 'satellite', 'outdoors', 'terrain')),
  allows_invitations INTEGER NOT NULL DEFAULT 1 CHECK (allows_invitations IN (0, 1)),
  -- Nobody becomes a second owner by a default.
  invite_role TEXT NOT NULL DEFAULT 'viewer' CHECK (invite_role IN ('editor', 'viewer')),
  emails_trip_changes INTEGER NOT NULL DEFAULT 1 CHECK (emails_trip_changes IN (0, 1)),
  -- Without one until the person changes something.
  updated_at INTEGER CHECK (updated_at > 0)
) STRICT;

INSERT INTO planning_preferences (profile_id, weight_unit)
SELECT id, :weight_unit FROM profiles ORDER BY id;

-- A controller that does not know the table yet goes on adding people. They get the unit of the
-- owner of the coach.
CREATE TRIGGER profiles_get_preferences
AFTER INSERT ON profiles
BEGIN
  INSERT INTO planning_preferences (profile_id, weight_unit)
  VALUES (
    new.id,
    coalesce((
      SELECT preferences.weight_unit
      FROM coach
      JOIN planning_preferences AS preferences ON preferences.profile_id = coach.owner_profile_id
    ), 'kg')
  )
  ON CONFLICT (profile_id) DO NOTHING;
END;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'planning_preferences' AS name
  UNION ALL SELECT 'trigger', 'profiles_get_preferences'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The person "' || name || '" has no preferences for planning'
FROM profiles
WHERE id NOT IN (SELECT profile_id FROM planning_preferences)
ORDER BY id
LIMIT 20;

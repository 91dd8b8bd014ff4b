-- Description: Remember when each piece of gear was serviced, what it cost and when it is due again
-- Phase: 2
-- Requires: 0014
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: equipment rows unchanged
-- Expect: profiles content unchanged
-- Expect: widget_library rows +1

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'equipment_due', 'equipment_maintenance', 'equipment_maintenance_by_equipment',
  'equipment_maintenance_by_profile', 'equipment_maintenance_by_time',
  'equipment_maintenance_files'
)
ORDER BY name;

SELECT 'A widget of the name "equipment_due" exists already; '
  || 'have the program that entered it give it another one'
FROM widget_library
WHERE key = 'equipment_due';

-- @migrate
-- The coach itself has maintenance_records. Gear has no odometer and no standard tasks.
CREATE TABLE equipment_maintenance (
  id INTEGER PRIMARY KEY,
  equipment_id INTEGER NOT NULL REFERENCES equipment (id) ON DELETE CASCADE,
  -- Who entered it.
  profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  kind TEXT NOT NULL
    CHECK (kind IN ('inspection', 'repair', 'service', 'cleaning', 'calibration', 'replacement')),
  performed_at INTEGER NOT NULL CHECK (performed_at > 0),
  description TEXT NOT NULL CHECK (length(trim(description)) > 0),
  -- Who did it. Without one, it was the person who entered it.
  performed_by TEXT CHECK (length(trim(performed_by)) > 0),
  location TEXT,
  cost_cents INTEGER CHECK (cost_cents >= 0),
  replaced_parts TEXT NOT NULL DEFAULT '[]'
    CHECK (json_valid(replaced_parts) AND json_type(replaced_parts) = 'array'),
  next_due_at INTEGER,
  next_due_notes TEXT,
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  updated_at INTEGER NOT NULL CHECK (updated_at > 0),
  CHECK (next_due_at > performed_at)
) STRICT;

-- Serves the foreign key and the question what was done last.
CREATE INDEX equipment_maintenance_by_equipment
  ON equipment_maintenance (equipment_id, kind, performed_at);
CREATE INDEX equipment_maintenance_by_profile ON equipment_maintenance (profile_id);
CREATE INDEX equipment_maintenance_by_time ON equipment_maintenance (performed_at);

CREATE TABLE equipment_maintenance_files (
  id INTEGER PRIMARY KEY,
  maintenance_id INTEGER NOT NULL REFERENCES equipment_maintenance (id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('receipt', 'photo_before', 'photo_after', 'report')),
  path TEXT NOT NULL CHECK (length(path) > 0),
  -- Its index serves the foreign key too.
  UNIQUE (maintenance_id, path)
) STRICT;

-- Only the last entry of a kind says when that is due. What was due before it has been done.
CREATE VIEW equipment_due AS
SELECT
  equipment.id AS equipment_id, equipment.name, last.kind, last.performed_at, last.next_due_at,
  last.next_due_notes
FROM equipment
JOIN equipment_maintenance AS last ON last.equipment_id = equipment.id
WHERE last.next_due_at IS NOT NULL
  AND equipment.status NOT IN ('retired', 'lost', 'sold')
  AND NOT EXISTS (
    SELECT 1
    FROM equipment_maintenance AS later
    WHERE later.equipment_id = last.equipment_id AND later.kind = last.kind
      AND (later.performed_at, later.id) > (last.performed_at, last.id)
  );

INSERT INTO widget_library (
  key, title, category, feature_id, min_width, min_height, default_options
)
SELECT 'equipment_due', 'Gear due for service', 'care', id, 3, 1, '{"days":30}'
FROM feature_definitions
WHERE key = 'equipment_management';

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'equipment_maintenance' AS name
  UNION ALL SELECT 'index', 'equipment_maintenance_by_equipment'
  UNION ALL SELECT 'index', 'equipment_maintenance_by_profile'
  UNION ALL SELECT 'index', 'equipment_maintenance_by_time'
  UNION ALL SELECT 'table', 'equipment_maintenance_files'
  UNION ALL SELECT 'view', 'equipment_due'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The widget "equipment_due" is missing, or has no feature'
WHERE NOT EXISTS (
  SELECT 1 FROM widget_library WHERE key = 'equipment_due' AND feature_id IS NOT NULL
);

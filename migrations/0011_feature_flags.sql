-- Description: Switch features on and off for the coach or for one person, with a record of every change
-- Phase: 1
-- Requires: 0001
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: profiles content unchanged
-- Expect: feature_definitions rows +13
-- Expect: feature_dependencies rows +6

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'feature_change_log', 'feature_change_log_by_feature', 'feature_change_log_no_delete',
  'feature_change_log_no_replace', 'feature_change_log_no_update', 'feature_conflicts',
  'feature_conflicts_by_other', 'feature_conflicts_check', 'feature_conflicts_stay',
  'feature_definitions', 'feature_definitions_are_new', 'feature_definitions_check_insert',
  'feature_definitions_check_update', 'feature_definitions_keep_meaning',
  'feature_dependencies', 'feature_dependencies_by_required', 'feature_dependencies_check',
  'feature_dependencies_stay', 'feature_requirements', 'feature_settings',
  'feature_settings_by_changer', 'feature_settings_by_profile',
  'feature_settings_check_insert', 'feature_settings_check_update',
  'feature_settings_keep_place', 'feature_settings_log_insert', 'feature_settings_log_update',
  'feature_settings_stay', 'feature_states', 'feature_values'
)
ORDER BY name;

-- @migrate
-- What can be switched. These rows come with the software: a migration changes them, no person.
CREATE TABLE feature_definitions (
  id INTEGER PRIMARY KEY,
  -- The name by which a program asks for the feature.
  key TEXT NOT NULL UNIQUE
    CHECK (key GLOB '[a-z]*' AND key NOT GLOB '*[^a-z0-9_]*' AND length(key) <= 60),
  title TEXT NOT NULL CHECK (length(trim(title)) > 0),
  description TEXT NOT NULL DEFAULT '',
  category TEXT NOT NULL CHECK (category IN ('panel', 'planning', 'connection', 'control')),
  -- ordinary: every scope. security: not a single person. safety: a technician alone.
  classification TEXT NOT NULL DEFAULT 'ordinary'
    CHECK (classification IN ('ordinary', 'security', 'safety')),
  -- Nothing works without it, so it is on and nobody switches it.
  is_core INTEGER NOT NULL DEFAULT 0 CHECK (is_core IN (0, 1)),
  value_type TEXT NOT NULL CHECK (value_type IN ('boolean', 'integer', 'number', 'text')),
  -- Values are JSON without blanks, so that equal values are equal texts.
  default_value TEXT NOT NULL
    CHECK (json_valid(default_value) AND default_value = json(default_value)),
  allowed_values TEXT
    CHECK (json_type(allowed_values) = 'array' AND json_array_length(allowed_values) > 0),
  min_value REAL,
  max_value REAL,
  CHECK (CASE value_type
    WHEN 'boolean' THEN json_type(default_value) IN ('true', 'false')
    WHEN 'integer' THEN json_type(default_value) = 'integer'
    WHEN 'number' THEN json_type(default_value) IN ('integer', 'real')
    ELSE json_type(default_value) = 'text'
  END),
  CHECK (min_value <= max_value),
  CHECK (value_type IN ('integer', 'number') OR (min_value IS NULL AND max_value IS NULL)),
  CHECK (value_type <> 'boolean' OR allowed_values IS NULL),
  CHECK (value_type NOT IN ('integer', 'number')
    OR (json_extract(default_value, '$') >= coalesce(min_value, -9e999)
      AND json_extract(default_value, '$') <= coalesce(max_value, 9e999))),
  CHECK (is_core = 0 OR (value_type = 'boolean' AND default_value = 'true')),
  -- What can hurt somebody is off until somebody decides.
  CHECK (classification <> 'safety' OR (value_type = 'boolean' AND default_value = 'false'))
) STRICT;

CREATE TRIGGER feature_definitions_keep_meaning
BEFORE UPDATE OF key, value_type, classification, is_core ON feature_definitions
WHEN new.key IS NOT old.key OR new.value_type IS NOT old.value_type
  OR new.classification IS NOT old.classification OR new.is_core IS NOT old.is_core
BEGIN
  SELECT raise(ABORT, 'a feature keeps its key, type and classification; define another one');
END;

-- INSERT OR REPLACE would get around the trigger above.
CREATE TRIGGER feature_definitions_are_new
BEFORE INSERT ON feature_definitions
WHEN EXISTS (SELECT 1 FROM feature_definitions WHERE id = new.id OR key = new.key)
BEGIN
  SELECT raise(ABORT, 'this feature is defined already');
END;

-- A CHECK cannot look into a list. These two can.
CREATE TRIGGER feature_definitions_check_insert
BEFORE INSERT ON feature_definitions
WHEN new.allowed_values IS NOT NULL
BEGIN
  SELECT raise(ABORT, 'an allowed value has another type than the feature')
  WHERE EXISTS (
    SELECT 1 FROM json_each(new.allowed_values) AS allowed
    WHERE allowed.type <> new.value_type
      AND NOT (new.value_type = 'number' AND allowed.type IN ('integer', 'real'))
  );
  SELECT raise(ABORT, 'the default of the feature is not among its allowed values')
  WHERE NOT EXISTS (
    SELECT 1 FROM json_each(new.allowed_values) AS allowed
    WHERE allowed.value = json_extract(new.default_value, '$')
  );
END;

CREATE TRIGGER feature_definitions_check_update
BEFORE UPDATE OF default_value, allowed_values ON feature_definitions
WHEN new.allowed_values IS NOT NULL
BEGIN
  SELECT raise(ABORT, 'an allowed value has another type than the feature')
  WHERE EXISTS (
    SELECT 1 FROM json_each(new.allowed_values) AS allowed
    WHERE allowed.type <> new.value_type
      AND NOT (new.value_type = 'number' AND allowed.type IN ('integer', 'real'))
  );
  SELECT raise(ABORT, 'the default of the feature is not among its allowed values')
  WHERE NOT EXISTS (
    SELECT 1 FROM json_each(new.allowed_values) AS allowed
    WHERE allowed.value = json_extract(new.default_value, '$')
  );
END;

-- The first needs the second.
CREATE TABLE feature_dependencies (
  feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  required_feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  PRIMARY KEY (feature_id, required_feature_id),
  CHECK (feature_id <> required_feature_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX feature_dependencies_by_required ON feature_dependencies (required_feature_id);

-- Two that exclude each other. Each pair is stored once.
CREATE TABLE feature_conflicts (
  feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  other_feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  PRIMARY KEY (feature_id, other_feature_id),
  CHECK (feature_id < other_feature_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX feature_conflicts_by_other ON feature_conflicts (other_feature_id);

-- All that a feature needs, through others too.
CREATE VIEW feature_requirements AS
WITH RECURSIVE chain (feature_id, required_feature_id, depth) AS (
  SELECT feature_id, required_feature_id, 1 FROM feature_dependencies
  UNION ALL
  SELECT chain.feature_id, next.required_feature_id, chain.depth + 1
  FROM chain
  JOIN feature_dependencies AS next ON next.feature_id = chain.required_feature_id
)
SELECT feature_id, required_feature_id, max(depth) AS depth
FROM chain
GROUP BY feature_id, required_feature_id;

-- The view above ends because there is no circle.
CREATE TRIGGER feature_dependencies_check
BEFORE INSERT ON feature_dependencies
BEGIN
  SELECT raise(ABORT, 'two features cannot require each other')
  WHERE EXISTS (
    SELECT 1 FROM feature_requirements
    WHERE feature_id = new.required_feature_id AND required_feature_id = new.feature_id
  );
  SELECT raise(ABORT, 'only a feature that is on or off can be required')
  FROM feature_definitions
  WHERE id = new.required_feature_id AND value_type <> 'boolean';
END;

CREATE TRIGGER feature_dependencies_stay
BEFORE UPDATE ON feature_dependencies
BEGIN
  SELECT raise(ABORT, 'remove the dependency and enter the other one');
END;

CREATE TRIGGER feature_conflicts_check
BEFORE INSERT ON feature_conflicts
BEGIN
  SELECT raise(ABORT, 'only features that are on or off can exclude each other')
  WHERE EXISTS (
    SELECT 1 FROM feature_definitions
    WHERE id IN (new.feature_id, new.other_feature_id) AND value_type <> 'boolean'
  );
END;

CREATE TRIGGER feature_conflicts_stay
BEFORE UPDATE ON feature_conflicts
BEGIN
  SELECT raise(ABORT, 'remove the conflict and enter the other one');
END;

-- What was decided. The technician goes before the person, the person before the coach, and
-- that before the default.
CREATE TABLE feature_settings (
  id INTEGER PRIMARY KEY,
  feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  scope TEXT NOT NULL CHECK (scope IN ('technician', 'profile', 'coach')),
  profile_id INTEGER REFERENCES profiles (id) ON DELETE CASCADE,
  -- NULL means: decided nothing any more. A row is emptied rather than deleted, because a DELETE
  -- could not say who did it, when and why.
  -- json() gives NULL for NULL, which passes, and an error for what is no JSON.
  value TEXT CHECK (value = json(value)),
  reason TEXT NOT NULL DEFAULT '' CHECK (length(reason) <= 500),
  changed_by_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  updated_at INTEGER NOT NULL CHECK (updated_at > 0),
  -- A UNIQUE over profile_id would let two rows without a profile pass.
  scope_key TEXT NOT NULL
    GENERATED ALWAYS AS (CASE scope WHEN 'profile' THEN 'profile ' || profile_id ELSE scope END)
    VIRTUAL,
  CHECK ((scope = 'profile') = (profile_id IS NOT NULL)),
  CHECK (scope <> 'technician' OR length(trim(reason)) > 0),
  UNIQUE (feature_id, scope_key)
) STRICT;

CREATE INDEX feature_settings_by_profile ON feature_settings (profile_id);
CREATE INDEX feature_settings_by_changer ON feature_settings (changed_by_profile_id);

CREATE VIEW feature_values AS
SELECT
  person.profile_id, definition.id AS feature_id, definition.key, definition.value_type,
  coalesce(technician.value, own.value, coach.value, definition.default_value) AS value,
  CASE
    WHEN technician.value IS NOT NULL THEN 'technician'
    WHEN own.value IS NOT NULL THEN 'profile'
    WHEN coach.value IS NOT NULL THEN 'coach'
    ELSE 'default'
  END AS decided_by
-- The row without a profile is the coach itself, when nobody is signed in.
FROM (SELECT NULL AS profile_id UNION ALL SELECT id FROM profiles) AS person
CROSS JOIN feature_definitions AS definition
LEFT JOIN feature_settings AS technician
  ON technician.feature_id = definition.id AND technician.scope_key = 'technician'
LEFT JOIN feature_settings AS own
  ON own.feature_id = definition.id AND own.scope_key = 'profile ' || person.profile_id
LEFT JOIN feature_settings AS coach
  ON coach.feature_id = definition.id AND coach.scope_key = 'coach';

-- What a program asks. A feature is off when one that it needs is off, however that came about.
-- Of two that exclude each other and are both switched on, neither is.
CREATE VIEW feature_states AS
SELECT
  mine.profile_id, mine.key, mine.value, mine.decided_by,
  mine.value <> 'false'
  AND NOT EXISTS (
    SELECT 1
    FROM feature_requirements AS need
    JOIN feature_values AS needed ON needed.feature_id = need.required_feature_id
    WHERE need.feature_id = mine.feature_id
      AND needed.profile_id IS mine.profile_id AND needed.value = 'false'
  )
  AND NOT EXISTS (
    SELECT 1
    FROM feature_conflicts AS pair
    JOIN feature_values AS other
      ON other.feature_id IN (pair.feature_id, pair.other_feature_id)
      AND other.feature_id <> mine.feature_id
    WHERE mine.feature_id IN (pair.feature_id, pair.other_feature_id)
      AND other.profile_id IS mine.profile_id AND other.value = 'true'
  ) AS is_on
FROM feature_values AS mine;

-- The same rules for a new setting and for a changed one.
CREATE TRIGGER feature_settings_check_insert
BEFORE INSERT ON feature_settings
BEGIN
  SELECT CASE
    WHEN is_core THEN raise(ABORT, 'this feature cannot be switched')
    WHEN classification = 'safety' AND new.scope <> 'technician'
      THEN raise(ABORT, 'a safety feature is switched by a technician only')
    WHEN classification = 'security' AND new.scope = 'profile'
      THEN raise(ABORT, 'a security feature is not switched for one person')
    WHEN new.value IS NULL THEN NULL
    WHEN NOT CASE value_type
        WHEN 'boolean' THEN json_type(new.value) IN ('true', 'false')
        WHEN 'integer' THEN json_type(new.value) = 'integer'
        WHEN 'number' THEN json_type(new.value) IN ('integer', 'real')
        ELSE json_type(new.value) = 'text'
      END
      THEN raise(ABORT, 'the value has another type than the feature')
    WHEN allowed_values IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(allowed_values) AS allowed
        WHERE allowed.value = json_extract(new.value, '$')
      )
      THEN raise(ABORT, 'the value is not among those that the feature allows')
    WHEN json_extract(new.value, '$') < min_value OR json_extract(new.value, '$') > max_value
      THEN raise(ABORT, 'the value is outside of the range of the feature')
  END
  FROM feature_definitions
  WHERE id = new.feature_id;

  SELECT raise(ABORT, 'this feature requires another one that is off')
  WHERE new.value <> 'false' AND EXISTS (
    SELECT 1
    FROM feature_requirements AS need
    JOIN feature_values AS needed ON needed.feature_id = need.required_feature_id
    WHERE need.feature_id = new.feature_id
      AND needed.profile_id IS new.profile_id AND needed.value = 'false'
  );

  SELECT raise(ABORT, 'another feature that is on excludes this one')
  WHERE new.value = 'true' AND EXISTS (
    SELECT 1
    FROM feature_conflicts AS pair
    JOIN feature_values AS other
      ON other.feature_id IN (pair.feature_id, pair.other_feature_id)
      AND other.feature_id <> new.feature_id
    WHERE new.feature_id IN (pair.feature_id, pair.other_feature_id)
      AND other.profile_id IS new.profile_id AND other.value = 'true'
  );

  -- Where the same decider switched on what needs this, that has to go first.
  SELECT raise(ABORT, 'another feature that is on requires this one')
  WHERE new.value = 'false' AND EXISTS (
    SELECT 1
    FROM feature_requirements AS need
    JOIN feature_settings AS setting ON setting.feature_id = need.feature_id
    WHERE need.required_feature_id = new.feature_id
      AND setting.scope = new.scope AND setting.profile_id IS new.profile_id
      AND setting.value = 'true'
  );
END;

CREATE TRIGGER feature_settings_check_update
BEFORE UPDATE OF value ON feature_settings
WHEN new.value IS NOT old.value
BEGIN
  SELECT CASE
    WHEN is_core THEN raise(ABORT, 'this feature cannot be switched')
    WHEN classification = 'safety' AND new.scope <> 'technician'
      THEN raise(ABORT, 'a safety feature is switched by a technician only')
    WHEN classification = 'security' AND new.scope = 'profile'
      THEN raise(ABORT, 'a security feature is not switched for one person')
    WHEN new.value IS NULL THEN NULL
    WHEN NOT CASE value_type
        WHEN 'boolean' THEN json_type(new.value) IN ('true', 'false')
        WHEN 'integer' THEN json_type(new.value) = 'integer'
        WHEN 'number' THEN json_type(new.value) IN ('integer', 'real')
        ELSE json_type(new.value) = 'text'
      END
      THEN raise(ABORT, 'the value has another type than the feature')
    WHEN allowed_values IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(allowed_values) AS allowed
        WHERE allowed.value = json_extract(new.value, '$')
      )
      THEN raise(ABORT, 'the value is not among those that the feature allows')
    WHEN json_extract(new.value, '$') < min_value OR json_extract(new.value, '$') > max_value
      THEN raise(ABORT, 'the value is outside of the range of the feature')
  END
  FROM feature_definitions
  WHERE id = new.feature_id;

  SELECT raise(ABORT, 'this feature requires another one that is off')
  WHERE new.value <> 'false' AND EXISTS (
    SELECT 1
    FROM feature_requirements AS need
    JOIN feature_values AS needed ON needed.feature_id = need.required_feature_id
    WHERE need.feature_id = new.feature_id
      AND needed.profile_id IS new.profile_id AND needed.value = 'false'
  );

  SELECT raise(ABORT, 'another feature that is on excludes this one')
  WHERE new.value = 'true' AND EXISTS (
    SELECT 1
    FROM feature_conflicts AS pair
    JOIN feature_values AS other
      ON other.feature_id IN (pair.feature_id, pair.other_feature_id)
      AND other.feature_id <> new.feature_id
    WHERE new.feature_id IN (pair.feature_id, pair.other_feature_id)
      AND other.profile_id IS new.profile_id AND other.value = 'true'
  );

  SELECT raise(ABORT, 'another feature that is on requires this one')
  WHERE new.value = 'false' AND EXISTS (
    SELECT 1
    FROM feature_requirements AS need
    JOIN feature_settings AS setting ON setting.feature_id = need.feature_id
    WHERE need.required_feature_id = new.feature_id
      AND setting.scope = new.scope AND setting.profile_id IS new.profile_id
      AND setting.value = 'true'
  );
END;

CREATE TRIGGER feature_settings_keep_place
BEFORE UPDATE OF id, feature_id, scope, profile_id ON feature_settings
WHEN new.id IS NOT old.id OR new.feature_id IS NOT old.feature_id OR new.scope IS NOT old.scope
  OR new.profile_id IS NOT old.profile_id
BEGIN
  SELECT raise(ABORT, 'a setting keeps its feature and its scope');
END;

-- It may go with its feature or its person: those are gone when the cascade arrives.
CREATE TRIGGER feature_settings_stay
BEFORE DELETE ON feature_settings
WHEN EXISTS (SELECT 1 FROM feature_definitions WHERE id = old.feature_id)
  AND (old.profile_id IS NULL OR EXISTS (SELECT 1 FROM profiles WHERE id = old.profile_id))
BEGIN
  SELECT raise(ABORT, 'a setting is emptied with UPDATE, so that the record says who did it');
END;

-- The record. It has no foreign keys: it outlives what it tells of, and is never rewritten.
CREATE TABLE feature_change_log (
  id INTEGER PRIMARY KEY,
  feature_key TEXT NOT NULL,
  scope TEXT NOT NULL,
  profile_id INTEGER,
  old_value TEXT,
  new_value TEXT,
  reason TEXT NOT NULL,
  changed_by_profile_id INTEGER,
  changed_by_name TEXT,
  changed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX feature_change_log_by_feature ON feature_change_log (feature_key, id);

CREATE TRIGGER feature_change_log_no_update
BEFORE UPDATE ON feature_change_log
BEGIN
  SELECT raise(ABORT, 'the record of changes is never changed');
END;

CREATE TRIGGER feature_change_log_no_delete
BEFORE DELETE ON feature_change_log
BEGIN
  SELECT raise(ABORT, 'the record of changes is never shortened');
END;

-- INSERT OR REPLACE removes the old row without firing the trigger above.
CREATE TRIGGER feature_change_log_no_replace
BEFORE INSERT ON feature_change_log
WHEN EXISTS (SELECT 1 FROM feature_change_log WHERE id = new.id)
BEGIN
  SELECT raise(ABORT, 'the record of changes is never changed');
END;

-- The value before is read from the record, because INSERT OR REPLACE has removed the row by now.
CREATE TRIGGER feature_settings_log_insert
AFTER INSERT ON feature_settings
BEGIN
  INSERT INTO feature_change_log (
    feature_key, scope, profile_id, old_value, new_value, reason,
    changed_by_profile_id, changed_by_name, changed_at
  )
  SELECT
    definition.key, new.scope, new.profile_id,
    (
      SELECT earlier.new_value
      FROM feature_change_log AS earlier
      WHERE earlier.feature_key = definition.key AND earlier.scope = new.scope
        AND earlier.profile_id IS new.profile_id
      ORDER BY earlier.id DESC
      LIMIT 1
    ),
    new.value, new.reason, new.changed_by_profile_id,
    (SELECT name FROM profiles WHERE id = new.changed_by_profile_id), new.updated_at
  FROM feature_definitions AS definition
  WHERE definition.id = new.feature_id;
END;

CREATE TRIGGER feature_settings_log_update
AFTER UPDATE OF value ON feature_settings
WHEN new.value IS NOT old.value
BEGIN
  INSERT INTO feature_change_log (
    feature_key, scope, profile_id, old_value, new_value, reason,
    changed_by_profile_id, changed_by_name, changed_at
  )
  SELECT
    definition.key, new.scope, new.profile_id, old.value, new.value, new.reason,
    new.changed_by_profile_id,
    (SELECT name FROM profiles WHERE id = new.changed_by_profile_id), new.updated_at
  FROM feature_definitions AS definition
  WHERE definition.id = new.feature_id;
END;

-- What belongs to planning is off until the last phase switches it on.
INSERT INTO feature_definitions (
  key, title, description, category, classification, is_core, value_type,
  default_value, allowed_values, min_value, max_value
) VALUES
  ('dashboard_core', 'Panel', 'The pages with tanks, batteries and climate',
    'panel', 'ordinary', 1, 'boolean', 'true', NULL, NULL, NULL),
  ('real_time_updates', 'Live values', 'Show each value as soon as it changes',
    'panel', 'ordinary', 0, 'boolean', 'true', NULL, NULL, NULL),
  ('battery_saver', 'Save the battery', 'Refresh the panel once a minute',
    'panel', 'ordinary', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('start_page', 'First page', 'What the panel shows when it wakes up',
    'panel', 'ordinary', 0, 'text', '"overview"', '["overview","tanks","trips"]', NULL, NULL),
  ('gpx_import_export', 'GPX files', 'Read and write routes as GPX files',
    'planning', 'ordinary', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('route_versioning', 'Route versions', 'Keep each version of a route',
    'planning', 'ordinary', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('route_autosave_minutes', 'Save routes by itself', 'Minutes between two versions while editing',
    'planning', 'ordinary', 0, 'integer', '5', NULL, 1, 60),
  ('collaborative_editing', 'Plan together', 'Invite others to a plan',
    'planning', 'ordinary', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('community_sharing', 'Share trips', 'Share a trip with a link',
    'planning', 'ordinary', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('remote_access', 'Remote access', 'Reach the panel from outside of the coach',
    'connection', 'security', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('panel_slide_control', 'Slides', 'Move the slide rooms from the panel',
    'control', 'safety', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('panel_awning_control', 'Awnings', 'Move the awnings from the panel',
    'control', 'safety', 0, 'boolean', 'false', NULL, NULL, NULL),
  ('panel_leveling_control', 'Leveling', 'Move the leveling jacks from the panel',
    'control', 'safety', 0, 'boolean', 'false', NULL, NULL, NULL);

INSERT INTO feature_dependencies (feature_id, required_feature_id)
SELECT feature.id, required.id
FROM (
  SELECT 'real_time_updates' AS key, 'dashboard_core' AS required_key
  UNION ALL SELECT 'battery_saver', 'dashboard_core'
  UNION ALL SELECT 'start_page', 'dashboard_core'
  UNION ALL SELECT 'route_autosave_minutes', 'route_versioning'
  UNION ALL SELECT 'collaborative_editing', 'route_versioning'
  UNION ALL SELECT 'community_sharing', 'gpx_import_export'
) AS pair
JOIN feature_definitions AS feature ON feature.key = pair.key
JOIN feature_definitions AS required ON required.key = pair.required_key;

INSERT INTO feature_conflicts (feature_id, other_feature_id)
SELECT min(id), max(id)
FROM feature_definitions
WHERE key IN ('real_time_updates', 'battery_saver');

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'feature_definitions' AS name
  UNION ALL SELECT 'trigger', 'feature_definitions_keep_meaning'
  UNION ALL SELECT 'trigger', 'feature_definitions_are_new'
  UNION ALL SELECT 'trigger', 'feature_definitions_check_insert'
  UNION ALL SELECT 'trigger', 'feature_definitions_check_update'
  UNION ALL SELECT 'table', 'feature_dependencies'
  UNION ALL SELECT 'index', 'feature_dependencies_by_required'
  UNION ALL SELECT 'table', 'feature_conflicts'
  UNION ALL SELECT 'index', 'feature_conflicts_by_other'
  UNION ALL SELECT 'view', 'feature_requirements'
  UNION ALL SELECT 'trigger', 'feature_dependencies_check'
  UNION ALL SELECT 'trigger', 'feature_dependencies_stay'
  UNION ALL SELECT 'trigger', 'feature_conflicts_check'
  UNION ALL SELECT 'trigger', 'feature_conflicts_stay'
  UNION ALL SELECT 'table', 'feature_settings'
  UNION ALL SELECT 'index', 'feature_settings_by_profile'
  UNION ALL SELECT 'index', 'feature_settings_by_changer'
  UNION ALL SELECT 'view', 'feature_values'
  UNION ALL SELECT 'view', 'feature_states'
  UNION ALL SELECT 'trigger', 'feature_settings_check_insert'
  UNION ALL SELECT 'trigger', 'feature_settings_check_update'
  UNION ALL SELECT 'trigger', 'feature_settings_keep_place'
  UNION ALL SELECT 'trigger', 'feature_settings_stay'
  UNION ALL SELECT 'table', 'feature_change_log'
  UNION ALL SELECT 'index', 'feature_change_log_by_feature'
  UNION ALL SELECT 'trigger', 'feature_change_log_no_update'
  UNION ALL SELECT 'trigger', 'feature_change_log_no_delete'
  UNION ALL SELECT 'trigger', 'feature_change_log_no_replace'
  UNION ALL SELECT 'trigger', 'feature_settings_log_insert'
  UNION ALL SELECT 'trigger', 'feature_settings_log_update'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The list of features has ' || count(*) || ' entries instead of 13'
FROM feature_definitions
HAVING count(*) <> 13;

SELECT 'The list of required features has ' || count(*) || ' entries instead of 6'
FROM feature_dependencies
HAVING count(*) <> 6;

SELECT 'The feature "' || key || '" is on although it can hurt somebody'
FROM feature_states
WHERE is_on AND key IN ('panel_slide_control', 'panel_awning_control', 'panel_leveling_control')
  AND profile_id IS NULL;

SELECT 'The panel would be switched off'
WHERE NOT EXISTS (
  SELECT 1 FROM feature_states WHERE key = 'dashboard_core' AND profile_id IS NULL AND is_on
);

-- Description: Switch many features at once with a template, for a night off the grid or a season at home
-- Phase: 1
-- Requires: 0011
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: profiles content unchanged
-- Expect: feature_definitions rows unchanged
-- Expect: feature_settings rows unchanged

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'feature_template_log', 'feature_template_log_apply', 'feature_template_log_by_template',
  'feature_template_log_check', 'feature_template_log_no_delete',
  'feature_template_log_no_update', 'feature_template_settings',
  'feature_template_settings_by_feature', 'feature_template_settings_check_insert',
  'feature_template_settings_check_update', 'feature_templates',
  'feature_templates_keep_builtin', 'feature_templates_keep_builtin_row'
)
ORDER BY name;

SELECT 'The feature "' || wanted.key || '", which a template switches, is missing; '
  || 'ask whoever maintains the software of your coach'
FROM (
  SELECT 'real_time_updates' AS key
  UNION ALL SELECT 'battery_saver'
  UNION ALL SELECT 'start_page'
) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM feature_definitions WHERE key = wanted.key);

-- @migrate
CREATE TABLE feature_templates (
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL UNIQUE CHECK (code GLOB '[a-z]*' AND code NOT GLOB '*[^a-z0-9_]*'),
  name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(trim(name)) > 0),
  -- Whom it is for.
  audience TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '',
  -- Came with the software, and is not changed by a person.
  is_builtin INTEGER NOT NULL DEFAULT 0 CHECK (is_builtin IN (0, 1))
) STRICT;

CREATE TABLE feature_template_settings (
  template_id INTEGER NOT NULL REFERENCES feature_templates (id) ON DELETE CASCADE,
  feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  value TEXT NOT NULL CHECK (json_valid(value) AND value = json(value)),
  PRIMARY KEY (template_id, feature_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX feature_template_settings_by_feature ON feature_template_settings (feature_id);

-- Type, list and range are checked where the setting is written. Here is what no template may do.
CREATE TRIGGER feature_template_settings_check_insert
BEFORE INSERT ON feature_template_settings
WHEN EXISTS (
  SELECT 1 FROM feature_definitions
  WHERE id = new.feature_id AND (is_core = 1 OR classification <> 'ordinary')
)
BEGIN
  SELECT raise(ABORT, 'a template switches ordinary features only');
END;

CREATE TRIGGER feature_template_settings_check_update
BEFORE UPDATE OF feature_id ON feature_template_settings
WHEN EXISTS (
  SELECT 1 FROM feature_definitions
  WHERE id = new.feature_id AND (is_core = 1 OR classification <> 'ordinary')
)
BEGIN
  SELECT raise(ABORT, 'a template switches ordinary features only');
END;

-- Using a template is one row here. What it switches is written by a trigger in the same
-- statement, so that neither is there without the other. No foreign keys, as in the record of
-- changes, which tells each value.
CREATE TABLE feature_template_log (
  id INTEGER PRIMARY KEY,
  template_code TEXT NOT NULL,
  scope TEXT NOT NULL DEFAULT 'coach' CHECK (scope IN ('coach', 'profile')),
  profile_id INTEGER,
  applied_by_profile_id INTEGER,
  applied_at INTEGER NOT NULL CHECK (applied_at > 0),
  CHECK ((scope = 'profile') = (profile_id IS NOT NULL))
) STRICT;

CREATE INDEX feature_template_log_by_template ON feature_template_log (template_code, id);

CREATE TRIGGER feature_template_log_check
BEFORE INSERT ON feature_template_log
BEGIN
  SELECT raise(ABORT, 'the record of templates is never changed')
  WHERE EXISTS (SELECT 1 FROM feature_template_log WHERE id = new.id);
  SELECT raise(ABORT, 'there is no template of this code')
  WHERE NOT EXISTS (SELECT 1 FROM feature_templates WHERE code = new.template_code);
END;

CREATE TRIGGER feature_template_log_apply
AFTER INSERT ON feature_template_log
BEGIN
  -- First off, then on: and of those, what needs others goes off before them and on after them.
  INSERT INTO feature_settings (
    feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at
  )
  SELECT
    item.feature_id, new.scope, new.profile_id, item.value, 'template ' || new.template_code,
    new.applied_by_profile_id, new.applied_at
  FROM feature_template_settings AS item
  JOIN feature_templates AS template ON template.id = item.template_id
  WHERE template.code = new.template_code
  ORDER BY
    item.value <> 'false',
    iif(item.value = 'false', -1, 1) * (
      SELECT count(*) FROM feature_requirements WHERE feature_id = item.feature_id
    ),
    item.feature_id
  ON CONFLICT (feature_id, scope_key) DO UPDATE SET
    value = excluded.value,
    reason = excluded.reason,
    changed_by_profile_id = excluded.changed_by_profile_id,
    updated_at = excluded.updated_at;
END;

CREATE TRIGGER feature_template_log_no_update
BEFORE UPDATE ON feature_template_log
BEGIN
  SELECT raise(ABORT, 'the record of templates is never changed');
END;

CREATE TRIGGER feature_template_log_no_delete
BEFORE DELETE ON feature_template_log
BEGIN
  SELECT raise(ABORT, 'the record of templates is never shortened');
END;

INSERT INTO feature_templates (code, name, audience, description, is_builtin) VALUES
  ('hookup', 'On hookup', 'Parked with shore power', 'Live values, and all pages as usual', 1),
  ('boondocking', 'Boondocking', 'Off the grid', 'Save the battery, and begin with the tanks', 1),
  ('on_the_road', 'On the road', 'Driving', 'Live values, and begin with the trip', 1);

INSERT INTO feature_template_settings (template_id, feature_id, value)
SELECT template.id, feature.id, item.value
FROM (
  SELECT 'hookup' AS code, 'battery_saver' AS key, 'false' AS value
  UNION ALL SELECT 'hookup', 'real_time_updates', 'true'
  UNION ALL SELECT 'hookup', 'start_page', '"overview"'
  UNION ALL SELECT 'boondocking', 'real_time_updates', 'false'
  UNION ALL SELECT 'boondocking', 'battery_saver', 'true'
  UNION ALL SELECT 'boondocking', 'start_page', '"tanks"'
  UNION ALL SELECT 'on_the_road', 'battery_saver', 'false'
  UNION ALL SELECT 'on_the_road', 'real_time_updates', 'true'
  UNION ALL SELECT 'on_the_road', 'start_page', '"trips"'
) AS item
JOIN feature_templates AS template ON template.code = item.code
JOIN feature_definitions AS feature ON feature.key = item.key;

-- After its own rows are there.
CREATE TRIGGER feature_templates_keep_builtin
BEFORE UPDATE ON feature_templates
WHEN old.is_builtin = 1 OR new.is_builtin = 1
BEGIN
  SELECT raise(ABORT, 'this template came with the software; copy it under another name');
END;

CREATE TRIGGER feature_templates_keep_builtin_row
BEFORE DELETE ON feature_templates
WHEN old.is_builtin = 1
BEGIN
  SELECT raise(ABORT, 'this template came with the software');
END;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'feature_templates' AS name
  UNION ALL SELECT 'table', 'feature_template_settings'
  UNION ALL SELECT 'index', 'feature_template_settings_by_feature'
  UNION ALL SELECT 'trigger', 'feature_template_settings_check_insert'
  UNION ALL SELECT 'trigger', 'feature_template_settings_check_update'
  UNION ALL SELECT 'table', 'feature_template_log'
  UNION ALL SELECT 'index', 'feature_template_log_by_template'
  UNION ALL SELECT 'trigger', 'feature_template_log_check'
  UNION ALL SELECT 'trigger', 'feature_template_log_apply'
  UNION ALL SELECT 'trigger', 'feature_template_log_no_update'
  UNION ALL SELECT 'trigger', 'feature_template_log_no_delete'
  UNION ALL SELECT 'trigger', 'feature_templates_keep_builtin'
  UNION ALL SELECT 'trigger', 'feature_templates_keep_builtin_row'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The list of templates has ' || count(*) || ' entries instead of 3'
FROM feature_templates
HAVING count(*) <> 3;

SELECT 'The templates switch ' || count(*) || ' features instead of 9'
FROM feature_template_settings
HAVING count(*) <> 9;

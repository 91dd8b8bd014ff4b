-- Description: Leave with a checklist, so that no step, hose or awning is forgotten
-- Phase: 3
-- Requires: 0007, 0010, 0011, 0013
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: trip_plans rows unchanged
-- Expect: profiles content unchanged
-- Expect: feature_definitions rows +1
-- Expect: widget_library rows +1

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'checklist_items', 'checklist_items_by_checklist', 'checklist_items_by_person',
  'checklist_progress', 'checklist_template_items', 'checklist_template_items_by_template',
  'checklist_templates', 'checklist_templates_keep_builtin',
  'checklist_templates_keep_builtin_row', 'planning_preferences_by_template',
  'readiness_checklists', 'readiness_checklists_are_new', 'readiness_checklists_by_owner',
  'readiness_checklists_by_plan', 'readiness_checklists_by_template',
  'readiness_checklists_get_items'
)
ORDER BY name;

SELECT 'The table planning_preferences already has a column "checklist_template_id", which this '
  || 'update adds; have the program that made it give it another name'
FROM pragma_table_xinfo('planning_preferences')
WHERE lower(name) = 'checklist_template_id';

SELECT 'A feature of the name "readiness_checklists" exists already; '
  || 'have the program that entered it give it another one'
FROM feature_definitions
WHERE key = 'readiness_checklists';

SELECT 'A widget of the name "readiness" exists already; '
  || 'have the program that entered it give it another one'
FROM widget_library
WHERE key = 'readiness';

-- @migrate
CREATE TABLE checklist_templates (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(trim(name)) BETWEEN 1 AND 100),
  description TEXT NOT NULL DEFAULT '',
  -- Came with the software.
  is_builtin INTEGER NOT NULL DEFAULT 0 CHECK (is_builtin IN (0, 1))
) STRICT;

-- The position is not unique here and below: two items change places in two statements.
CREATE TABLE checklist_template_items (
  id INTEGER PRIMARY KEY,
  template_id INTEGER NOT NULL REFERENCES checklist_templates (id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position > 0),
  category TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL CHECK (length(trim(text)) > 0),
  -- The list is not complete without it.
  is_required INTEGER NOT NULL DEFAULT 0 CHECK (is_required IN (0, 1))
) STRICT;

CREATE INDEX checklist_template_items_by_template
  ON checklist_template_items (template_id, position);

-- No status and no counters: they would have to be kept in step with the items, and can be asked
-- for in checklist_progress.
CREATE TABLE readiness_checklists (
  id INTEGER PRIMARY KEY,
  -- Without one it is a list for any departure.
  plan_id INTEGER REFERENCES trip_plans (id) ON DELETE CASCADE,
  owner_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  template_id INTEGER REFERENCES checklist_templates (id) ON DELETE SET NULL,
  name TEXT NOT NULL CHECK (length(trim(name)) BETWEEN 1 AND 200),
  description TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL CHECK (created_at > 0)
) STRICT;

CREATE INDEX readiness_checklists_by_plan ON readiness_checklists (plan_id);
CREATE INDEX readiness_checklists_by_owner ON readiness_checklists (owner_profile_id);
CREATE INDEX readiness_checklists_by_template ON readiness_checklists (template_id);

CREATE TABLE checklist_items (
  id INTEGER PRIMARY KEY,
  checklist_id INTEGER NOT NULL REFERENCES readiness_checklists (id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position > 0),
  category TEXT NOT NULL DEFAULT '',
  text TEXT NOT NULL CHECK (length(trim(text)) > 0),
  is_required INTEGER NOT NULL DEFAULT 0 CHECK (is_required IN (0, 1)),
  -- Done when it has a time.
  done_at INTEGER CHECK (done_at > 0),
  is_done INTEGER GENERATED ALWAYS AS (done_at IS NOT NULL) VIRTUAL,
  done_by_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  notes TEXT NOT NULL DEFAULT '',
  CHECK (done_by_profile_id IS NULL OR done_at IS NOT NULL)
) STRICT;

CREATE INDEX checklist_items_by_checklist ON checklist_items (checklist_id, position);
CREATE INDEX checklist_items_by_person ON checklist_items (done_by_profile_id);

-- INSERT OR REPLACE would take the ticks with it.
CREATE TRIGGER readiness_checklists_are_new
BEFORE INSERT ON readiness_checklists
WHEN EXISTS (SELECT 1 FROM readiness_checklists WHERE id = new.id)
BEGIN
  SELECT raise(ABORT, 'this checklist exists already; change it with UPDATE');
END;

-- A list that is made from a template gets its items in the same statement. They are copies: the
-- template may change while somebody walks around the coach.
CREATE TRIGGER readiness_checklists_get_items
AFTER INSERT ON readiness_checklists
WHEN new.template_id IS NOT NULL
BEGIN
  INSERT INTO checklist_items (checklist_id, position, category, text, is_required)
  SELECT new.id, position, category, text, is_required
  FROM checklist_template_items
  WHERE template_id = new.template_id
  ORDER BY position, id;
END;

CREATE VIEW checklist_progress AS
SELECT
  list.id AS checklist_id, list.plan_id, list.name,
  count(item.id) AS total_items,
  count(item.done_at) AS done_items,
  -- Rounded down, so that 100 means all.
  iif(count(item.id) = 0, 0, count(item.done_at) * 100 / count(item.id)) AS percent,
  coalesce(sum(item.is_required AND NOT item.is_done), 0) AS required_open,
  CASE
    WHEN count(item.done_at) = 0 THEN 'not_started'
    WHEN count(item.done_at) < count(item.id) THEN 'in_progress'
    ELSE 'completed'
  END AS status,
  iif(count(item.done_at) = count(item.id), max(item.done_at), NULL) AS completed_at
FROM readiness_checklists AS list
LEFT JOIN checklist_items AS item ON item.checklist_id = list.id
GROUP BY list.id;

INSERT INTO checklist_templates (name, description, is_builtin) VALUES
  ('Departure', 'Walk around the coach before every drive', 1),
  ('Before a long trip', 'A week before it', 1),
  ('Winter storage', 'Before the first frost', 1);

INSERT INTO checklist_template_items (template_id, position, category, text, is_required)
SELECT template.id, item.position, item.category, item.text, item.is_required
FROM (
  SELECT
    'Departure' AS name, 1 AS position, 'Outside' AS category,
    'Retract the awning and lock it' AS text, 1 AS is_required
  UNION ALL SELECT 'Departure', 2, 'Outside', 'Disconnect shore power and stow the cable', 1
  UNION ALL SELECT 'Departure', 3, 'Outside', 'Disconnect water and sewer hoses', 1
  UNION ALL SELECT 'Departure', 4, 'Outside', 'Close the propane valve', 1
  UNION ALL SELECT 'Departure', 5, 'Outside', 'Raise the jacks and stow the pads', 1
  UNION ALL SELECT 'Departure', 6, 'Outside', 'Retract all slide rooms', 1
  UNION ALL SELECT 'Departure', 7, 'Outside', 'Retract the step and lower the antenna', 1
  UNION ALL SELECT 'Departure', 8, 'Inside', 'Close roof vents, windows and cupboards', 1
  UNION ALL SELECT 'Departure', 9, 'Inside', 'Switch off the water pump', 0
  UNION ALL SELECT 'Departure', 10, 'Driving', 'Check tyre pressures', 1
  UNION ALL SELECT 'Departure', 11, 'Driving', 'Check lights and mirrors', 1
  UNION ALL SELECT 'Departure', 12, 'Driving', 'Check the tow bar, its cable and chains', 0
  UNION ALL SELECT 'Before a long trip', 1, 'Coach', 'Check engine oil and coolant', 1
  UNION ALL SELECT 'Before a long trip', 2, 'Coach', 'Look at the maintenance that is due', 1
  UNION ALL SELECT 'Before a long trip', 3, 'Coach', 'Fill propane and fresh water', 0
  UNION ALL SELECT 'Before a long trip', 4, 'Safety', 'Test the smoke and gas alarms', 1
  UNION ALL SELECT 'Before a long trip', 5, 'Safety', 'Check fire extinguisher, first aid kit', 1
  UNION ALL SELECT 'Before a long trip', 6, 'Planning', 'Download the maps of the route', 0
  UNION ALL SELECT 'Before a long trip', 7, 'Planning', 'Check heights and weights on the route', 1
  UNION ALL SELECT 'Winter storage', 1, 'Water', 'Drain the fresh water and the water heater', 1
  UNION ALL SELECT 'Winter storage', 2, 'Water', 'Empty and rinse the grey and black tanks', 1
  UNION ALL SELECT 'Winter storage', 3, 'Water', 'Fill the lines and traps with antifreeze', 1
  UNION ALL SELECT 'Winter storage', 4, 'Power', 'Charge the batteries and disconnect them', 1
  UNION ALL SELECT 'Winter storage', 5, 'Inside', 'Empty the refrigerator and leave it open', 0
  UNION ALL SELECT 'Winter storage', 6, 'Outside', 'Close the propane at the tank', 1
) AS item
JOIN checklist_templates AS template ON template.name = item.name
ORDER BY template.id, item.position;

CREATE TRIGGER checklist_templates_keep_builtin
BEFORE UPDATE ON checklist_templates
WHEN old.is_builtin = 1 OR new.is_builtin = 1
BEGIN
  SELECT raise(ABORT, 'this template came with the software; copy it under another name');
END;

CREATE TRIGGER checklist_templates_keep_builtin_row
BEFORE DELETE ON checklist_templates
WHEN old.is_builtin = 1
BEGIN
  SELECT raise(ABORT, 'this template came with the software');
END;

-- The table of preferences is older than the templates, so the choice of one comes here.
ALTER TABLE planning_preferences
  ADD COLUMN checklist_template_id INTEGER REFERENCES checklist_templates (id) ON DELETE SET NULL;

CREATE INDEX planning_preferences_by_template ON planning_preferences (checklist_template_id);

INSERT INTO feature_definitions (key, title, description, category, value_type, default_value)
VALUES (
  'readiness_checklists', 'Checklists', 'Tick off what has to be done before leaving',
  'planning', 'boolean', 'false'
);

INSERT INTO widget_library (
  key, title, category, feature_id, min_width, min_height, default_options
)
SELECT 'readiness', 'Ready to leave', 'planning', id, 2, 1, '{"show_open":true}'
FROM feature_definitions
WHERE key = 'readiness_checklists';

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'checklist_templates' AS name
  UNION ALL SELECT 'table', 'checklist_template_items'
  UNION ALL SELECT 'index', 'checklist_template_items_by_template'
  UNION ALL SELECT 'table', 'readiness_checklists'
  UNION ALL SELECT 'index', 'readiness_checklists_by_plan'
  UNION ALL SELECT 'index', 'readiness_checklists_by_owner'
  UNION ALL SELECT 'index', 'readiness_checklists_by_template'
  UNION ALL SELECT 'table', 'checklist_items'
  UNION ALL SELECT 'index', 'checklist_items_by_checklist'
  UNION ALL SELECT 'index', 'checklist_items_by_person'
  UNION ALL SELECT 'trigger', 'readiness_checklists_are_new'
  UNION ALL SELECT 'trigger', 'readiness_checklists_get_items'
  UNION ALL SELECT 'view', 'checklist_progress'
  UNION ALL SELECT 'trigger', 'checklist_templates_keep_builtin'
  UNION ALL SELECT 'trigger', 'checklist_templates_keep_builtin_row'
  UNION ALL SELECT 'index', 'planning_preferences_by_template'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The checklist template "' || wanted.name || '" has not ' || wanted.items || ' items'
FROM (
  SELECT 'Departure' AS name, 12 AS items
  UNION ALL SELECT 'Before a long trip', 7
  UNION ALL SELECT 'Winter storage', 6
) AS wanted
WHERE wanted.items <> (
  SELECT count(*)
  FROM checklist_template_items AS item
  JOIN checklist_templates AS template ON template.id = item.template_id
  WHERE template.name = wanted.name
);

SELECT 'The feature "readiness_checklists" is missing, or is on before its time'
WHERE NOT EXISTS (
  SELECT 1 FROM feature_definitions WHERE key = 'readiness_checklists' AND default_value = 'false'
);

SELECT 'The widget "readiness" is missing, or has no feature'
WHERE NOT EXISTS (
  SELECT 1 FROM widget_library WHERE key = 'readiness' AND feature_id IS NOT NULL
);

-- Description: Arrange the panel as you like it, each person for themselves
-- Phase: 1
-- Requires: 0011
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: profiles content unchanged
-- Expect: settings content unchanged
-- Expect: widget_library rows +7

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'dashboard_widgets', 'dashboard_widgets_by_widget', 'dashboard_widgets_check_insert',
  'dashboard_widgets_check_update', 'feature_usage', 'feature_usage_by_profile',
  'widget_library', 'widget_library_by_feature', 'widget_library_keep_key'
)
ORDER BY name;

-- @migrate
-- What can be put on a panel. These rows come with the software, like the features.
CREATE TABLE widget_library (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE CHECK (key GLOB '[a-z]*' AND key NOT GLOB '*[^a-z0-9_]*'),
  title TEXT NOT NULL CHECK (length(trim(title)) > 0),
  category TEXT NOT NULL CHECK (category IN ('coach', 'energy', 'planning', 'care')),
  -- Shown only while this feature is on.
  feature_id INTEGER REFERENCES feature_definitions (id) ON DELETE CASCADE,
  min_width INTEGER NOT NULL DEFAULT 1 CHECK (min_width BETWEEN 1 AND 12),
  min_height INTEGER NOT NULL DEFAULT 1 CHECK (min_height BETWEEN 1 AND 12),
  -- The options that it knows, with their values at first.
  default_options TEXT NOT NULL DEFAULT '{}'
    CHECK (json_valid(default_options) AND json_type(default_options) = 'object')
) STRICT;

CREATE INDEX widget_library_by_feature ON widget_library (feature_id);

CREATE TRIGGER widget_library_keep_key
BEFORE UPDATE OF key ON widget_library
WHEN new.key IS NOT old.key
BEGIN
  SELECT raise(ABORT, 'a widget keeps its key');
END;

-- Twelve columns. The order among widgets of one place is that of their ids.
CREATE TABLE dashboard_widgets (
  id INTEGER PRIMARY KEY,
  profile_id INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
  widget_id INTEGER NOT NULL REFERENCES widget_library (id) ON DELETE CASCADE,
  grid_column INTEGER NOT NULL DEFAULT 1 CHECK (grid_column BETWEEN 1 AND 12),
  grid_row INTEGER NOT NULL DEFAULT 1 CHECK (grid_row BETWEEN 1 AND 100),
  width INTEGER NOT NULL DEFAULT 4 CHECK (width BETWEEN 1 AND 12),
  height INTEGER NOT NULL DEFAULT 2 CHECK (height BETWEEN 1 AND 12),
  is_visible INTEGER NOT NULL DEFAULT 1 CHECK (is_visible IN (0, 1)),
  options TEXT NOT NULL DEFAULT '{}'
    CHECK (json_valid(options) AND json_type(options) = 'object'),
  updated_at INTEGER NOT NULL CHECK (updated_at > 0),
  CHECK (grid_column + width <= 13),
  -- Its index serves the foreign key to the person.
  UNIQUE (profile_id, widget_id)
) STRICT;

CREATE INDEX dashboard_widgets_by_widget ON dashboard_widgets (widget_id);

-- A widget is not made smaller than it can be read, nor given an option that it does not know.
CREATE TRIGGER dashboard_widgets_check_insert
BEFORE INSERT ON dashboard_widgets
BEGIN
  SELECT raise(ABORT, 'the widget needs more room')
  FROM widget_library
  WHERE id = new.widget_id AND (new.width < min_width OR new.height < min_height);
  SELECT raise(ABORT, 'the widget does not know this option')
  FROM json_each(new.options) AS given
  WHERE given.key NOT IN (
    SELECT known.key
    FROM widget_library, json_each(widget_library.default_options) AS known
    WHERE widget_library.id = new.widget_id
  );
END;

CREATE TRIGGER dashboard_widgets_check_update
BEFORE UPDATE OF widget_id, width, height, options ON dashboard_widgets
BEGIN
  SELECT raise(ABORT, 'the widget needs more room')
  FROM widget_library
  WHERE id = new.widget_id AND (new.width < min_width OR new.height < min_height);
  SELECT raise(ABORT, 'the widget does not know this option')
  FROM json_each(new.options) AS given
  WHERE given.key NOT IN (
    SELECT known.key
    FROM widget_library, json_each(widget_library.default_options) AS known
    WHERE widget_library.id = new.widget_id
  );
END;

-- One row for a day, not one for a use: a memory card wears out by writing. It stays in the coach.
-- The primary key begins with feature_id and so serves its foreign key too.
CREATE TABLE feature_usage (
  feature_id INTEGER NOT NULL REFERENCES feature_definitions (id) ON DELETE CASCADE,
  profile_id INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
  -- Days since 1970 in UTC, as in sensor_readings.
  day INTEGER NOT NULL CHECK (day > 0),
  use_count INTEGER NOT NULL DEFAULT 1 CHECK (use_count > 0),
  PRIMARY KEY (feature_id, profile_id, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX feature_usage_by_profile ON feature_usage (profile_id, day);

INSERT INTO widget_library (
  key, title, category, feature_id, min_width, min_height, default_options
)
SELECT item.key, item.title, item.category, feature.id, item.width, item.height, item.options
FROM (
  SELECT
    'tanks' AS key, 'Tanks' AS title, 'coach' AS category, NULL AS feature_key,
    2 AS width, 2 AS height, '{"show_percent":true}' AS options
  UNION ALL SELECT 'climate', 'Climate', 'coach', NULL, 2, 2, '{"show_outside":true}'
  UNION ALL SELECT 'batteries', 'Batteries', 'energy', NULL, 2, 2, '{"show_current":true}'
  UNION ALL SELECT 'notifications', 'Notifications', 'coach', NULL, 3, 1, '{"minimum":"notice"}'
  UNION ALL SELECT 'maintenance_due', 'Maintenance due', 'care', NULL, 3, 1, '{"days":30}'
  UNION ALL SELECT 'trip_log', 'Last trips', 'planning', NULL, 3, 2, '{"count":5}'
  UNION ALL SELECT 'next_trip', 'Next trip', 'planning', 'route_versioning', 3, 2, '{}'
) AS item
LEFT JOIN feature_definitions AS feature ON feature.key = item.feature_key
ORDER BY item.category, item.key;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'widget_library' AS name
  UNION ALL SELECT 'index', 'widget_library_by_feature'
  UNION ALL SELECT 'trigger', 'widget_library_keep_key'
  UNION ALL SELECT 'table', 'dashboard_widgets'
  UNION ALL SELECT 'index', 'dashboard_widgets_by_widget'
  UNION ALL SELECT 'trigger', 'dashboard_widgets_check_insert'
  UNION ALL SELECT 'trigger', 'dashboard_widgets_check_update'
  UNION ALL SELECT 'table', 'feature_usage'
  UNION ALL SELECT 'index', 'feature_usage_by_profile'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The list of widgets has ' || count(*) || ' entries instead of 7'
FROM widget_library
HAVING count(*) <> 7;

SELECT 'The widget "' || title || '" has lost its feature'
FROM widget_library
WHERE key = 'next_trip' AND feature_id IS NULL;

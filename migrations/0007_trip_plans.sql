-- Description: Plan trips ahead, and go back to any earlier version of a route
-- Phase: 1
-- Requires: 0003
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: trips rows unchanged
-- Expect: trips columns (id, driver_profile_id, title, started_at, ended_at, start_odometer_m, end_odometer_m) unchanged
-- Expect: profiles content unchanged

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'route_versions', 'route_versions_are_current', 'route_versions_are_new',
  'route_versions_by_parent', 'route_versions_stay', 'route_versions_stay_with_plan',
  'trip_plan_overview', 'trip_plans', 'trip_plans_are_new', 'trip_plans_by_owner',
  'trip_plans_by_start', 'trips_by_plan'
)
ORDER BY name;

SELECT 'The table trips already has a column "plan_id", which this update adds; '
  || 'have the program that made it give it another name'
FROM pragma_table_xinfo('trips')
WHERE lower(name) = 'plan_id';

-- @migrate
-- A plan is not a row of trips. A trip there was driven: it has a start and an odometer, and an
-- older controller would show a plan as a trip that never ended.
CREATE TABLE trip_plans (
  id INTEGER PRIMARY KEY,
  -- Without one the plan belongs to the coach, and so to its owner.
  owner_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  title TEXT NOT NULL CHECK (length(trim(title)) BETWEEN 1 AND 200),
  origin TEXT CHECK (length(trim(origin)) > 0),
  destination TEXT CHECK (length(trim(destination)) > 0),
  status TEXT NOT NULL DEFAULT 'planned'
    CHECK (status IN ('draft', 'planned', 'under_way', 'done', 'cancelled')),
  starts_at INTEGER CHECK (starts_at > 0),
  ends_at INTEGER,
  estimated_cost_cents INTEGER CHECK (estimated_cost_cents >= 0),
  actual_cost_cents INTEGER CHECK (actual_cost_cents >= 0),
  notes TEXT NOT NULL DEFAULT '',
  -- The version of the route that is in force. It is one of this plan, and need not be the last.
  current_version INTEGER,
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  updated_at INTEGER NOT NULL CHECK (updated_at > 0),
  CHECK (ends_at >= starts_at),
  -- The primary key serves this one too.
  FOREIGN KEY (id, current_version) REFERENCES route_versions (plan_id, version)
) STRICT;

CREATE INDEX trip_plans_by_owner ON trip_plans (owner_profile_id);
CREATE INDEX trip_plans_by_start ON trip_plans (starts_at);

-- Every version is a whole route, so that it can be shown without those before it.
CREATE TABLE route_versions (
  id INTEGER PRIMARY KEY,
  plan_id INTEGER NOT NULL REFERENCES trip_plans (id) ON DELETE CASCADE,
  version INTEGER NOT NULL CHECK (version > 0),
  parent_version INTEGER,
  -- No foreign key: a version is never changed, not even to forget who wrote it.
  author_profile_id INTEGER,
  author_name TEXT NOT NULL DEFAULT '',
  change_note TEXT NOT NULL DEFAULT '' CHECK (length(change_note) <= 500),
  is_auto_save INTEGER NOT NULL DEFAULT 0 CHECK (is_auto_save IN (0, 1)),
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  distance_m INTEGER CHECK (distance_m >= 0),
  waypoint_count INTEGER GENERATED ALWAYS AS (json_array_length(waypoints)) STORED,
  waypoints TEXT NOT NULL DEFAULT '[]'
    CHECK (json_valid(waypoints) AND json_type(waypoints) = 'array'),
  -- Last, because it is the long one: what stands before it is read without its pages.
  route TEXT NOT NULL CHECK (json_valid(route) AND json_type(route) = 'object'),
  CHECK (parent_version < version),
  UNIQUE (plan_id, version),
  -- Both columns, so that the parent is a version of the same plan.
  FOREIGN KEY (plan_id, parent_version) REFERENCES route_versions (plan_id, version)
) STRICT;

CREATE INDEX route_versions_by_parent ON route_versions (plan_id, parent_version);

ALTER TABLE trips ADD COLUMN plan_id INTEGER REFERENCES trip_plans (id) ON DELETE SET NULL;

CREATE INDEX trips_by_plan ON trips (plan_id);

CREATE TRIGGER route_versions_stay
BEFORE UPDATE ON route_versions
BEGIN
  SELECT raise(ABORT, 'a version of a route is never changed; save a new one');
END;

-- With its plan a version may go: the plan is no longer there when the cascade arrives.
CREATE TRIGGER route_versions_stay_with_plan
BEFORE DELETE ON route_versions
WHEN EXISTS (SELECT 1 FROM trip_plans WHERE id = old.plan_id)
BEGIN
  SELECT raise(ABORT, 'a version of a route is removed with its plan only');
END;

-- INSERT OR REPLACE removes the old row without firing the trigger above.
CREATE TRIGGER route_versions_are_new
BEFORE INSERT ON route_versions
WHEN EXISTS (
  SELECT 1 FROM route_versions
  WHERE id = new.id OR (plan_id = new.plan_id AND version = new.version)
)
BEGIN
  SELECT raise(ABORT, 'this version of the route exists already; save a new one');
END;

-- INSERT OR REPLACE would take the versions with it.
CREATE TRIGGER trip_plans_are_new
BEFORE INSERT ON trip_plans
WHEN EXISTS (SELECT 1 FROM trip_plans WHERE id = new.id)
BEGIN
  SELECT raise(ABORT, 'this plan exists already; change it with UPDATE');
END;

-- What was saved last is in force until somebody goes back.
CREATE TRIGGER route_versions_are_current
AFTER INSERT ON route_versions
BEGIN
  UPDATE trip_plans SET current_version = new.version WHERE id = new.plan_id;
END;

CREATE VIEW trip_plan_overview AS
SELECT
  plan.id, plan.owner_profile_id, plan.title, plan.origin, plan.destination, plan.status,
  plan.starts_at, plan.ends_at, plan.current_version, current.distance_m,
  (SELECT count(*) FROM route_versions WHERE plan_id = plan.id) AS version_count,
  (SELECT count(*) FROM trips WHERE trips.plan_id = plan.id) AS driven_count
FROM trip_plans AS plan
LEFT JOIN route_versions AS current
  ON current.plan_id = plan.id AND current.version = plan.current_version;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'trip_plans' AS name
  UNION ALL SELECT 'index', 'trip_plans_by_owner'
  UNION ALL SELECT 'index', 'trip_plans_by_start'
  UNION ALL SELECT 'table', 'route_versions'
  UNION ALL SELECT 'index', 'route_versions_by_parent'
  UNION ALL SELECT 'index', 'trips_by_plan'
  UNION ALL SELECT 'trigger', 'route_versions_stay'
  UNION ALL SELECT 'trigger', 'route_versions_stay_with_plan'
  UNION ALL SELECT 'trigger', 'route_versions_are_new'
  UNION ALL SELECT 'trigger', 'trip_plans_are_new'
  UNION ALL SELECT 'trigger', 'route_versions_are_current'
  UNION ALL SELECT 'view', 'trip_plan_overview'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The trip "' || title || '" has a plan although none exists yet'
FROM trips
WHERE plan_id IS NOT NULL
ORDER BY id
LIMIT 20;

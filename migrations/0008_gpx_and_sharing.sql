-- Description: Import and export GPX files, and share a trip with a link that you can take back
-- Phase: 1
-- Requires: 0007
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: trips rows unchanged
-- Expect: profiles content unchanged

-- @preflight
-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'gpx_files', 'gpx_files_by_digest', 'gpx_files_by_plan', 'gpx_files_by_trip',
  'gpx_files_keep_content', 'shared_trips', 'trip_shares', 'trip_shares_by_creator',
  'trip_shares_by_plan', 'trip_shares_by_trip', 'trip_shares_keep_link',
  'trip_shares_one_per_plan', 'trip_shares_one_per_trip'
)
ORDER BY name;

-- @migrate
-- A table of its own: a list of trips is read often, a file of some megabytes seldom.
CREATE TABLE gpx_files (
  id INTEGER PRIMARY KEY,
  plan_id INTEGER REFERENCES trip_plans (id) ON DELETE CASCADE,
  trip_id INTEGER REFERENCES trips (id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(trim(name)) BETWEEN 1 AND 200),
  kind TEXT NOT NULL CHECK (kind IN ('route', 'track', 'waypoints')),
  source TEXT NOT NULL CHECK (source IN ('import', 'recorder', 'planner')),
  -- What was found in the file: points, ascent, bounds.
  metadata TEXT NOT NULL DEFAULT '{}'
    CHECK (json_valid(metadata) AND json_type(metadata) = 'object'),
  -- The time of the first and of the last point.
  starts_at INTEGER CHECK (starts_at > 0),
  ends_at INTEGER,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  byte_count INTEGER GENERATED ALWAYS AS (length(CAST(gpx AS BLOB))) STORED,
  -- The file as it came, so that an export gives back what an import got.
  gpx TEXT NOT NULL CHECK (gpx LIKE '%<gpx%' AND length(gpx) <= 20000000),
  CHECK (ends_at >= starts_at),
  -- A route belongs to a plan or to a trip that was driven.
  CHECK ((plan_id IS NULL) <> (trip_id IS NULL))
) STRICT;

CREATE INDEX gpx_files_by_plan ON gpx_files (plan_id);
CREATE INDEX gpx_files_by_trip ON gpx_files (trip_id);
-- The same file is found again when it is imported twice.
CREATE INDEX gpx_files_by_digest ON gpx_files (sha256);

CREATE TRIGGER gpx_files_keep_content
BEFORE UPDATE OF gpx, sha256 ON gpx_files
WHEN new.gpx IS NOT old.gpx OR new.sha256 IS NOT old.sha256
BEGIN
  SELECT raise(ABORT, 'a GPX file keeps its content; import it again under another name');
END;

-- The row is the permission. Without a row nothing is shared.
CREATE TABLE trip_shares (
  id INTEGER PRIMARY KEY,
  plan_id INTEGER REFERENCES trip_plans (id) ON DELETE CASCADE,
  trip_id INTEGER REFERENCES trips (id) ON DELETE CASCADE,
  -- 128 random bits from the application. The random() of SQLite can be guessed.
  token TEXT NOT NULL UNIQUE CHECK (length(token) = 32 AND token NOT GLOB '*[^0-9a-f]*'),
  shows_times INTEGER NOT NULL DEFAULT 0 CHECK (shows_times IN (0, 1)),
  shows_notes INTEGER NOT NULL DEFAULT 0 CHECK (shows_notes IN (0, 1)),
  shows_costs INTEGER NOT NULL DEFAULT 0 CHECK (shows_costs IN (0, 1)),
  -- What is left out at both ends of the line, so that it does not lead to the front door.
  hidden_ends_m INTEGER NOT NULL DEFAULT 500 CHECK (hidden_ends_m BETWEEN 0 AND 50000),
  created_by_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  expires_at INTEGER,
  revoked_at INTEGER CHECK (revoked_at > 0),
  CHECK (expires_at > created_at),
  CHECK ((plan_id IS NULL) <> (trip_id IS NULL))
) STRICT;

CREATE INDEX trip_shares_by_plan ON trip_shares (plan_id);
CREATE INDEX trip_shares_by_trip ON trip_shares (trip_id);
CREATE INDEX trip_shares_by_creator ON trip_shares (created_by_profile_id);
-- One link at a time, so that taking it back takes back all there is.
CREATE UNIQUE INDEX trip_shares_one_per_plan ON trip_shares (plan_id)
  WHERE plan_id IS NOT NULL AND revoked_at IS NULL;
CREATE UNIQUE INDEX trip_shares_one_per_trip ON trip_shares (trip_id)
  WHERE trip_id IS NOT NULL AND revoked_at IS NULL;

-- A link that was given away must not open another trip, nor open again.
CREATE TRIGGER trip_shares_keep_link
BEFORE UPDATE ON trip_shares
WHEN new.token IS NOT old.token OR new.plan_id IS NOT old.plan_id OR new.trip_id IS NOT old.trip_id
  OR (old.revoked_at IS NOT NULL AND new.revoked_at IS NOT old.revoked_at)
BEGIN
  SELECT raise(ABORT, 'a link keeps its trip and stays revoked; make a new one');
END;

CREATE VIEW shared_trips AS
SELECT token, plan_id, trip_id, shows_times, shows_notes, shows_costs, hidden_ends_m, expires_at
FROM trip_shares
WHERE revoked_at IS NULL;

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'gpx_files' AS name
  UNION ALL SELECT 'index', 'gpx_files_by_plan'
  UNION ALL SELECT 'index', 'gpx_files_by_trip'
  UNION ALL SELECT 'index', 'gpx_files_by_digest'
  UNION ALL SELECT 'trigger', 'gpx_files_keep_content'
  UNION ALL SELECT 'table', 'trip_shares'
  UNION ALL SELECT 'index', 'trip_shares_by_plan'
  UNION ALL SELECT 'index', 'trip_shares_by_trip'
  UNION ALL SELECT 'index', 'trip_shares_by_creator'
  UNION ALL SELECT 'index', 'trip_shares_one_per_plan'
  UNION ALL SELECT 'index', 'trip_shares_one_per_trip'
  UNION ALL SELECT 'trigger', 'trip_shares_keep_link'
  UNION ALL SELECT 'view', 'shared_trips'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'A trip is shared although nobody has shared it yet' FROM trip_shares LIMIT 1;

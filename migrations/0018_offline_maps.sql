-- Description: Download maps for places without a signal, and see how much room they take
-- Phase: 3
-- Requires: 0007, 0011, 0013
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
  'offline_map_downloads', 'offline_map_downloads_by_expiry', 'offline_map_downloads_by_plan',
  'offline_map_downloads_by_profile', 'offline_map_downloads_keep_area',
  'offline_map_downloads_open', 'offline_map_storage'
)
ORDER BY name;

SELECT 'A feature of the name "offline_maps" exists already; '
  || 'have the program that entered it give it another one'
FROM feature_definitions
WHERE key = 'offline_maps';

SELECT 'A widget of the name "offline_maps" exists already; '
  || 'have the program that entered it give it another one'
FROM widget_library
WHERE key = 'offline_maps';

-- @migrate
-- What was asked for and how far it is. The tiles themselves are files of the controller.
CREATE TABLE offline_map_downloads (
  id INTEGER PRIMARY KEY,
  profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  -- A map stays useful without its plan.
  plan_id INTEGER REFERENCES trip_plans (id) ON DELETE SET NULL,
  name TEXT NOT NULL CHECK (length(trim(name)) > 0),
  north REAL NOT NULL CHECK (north BETWEEN -90 AND 90),
  south REAL NOT NULL CHECK (south BETWEEN -90 AND 90),
  -- West of east, but for an area across the line of date, where it is east of it.
  east REAL NOT NULL CHECK (east BETWEEN -180 AND 180),
  west REAL NOT NULL CHECK (west BETWEEN -180 AND 180),
  center_latitude REAL GENERATED ALWAYS AS ((north + south) / 2) VIRTUAL,
  center_longitude REAL GENERATED ALWAYS AS (
    CASE
      WHEN west <= east THEN (west + east) / 2
      WHEN west + east > 0 THEN (west + east) / 2 - 180
      ELSE (west + east) / 2 + 180
    END
  ) VIRTUAL,
  min_zoom INTEGER NOT NULL CHECK (min_zoom BETWEEN 0 AND 20),
  max_zoom INTEGER NOT NULL CHECK (max_zoom BETWEEN 0 AND 20),
  style TEXT NOT NULL DEFAULT 'streets'
    CHECK (style IN ('streets', 'satellite', 'outdoors', 'terrain')),
  status TEXT NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'downloading', 'completed', 'failed', 'cancelled')),
  -- Unknown until the server has been asked.
  total_tiles INTEGER CHECK (total_tiles >= 0),
  downloaded_tiles INTEGER NOT NULL DEFAULT 0 CHECK (downloaded_tiles >= 0),
  failed_tiles INTEGER NOT NULL DEFAULT 0 CHECK (failed_tiles >= 0),
  percent INTEGER GENERATED ALWAYS AS (downloaded_tiles * 100 / nullif(total_tiles, 0)) VIRTUAL,
  estimated_bytes INTEGER CHECK (estimated_bytes >= 0),
  stored_bytes INTEGER NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0),
  storage_path TEXT UNIQUE CHECK (length(storage_path) > 0),
  started_at INTEGER CHECK (started_at > 0),
  completed_at INTEGER,
  -- Thousands of bits a second, over the whole download.
  speed_kbps REAL GENERATED ALWAYS AS (
    stored_bytes / 125.0 / nullif(completed_at - started_at, 0)
  ) VIRTUAL,
  error TEXT,
  retry_count INTEGER NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  keep_days INTEGER NOT NULL DEFAULT 30 CHECK (keep_days BETWEEN 1 AND 3650),
  expires_at INTEGER
    GENERATED ALWAYS AS (coalesce(completed_at, created_at) + keep_days * 86400) VIRTUAL,
  CHECK (south < north),
  CHECK (west <> east),
  CHECK (min_zoom <= max_zoom),
  CHECK (downloaded_tiles + failed_tiles <= total_tiles),
  CHECK (completed_at >= started_at),
  CHECK (status <> 'completed'
    OR (completed_at IS NOT NULL AND total_tiles IS NOT NULL AND storage_path IS NOT NULL
      AND downloaded_tiles + failed_tiles = total_tiles)),
  CHECK (status = 'completed' OR completed_at IS NULL),
  CHECK (status NOT IN ('downloading', 'completed') OR started_at IS NOT NULL),
  CHECK ((status = 'failed') = (error IS NOT NULL))
) STRICT;

CREATE INDEX offline_map_downloads_by_profile ON offline_map_downloads (profile_id);
CREATE INDEX offline_map_downloads_by_plan ON offline_map_downloads (plan_id);
CREATE INDEX offline_map_downloads_by_expiry ON offline_map_downloads (expires_at);
-- What the downloader looks for when it starts.
CREATE INDEX offline_map_downloads_open ON offline_map_downloads (created_at)
  WHERE status IN ('pending', 'downloading');

CREATE TRIGGER offline_map_downloads_keep_area
BEFORE UPDATE OF north, south, east, west, min_zoom, max_zoom, style ON offline_map_downloads
WHEN old.status <> 'pending' AND (
  new.north <> old.north OR new.south <> old.south OR new.east <> old.east OR new.west <> old.west
  OR new.min_zoom <> old.min_zoom OR new.max_zoom <> old.max_zoom OR new.style <> old.style
)
BEGIN
  SELECT raise(ABORT, 'a download that has begun keeps its area; ask for another one');
END;

-- For each person, and once for what belongs to nobody any more.
CREATE VIEW offline_map_storage AS
SELECT
  profile_id, count(*) AS map_count, sum(stored_bytes) AS stored_bytes,
  min(expires_at) AS first_expires_at
FROM offline_map_downloads
WHERE stored_bytes > 0
GROUP BY profile_id;

INSERT INTO feature_definitions (key, title, description, category, value_type, default_value)
VALUES (
  'offline_maps', 'Offline maps', 'Download maps for places without a signal',
  'planning', 'boolean', 'false'
);

INSERT INTO widget_library (
  key, title, category, feature_id, min_width, min_height, default_options
)
SELECT 'offline_maps', 'Offline maps', 'planning', id, 2, 1, '{"show_expired":true}'
FROM feature_definitions
WHERE key = 'offline_maps';

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'offline_map_downloads' AS name
  UNION ALL SELECT 'index', 'offline_map_downloads_by_profile'
  UNION ALL SELECT 'index', 'offline_map_downloads_by_plan'
  UNION ALL SELECT 'index', 'offline_map_downloads_by_expiry'
  UNION ALL SELECT 'index', 'offline_map_downloads_open'
  UNION ALL SELECT 'trigger', 'offline_map_downloads_keep_area'
  UNION ALL SELECT 'view', 'offline_map_storage'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The feature "offline_maps" is missing, or is on before its time'
WHERE NOT EXISTS (
  SELECT 1 FROM feature_definitions WHERE key = 'offline_maps' AND default_value = 'false'
);

SELECT 'The widget "offline_maps" is missing, or has no feature'
WHERE NOT EXISTS (
  SELECT 1 FROM widget_library WHERE key = 'offline_maps' AND feature_id IS NOT NULL
);

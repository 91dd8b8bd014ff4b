-- Description: Keep a log of your trips and stops, and collect notifications in one place
-- Requires: 0002
-- Timeout: 30 s
-- Expect: sensor_readings rows unchanged
-- Expect: tanks rows unchanged

-- @migrate
CREATE TABLE trips (
  id INTEGER PRIMARY KEY,
  driver_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  title TEXT NOT NULL CHECK (length(trim(title)) > 0),
  started_at INTEGER NOT NULL CHECK (started_at > 0),
  ended_at INTEGER,
  start_odometer_m INTEGER NOT NULL CHECK (start_odometer_m >= 0),
  end_odometer_m INTEGER,
  distance_km REAL GENERATED ALWAYS AS ((end_odometer_m - start_odometer_m) / 1000.0) VIRTUAL,
  duration_s INTEGER GENERATED ALWAYS AS (ended_at - started_at) VIRTUAL,
  CHECK (ended_at >= started_at),
  CHECK (end_odometer_m >= start_odometer_m)
) STRICT;

CREATE INDEX trips_by_driver ON trips (driver_profile_id);
CREATE INDEX trips_by_start ON trips (started_at);

CREATE TABLE trip_stops (
  id INTEGER PRIMARY KEY,
  trip_id INTEGER NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position > 0),
  kind TEXT NOT NULL
    CHECK (kind IN ('campground', 'fuel', 'rest', 'dump_station', 'sight', 'service')),
  name TEXT NOT NULL,
  latitude REAL NOT NULL CHECK (latitude BETWEEN -90 AND 90),
  longitude REAL NOT NULL CHECK (longitude BETWEEN -180 AND 180),
  odometer_m INTEGER CHECK (odometer_m >= 0),
  arrived_at INTEGER,
  departed_at INTEGER,
  notes TEXT,
  CHECK (departed_at >= arrived_at),
  -- Its index serves the foreign key too.
  UNIQUE (trip_id, position)
) STRICT;

CREATE TABLE notifications (
  id INTEGER PRIMARY KEY,
  -- The sender's own name for the event. Sending twice stores once.
  event_id TEXT NOT NULL UNIQUE,
  profile_id INTEGER REFERENCES profiles (id) ON DELETE CASCADE,
  trip_id INTEGER REFERENCES trips (id) ON DELETE SET NULL,
  kind TEXT NOT NULL,
  title TEXT NOT NULL,
  body TEXT NOT NULL DEFAULT '',
  is_urgent INTEGER NOT NULL DEFAULT 0 CHECK (is_urgent IN (0, 1)),
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  read_at INTEGER
) STRICT;

CREATE INDEX notifications_by_profile ON notifications (profile_id);
CREATE INDEX notifications_by_trip ON notifications (trip_id);
CREATE INDEX notifications_unread ON notifications (created_at) WHERE read_at IS NULL;

CREATE TABLE notification_deliveries (
  id INTEGER PRIMARY KEY,
  notification_id INTEGER NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
  channel TEXT NOT NULL CHECK (channel IN ('panel', 'email', 'push', 'horn')),
  delivered_at INTEGER,
  error TEXT,
  CHECK (delivered_at IS NULL OR error IS NULL),
  UNIQUE (notification_id, channel)
) STRICT;

CREATE TRIGGER notifications_keep_event_id
BEFORE UPDATE OF event_id ON notifications
WHEN new.event_id IS NOT old.event_id
BEGIN
  SELECT raise(ABORT, 'a notification keeps its event_id');
END;

CREATE VIEW unread_notifications AS
SELECT id, kind, title, body, is_urgent, created_at
FROM notifications
WHERE read_at IS NULL;

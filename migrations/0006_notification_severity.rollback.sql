-- Description: Remove the severity of notifications again; what was critical is marked as urgent
-- Timeout: 60 s
-- Destructive: yes
-- Expect: notifications rows unchanged
-- Expect: notification_deliveries rows unchanged

-- @migrate
-- The text of the table is to be that of 0003 again. ALTER TABLE ... RENAME would put the name
-- in quotes, so the rows are set aside and the table is created under its own name.
DROP VIEW unread_notifications;

CREATE TABLE notifications_set_aside AS
SELECT
  id, event_id, profile_id, trip_id, kind, title, body,
  -- A controller of that version knows no severity. What was critical must still stand out.
  max(is_urgent, severity = 'critical') AS is_urgent,
  created_at, read_at
FROM notifications;

-- Takes its indexes and its triggers with it.
DROP TABLE notifications;

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

INSERT INTO notifications (
  id, event_id, profile_id, trip_id, kind, title, body, is_urgent, created_at, read_at
)
SELECT id, event_id, profile_id, trip_id, kind, title, body, is_urgent, created_at, read_at
FROM notifications_set_aside
ORDER BY id;

DROP TABLE notifications_set_aside;

CREATE INDEX notifications_by_profile ON notifications (profile_id);
CREATE INDEX notifications_by_trip ON notifications (trip_id);
CREATE INDEX notifications_unread ON notifications (created_at) WHERE read_at IS NULL;

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

-- @validate
SELECT 'The column severity of notifications is still there'
FROM pragma_table_xinfo('notifications')
WHERE name = 'severity';

SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'index' AS type, 'notifications_by_profile' AS name
  UNION ALL SELECT 'index', 'notifications_by_trip'
  UNION ALL SELECT 'index', 'notifications_unread'
  UNION ALL SELECT 'trigger', 'notifications_keep_event_id'
  UNION ALL SELECT 'view', 'unread_notifications'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'notifications_unread_by_severity', 'notifications_urgent_is_critical', 'notifications_set_aside'
)
ORDER BY name;

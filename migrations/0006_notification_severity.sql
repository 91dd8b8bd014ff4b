-- Description: Sort notifications by how serious they are, so that a warning is never buried
-- Requires: 0005
-- Timeout: 60 s
-- Expect: notifications rows unchanged
-- Expect: notification_deliveries rows unchanged

-- @preflight
-- The new table refuses what these rows contain.
SELECT 'The notification "' || title || '" (number ' || id || ') was read before it was sent'
FROM notifications
WHERE read_at < created_at
ORDER BY id
LIMIT 20;

-- @migrate
-- SQLite cannot add a CHECK over two columns to a table, so the table is rebuilt in the order
-- that https://www.sqlite.org/lang_altertable.html#otheralter gives. Create, copy, drop, rename.
-- Renaming the old table first would make notification_deliveries follow it.

-- A view of a missing table would stop the rename.
DROP VIEW unread_notifications;

CREATE TABLE notifications_new (
  id INTEGER PRIMARY KEY,
  -- The sender's own name for the event. Sending twice stores once.
  event_id TEXT NOT NULL UNIQUE,
  profile_id INTEGER REFERENCES profiles (id) ON DELETE CASCADE,
  trip_id INTEGER REFERENCES trips (id) ON DELETE SET NULL,
  kind TEXT NOT NULL,
  -- The default lets a controller that does not know the column yet go on writing.
  severity TEXT NOT NULL DEFAULT 'info'
    CHECK (severity IN ('info', 'notice', 'warning', 'critical')),
  title TEXT NOT NULL CHECK (title <> ''),
  body TEXT NOT NULL DEFAULT '',
  is_urgent INTEGER NOT NULL DEFAULT 0 CHECK (is_urgent IN (0, 1)),
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  read_at INTEGER,
  CHECK (read_at >= created_at)
) STRICT;

INSERT INTO notifications_new (
  id, event_id, profile_id, trip_id, kind, severity, title, body, is_urgent, created_at, read_at
)
SELECT
  id, event_id, profile_id, trip_id, kind,
  CASE
    WHEN is_urgent THEN 'critical'
    WHEN kind IN ('tank_full', 'tank_low', 'battery_low', 'freeze_risk') THEN 'warning'
    WHEN kind = 'trip' THEN 'notice'
    ELSE 'info'
  END,
  title, body, is_urgent, created_at, read_at
FROM notifications
ORDER BY id;

-- Takes the indexes and the trigger of the old table with it.
DROP TABLE notifications;

ALTER TABLE notifications_new RENAME TO notifications;

CREATE INDEX notifications_by_profile ON notifications (profile_id);
CREATE INDEX notifications_by_trip ON notifications (trip_id);
CREATE INDEX notifications_unread ON notifications (created_at) WHERE read_at IS NULL;
CREATE INDEX notifications_unread_by_severity ON notifications (severity, created_at)
  WHERE read_at IS NULL;

CREATE TRIGGER notifications_keep_event_id
BEFORE UPDATE OF event_id ON notifications
WHEN new.event_id IS NOT old.event_id
BEGIN
  SELECT raise(ABORT, 'a notification keeps its event_id');
END;

-- What an older controller marks as urgent must not be shown as mere information.
CREATE TRIGGER notifications_urgent_is_critical
AFTER INSERT ON notifications
WHEN new.is_urgent = 1 AND new.severity = 'info'
BEGIN
  UPDATE notifications SET severity = 'critical' WHERE id = new.id;
END;

CREATE VIEW unread_notifications AS
SELECT id, kind, severity, title, body, is_urgent, created_at
FROM notifications
WHERE read_at IS NULL;

-- @validate
SELECT 'The urgent notification "' || title || '" (number ' || id || ') is not marked as critical'
FROM notifications
WHERE is_urgent = 1 AND severity <> 'critical'
ORDER BY id
LIMIT 20;

SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'index' AS type, 'notifications_by_profile' AS name
  UNION ALL SELECT 'index', 'notifications_by_trip'
  UNION ALL SELECT 'index', 'notifications_unread'
  UNION ALL SELECT 'index', 'notifications_unread_by_severity'
  UNION ALL SELECT 'trigger', 'notifications_keep_event_id'
  UNION ALL SELECT 'trigger', 'notifications_urgent_is_critical'
  UNION ALL SELECT 'view', 'unread_notifications'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

-- Deliveries must point to the new table, not to a name that no longer exists.
SELECT 'The deliveries refer to the table ' || "table" || ' instead of notifications'
FROM pragma_foreign_key_list('notification_deliveries')
WHERE "from" = 'notification_id' AND "table" <> 'notifications';

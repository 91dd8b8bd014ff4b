-- Description: Remove trips, stops and notifications; tanks and sensors stay
-- Timeout: 60 s
-- Destructive: yes
-- Expect: sensor_readings rows unchanged
-- Expect: tanks rows unchanged
-- Expect: profiles rows unchanged

-- @migrate
DROP VIEW unread_notifications;
DROP TABLE notification_deliveries;
-- Takes its indexes and its trigger with it.
DROP TABLE notifications;
DROP TABLE trip_stops;
DROP TABLE trips;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'notification_deliveries', 'notifications', 'notifications_by_profile',
  'notifications_by_trip', 'notifications_keep_event_id', 'notifications_unread', 'trip_stops',
  'trips', 'trips_by_driver', 'trips_by_start', 'unread_notifications'
)
ORDER BY name;

INSERT INTO notifications (id, event_id, profile_id, kind, severity, title, body, is_urgent, created_at) VALUES
  (4, 'freeze-2025-05-09', 2, 'freeze_risk', 'warning', 'Frost tonight', '-3 C', 0, 1746800000),
  (5, 'update-1', 1, 'software', 'notice', 'An update is ready', '', 0, 1746800100),
  (6, 'fire-1', NULL, 'smoke', 'critical', 'Smoke alarm', 'Bedroom', 1, 1746800200);
INSERT INTO notification_deliveries (notification_id, channel, delivered_at) VALUES (4, 'panel', 1746800001), (6, 'horn', 1746800201);

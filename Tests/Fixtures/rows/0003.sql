INSERT INTO trips (id, driver_profile_id, title, started_at, ended_at, start_odometer_m, end_odometer_m) VALUES
  (1, 1, 'Phoenix to Flagstaff', 1746000000, 1746012000, 51200000, 51432000),
  (2, 2, 'Flagstaff to Moab', 1746100000, 1746125000, 51432000, 51947000),
  (3, NULL, 'To the workshop', 1746300000, NULL, 51947000, NULL);
INSERT INTO trip_stops (id, trip_id, position, kind, name, latitude, longitude, odometer_m, arrived_at, departed_at, notes) VALUES
  (1, 1, 1, 'fuel', 'Black Canyon City', 34.07, -112.15, 51268000, 1746003000, 1746004200, NULL),
  (2, 1, 2, 'campground', 'Fort Tuthill', 35.14, -111.69, 51432000, 1746012000, 1746100000, 'Site 42'),
  (3, 2, 1, 'sight', 'Monument Valley', 36.98, -110.1, NULL, 1746112000, 1746115000, NULL),
  (4, 3, 1, 'service', 'Canyonlands RV Service', 38.57, -109.55, 51950000, 1746302000, 1746320000, 'Oil');
INSERT INTO notifications (id, event_id, profile_id, trip_id, kind, title, body, is_urgent, created_at, read_at) VALUES
  (1, 'tank-2-2025-04-30', 1, NULL, 'tank_full', 'Grey water is nearly full', '84 %', 0, 1746050000, 1746050300),
  (2, 'gas-2025-05-01', NULL, NULL, 'gas_alarm', 'Propane alarm', 'Galley', 1, 1746090000, NULL),
  (3, 'trip-2-start', 2, 2, 'trip', 'Trip begun', '', 0, 1746100000, NULL);
INSERT INTO notification_deliveries (notification_id, channel, delivered_at, error) VALUES
  (1, 'panel', 1746050001, NULL), (2, 'horn', 1746090001, NULL), (2, 'email', NULL, 'no network'), (3, 'panel', 1746100001, NULL);

INSERT INTO gpx_files (plan_id, trip_id, name, kind, source, metadata, starts_at, ends_at, sha256, created_at, gpx) VALUES
  (1, NULL, 'Pacific coast.gpx', 'route', 'import', '{"points":3,"ascent_m":1840}', NULL, NULL, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 1747010000, '<?xml version="1.0" encoding="UTF-8"?><gpx version="1.1" creator="panel"><rte><rtept lat="33.45" lon="-112.07"/></rte></gpx>'),
  (NULL, 2, 'Flagstaff to Moab', 'track', 'recorder', '{"points":2}', 1746100000, 1746125000, '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824', 1746125001, '<gpx version="1.1"><trk><trkseg><trkpt lat="35.1" lon="-111.6"/><trkpt lat="38.5" lon="-109.5"/></trkseg></trk></gpx>'),
  (2, NULL, 'Zoë''s Übersicht', 'waypoints', 'planner', '{}', NULL, NULL, '486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7', 1747010002, '<gpx version="1.1"/>');
INSERT INTO trip_shares (plan_id, trip_id, token, shows_times, shows_notes, shows_costs, hidden_ends_m, created_by_profile_id, created_at, expires_at, revoked_at) VALUES
  (1, NULL, '0123456789abcdef0123456789abcdef', 0, 0, 0, 500, 1, 1747020000, 1749612000, 1747020500),
  (1, NULL, 'fedcba9876543210fedcba9876543210', 1, 1, 0, 1000, 1, 1747021000, NULL, NULL),
  (NULL, 1, '00112233445566778899aabbccddeeff', 0, 0, 0, 0, NULL, 1747022000, 1747108400, NULL);

INSERT INTO offline_map_downloads (id, profile_id, plan_id, name, north, south, east, west, min_zoom, max_zoom, style, status, total_tiles, downloaded_tiles, failed_tiles, estimated_bytes, stored_bytes, storage_path, started_at, completed_at, error, retry_count, created_at, keep_days) VALUES
  (1, 1, 1, 'Oregon coast', 46.3, 42.0, -123.5, -124.7, 6, 14, 'outdoors', 'completed', 18400, 18396, 4, 390000000, 402114560, 'maps/1', 1747250000, 1747251800, NULL, 1, 1747249000, 30),
  (2, 2, NULL, 'Fiji', -15.5, -19.5, -178.0, 176.5, 4, 10, 'satellite', 'downloading', 5000, 1200, 0, 90000000, 21000000, 'maps/2', 1747252000, NULL, NULL, 0, 1747251900, 90),
  (3, NULL, NULL, 'Utah', 42.0, 37.0, -109.05, -114.05, 0, 20, 'streets', 'failed', NULL, 0, 0, NULL, 0, NULL, NULL, NULL, 'no network', 3, 1747253000, 30),
  (4, 1, 1, 'Seattle', 47.8, 47.4, -122.1, -122.5, 10, 10, 'terrain', 'pending', NULL, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, 0, 1747254000, 30);

-- units comes filled. An older writer names no metric_value, and the trigger fills it.
INSERT INTO sensor_readings (sensor_id, recorded_at, raw_value) VALUES (3, 1746700000, 77), (2, 1746700000, 88.5), (1, 1746700000, 64);

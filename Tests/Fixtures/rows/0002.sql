INSERT INTO tanks (id, kind, name, capacity_ml, warn_percent) VALUES
  (1, 'fresh', 'Fresh water', 397000, 20), (2, 'grey', 'Grey water', 246000, 80),
  (3, 'black', 'Black water', 151000, 75), (4, 'propane', 'Propane', 132000, 15), (5, 'fuel', 'Diesel', 568000, 10);
INSERT INTO sensors (id, tank_id, code, name, unit, installed_at) VALUES
  (1, 1, 'fresh_level', 'Fresh water level', '%', 1735689600), (2, 5, 'fuel_level', 'Diesel level', 'gal', 1735689600),
  (3, NULL, 'outside_temp', 'Outside temperature', 'F', 1735689600), (4, NULL, 'house_volts', 'House battery', 'V', 1735689600);
INSERT INTO sensor_readings (sensor_id, recorded_at, raw_value, is_suspect) VALUES
  (1, 1746000000, 88, 0), (1, 1746086400, 71.5, 0), (2, 1746000000, 120, 0), (2, 1746086400, 96.25, 0),
  (3, 1746000000, 32, 0), (3, 1746086400, 104.9, 1), (4, 1746000000, 13.2, 0), (4, 1746086400, 12.1, 0);

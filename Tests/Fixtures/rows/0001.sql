INSERT INTO profiles (id, name, email, distance_unit, temperature_unit, volume_unit, created_at) VALUES
  (1, 'Anna Weber', 'anna@example.org', 'mi', 'F', 'gal', 1735689600),
  (2, 'Ben Weber', 'ben@example.org', 'km', 'C', 'L', 1735689700),
  (3, 'Zoë O''Hara', NULL, 'km', 'C', 'L', 1736000000);
INSERT INTO coach (id, owner_profile_id, vin, make, model, model_year, body, length_mm, height_mm, empty_mass_kg, gross_mass_kg, created_at)
VALUES (1, 1, '1HTMNAAL23H558771', 'Newmar', 'Dutch Star 4369', 2019, 'class_a', 13157, 3912, 18600, 20412, 1735689600);
INSERT INTO settings (profile_id, key, value, updated_at) VALUES
  (1, 'panel.theme', '"dark"', 1735690000), (1, 'panel.brightness', '70', 1735690001),
  (2, 'panel.theme', '"light"', 1735690002), (3, 'alarms', '{"freeze":true,"below_c":2}', 1736000001);

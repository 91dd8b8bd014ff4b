UPDATE planning_preferences SET map_style = 'outdoors', downloads_maps = 1, map_storage_mib = 20480, updated_at = 1747050000 WHERE profile_id = 1;
UPDATE planning_preferences SET weight_unit = 'kg', checklist_days_before = 0, updated_at = 1747050100 WHERE profile_id = 2;
INSERT INTO profiles (id, name, created_at) VALUES (4, 'Guest', 1747050200);

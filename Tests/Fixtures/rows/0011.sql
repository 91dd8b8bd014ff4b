INSERT INTO feature_settings (feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at)
SELECT id, 'coach', NULL, 'true', 'We plan to travel', 1, 1747060000 FROM feature_definitions WHERE key IN ('route_versioning', 'gpx_import_export') ORDER BY id;
INSERT INTO feature_settings (feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at)
SELECT id, 'coach', NULL, 'true', '', 1, 1747060100 FROM feature_definitions WHERE key = 'collaborative_editing';
INSERT INTO feature_settings (feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at)
SELECT id, 'profile', 2, '"tanks"', '', 2, 1747060200 FROM feature_definitions WHERE key = 'start_page';
INSERT INTO feature_settings (feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at)
SELECT id, 'technician', NULL, 'true', 'Slides adjusted, end switches tested', NULL, 1747060300 FROM feature_definitions WHERE key = 'panel_slide_control';
INSERT INTO feature_settings (feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at)
SELECT id, 'coach', NULL, '15', '', 1, 1747060400 FROM feature_definitions WHERE key = 'route_autosave_minutes';
UPDATE feature_settings SET value = NULL, reason = 'Back to the default', updated_at = 1747060500
WHERE feature_id = (SELECT id FROM feature_definitions WHERE key = 'route_autosave_minutes');

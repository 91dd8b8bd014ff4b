INSERT INTO dashboard_widgets (profile_id, widget_id, grid_column, grid_row, width, height, options, updated_at)
SELECT 1, id, 1, id, 6, 2, '{}', 1747080000 FROM widget_library ORDER BY id;
INSERT INTO dashboard_widgets (profile_id, widget_id, grid_column, grid_row, width, height, is_visible, options, updated_at)
SELECT 2, id, 7, 1, 6, 2, 0, '{"show_percent":false}', 1747080100 FROM widget_library WHERE key = 'tanks';
INSERT INTO feature_usage (feature_id, profile_id, day, use_count)
SELECT id, 1, 20221, 3 FROM feature_definitions WHERE key IN ('route_versioning', 'gpx_import_export')
UNION ALL SELECT id, 2, 20222, 1 FROM feature_definitions WHERE key = 'route_versioning';

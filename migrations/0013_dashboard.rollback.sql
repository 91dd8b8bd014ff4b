-- Description: Remove the arrangement of the panel and the counts of use again; features stay as switched
-- Timeout: 30 s
-- Destructive: yes
-- Expect: profiles content unchanged
-- Expect: feature_settings content unchanged

-- @migrate
DROP TABLE feature_usage;
DROP TABLE dashboard_widgets;
DROP TABLE widget_library;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'dashboard_widgets', 'dashboard_widgets_by_widget', 'dashboard_widgets_check_insert',
  'dashboard_widgets_check_update', 'feature_usage', 'feature_usage_by_profile',
  'widget_library', 'widget_library_by_feature', 'widget_library_keep_key'
)
ORDER BY name;

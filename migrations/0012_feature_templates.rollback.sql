-- Description: Remove the templates again; what they have switched stays as it is
-- Timeout: 30 s
-- Destructive: yes
-- Expect: feature_definitions rows unchanged
-- Expect: feature_settings content unchanged
-- Expect: feature_change_log content unchanged

-- @migrate
DROP TABLE feature_template_log;
DROP TABLE feature_template_settings;
DROP TABLE feature_templates;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'feature_template_log', 'feature_template_log_apply', 'feature_template_log_by_template',
  'feature_template_log_check', 'feature_template_log_no_delete',
  'feature_template_log_no_update', 'feature_template_settings',
  'feature_template_settings_by_feature', 'feature_template_settings_check_insert',
  'feature_template_settings_check_update', 'feature_templates',
  'feature_templates_keep_builtin', 'feature_templates_keep_builtin_row'
)
ORDER BY name;

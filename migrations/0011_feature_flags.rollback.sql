-- Description: Remove the features that can be switched, all settings of them and their record again
-- Timeout: 30 s
-- Destructive: yes
-- Expect: profiles content unchanged

-- @migrate
DROP VIEW feature_states;
DROP VIEW feature_values;
-- The settings and the record refuse a DELETE, not a DROP.
DROP TABLE feature_settings;
DROP TABLE feature_change_log;
DROP TABLE feature_conflicts;
-- Its trigger asks the view, so the table goes first.
DROP TABLE feature_dependencies;
DROP VIEW feature_requirements;
DROP TABLE feature_definitions;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'feature_change_log', 'feature_change_log_by_feature', 'feature_change_log_no_delete',
  'feature_change_log_no_replace', 'feature_change_log_no_update', 'feature_conflicts',
  'feature_conflicts_by_other', 'feature_conflicts_check', 'feature_conflicts_stay',
  'feature_definitions', 'feature_definitions_are_new', 'feature_definitions_check_insert',
  'feature_definitions_check_update', 'feature_definitions_keep_meaning',
  'feature_dependencies', 'feature_dependencies_by_required', 'feature_dependencies_check',
  'feature_dependencies_stay', 'feature_requirements', 'feature_settings',
  'feature_settings_by_changer', 'feature_settings_by_profile',
  'feature_settings_check_insert', 'feature_settings_check_update',
  'feature_settings_keep_place', 'feature_settings_log_insert', 'feature_settings_log_update',
  'feature_settings_stay', 'feature_states', 'feature_values'
)
ORDER BY name;

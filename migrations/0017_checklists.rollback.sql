-- Description: Remove checklists and their templates again; trip plans and other preferences stay
-- Timeout: 30 s
-- Destructive: yes
-- Expect: trip_plans content unchanged
-- Expect: planning_preferences rows unchanged
-- Expect: planning_preferences columns (profile_id, weight_unit, suggests_packing, reminds_of_maintenance, creates_checklists, checklist_days_before, downloads_maps, map_storage_mib, map_style, allows_invitations, invite_role, emails_trip_changes, updated_at) unchanged
-- Expect: feature_definitions rows -1
-- Expect: feature_change_log content unchanged
-- Expect: feature_settings rows >= 0
-- Expect: feature_usage rows >= 0
-- Expect: feature_dependencies rows >= 0
-- Expect: feature_conflicts rows >= 0
-- Expect: feature_template_settings rows >= 0
-- Expect: widget_library rows >= 0
-- Expect: dashboard_widgets rows >= 0

-- @migrate
DROP VIEW checklist_progress;
DROP INDEX planning_preferences_by_template;
ALTER TABLE planning_preferences DROP COLUMN checklist_template_id;
DROP TABLE checklist_items;
DROP TABLE readiness_checklists;
DROP TABLE checklist_template_items;
DROP TABLE checklist_templates;

-- Foreign keys are off, so nothing follows by itself. The settings refuse a DELETE while their
-- feature is there, so that goes first. The record of changes stays.
DELETE FROM feature_definitions WHERE key = 'readiness_checklists';
DELETE FROM feature_settings WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_usage WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_dependencies
WHERE feature_id NOT IN (SELECT id FROM feature_definitions)
  OR required_feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_conflicts
WHERE feature_id NOT IN (SELECT id FROM feature_definitions)
  OR other_feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM feature_template_settings
WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM widget_library
WHERE feature_id NOT IN (SELECT id FROM feature_definitions);
DELETE FROM dashboard_widgets WHERE widget_id NOT IN (SELECT id FROM widget_library);

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'checklist_items', 'checklist_items_by_checklist', 'checklist_items_by_person',
  'checklist_progress', 'checklist_template_items', 'checklist_template_items_by_template',
  'checklist_templates', 'checklist_templates_keep_builtin',
  'checklist_templates_keep_builtin_row', 'planning_preferences_by_template',
  'readiness_checklists', 'readiness_checklists_are_new', 'readiness_checklists_by_owner',
  'readiness_checklists_by_plan', 'readiness_checklists_by_template',
  'readiness_checklists_get_items'
)
ORDER BY name;

SELECT 'The column checklist_template_id of planning_preferences is still there'
FROM pragma_table_xinfo('planning_preferences')
WHERE name = 'checklist_template_id';

SELECT 'The feature "readiness_checklists" is still there' FROM feature_definitions
WHERE key = 'readiness_checklists';

SELECT 'The widget "readiness" is still there' FROM widget_library
WHERE key = 'readiness';

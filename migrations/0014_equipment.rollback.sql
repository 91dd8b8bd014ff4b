-- Description: Remove the inventory of gear and its search again; people and coach stay
-- Timeout: 30 s
-- Destructive: yes
-- Expect: profiles content unchanged
-- Expect: coach content unchanged
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
DROP VIEW equipment_load;
-- Before the table whose words it holds.
DROP TABLE equipment_search;
DROP TABLE equipment_images;
-- Takes its triggers with it.
DROP TABLE equipment;
-- The categories of the software refuse a DELETE, not a DROP.
DROP TABLE equipment_categories;

-- Foreign keys are off, so nothing follows by itself. The settings refuse a DELETE while their
-- feature is there, so that goes first. The record of changes stays.
DELETE FROM feature_definitions WHERE key = 'equipment_management';
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
  'equipment', 'equipment_are_new', 'equipment_by_category', 'equipment_by_owner',
  'equipment_by_status', 'equipment_categories', 'equipment_categories_are_new',
  'equipment_categories_by_parent', 'equipment_categories_keep_builtin',
  'equipment_categories_keep_builtin_row', 'equipment_categories_no_circle',
  'equipment_check_tags_insert', 'equipment_check_tags_update', 'equipment_images',
  'equipment_keep_id', 'equipment_load', 'equipment_search', 'equipment_search_config',
  'equipment_search_data', 'equipment_search_delete', 'equipment_search_docsize',
  'equipment_search_idx', 'equipment_search_insert', 'equipment_search_update'
)
ORDER BY name;

SELECT 'The feature "equipment_management" is still there' FROM feature_definitions
WHERE key = 'equipment_management';

SELECT 'The widget "equipment_load" is still there' FROM widget_library
WHERE key = 'equipment_load';

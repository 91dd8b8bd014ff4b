-- Description: Remove the preferences for planning again; people and their settings stay
-- Timeout: 30 s
-- Destructive: yes
-- Expect: profiles content unchanged
-- Expect: settings content unchanged

-- @migrate
-- It belongs to profiles and so does not go with the table.
DROP TRIGGER profiles_get_preferences;
DROP TABLE planning_preferences;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'planning_preferences', 'profiles_get_preferences'
)
ORDER BY name;

-- Description: Remove the coach, its people and their settings; afterwards the database is empty
-- Timeout: 30 s
-- Destructive: yes

-- @migrate
DROP TABLE settings;
DROP TABLE coach;
DROP TABLE profiles;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'coach', 'coach_by_owner', 'profiles', 'settings'
)
ORDER BY name;

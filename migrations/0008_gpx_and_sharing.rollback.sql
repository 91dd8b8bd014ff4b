-- Description: Remove GPX files and shared links again; trips and plans stay
-- Timeout: 30 s
-- Destructive: yes
-- Expect: trips rows unchanged
-- Expect: trip_plans rows unchanged

-- @migrate
DROP VIEW shared_trips;
DROP TABLE trip_shares;
DROP TABLE gpx_files;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'gpx_files', 'gpx_files_by_digest', 'gpx_files_by_plan', 'gpx_files_by_trip',
  'gpx_files_keep_content', 'shared_trips', 'trip_shares', 'trip_shares_by_creator',
  'trip_shares_by_plan', 'trip_shares_by_trip', 'trip_shares_keep_link',
  'trip_shares_one_per_plan', 'trip_shares_one_per_trip'
)
ORDER BY name;

-- Description: Remove the trip plans and the versions of their routes again; driven trips stay
-- Timeout: 30 s
-- Destructive: yes
-- Expect: trips rows unchanged
-- Expect: trips columns (id, driver_profile_id, title, started_at, ended_at, start_odometer_m, end_odometer_m) unchanged

-- @migrate
DROP VIEW trip_plan_overview;
DROP INDEX trips_by_plan;
ALTER TABLE trips DROP COLUMN plan_id;
-- Foreign keys are off, so that neither of the two that refer to each other has to be first.
DROP TABLE route_versions;
DROP TABLE trip_plans;

-- @validate
SELECT 'The ' || type || ' ' || name || ' is still there'
FROM sqlite_schema
WHERE name IN (
  'route_versions', 'route_versions_are_current', 'route_versions_are_new',
  'route_versions_by_parent', 'route_versions_stay', 'route_versions_stay_with_plan',
  'trip_plan_overview', 'trip_plans', 'trip_plans_are_new', 'trip_plans_by_owner',
  'trip_plans_by_start', 'trips_by_plan'
)
ORDER BY name;

SELECT 'The column plan_id of trips is still there'
FROM pragma_table_xinfo('trips')
WHERE name = 'plan_id';

-- No new table. What a person with permission writes passes.
INSERT INTO route_versions (plan_id, version, parent_version, author_profile_id, author_name, created_at, route) VALUES
  (1, 4, 2, 2, 'Ben Weber', 1747230000, '{"line":"q"}'), (3, 2, 1, 1, 'Anna Weber', 1747230100, '{"line":"r"}');
INSERT INTO trip_collaborators (plan_id, profile_id, invited_by_profile_id, role, invited_at) VALUES (3, 2, 1, 'editor', 1747230200);

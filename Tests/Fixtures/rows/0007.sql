INSERT INTO trip_plans (id, owner_profile_id, title, origin, destination, status, starts_at, ends_at, estimated_cost_cents, actual_cost_cents, notes, created_at, updated_at) VALUES
  (1, 1, 'Pacific coast in summer', 'Phoenix', 'Seattle', 'planned', 1751328000, 1753920000, 420000, NULL, 'Avoid I-5 around Portland', 1747000000, 1747100000),
  (2, 2, 'Weekend at Lake Powell', NULL, 'Page', 'done', 1747400000, 1747570000, 30000, 27550, '', 1747000100, 1747600000),
  (3, NULL, 'Winter storage', 'Moab', 'Phoenix', 'draft', NULL, NULL, NULL, NULL, '', 1747000200, 1747000200);
INSERT INTO route_versions (plan_id, version, parent_version, author_profile_id, author_name, change_note, is_auto_save, created_at, distance_m, waypoints, route) VALUES
  (1, 1, NULL, 1, 'Anna Weber', 'First idea', 0, 1747000000, 2285000, '[{"name":"Phoenix","lat":33.45,"lon":-112.07},{"name":"Seattle","lat":47.61,"lon":-122.33}]', '{"line":"kqhjE~}njT","profile":"motorhome"}'),
  (1, 2, 1, 1, 'Anna Weber', '', 1, 1747000300, 2401000, '[{"name":"Phoenix","lat":33.45,"lon":-112.07},{"name":"Eureka","lat":40.8,"lon":-124.16},{"name":"Seattle","lat":47.61,"lon":-122.33}]', '{"line":"kqhjE~}njTabc","profile":"motorhome"}'),
  (1, 3, 1, 2, 'Ben Weber', 'Inland instead, because of the heights', 0, 1747100000, 2310500, '[]', '{"line":"zzhjE","profile":"motorhome"}'),
  (2, 1, NULL, 2, 'Ben Weber', '', 0, 1747000100, 218000, '[]', '{"line":"aa"}'),
  (3, 1, NULL, NULL, '', '', 0, 1747000200, NULL, '[]', '{}');
UPDATE trip_plans SET current_version = 2 WHERE id = 1;
UPDATE trips SET plan_id = 2 WHERE id = 2;

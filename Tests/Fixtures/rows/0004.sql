INSERT INTO maintenance_records (task_id, stop_id, profile_id, performed_at, odometer_m, cost_cents, notes)
SELECT id, NULL, 1, 1746310000, 51950000, 48900, 'With filter' FROM maintenance_tasks WHERE code = 'engine_oil'
UNION ALL SELECT id, NULL, 2, 1746400000, 51950000, NULL, 'All fine' FROM maintenance_tasks WHERE code = 'smoke_alarm'
UNION ALL SELECT id, NULL, NULL, 1746500000, 51950000, 0, NULL FROM maintenance_tasks WHERE code = 'roof_seals';

INSERT INTO equipment_maintenance (id, equipment_id, profile_id, kind, performed_at, description, performed_by, location, cost_cents, replaced_parts, next_due_at, next_due_notes, created_at, updated_at) VALUES
  (1, 3, 1, 'service', 1740000000, 'Oil changed', NULL, NULL, 1290, '["oil 0.4 L"]', 1747200000, 'After 50 hours', 1740000100, 1740000100),
  (2, 3, 1, 'service', 1747200000, 'Oil and spark plug changed', 'Moab Small Engines', 'Moab', 8900, '["oil 0.4 L","spark plug CR5HSB"]', 1762752000, NULL, 1747200100, 1747200100),
  (3, 1, NULL, 'inspection', 1747210000, 'Hose and regulator looked at', NULL, NULL, NULL, '[]', 1778746000, 'Replace the hose', 1747210100, 1747210100),
  (4, 5, 2, 'cleaning', 1747220000, 'Rinsed with bleach', NULL, NULL, 0, '[]', NULL, NULL, 1747220100, 1747220100);
INSERT INTO equipment_maintenance_files (maintenance_id, kind, path) VALUES (2, 'receipt', 'maintenance/2/receipt.pdf'), (2, 'photo_before', 'maintenance/2/before.jpg'), (3, 'report', 'maintenance/3/report.pdf');

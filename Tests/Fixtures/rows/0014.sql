INSERT INTO equipment_categories (id, parent_id, name, color, sort_order)
SELECT 100, id, 'Propane grills', '#c04020', 5 FROM equipment_categories WHERE name = 'Cooking';
INSERT INTO equipment_categories (id, parent_id, name, sort_order) VALUES (101, 100, 'Grill tools', 1);
INSERT INTO equipment (id, owner_profile_id, category_id, name, description, brand, model, serial_number, mass_g, length_mm, width_mm, height_mm, purchased_at, price_cents, warranty_until, status, condition, is_aboard, storage_location, tags, created_at, updated_at) VALUES
  (1, NULL, 100, 'Grill', 'Folds flat', 'Weber', 'Traveler', 'WT-2231', 22100, 1100, 580, 330, 1700000000, 44900, 1763072000, 'active', 'good', 1, 'Bay 3, left', '["summer","propane"]', 1747090000, 1747090000),
  (2, 1, (SELECT id FROM equipment_categories WHERE name = 'Camping'), 'Zelt für zwei Personen', 'Kuppelzelt mit Vordach', 'Hilleberg', 'Nallo 2', NULL, 2400, NULL, NULL, NULL, NULL, NULL, NULL, 'in_use', 'excellent', 1, 'Under the bed', '["été","winter"]', 1747090100, 1747090100),
  (3, NULL, (SELECT id FROM equipment_categories WHERE name = 'Power'), 'Generator', '', 'Honda', 'EU2200i', 'EAAJ-1', 21500, 512, 290, 425, NULL, 119900, NULL, 'maintenance', 'fair', 0, NULL, '[]', 1747090200, 1747090200),
  (4, 2, NULL, 'Kayak', 'Sold in May', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'sold', NULL, 0, NULL, '["water sports"]', 1747090300, 1747090300),
  (5, NULL, (SELECT id FROM equipment_categories WHERE name = 'Water'), 'Hose, 15 m', '', '', '', NULL, 0, NULL, NULL, NULL, NULL, 0, NULL, 'active', 'new', 1, 'Wet bay', '["water"]', 1747090400, 1747090400);
INSERT INTO equipment_images (equipment_id, path, caption) VALUES (1, 'equipment/1/open.jpg', 'Open'), (1, 'equipment/1/folded.jpg', ''), (3, 'equipment/3/plate.jpg', 'Type plate');

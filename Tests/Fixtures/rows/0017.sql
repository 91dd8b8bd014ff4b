INSERT INTO checklist_templates (id, name, description) VALUES (100, 'With the boat', 'Trailer and boat');
INSERT INTO checklist_template_items (template_id, position, category, text, is_required) VALUES (100, 1, 'Boat', 'Drain plug in place', 1), (100, 2, 'Trailer', 'Lights of the trailer', 1), (100, 3, 'Boat', 'Cover on', 0);
INSERT INTO readiness_checklists (id, plan_id, owner_profile_id, template_id, name, created_at)
SELECT 1, 1, 1, id, 'Leave for the coast', 1747240000 FROM checklist_templates WHERE name = 'Departure';
INSERT INTO readiness_checklists (id, plan_id, owner_profile_id, template_id, name, created_at) VALUES (2, 2, 2, 100, 'Boat', 1747240100), (3, NULL, NULL, NULL, 'Own list', 1747240200);
INSERT INTO checklist_items (checklist_id, position, text, notes) VALUES (3, 1, 'Feed the cat', 'Twice');
UPDATE checklist_items SET done_at = 1747241000, done_by_profile_id = 1 WHERE checklist_id = 1 AND position <= 5;
UPDATE checklist_items SET done_at = 1747241100, done_by_profile_id = 2 WHERE checklist_id = 2;
UPDATE planning_preferences SET checklist_template_id = 100, updated_at = 1747241200 WHERE profile_id = 2;

INSERT INTO feature_template_log (template_code, scope, profile_id, applied_by_profile_id, applied_at) VALUES ('boondocking', 'coach', NULL, 1, 1747070000);
INSERT INTO feature_template_log (template_code, scope, profile_id, applied_by_profile_id, applied_at) VALUES ('hookup', 'coach', NULL, 1, 1747156400);
INSERT INTO feature_template_log (template_code, scope, profile_id, applied_by_profile_id, applied_at) VALUES ('on_the_road', 'profile', 2, 2, 1747156500);
INSERT INTO feature_templates (code, name, audience, description) VALUES ('kids', 'Children aboard', 'Family', 'Begin with the trip');
INSERT INTO feature_template_settings (template_id, feature_id, value)
SELECT template.id, feature.id, '"trips"' FROM feature_templates AS template, feature_definitions AS feature WHERE template.code = 'kids' AND feature.key = 'start_page';

-- No new table. What the owner decides goes before the default.
INSERT INTO feature_settings (feature_id, scope, profile_id, value, reason, changed_by_profile_id, updated_at)
SELECT id, 'coach', NULL, 'false', 'Nothing leaves the coach', 1, 1747260000 FROM feature_definitions WHERE key = 'community_sharing';

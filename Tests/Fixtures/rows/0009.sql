INSERT INTO trip_collaborators (plan_id, profile_id, invited_by_profile_id, role, status, invited_at, answered_at) VALUES
  (1, 2, 1, 'editor', 'accepted', 1747030000, 1747033000), (1, 3, 1, 'viewer', 'pending', 1747030100, NULL),
  (2, 3, 2, 'viewer', 'declined', 1747030200, 1747040000), (2, 1, 2, 'owner', 'accepted', 1747030300, 1747030400),
  (3, 3, NULL, 'viewer', 'revoked', 1747030400, NULL);

-- Description: Remember your coach, the people who use it and their settings
-- Timeout: 30 s

-- Times are whole seconds since 1970 in UTC, distances on the road are metres.

-- @migrate
CREATE TABLE profiles (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL CHECK (length(trim(name)) BETWEEN 1 AND 80),
  email TEXT UNIQUE COLLATE NOCASE CHECK (email LIKE '_%@_%'),
  distance_unit TEXT NOT NULL DEFAULT 'km' CHECK (distance_unit IN ('km', 'mi')),
  temperature_unit TEXT NOT NULL DEFAULT 'C' CHECK (temperature_unit IN ('C', 'F')),
  volume_unit TEXT NOT NULL DEFAULT 'L' CHECK (volume_unit IN ('L', 'gal')),
  created_at INTEGER NOT NULL CHECK (created_at > 0)
) STRICT;

-- One row. The controller lives in exactly one coach.
CREATE TABLE coach (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  owner_profile_id INTEGER NOT NULL REFERENCES profiles (id) ON DELETE RESTRICT,
  vin TEXT NOT NULL UNIQUE CHECK (length(vin) = 17),
  make TEXT NOT NULL,
  model TEXT NOT NULL,
  model_year INTEGER NOT NULL CHECK (model_year BETWEEN 1950 AND 2100),
  body TEXT NOT NULL
    CHECK (body IN ('class_a', 'class_b', 'class_c', 'fifth_wheel', 'travel_trailer')),
  length_mm INTEGER NOT NULL CHECK (length_mm BETWEEN 3000 AND 25000),
  height_mm INTEGER NOT NULL CHECK (height_mm BETWEEN 1500 AND 5000),
  empty_mass_kg INTEGER NOT NULL CHECK (empty_mass_kg > 0),
  gross_mass_kg INTEGER NOT NULL,
  -- What may still be loaded, so that nobody works it out twice.
  payload_kg INTEGER GENERATED ALWAYS AS (gross_mass_kg - empty_mass_kg) VIRTUAL,
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  CHECK (gross_mass_kg > empty_mass_kg)
) STRICT;

CREATE INDEX coach_by_owner ON coach (owner_profile_id);

-- The primary key begins with profile_id and so serves its foreign key too.
CREATE TABLE settings (
  profile_id INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
  key TEXT NOT NULL CHECK (key GLOB '[a-z]*'),
  value TEXT NOT NULL CHECK (json_valid(value)),
  updated_at INTEGER NOT NULL CHECK (updated_at > 0),
  PRIMARY KEY (profile_id, key)
) STRICT, WITHOUT ROWID;

-- Description: Keep an inventory of your gear, find it by any word, and see what payload is left
-- Phase: 2
-- Requires: 0001, 0011, 0013
-- Estimated-Time: 1 s
-- Timeout: 30 s
-- Expect: profiles content unchanged
-- Expect: coach content unchanged
-- Expect: feature_definitions rows +1
-- Expect: widget_library rows +1

-- @preflight
SELECT 'The SQLite of this controller has no full-text search (FTS5), which this update needs; '
  || 'ask whoever maintains the software of your coach'
WHERE NOT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'fts5');

-- Names are compared without regard to the case of letters, as SQLite does.
SELECT 'The database already has ' || iif(type = 'index', 'an ', 'a ') || type || ' "' || name
  || '", a name that this update needs; have the program that made it give it another one'
FROM sqlite_schema
WHERE lower(name) IN (
  'equipment', 'equipment_are_new', 'equipment_by_category', 'equipment_by_owner',
  'equipment_by_status', 'equipment_categories', 'equipment_categories_are_new',
  'equipment_categories_by_parent', 'equipment_categories_keep_builtin',
  'equipment_categories_keep_builtin_row', 'equipment_categories_no_circle',
  'equipment_check_tags_insert', 'equipment_check_tags_update', 'equipment_images',
  'equipment_keep_id', 'equipment_load', 'equipment_search', 'equipment_search_config',
  'equipment_search_data', 'equipment_search_delete', 'equipment_search_docsize',
  'equipment_search_idx', 'equipment_search_insert', 'equipment_search_update'
)
ORDER BY name;

SELECT 'A feature of the name "equipment_management" exists already; '
  || 'have the program that entered it give it another one'
FROM feature_definitions
WHERE key = 'equipment_management';

SELECT 'A widget of the name "equipment_load" exists already; '
  || 'have the program that entered it give it another one'
FROM widget_library
WHERE key = 'equipment_load';

-- @migrate
-- One list for the coach. A person owns gear, not a way to sort it.
CREATE TABLE equipment_categories (
  id INTEGER PRIMARY KEY,
  parent_id INTEGER REFERENCES equipment_categories (id) ON DELETE SET NULL,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(trim(name)) BETWEEN 1 AND 80),
  description TEXT NOT NULL DEFAULT '',
  icon TEXT CHECK (length(icon) > 0),
  color TEXT CHECK (color GLOB '#[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'),
  sort_order INTEGER NOT NULL DEFAULT 0,
  -- Came with the software.
  is_builtin INTEGER NOT NULL DEFAULT 0 CHECK (is_builtin IN (0, 1)),
  CHECK (parent_id <> id),
  CHECK (is_builtin = 0 OR parent_id IS NULL)
) STRICT;

CREATE INDEX equipment_categories_by_parent ON equipment_categories (parent_id);

INSERT INTO equipment_categories (name, description, icon, sort_order, is_builtin) VALUES
  ('Camping', 'Tents, sleeping bags, chairs and tables', 'tent', 10, 1),
  ('Cooking', 'Stoves, pots and dishes', 'utensils', 20, 1),
  ('Safety', 'First aid and what an emergency needs', 'shield', 30, 1),
  ('Tools', 'For repairs and maintenance', 'wrench', 40, 1),
  ('Electronics', 'Devices, chargers and cables', 'battery', 50, 1),
  ('Clothing', 'What is worn outdoors', 'shirt', 60, 1),
  ('Vehicle', 'Parts and accessories of the coach', 'car', 70, 1),
  ('Water', 'Filters, hoses and containers', 'droplet', 80, 1),
  ('Power', 'Generators, solar panels and inverters', 'zap', 90, 1),
  ('Navigation', 'Maps, compasses and GPS', 'map', 100, 1);

-- After the rows above are there. What a person may do with one: sort it, and give it a colour.
CREATE TRIGGER equipment_categories_keep_builtin
BEFORE UPDATE OF id, parent_id, name, description, icon, is_builtin ON equipment_categories
WHEN old.is_builtin = 1 OR new.is_builtin = 1
BEGIN
  SELECT raise(ABORT, 'this category came with the software; add one of your own');
END;

CREATE TRIGGER equipment_categories_keep_builtin_row
BEFORE DELETE ON equipment_categories
WHEN old.is_builtin = 1
BEGIN
  SELECT raise(ABORT, 'this category came with the software');
END;

-- INSERT OR REPLACE would get around both, and around the foreign keys of the equipment.
CREATE TRIGGER equipment_categories_are_new
BEFORE INSERT ON equipment_categories
WHEN new.is_builtin = 1 OR EXISTS (
  SELECT 1 FROM equipment_categories WHERE id = new.id OR name = new.name
)
BEGIN
  SELECT raise(ABORT, 'this category exists already, or would be one of the software');
END;

CREATE TRIGGER equipment_categories_no_circle
BEFORE UPDATE OF parent_id ON equipment_categories
WHEN new.parent_id IS NOT NULL
BEGIN
  SELECT raise(ABORT, 'a category cannot be inside itself')
  WHERE EXISTS (
    WITH RECURSIVE above (id) AS (
      SELECT new.parent_id
      UNION
      SELECT category.parent_id
      FROM above
      JOIN equipment_categories AS category ON category.id = above.id
    )
    SELECT 1 FROM above WHERE id = new.id
  );
END;

CREATE TABLE equipment (
  id INTEGER PRIMARY KEY,
  -- Whose it is. Without one it belongs to the coach.
  owner_profile_id INTEGER REFERENCES profiles (id) ON DELETE SET NULL,
  category_id INTEGER REFERENCES equipment_categories (id) ON DELETE SET NULL,
  name TEXT NOT NULL CHECK (length(trim(name)) BETWEEN 1 AND 200),
  description TEXT NOT NULL DEFAULT '',
  brand TEXT NOT NULL DEFAULT '',
  model TEXT NOT NULL DEFAULT '',
  serial_number TEXT,
  -- Of one piece as it is stowed.
  mass_g INTEGER CHECK (mass_g >= 0),
  length_mm INTEGER CHECK (length_mm > 0),
  width_mm INTEGER CHECK (width_mm > 0),
  height_mm INTEGER CHECK (height_mm > 0),
  volume_ml INTEGER GENERATED ALWAYS AS (length_mm * width_mm * height_mm / 1000) VIRTUAL,
  purchased_at INTEGER CHECK (purchased_at > 0),
  price_cents INTEGER CHECK (price_cents >= 0),
  purchased_from TEXT,
  warranty_until INTEGER,
  status TEXT NOT NULL DEFAULT 'active'
    CHECK (status IN ('active', 'in_use', 'maintenance', 'retired', 'lost', 'sold')),
  condition TEXT CHECK (condition IN ('new', 'excellent', 'good', 'fair', 'poor')),
  -- What is aboard counts against the payload.
  is_aboard INTEGER NOT NULL DEFAULT 1 CHECK (is_aboard IN (0, 1)),
  current_location TEXT,
  storage_location TEXT,
  storage_notes TEXT,
  tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags) AND json_type(tags) = 'array'),
  created_at INTEGER NOT NULL CHECK (created_at > 0),
  updated_at INTEGER NOT NULL CHECK (updated_at > 0),
  CHECK (warranty_until >= purchased_at),
  CHECK (is_aboard = 0 OR status NOT IN ('lost', 'sold'))
) STRICT;

CREATE INDEX equipment_by_owner ON equipment (owner_profile_id);
CREATE INDEX equipment_by_category ON equipment (category_id);
CREATE INDEX equipment_by_status ON equipment (status, name);

-- The picture itself is a file of the controller.
CREATE TABLE equipment_images (
  id INTEGER PRIMARY KEY,
  equipment_id INTEGER NOT NULL REFERENCES equipment (id) ON DELETE CASCADE,
  path TEXT NOT NULL CHECK (length(path) > 0),
  caption TEXT NOT NULL DEFAULT '',
  -- Its index serves the foreign key too.
  UNIQUE (equipment_id, path)
) STRICT;

-- The words are stored here once, the texts only in equipment. In JSON the brackets and quotes
-- of the tags are no letters, so each tag is found as a word.
CREATE VIRTUAL TABLE equipment_search USING fts5 (
  name, description, brand, model, tags, storage_location,
  content = 'equipment',
  content_rowid = 'id',
  tokenize = "unicode61 remove_diacritics 2",
  prefix = '2 3'
);

CREATE TRIGGER equipment_search_insert
AFTER INSERT ON equipment
BEGIN
  INSERT INTO equipment_search (
    rowid, name, description, brand, model, tags, storage_location
  ) VALUES (
    new.id, new.name, new.description, new.brand, new.model, new.tags, new.storage_location
  );
END;

-- FTS5 has to be told the old words, because the content is not its own.
CREATE TRIGGER equipment_search_delete
AFTER DELETE ON equipment
BEGIN
  INSERT INTO equipment_search (
    equipment_search, rowid, name, description, brand, model, tags, storage_location
  ) VALUES (
    'delete', old.id, old.name, old.description, old.brand, old.model, old.tags,
    old.storage_location
  );
END;

CREATE TRIGGER equipment_search_update
AFTER UPDATE OF name, description, brand, model, tags, storage_location ON equipment
BEGIN
  INSERT INTO equipment_search (
    equipment_search, rowid, name, description, brand, model, tags, storage_location
  ) VALUES (
    'delete', old.id, old.name, old.description, old.brand, old.model, old.tags,
    old.storage_location
  );
  INSERT INTO equipment_search (
    rowid, name, description, brand, model, tags, storage_location
  ) VALUES (
    new.id, new.name, new.description, new.brand, new.model, new.tags, new.storage_location
  );
END;

-- INSERT OR REPLACE removes the old row without firing equipment_search_delete, and the search
-- would go on finding it.
CREATE TRIGGER equipment_are_new
BEFORE INSERT ON equipment
WHEN EXISTS (SELECT 1 FROM equipment WHERE id = new.id)
BEGIN
  SELECT raise(ABORT, 'this piece of equipment exists already; change it with UPDATE');
END;

CREATE TRIGGER equipment_keep_id
BEFORE UPDATE OF id ON equipment
WHEN new.id <> old.id
BEGIN
  SELECT raise(ABORT, 'a piece of equipment keeps its number');
END;

-- A CHECK cannot look into a list.
CREATE TRIGGER equipment_check_tags_insert
BEFORE INSERT ON equipment
WHEN EXISTS (SELECT 1 FROM json_each(new.tags) WHERE type <> 'text' OR trim(value) = '')
BEGIN
  SELECT raise(ABORT, 'each tag is a word');
END;

CREATE TRIGGER equipment_check_tags_update
BEFORE UPDATE OF tags ON equipment
WHEN EXISTS (SELECT 1 FROM json_each(new.tags) WHERE type <> 'text' OR trim(value) = '')
BEGIN
  SELECT raise(ABORT, 'each tag is a word');
END;

CREATE VIEW equipment_load AS
SELECT
  coach.id AS coach_id, coach.payload_kg,
  coalesce(sum(equipment.mass_g), 0) AS aboard_g,
  coach.payload_kg * 1000 - coalesce(sum(equipment.mass_g), 0) AS payload_left_g,
  count(equipment.id) AS piece_count,
  -- What the sum above does not know.
  count(equipment.id) - count(equipment.mass_g) AS without_mass_count
FROM coach
LEFT JOIN equipment ON equipment.is_aboard = 1
GROUP BY coach.id;

INSERT INTO feature_definitions (key, title, description, category, value_type, default_value)
VALUES (
  'equipment_management', 'Equipment', 'Keep an inventory of the gear',
  'planning', 'boolean', 'false'
);

INSERT INTO widget_library (
  key, title, category, feature_id, min_width, min_height, default_options
)
SELECT 'equipment_load', 'Payload', 'planning', id, 2, 1, '{"show_count":true}'
FROM feature_definitions
WHERE key = 'equipment_management';

-- Nothing yet, but from here on index and table agree by proof rather than by reasoning.
INSERT INTO equipment_search (equipment_search) VALUES ('rebuild');

-- @validate
SELECT 'The ' || wanted.type || ' ' || wanted.name || ' is missing'
FROM (
  SELECT 'table' AS type, 'equipment_categories' AS name
  UNION ALL SELECT 'index', 'equipment_categories_by_parent'
  UNION ALL SELECT 'trigger', 'equipment_categories_keep_builtin'
  UNION ALL SELECT 'trigger', 'equipment_categories_keep_builtin_row'
  UNION ALL SELECT 'trigger', 'equipment_categories_are_new'
  UNION ALL SELECT 'trigger', 'equipment_categories_no_circle'
  UNION ALL SELECT 'table', 'equipment'
  UNION ALL SELECT 'index', 'equipment_by_owner'
  UNION ALL SELECT 'index', 'equipment_by_category'
  UNION ALL SELECT 'index', 'equipment_by_status'
  UNION ALL SELECT 'table', 'equipment_images'
  UNION ALL SELECT 'table', 'equipment_search'
  UNION ALL SELECT 'trigger', 'equipment_search_insert'
  UNION ALL SELECT 'trigger', 'equipment_search_delete'
  UNION ALL SELECT 'trigger', 'equipment_search_update'
  UNION ALL SELECT 'trigger', 'equipment_are_new'
  UNION ALL SELECT 'trigger', 'equipment_keep_id'
  UNION ALL SELECT 'trigger', 'equipment_check_tags_insert'
  UNION ALL SELECT 'trigger', 'equipment_check_tags_update'
  UNION ALL SELECT 'view', 'equipment_load'
) AS wanted
WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_schema WHERE type = wanted.type AND name = wanted.name
);

SELECT 'The list of equipment categories has ' || count(*) || ' standard entries instead of 10'
FROM equipment_categories
WHERE is_builtin = 1
HAVING count(*) <> 10;

-- The search has one row in this table for each piece.
SELECT 'The search does not know "' || equipment.name || '"'
FROM equipment
WHERE id NOT IN (SELECT id FROM equipment_search_docsize)
ORDER BY id
LIMIT 20;

SELECT 'The search finds ' || count(*) || ' pieces of equipment that are gone'
FROM equipment_search_docsize
WHERE id NOT IN (SELECT id FROM equipment)
HAVING count(*) > 0;

SELECT 'The feature "equipment_management" is missing, or is on before its time'
WHERE NOT EXISTS (
  SELECT 1 FROM feature_definitions WHERE key = 'equipment_management' AND default_value = 'false'
);

SELECT 'The widget "equipment_load" is missing, or has no feature'
WHERE NOT EXISTS (
  SELECT 1 FROM widget_library WHERE key = 'equipment_load' AND feature_id IS NOT NULL
);

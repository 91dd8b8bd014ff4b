/// Something that a migration file should not do. The order is that of docs/lint.md.
public enum LintRule: String, Sendable, Codable, CaseIterable {
  case file
  case fails
  case runnerOwned = "runner-owned"
  case destructive
  case notNullWithoutDefault = "not-null-without-default"
  case renameFirst = "rename-first"
  case lostObject = "lost-object"
  case brokenForeignKey = "broken-foreign-key"
  case foreignKeyIndex = "foreign-key-index"
  case missingRollback = "missing-rollback"
  case nonDeterministicDefault = "non-deterministic-default"
  case incompatible
  case unusedInput = "unused-input"
  case unknownExpect = "unknown-expect"
  case vacuumRowids = "vacuum-rowids"
  case allow

  /// Stable: what `-- lint: allow` and `--json` say.
  public var id: String { rawValue }

  public enum Severity: String, Sendable, Codable, Comparable {
    case error, warning

    public static func < (left: Severity, right: Severity) -> Bool {
      left == .error && right == .warning
    }
  }

  public var severity: Severity { text.severity }
  /// What is wrong, in one line.
  public var title: String { text.title }
  /// Why it is wrong.
  public var explanation: String { text.explanation }
  /// What to do instead, in one or two sentences.
  public var safeWay: String { text.safeWay }
  public var example: Example { text.example }

  /// A file that breaks the rule, and one that does the same safely.
  public struct Example: Sendable, Equatable {
    /// The migration before it; empty for none.
    public var before = ""
    public var bad: String
    public var safe: String
    /// Where in `bad` the finding is.
    public var line: Int
  }

  /// False for what is wrong with the file itself, or with an allowance.
  public var canBeAllowed: Bool { self != .file && self != .allow }

  private struct Text {
    var severity: Severity
    var title: String
    var explanation: String
    var safeWay: String
    var example: Example
  }

  private var text: Text {
    switch self {
    case .file:
      Text(
        severity: .error, title: "A file that does not fit the format",
        explanation:
          "chock reads no folder in which a name, header or mark is wrong: an update is not even offered.",
        safeWay: "Correct it as the message says.",
        example: Example(
          bad: """
            -- Destuctive: yes
            CREATE TABLE tank (id INTEGER PRIMARY KEY);
            """,
          safe: """
            -- Destructive: yes
            CREATE TABLE tank (id INTEGER PRIMARY KEY);
            """,
          line: 1))
    case .fails:
      Text(
        severity: .error, title: "A statement that SQLite refuses",
        explanation:
          "Each file is run on a database in memory that the files before it have made; it has no rows but theirs. A statement that SQLite refuses there stops `chock init`, and most likely every update. `ADD COLUMN` is also tried on a table with a row: SQLite accepts more while a table is empty.",
        safeWay: "Correct the statement.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY);",
          bad: """
            ALTER TABLE tank
              ADD COLUMN added_at INTEGER DEFAULT (unixepoch());
            """,
          safe: """
            ALTER TABLE tank
              ADD COLUMN added_at INTEGER;
            UPDATE tank SET added_at = unixepoch();
            """,
          line: 1))
    case .runnerOwned:
      Text(
        severity: .error, title: "A statement that belongs to chock",
        explanation:
          "chock opens and commits the transaction, sets the pragmas, and keeps the ledger. A migration that did it too could commit half of a run, so a run refuses it.",
        safeWay:
          "Leave it out. For cascades say `-- Foreign-Keys: enforced`, for VACUUM `-- Transaction: none`.",
        example: Example(
          before: """
            CREATE TABLE tank (id INTEGER PRIMARY KEY);
            CREATE TABLE level (id INTEGER PRIMARY KEY, tank_id INTEGER REFERENCES tank ON DELETE CASCADE);
            CREATE INDEX level_by_tank ON level (tank_id);
            """,
          bad: """
            -- Destructive: yes
            PRAGMA foreign_keys = ON;
            DELETE FROM tank WHERE id = 3;
            """,
          safe: """
            -- Destructive: yes
            -- Foreign-Keys: enforced
            DELETE FROM tank WHERE id = 3;
            """,
          line: 2))
    case .destructive:
      Text(
        severity: .error, title: "Something is removed, and the file does not say that it is meant",
        explanation:
          "A table or column that is dropped, a table that is made anew without its rows, and DELETE take out what the owner recorded. With `Destructive: yes` the plan says so before a person consents. Rollback files need no such line: what they remove is counted and shown in any case.",
        safeWay:
          "Keep it, or say `-- Destructive: yes`, and for a table `-- Expect: TABLE rows >= 0`.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY, name TEXT, colour TEXT);",
          bad: """
            -- Description: Tanks have no colour any more

            ALTER TABLE tank DROP COLUMN colour;
            """,
          safe: """
            -- Description: Tanks have no colour any more
            -- Destructive: yes

            ALTER TABLE tank DROP COLUMN colour;
            """,
          line: 3))
    case .notNullWithoutDefault:
      Text(
        severity: .error, title: "ADD COLUMN … NOT NULL without a default",
        explanation:
          "SQLite adds such a column while the table is empty, and refuses it as soon as there is a row. So it works on the author's machine and fails in the coach.",
        safeWay:
          "Give it a default, or add it without NOT NULL and fill it. Where every row needs a value of its own, rebuild the table.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY, name TEXT NOT NULL);",
          bad: "ALTER TABLE tank ADD COLUMN unit TEXT NOT NULL;",
          safe: "ALTER TABLE tank ADD COLUMN unit TEXT NOT NULL DEFAULT 'litre';",
          line: 1))
    case .renameFirst:
      Text(
        severity: .error, title: "A rebuild that renames the old table first",
        explanation:
          "RENAME rewrites the foreign keys, triggers and views of others: they follow the old table, and then refer to a name that is dropped. SQLite's documentation of ALTER TABLE warns of this order.",
        safeWay: "Create the new table, copy, drop the old one, rename the new one.",
        example: Example(
          before: """
            CREATE TABLE tank (id INTEGER PRIMARY KEY, level TEXT);
            """,
          bad: """
            ALTER TABLE tank RENAME TO tank_old;
            CREATE TABLE tank (id INTEGER PRIMARY KEY, level REAL);
            INSERT INTO tank (id, level) SELECT id, level FROM tank_old;
            DROP TABLE tank_old;
            """,
          safe: """
            CREATE TABLE tank_new (id INTEGER PRIMARY KEY, level REAL);
            INSERT INTO tank_new (id, level) SELECT id, level FROM tank;
            DROP TABLE tank;
            ALTER TABLE tank_new RENAME TO tank;
            """,
          line: 1))
    case .lostObject:
      Text(
        severity: .error, title: "A rebuild after which an index, trigger or view is missing",
        explanation:
          "DROP TABLE takes the indexes and triggers of the table with it, and a view or a trigger elsewhere has to be dropped so that RENAME works. Nothing brings them back by itself. An index or trigger of the table that the file drops by its name is meant to go. In a rollback file nothing that was there before its migration may be missing.",
        safeWay: "Create them again at the end of the file.",
        example: Example(
          before: """
            CREATE TABLE tank (id INTEGER PRIMARY KEY, name TEXT);
            CREATE INDEX tank_by_name ON tank (name);
            """,
          bad: """
            CREATE TABLE tank_new (id INTEGER PRIMARY KEY, name TEXT DEFAULT '');
            INSERT INTO tank_new (id, name) SELECT id, name FROM tank;
            DROP TABLE tank;
            ALTER TABLE tank_new RENAME TO tank;
            """,
          safe: """
            CREATE TABLE tank_new (id INTEGER PRIMARY KEY, name TEXT DEFAULT '');
            INSERT INTO tank_new (id, name) SELECT id, name FROM tank;
            DROP TABLE tank;
            ALTER TABLE tank_new RENAME TO tank;
            CREATE INDEX tank_by_name ON tank (name);
            """,
          line: 3))
    case .brokenForeignKey:
      Text(
        severity: .error, title: "A foreign key that refers to the wrong table, or to none",
        explanation:
          "A foreign key to a table that is gone, or that was never there under that name, makes SQLite refuse every write to its own table once foreign keys are on. One that followed a table that was renamed refers to the old rows.",
        safeWay:
          "Refer to the table by the name that it has at the end of the file, and to its primary key or to columns with a UNIQUE index.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY);",
          bad: """
            ALTER TABLE tank RENAME TO container;
            CREATE TABLE level (
              id INTEGER PRIMARY KEY,
              tank_id INTEGER REFERENCES tank (id)
            );
            CREATE INDEX level_by_tank ON level (tank_id);
            """,
          safe: """
            ALTER TABLE tank RENAME TO container;
            CREATE TABLE level (
              id INTEGER PRIMARY KEY,
              tank_id INTEGER REFERENCES container (id)
            );
            CREATE INDEX level_by_tank ON level (tank_id);
            """,
          line: 4))
    case .foreignKeyIndex:
      Text(
        severity: .warning, title: "A foreign key without an index",
        explanation:
          "With each row that is deleted from the table it refers to, or gets another key there, SQLite looks for rows that refer to it. Without an index it reads the whole table each time.",
        safeWay: "Create an index that begins with the columns of the foreign key.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY);",
          bad: """
            CREATE TABLE level (
              id INTEGER PRIMARY KEY,
              tank_id INTEGER NOT NULL REFERENCES tank (id)
            );
            """,
          safe: """
            CREATE TABLE level (
              id INTEGER PRIMARY KEY,
              tank_id INTEGER NOT NULL REFERENCES tank (id)
            );
            CREATE INDEX level_by_tank ON level (tank_id);
            """,
          line: 3))
    case .missingRollback:
      Text(
        severity: .warning, title: "A migration without a rollback file",
        explanation:
          "`chock rollback` cannot go back over it. Then only a snapshot leads back, and what was recorded since is not in it.",
        safeWay:
          "Write `NAME.rollback.sql` beside `NAME.sql`: it makes the schema of before, and keeps the rows.",
        example: Example(
          bad: "CREATE TABLE tank (id INTEGER PRIMARY KEY);",
          safe: """
            CREATE TABLE tank (id INTEGER PRIMARY KEY);

            -- and in the rollback file: DROP TABLE tank;
            """,
          line: 1))
    case .nonDeterministicDefault:
      Text(
        severity: .warning, title: "A default that is another one each time",
        explanation:
          "The rows of a migration then hold the time or the random number of the run: another one than in the rehearsal, and another one in each coach. The clock of a controller may be wrong before it has a network. `random()` can be guessed.",
        safeWay: "Let the application write the value, or keep NULL for what is not known.",
        example: Example(
          bad: """
            CREATE TABLE tank (
              id INTEGER PRIMARY KEY,
              added_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
            );
            """,
          safe: """
            CREATE TABLE tank (
              id INTEGER PRIMARY KEY,
              added_at INTEGER NOT NULL CHECK (added_at > 0)
            );
            """,
          line: 3))
    case .incompatible:
      Text(
        severity: .warning, title: "A change that breaks an application with the old schema",
        explanation:
          "An application that is still running, or that is put back without the database, uses the tables, views and columns that it knows, writes NULL where it could, and leaves out what it does not know.",
        safeWay:
          "Add first, and remove in a later release, when no application uses the old name any more. Give each new column a default or allow NULL.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY, name TEXT);",
          bad: "ALTER TABLE tank RENAME COLUMN name TO title;",
          safe: """
            ALTER TABLE tank ADD COLUMN title TEXT;
            UPDATE tank SET title = name;
            """,
          line: 1))
    case .unusedInput:
      Text(
        severity: .warning, title: "A question whose answer is not used",
        explanation: "A person is asked for something that changes nothing.",
        safeWay: "Use the answer as `:name` in the SQL, or remove the Input header.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY, unit TEXT);",
          bad: """
            -- Input: unit TEXT "Which unit?" default 'litre'
            UPDATE tank SET unit = 'litre';
            """,
          safe: """
            -- Input: unit TEXT "Which unit?" default 'litre'
            UPDATE tank SET unit = :unit;
            """,
          line: 1))
    case .unknownExpect:
      Text(
        severity: .warning, title: "An Expect for a table or column that is not there",
        explanation:
          "A table that is there neither before the file nor after it has 0 rows both times: the check passes whatever happens.",
        safeWay: "Name the table as the schema does.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY, unit TEXT);",
          bad: """
            -- Expect: tanks rows unchanged
            UPDATE tank SET unit = 'litre';
            """,
          safe: """
            -- Expect: tank rows unchanged
            UPDATE tank SET unit = 'litre';
            """,
          line: 1))
    case .vacuumRowids:
      Text(
        severity: .warning, title: "VACUUM while rows are known by their rowid alone",
        explanation:
          "VACUUM may give new rowids to the rows of a table without an INTEGER PRIMARY KEY. Where the table has no other key either, nothing else tells its rows apart: a reference to one may then mean another row.",
        safeWay: "Give the table an INTEGER PRIMARY KEY before.",
        example: Example(
          before: "CREATE TABLE level (litres REAL);",
          bad: """
            -- Transaction: none
            VACUUM;
            """,
          safe: """
            CREATE TABLE level_new (id INTEGER PRIMARY KEY, litres REAL);
            INSERT INTO level_new SELECT rowid, litres FROM level;
            DROP TABLE level;
            ALTER TABLE level_new RENAME TO level;
            """,
          line: 2))
    case .allow:
      Text(
        severity: .warning, title: "An allowance that does nothing",
        explanation:
          "`-- lint: allow` needs the id of a rule and a reason, and has to silence something. Without a reason it silences nothing.",
        safeWay: "Write `-- lint: allow ID reason`, or remove the comment.",
        example: Example(
          before: "CREATE TABLE tank (id INTEGER PRIMARY KEY);",
          bad: """
            -- lint: allow foreign-key-index
            CREATE TABLE level (id INTEGER PRIMARY KEY, tank_id INTEGER REFERENCES tank);
            """,
          safe: """
            -- lint: allow foreign-key-index tanks are never removed
            CREATE TABLE level (id INTEGER PRIMARY KEY, tank_id INTEGER REFERENCES tank);
            """,
          line: 1))
    }
  }
}

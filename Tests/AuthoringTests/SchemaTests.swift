import Authoring
import Migrations
import SQLite
import Testing

@Suite("Schemas are compared by what they mean")
struct SchemaTests {
  private func schema(_ sql: String) throws -> Schema {
    let connection = try Connection(path: ":memory:", mode: .create)
    try connection.execute(sql)
    return try Schema(connection)
  }

  @Test(
    "Blanks, comments, quotes and the case of names do not count",
    arguments: [
      "create table \"A\"(x TEXT default 'It''s' /* why */, [y] REAL)",
      "CREATE TABLE a (\n  x text DEFAULT 'It''s',\n  y real -- not z\n)",
    ])
  func same(sql: String) throws {
    let expected = try schema("CREATE TABLE a (x TEXT DEFAULT 'It''s', y REAL)")
    #expect(expected.differences(in: try schema(sql)).isEmpty)
  }

  @Test(
    "What SQLite would tell apart is a difference",
    arguments: [
      "CREATE TABLE a (x TEXT DEFAULT 'it''s', y REAL)", "CREATE TABLE a (x TEXT, y REAL)",
      "CREATE TABLE a (y REAL, x TEXT DEFAULT 'It''s')",
      "CREATE TABLE a (x TEXT DEFAULT 'It''s', y REAL) STRICT",
    ])
  func other(sql: String) throws {
    let expected = try schema("CREATE TABLE a (x TEXT DEFAULT 'It''s', y REAL)")
    let differences = expected.differences(in: try schema(sql))
    #expect(differences.map(\.kind) == [.changed])
    #expect(differences.first?.found == sql)
  }

  @Test("What is missing and what is extra is named, tables first") func names() throws {
    let expected = try schema("CREATE TABLE a (x); CREATE INDEX i ON a (x); CREATE TABLE b (x)")
    let found = try schema("CREATE TABLE a (x); CREATE VIEW v AS SELECT 1; CREATE TABLE c (x)")
    let lines = expected.differences(in: found).map { "\($0.kind) \($0.object) \($0.name)" }
    #expect(
      lines == ["missing table b", "extra table c", "missing index i", "extra view v"])
  }

  @Test("The text makes the same schema, in a stable order") func text() throws {
    let sql = """
      CREATE TABLE b (x REFERENCES a (x)); CREATE TABLE a (x PRIMARY KEY);
      CREATE VIEW v AS SELECT x FROM a; CREATE INDEX i ON b (x);
      CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END;
      CREATE VIRTUAL TABLE f USING fts5 (x);
      """
    let first = try schema(sql)
    #expect(first.objects.map(\.name) == ["a", "b", "f", "i", "t", "v"])
    let again = try schema(first.text)
    #expect(again == first)
    #expect(again.text == first.text)
  }
}

@Suite("What migrations make is seen in memory")
struct ScratchTests {
  @Test("Step by step, with inputs, back again, and outside a transaction") func steps() throws {
    func migration(_ name: String, _ text: String) throws -> Migration {
      try Migration(fileName: name, path: "/m/\(name)", text: text)
    }
    let two = try #require(SchemaVersion("2"))
    let catalog = try MigrationCatalog(
      directory: "/m",
      migrations: [
        migration("1_a.sql", "CREATE TABLE a (x);"),
        migration(
          "2_b.sql",
          "-- Input: n INTEGER \"?\" range 3..4\nCREATE TABLE b (x); INSERT INTO b VALUES (:n);"),
        migration("3_c.sql", "-- Transaction: none\nVACUUM;"),
      ], rollbacks: [two: migration("2_b.rollback.sql", "DROP TABLE b;")])
    let scratch = try Scratch()
    try scratch.apply(catalog, .update(to: two, outOfOrder: false))
    #expect(try scratch.connection.integer("SELECT x FROM b") == 3)
    try scratch.apply(catalog, .rollbackOnly(two))
    #expect(try scratch.schema().objects.map(\.name) == ["a"])
    try scratch.apply(catalog, .newest)
    #expect(try scratch.schema().objects.map(\.name) == ["a", "b"])
  }
}

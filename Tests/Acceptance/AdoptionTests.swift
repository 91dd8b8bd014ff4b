import Authoring
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("An existing database is adopted on what it says, and on a person's yes", .serialized)
struct AdoptionTests {
  private static let up = """
    -- migrate:up
    CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL);

    -- migrate:down
    DROP TABLE item;
    """
  private static let second = """
    -- migrate:up
    ALTER TABLE item ADD COLUMN size INTEGER;
    -- migrate:down
    ALTER TABLE item DROP COLUMN size;
    """
  private static let item = "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL);"
  private static let table =
    "CREATE TABLE \"schema_migrations\" (version varchar(128) primary key); INSERT INTO schema_migrations VALUES ('1');"

  private func coach(_ sql: String) throws -> TestCoach {
    let coach = try TestCoach(migrations: ["1_items.sql": Self.up, "2_size.sql": Self.second])
    try SampleDatabase.make(coach.database, sql)
    return coach
  }

  private struct Found: Decodable {
    var schema: String
    var proposal: SchemaVersion?
    var isCertain: Bool
    var warnings: [String]
    var error: Failure
  }
  private struct Adopted: Decodable {
    var schema: String
    var version: SchemaVersion
    var warnings: [String]
    var differences: [Schema.Difference]
  }

  @Test("What is certain needs a yes, and then an update and a way back", .timeLimit(.minutes(15)))
  func certain() async throws {
    let coach = try coach(Self.item + Self.table)
    let before = try coach.fingerprint()
    let look = try await coach.run("adopt", "--json")
    #expect(look.code == 77, "\(look)")
    let found: Found = try look.document()
    #expect(found.schema == "chock.ADOPTION/1" && found.error.code == .consentMissing)
    #expect(found.proposal == SchemaVersion("1") && found.isCertain)
    #expect(try await coach.run("status").output.contains("chock adopt"))

    let words = try await coach.run("adopt")
    #expect(words.code == 77)
    #expect(words.output.contains("schema_migrations of dbmate, 1 row: version 1."))
    #expect(words.output.contains("Proposal   version 1\n"))
    #expect(try await coach.run("adopt", "--yes").output.contains("at version 1."))
    #expect(try coach.fingerprint() == before)
    #expect(try coach.ledgerVersion() == "1")

    #expect(try await coach.run("update", "--offline").code == 0)
    #expect(try await coach.run("rollback", "--to", "1", "--offline", "--yes").code == 0)
    #expect(try coach.fingerprint() == before)
  }

  @Test("Where there is doubt, --yes is refused with what to do", .timeLimit(.minutes(15)))
  func doubt() async throws {
    let coach = try coach(Self.item + "CREATE TABLE own (x);" + Self.table)
    for arguments in [["adopt", "--json"], ["adopt", "--json", "--yes"]] {
      let answer = try await coach.run(arguments)
      #expect(answer.code == 65, "\(answer)")
      let found: Found = try answer.document()
      #expect(found.error.code == .unadopted && !found.isCertain)
      #expect(found.error.howToClear?.contains("--at VERSION") == true)
    }
    let words = try await coach.run("adopt", "--verbose")
    #expect(words.output.contains("Proposal   version 1, not certain"))
    #expect(words.output.contains("extra table own\n             found: CREATE TABLE own (x)"))
    let ledgers = "SELECT count(*) FROM sqlite_schema WHERE name = '\(LedgerTable.name)'"
    #expect(try SampleDatabase.value(coach.database, ledgers) == "0")
  }

  @Test("--at counts against what was found, and shows it", .timeLimit(.minutes(15)))
  func word() async throws {
    let coach = try coach(Self.item + Self.table)
    #expect(try await coach.run("adopt", "--at", "7").code == 66)
    let answer = try await coach.run("adopt", "--at", "2", "--json")
    #expect(answer.code == 0, "\(answer)")
    let adopted: Adopted = try answer.document()
    #expect(adopted.schema == "chock.ADOPTED/1" && adopted.version == SchemaVersion("2"))
    #expect(
      adopted.warnings == [
        "dbmate says version 1.", "The schema differs from that of version 2 in 1 place.",
      ])
    #expect(adopted.differences.map(\.name) == ["item"])
    #expect(answer.error.contains("Warning    dbmate says version 1."))
    #expect(answer.error.contains("changed table item"))
    #expect(try await coach.run("adopt").code == 74)
  }

  @Test(
    "A statement that fails is named with its line in the tool's file", .timeLimit(.minutes(15)))
  func line() async throws {
    let coach = try TestCoach(migrations: [
      "1_items.sql": "-- migrate:up\n\nCREATE TABLE a (x);\nCREATE TABEL b (x);\n-- migrate:down\n"
    ])
    let answer = try await coach.run("init", "--json")
    let error = try answer.document(ErrorAnswer.self).error
    #expect(error.code == .statement && error.line == 4, "\(answer)")
    #expect(error.file?.hasSuffix("/1_items.sql") == true)
  }
}

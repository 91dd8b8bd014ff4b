import FoundationEssentials
import Migrations
import Testing

@Suite struct MigrationCatalogTests {
  @Test("A folder is read in the order of its versions, and other files are left alone")
  func reads() throws {
    let files = [
      "0010_c.sql": "SELECT 1;", "9_b.sql": "SELECT 1;", "0001_a.sql": "SELECT 1;",
      "0001_a.rollback.sql": "SELECT 2;", "9_b_rollback.sql": "SELECT 2;",
      "README.md": "x", ".0002_hidden.sql": "-- Nonsense: x", "0003_x.sql~": "-- Nonsense: x",
    ]
    try withFolder(files) { folder in
      let catalog = try MigrationCatalog(directory: folder)
      #expect(catalog.directory == folder)
      #expect(catalog.migrations.map(\.fileName) == ["0001_a.sql", "9_b.sql", "0010_c.sql"])
      #expect(catalog.migrations[0].path == folder + "/0001_a.sql")
      #expect(
        catalog.rollbacks.mapValues(\.path) == [
          try version("1"): folder + "/0001_a.rollback.sql",
          try version("9"): folder + "/9_b_rollback.sql",
        ])
      #expect(catalog.latest == (try version("10")))
    }
  }

  @Test("A folder that is not there, is no folder or is empty is missing") func missing() throws {
    try withFolder(["notes.txt": "x"]) { folder in
      let absent = failure { try MigrationCatalog(directory: folder + "/none") }
      let file = failure { try MigrationCatalog(directory: folder + "/notes.txt") }
      let empty = failure { try MigrationCatalog(directory: folder) }
      for error in [absent, file, empty] {
        #expect(error.code == .migrationsMissing)
        #expect(error.file?.hasPrefix(folder) == true)
        #expect(error.howToClear?.contains("migrations.directory") == true)
      }
      #expect(absent.message.contains("There is no migrations folder"))
      #expect(file.message.contains("is not a folder"))
      #expect(empty.message.contains("has no migration files"))
    }
  }

  @Test("A .sql file with a strange name is an error, also with .SQL at its end")
  func strangeName() throws {
    for name in ["schema.sql", "0002_x.SQL"] {
      try withFolder(["0001_a.sql": "SELECT 1;", name: "SELECT 1;"]) { folder in
        let error = failure { try MigrationCatalog(directory: folder) }
        #expect(error.code == .migrationFile)
        #expect(error.file == folder + "/" + name)
      }
    }
  }

  @Test("Two files with one version are refused, and both are named") func duplicates() throws {
    try withFolder(["0004_a.sql": "SELECT 1;", "V4__b.sql": "SELECT 1;"]) { folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationOrder)
      #expect(error.message.contains("0004_a.sql") && error.message.contains("V4__b.sql"))
    }
  }

  @Test(
    "Requires names an older version that a file has",
    arguments: [("2", "no file"), ("3", "not older"), ("4", "not older"), ("0", "no file")])
  func requires(required: String, reason: String) throws {
    let files = [
      "0001_a.sql": "SELECT 1;", "0003_b.sql": "-- prose\n-- Requires: 1, \(required)\nSELECT 1;",
      "0004_c.sql": "-- Requires: 0001, 3\nSELECT 1;",
    ]
    try withFolder(files) { folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationOrder)
      #expect(error.file == folder + "/0003_b.sql")
      #expect(error.line == 2)
      #expect(error.message.contains(reason))
    }
  }

  @Test("A rollback file without its migration is refused by name") func orphan() throws {
    let files = ["0001_a.sql": "SELECT 1;", "0001_b.down.sql": "SELECT 1;"]
    try withFolder(files) { folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationFile)
      #expect(error.message.contains("0001_b.down.sql"))
    }
  }

  @Test("One migration has one rollback file") func twoRollbacks() throws {
    let files = [
      "0001_a.sql": "SELECT 1;", "0001_a.down.sql": "SELECT 1;", "0001_a_rollback.sql": "SELECT 1;",
    ]
    try withFolder(files) { folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationFile)
      #expect(error.message.contains("0001_a.down.sql"))
      #expect(error.message.contains("0001_a_rollback.sql"))
    }
  }

  @Test("A rollback file obeys the format too") func badRollback() throws {
    try withFolder(["0001_a.sql": "SELECT 1;", "0001_a.down.sql": "-- nothing"]) { folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationFile)
      #expect(error.file == folder + "/0001_a.down.sql")
    }
  }

  @Test("A file that is not UTF-8 is refused with its line") func latin1() throws {
    try withFolder([:]) { folder in
      let bytes = Array("SELECT 1;\nSELECT '".utf8) + [0xE9] + Array("';\n".utf8)
      try Data(bytes).write(to: URL(filePath: folder + "/0001_a.sql"))
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationFile)
      #expect(error.message.contains("0001_a.sql is not UTF-8"))
      #expect(error.line == 2)
    }
  }

  @Test("What cannot be read is an input error that names the file") func unreadable() throws {
    try withFolder([:]) { folder in
      try FileManager.default.createDirectory(
        atPath: folder + "/0001_a.sql", withIntermediateDirectories: false)
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .inputOutput)
      #expect(error.file == folder + "/0001_a.sql")
    }
  }
}

public import FoundationEssentials
import Glibc
public import Migrations
import Storage

/// The two files of a migration that is to be written.
public struct NewMigration: Sendable, Encodable {
  public var schema = "chock.NEW/1"
  public var version: SchemaVersion
  /// The paths of the files.
  public var migration: String
  public var rollback: String

  /// Writes both files, named after the newest one of the folder; 0001 in an empty folder.
  ///
  /// - Parameter description: what the migration will do, in words for a person.
  /// - Throws: `.usage` for a description without any letter, `.migrationsMissing` or `.inputOutput` for the
  ///   folder. No file that is there is ever replaced.
  public init(_ description: String, in directory: String, now: Date = Date()) throws(Failure) {
    let name = Self.name(for: description)
    guard !name.isEmpty else {
      throw Failure(
        .usage, "\"\(description)\" has no letter that could be in a file name.",
        howToClear: "Say in a few words what the migration does.")
    }
    let prefix = try Self.prefix(in: directory, now: now)
    version = SchemaVersion(Self.versionPart(of: prefix)) ?? .zero
    let stem = (directory.hasSuffix("/") ? directory : directory + "/") + prefix + name
    migration = stem + ".sql"
    rollback = stem + ".rollback.sql"
    let words = description.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    try Self.write(Self.template(words), to: migration)
    do throws(Failure) {
      try Self.write(Self.rollbackTemplate(words), to: rollback)
    } catch {
      try? FileSystem.remove(migration)
      throw error
    }
  }

  /// `add_route_versions` for "Add route versions!".
  private static func name(for description: String) -> String {
    let words = description.lowercased().split { !$0.isLetter && !$0.isNumber }
    // "0004_2_more" could be version 4 or 4.2, and "0004_x_rollback" would be the way back of "0004_x".
    let name = words.drop { $0.allSatisfy(\.isNumber) }.joined(separator: "_")
    return words.last == "rollback" ? name + "_again" : name
  }

  /// What comes before the name: `0004_`, `V4__`, `phase1_004_`, `20250101120000_`.
  private static func prefix(in directory: String, now: Date) throws(Failure) -> String {
    guard let newest = try MigrationCatalog.newestPrefix(in: directory) else { return "0001_" }
    let part = versionPart(of: newest)
    let digits = String(part.reversed().prefix { $0.isNumber }.reversed())
    let rest = newest.dropFirst(part.count)
    guard let number = UInt64(digits), number < .max else {
      throw Failure(
        .usage, "There is no number behind \(digits).", file: directory,
        howToClear: "Name the file by hand.")
    }
    let next = String(digits.count == 14 ? max(timestamp(now), number + 1) : number + 1)
    let zeros = String(repeating: "0", count: max(0, digits.count - next.count))
    return part.dropLast(digits.count) + zeros + next + rest
  }

  /// Without the `_` or `__` behind it.
  private static func versionPart(of prefix: String) -> String {
    String(prefix.reversed().drop { $0 == "_" }.reversed())
  }

  /// 20250101120000, in UTC.
  private static func timestamp(_ date: Date) -> UInt64 {
    UInt64(Timestamp.text(date).filter(\.isNumber).prefix(14)) ?? 0
  }

  private static func write(_ text: String, to path: String) throws(Failure) {
    func failure() -> Failure {
      Failure(
        .inputOutput, "\(path) cannot be written: \(String(cString: strerror(errno))).",
        file: path, howToClear: "Nothing that is there was replaced; look at the folder.")
    }
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw failure() }
    defer { close(file) }
    let bytes = Array(text.utf8)
    errno = ENOSPC
    guard Glibc.write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0 else {
      let failure = failure()
      unlink(path)
      throw failure
    }
  }

  // MARK: Templates

  private static func template(_ description: String) -> String {
    """
    -- Description: \(description)
    -- Estimated-Time: 1 s
    -- Timeout: 30 s

    -- @preflight
    -- Queries that return problems: no row is a pass, the first column of each row is shown to a person.
    -- SELECT 'trip ' || id || ' has no owner' FROM trips WHERE user_id IS NULL;

    -- @migrate
    -- The change. All pending files run in one transaction, with foreign keys off.

    -- @validate
    -- Queries as above, about what is there afterwards.

    """
  }

  private static func rollbackTemplate(_ description: String) -> String {
    """
    -- Description: Take back: \(description)
    -- Timeout: 30 s
    -- Destructive: yes

    -- @migrate
    -- Afterwards schema and rows are what they were before; `chock check` proves it.

    """
  }
}

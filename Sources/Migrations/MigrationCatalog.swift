import FoundationEssentials

/// The migration files of one folder, checked against each other and in the order of their
/// versions.
public struct MigrationCatalog: Sendable {
  public var directory: String
  /// Sorted by version; no version occurs twice.
  public var migrations: [Migration]
  /// The rollback files, by the version that they take back.
  public var rollbacks: [SchemaVersion: Migration]
  /// The baseline files, sorted by version: a new database gets the newest that fits in place of all files up to
  /// it.
  public var baselines: [Migration] = []
  /// Why others are not among them. Only who makes a new database has to care.
  public var voidBaselines: [Failure] = []

  /// The newest version that the files hold; `.zero` only for a catalog that was made from an empty
  /// list.
  public var latest: SchemaVersion { migrations.last?.version ?? .zero }

  /// Reads every `.sql` file of the folder, in chock's format or that of another tool; other files, and
  /// those whose name begins with a dot, are not looked at.
  ///
  /// Throws `.migrationsMissing` when there is no such folder or nothing in it, `.inputOutput` when
  /// it or a file cannot be read, `.migrationFile` and `.migrationOrder` for what is wrong in the
  /// files.
  ///
  /// - Parameter hasBaselines: false to leave out the baseline files, be they right or wrong.
  public init(directory: String, hasBaselines: Bool = true) throws(Failure) {
    let (catalog, problems) = try Self.read(directory: directory, hasBaselines: hasBaselines)
    if let first = problems.first { throw first }
    self = catalog
  }

  /// Reads what can be read, and says what is wrong with the rest. Of two files with one version the first
  /// is in the catalog.
  ///
  /// Throws `.migrationsMissing` when there is no such folder or nothing in it, `.inputOutput` when it
  /// cannot be read.
  public static func read(
    directory: String, hasBaselines: Bool = true
  ) throws(Failure) -> (catalog: MigrationCatalog, problems: [Failure]) {
    var problems: [Failure] = []
    var migrations: [Migration] = []
    var names: [MigrationFileName] = []
    func path(_ fileName: String) -> String {
      directory.hasSuffix("/") ? directory + fileName : directory + "/" + fileName
    }
    for fileName in try fileNames(in: directory) {
      do throws(Failure) {
        let name = try MigrationFileName(fileName, path: path(fileName))
        if hasBaselines || !name.isBaseline { names.append(name) }
      } catch {
        problems.append(error)
      }
    }
    // A file with .up.sql is another tool's, and so is what takes it back.
    let foreign = Set(names.filter(\.isUp).map(\.stem))
    let own = names.filter { !$0.isRollback && !$0.isBaseline }
    var baselines: [Migration] = []
    lazy var stems = Set(own.map(\.stem))
    var rollbacks: [String: Migration] = [:]
    for name in names {
      let fileName = name.fileName
      let path = path(fileName)
      do throws(Failure) {
        let (migration, down) = try Migration.read(
          name, path: path, text: text(of: fileName, at: path),
          isForeign: foreign.contains(name.stem))
        if name.isBaseline {
          baselines.append(migration)
          continue
        }
        if !name.isRollback { migrations.append(migration) }
        guard let rollback = name.isRollback ? migration : down else { continue }
        guard stems.contains(name.stem) else {
          throw Failure(
            .migrationFile,
            "\(fileName) is a rollback file, but there is no \(name.stem).sql.",
            file: path, howToClear: "Name it after its migration, or remove it.")
        }
        if let other = rollbacks[name.stem] {
          throw Failure(
            .migrationFile,
            "\(name.stem).sql has two ways back: in \(other.fileName) and in \(fileName).",
            file: path, howToClear: "Keep one of them.")
        }
        rollbacks[name.stem] = rollback
      } catch {
        problems.append(error)
      }
    }
    guard !migrations.isEmpty || !problems.isEmpty else {
      throw Failure(
        .migrationsMissing, "The migrations folder \(directory) has no migration files.",
        file: directory,
        howToClear: "Install the application's migration files there, "
          + "or set migrations.directory to the folder that has them.")
    }
    let byVersion = Dictionary(
      rollbacks.values.map { ($0.version, $0) }, uniquingKeysWith: { first, _ in first })
    var catalog = MigrationCatalog(
      unchecked: migrations, directory: directory, rollbacks: byVersion)
    problems += catalog.problems(unread: Set(own.map(\.version)))
    var last: SchemaVersion?
    catalog.migrations.removeAll { migration in
      defer { last = migration.version }
      return migration.version == last
    }
    for baseline in baselines where problems.isEmpty {
      do throws(Failure) {
        try catalog.add(baseline: baseline)
      } catch {
        catalog.voidBaselines.append(error)
      }
    }
    return (catalog, problems)
  }

  /// Sorts the migrations and checks them against each other.
  ///
  /// Throws `.migrationOrder` when two have one version, or one requires what is not there or not
  /// older.
  public init(
    directory: String, migrations: [Migration], rollbacks: [SchemaVersion: Migration] = [:]
  ) throws(Failure) {
    self.init(unchecked: migrations, directory: directory, rollbacks: rollbacks)
    if let first = problems(unread: []).first { throw first }
  }

  private init(
    unchecked migrations: [Migration], directory: String, rollbacks: [SchemaVersion: Migration]
  ) {
    self.directory = directory
    self.rollbacks = rollbacks
    self.migrations = migrations.sorted {
      ($0.version, $0.fileName) < ($1.version, $1.fileName)
    }
  }

  /// How the files do not fit each other.
  ///
  /// - Parameter unread: versions of files that are there, but could not be read.
  private func problems(unread: Set<SchemaVersion>) -> [Failure] {
    var problems: [Failure] = []
    for (one, other) in zip(migrations, migrations.dropFirst())
    where one.version == other.version {
      problems.append(
        Failure(
          .migrationOrder,
          "\(one.fileName) and \(other.fileName) have the same version, \(one.version).",
          file: other.path, howToClear: "Give the newer one the next free version."))
    }
    lazy var versions = unread.union(migrations.map(\.version))
    for migration in migrations {
      for required in migration.requires {
        let problem: String
        if required >= migration.version {
          problem = "which is not older than itself (\(migration.version))"
        } else if !versions.contains(required) {
          problem = "which no file in \(directory) has"
        } else {
          continue
        }
        problems.append(
          Failure(
            .migrationOrder, "\(migration.fileName) requires version \(required), \(problem).",
            file: migration.path, line: migration.requiresLine,
            howToClear: "Correct the Requires header, or add the missing file."))
      }
    }
    return problems
  }

  /// Takes in a file that stands for all files up to its version.
  ///
  /// Throws `.migrationFile` when it was made of other files than these.
  public mutating func add(baseline: Migration) throws(Failure) {
    var baseline = baseline
    baseline.squashed = migrations.filter { $0.version <= baseline.version }
    let howToClear =
      "Make it anew (`chock squash --to \(baseline.version)`), or remove it; the other files do without it."
    guard baseline.squashed.last?.version == baseline.version else {
      throw Failure(
        .migrationFile,
        "\(baseline.fileName) stands for version \(baseline.version), which no file has.",
        file: baseline.path, howToClear: howToClear)
    }
    guard Self.digest(of: baseline.squashed, by: baseline.text) == baseline.squashes else {
      throw Failure(
        .migrationFile,
        "\(baseline.fileName) or a file up to version \(baseline.version) is another one than at the squash.",
        file: baseline.path, howToClear: howToClear)
    }
    if let other = baselines.first(where: { $0.version == baseline.version }) {
      throw Failure(
        .migrationFile, "\(other.fileName) and \(baseline.fileName) stand for the same version.",
        file: baseline.path, howToClear: "Keep one of them.")
    }
    baselines.append(baseline)
    baselines.sort { $0.version < $1.version }
  }

  /// What a baseline file gives in its Squashes header: the SHA-256 over the versions and checksums of the files
  /// that it stands for, and over its own text without that header.
  public static func digest(of files: [Migration], by baseline: String) -> String {
    let text = baseline.split(separator: "\n", omittingEmptySubsequences: false)
      .filter { !$0.hasPrefix("-- Squashes:") }.joined(separator: "\n")
    return sha256(
      Array((files.map { "\($0.version) \($0.checksum)\n" }.joined() + text).utf8))
  }

  /// The files up to a version, that one included; none for 0.
  ///
  /// Throws `.notFound` for a version that no file has.
  public func upTo(_ version: SchemaVersion) throws(Failure) -> [Migration] {
    let files = migrations.filter { $0.version <= version }
    guard version == .zero || files.last?.version == version else {
      throw Failure(
        .notFound, "No migration file has version \(version).", file: directory,
        howToClear:
          "The files hold \(migrations.map(\.version.description).joined(separator: ", ")); 0 means that none of them is in the database."
      )
    }
    return files
  }

  /// What stands before the name in the newest file's name (`0004_`, `V4__`); nil in an empty folder.
  ///
  /// The files themselves are not read: the newest one may be half written.
  ///
  /// Throws `.migrationsMissing` when there is no such folder, `.migrationFile` for a name that fits nothing.
  public static func newestPrefix(in directory: String) throws(Failure) -> String? {
    var newest: MigrationFileName?
    for fileName in try fileNames(in: directory) {
      let name = try MigrationFileName(fileName, path: directory + "/" + fileName)
      if name.version > newest?.version ?? .zero { newest = name }
    }
    return newest.map { String($0.stem.dropLast($0.name.count)) }
  }

  private static func fileNames(in directory: String) throws(Failure) -> [String] {
    var isDirectory = false
    let setting = "Set migrations.directory to the folder with the application's migration files."
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory) else {
      throw Failure(
        .migrationsMissing, "There is no migrations folder \(directory).", file: directory,
        howToClear: setting)
    }
    guard isDirectory else {
      throw Failure(
        .migrationsMissing, "\(directory) is not a folder.", file: directory, howToClear: setting)
    }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    } catch {
      throw Failure(
        .inputOutput, "The migrations folder \(directory) cannot be read.", file: directory,
        howToClear: "Let the user that chock runs as read it.")
    }
    for name in names { try MigrationFileName.refuse(name, directory + "/" + name) }
    // Lowercased, so that 0004_x.SQL is refused by its name instead of overlooked.
    return names.filter {
      !$0.hasPrefix(".")
        && ($0.lowercased().hasSuffix(".sql") || $0.hasSuffix(MigrationFileName.baseline))
    }
  }

  private static func text(of fileName: String, at path: String) throws(Failure) -> String {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw Failure(
        .inputOutput, "The migration file \(fileName) cannot be read.", file: path,
        howToClear: "Make it a regular file that the user that chock runs as may read.")
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      let lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      let bad = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil }
      throw Failure(
        .migrationFile, "\(fileName) is not UTF-8 text.", file: path, line: bad.map { $0 + 1 },
        howToClear: "Save the file as UTF-8.")
    }
    return text
  }
}

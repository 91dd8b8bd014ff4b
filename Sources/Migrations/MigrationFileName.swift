/// What a migration's file name says, and whether it is the migration or its rollback.
struct MigrationFileName {
  static let acceptedForms =
    "0004_add_routes.sql, 0004_add_routes.up.sql, 20250101120000_add_routes.sql, V4__add_routes.sql or "
    + "phase1_004_add_routes.sql; its rollback file ends in .rollback.sql, _rollback.sql or .down.sql, "
    + "or is U4__add_routes.sql"

  static let baseline = ".baseline"

  var fileName: String
  var version: SchemaVersion
  var name: String
  /// The name without `.sql`, without what marks a rollback or the other way, and with `V` for Flyway's
  /// `U`; a rollback and its migration share it.
  var stem: String
  var isRollback: Bool
  /// True for `.baseline`: what all files up to this version make. Other tools do not read it.
  var isBaseline: Bool
  /// True for `.up.sql`, which only other tools' migrations have.
  var isUp: Bool
  /// True for `V1__x.sql` and `U1__x.sql`.
  var isFlyway: Bool

  /// Throws `.migrationFile` for a name that fits none of the accepted forms.
  init(_ fileName: String, path: String) throws(Failure) {
    func misfit() -> Failure {
      Failure(
        .migrationFile, "\(fileName) is not the name of a migration.", file: path,
        howToClear: "Name it like \(Self.acceptedForms).")
    }
    isBaseline = fileName.hasSuffix(Self.baseline)
    guard isBaseline || fileName.hasSuffix(".sql") else { throw misfit() }
    try Self.refuse(fileName, path)
    var stem = String(fileName.dropLast((isBaseline ? Self.baseline : ".sql").count))
    isUp = stem.hasSuffix(".up")
    isRollback = false
    if isUp { stem.removeLast(".up".count) }
    for suffix in [".rollback", "_rollback", ".down"]
    where !isUp && !isBaseline && stem.hasSuffix(suffix) {
      stem.removeLast(suffix.count)
      isRollback = true
      break
    }
    if stem.hasPrefix("U"), !isUp, !isRollback, !isBaseline {
      stem = "V" + stem.dropFirst()
      isRollback = true
    }
    guard let (versionText, name) = Self.split(stem[...]), Self.isGood(name),
      let version = SchemaVersion(String(versionText))
    else { throw misfit() }
    guard version != .zero else {
      throw Failure(
        .migrationFile,
        "\(fileName) has version 0, which stands for a database with none of the files in it.",
        file: path, howToClear: "Number the migrations from 1.")
    }
    self.fileName = fileName
    self.version = version
    self.name = String(name)
    self.stem = stem
    isFlyway = ["V", "v"].contains(stem.first)
  }

  /// Refuses files of other tools that do something, and that chock does not run: left out, they would be
  /// missed by nobody.
  static func refuse(_ fileName: String, _ path: String) throws(Failure) {
    let what: String
    let howToClear: String
    let isSQL = fileName.hasSuffix(".sql")
    if isSQL, fileName.hasPrefix("R__") {
      what = "a repeatable migration of Flyway"
      howToClear =
        "Write what it does as a migration with a version, and as a new one each time it changes."
    } else if isSQL, fileName.hasPrefix("B"), let end = fileName.firstRange(of: "__"),
      SchemaVersion(String(fileName[..<end.lowerBound].dropFirst())) != nil
    {
      what = "a baseline migration of Flyway"
      howToClear = "Move it away; chock begins with the oldest version."
    } else if isSQL,
      ["before", "after"].contains(where: { word in
        fileName.hasPrefix(word) && fileName.dropFirst(word.count).first?.isUppercase == true
      })
    {
      what = "a callback of Flyway"
      howToClear = "Write what it does into the migrations, or move it away."
    } else if fileName.hasSuffix(".sql.conf") {
      what = "a script configuration of Flyway"
      howToClear =
        "Move it away; for executeInTransaction=false write -- Transaction: none at the top of the migration."
    } else if fileName.hasSuffix(".go"), !fileName.hasSuffix("_test.go"),
      fileName.first?.isNumber == true
    {
      what = "a migration of goose that is written in Go"
      howToClear = "Write what it does in SQL, in a file with this version, and move it away."
    } else {
      return
    }
    throw Failure(
      .migrationFile, "\(fileName) is \(what), which chock does not run.", file: path,
      howToClear: howToClear)
  }

  private static func split(_ stem: Substring) -> (version: Substring, name: Substring)? {
    if stem.hasPrefix("phase") {
      let parts = stem.split(separator: "_", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { return nil }
      return (stem[..<parts[1].endIndex], parts[2])
    }
    if stem.hasPrefix("V") || stem.hasPrefix("v") {
      guard let bar = stem.firstRange(of: "__") else { return nil }
      return (stem[..<bar.lowerBound], stem[bar.upperBound...])
    }
    guard let bar = stem.utf8.firstIndex(of: UInt8(ascii: "_")) else { return nil }
    let name = stem[stem.utf8.index(after: bar)...]
    // "1_2_x": 1.2 or 1? Refused, since a guess would decide the order.
    let word = name.drop { $0 == "_" }.prefix { $0 != "_" }
    guard !word.allSatisfy(\.isNumber) else { return nil }
    return (stem[..<bar], name)
  }

  private static func isGood(_ name: Substring) -> Bool {
    // Most names are plain; Unicode's tables take long.
    func isPlain(_ byte: UInt8) -> Bool {
      byte < 0x80 && byte != UInt8(ascii: "$") && ScriptScanner.isWord(byte)
    }
    if let first = name.utf8.first, first != UInt8(ascii: "_"), name.utf8.allSatisfy(isPlain) {
      return true
    }
    guard let first = name.first, first.isLetter || first.isNumber else { return false }
    return name.allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }
  }
}

/// What a migration's file name says, and whether it is the migration or its rollback.
struct MigrationFileName {
  static let acceptedForms =
    "0004_add_routes.sql, 20250101120000_add_routes.sql, V4__add_routes.sql or "
    + "phase1_004_add_routes.sql; its rollback file ends in .rollback.sql, _rollback.sql or .down.sql"

  var version: SchemaVersion
  var name: String
  /// The name without `.sql` and without what marks a rollback; a rollback and its migration share
  /// it.
  var stem: String
  var isRollback: Bool

  /// Throws `.migrationFile` for a name that fits none of the accepted forms.
  init(_ fileName: String, path: String) throws(Failure) {
    let misfit = Failure(
      .migrationFile, "\(fileName) is not the name of a migration.", file: path,
      howToClear: "Name it like \(Self.acceptedForms).")
    guard fileName.hasSuffix(".sql") else { throw misfit }
    var stem = fileName.dropLast(".sql".count)
    var isRollback = false
    for suffix in [".rollback", "_rollback", ".down"] where stem.hasSuffix(suffix) {
      stem = stem.dropLast(suffix.count)
      isRollback = true
      break
    }
    guard let (versionText, name) = Self.split(stem), Self.isGood(name),
      let version = SchemaVersion(String(versionText))
    else { throw misfit }
    guard version != .zero else {
      throw Failure(
        .migrationFile,
        "\(fileName) has version 0, which stands for a database with none of the files in it.",
        file: path, howToClear: "Number the migrations from 1.")
    }
    self.version = version
    self.name = String(name)
    self.stem = String(stem)
    self.isRollback = isRollback
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
    let parts = stem.split(separator: "_", maxSplits: 1, omittingEmptySubsequences: false)
    // "1_2_x": 1.2 or 1? Refused, since a guess would decide the order.
    guard parts.count == 2, let word = parts[1].split(separator: "_").first,
      !word.allSatisfy(\.isNumber)
    else { return nil }
    return (parts[0], parts[1])
  }

  private static func isGood(_ name: Substring) -> Bool {
    guard let first = name.first, first.isLetter || first.isNumber else { return false }
    return name.allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }
  }
}

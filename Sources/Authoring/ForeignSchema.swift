public import Migrations
public import SQLite

/// The schema of a snapshot from elsewhere. What it holds beyond data comes to life with a restore: a trigger runs when
/// the application writes, a view when it reads.
public enum ForeignSchema {
  /// Where it is neither what the migrations here make, nor what is here already.
  ///
  /// - Parameters:
  ///   - catalog: the migrations of this controller.
  ///   - here: the database and snapshots of this controller, opened; only asked for when something differs.
  /// - Returns: empty when all is known here.
  /// - Throws: what is wrong with the file.
  public static func differences(
    in foreign: Connection, _ catalog: MigrationCatalog, here: () -> [Connection]
  ) throws(Failure) -> [Schema.Difference] {
    let theirs = try Found(foreign, catalog)
    guard !theirs.differences.isEmpty else { return [] }
    var unknown = theirs.differences
    for connection in here() {
      // What cannot be read says nothing.
      guard let ours = try? Found(connection, catalog) else { continue }
      unknown.removeAll { difference in
        ours.differences.contains(difference)
          || !theirs.isByFiles && ours.acting.contains { difference.isAbout($0) }
      }
      if unknown.isEmpty { break }
    }
    return unknown
  }

  /// What one database has.
  private struct Found {
    let acting: [Schema.Object]
    /// Whether the files can say what is expected. Files that only go on from what another tool has made cannot: then
    /// everything that acts is a difference.
    let isByFiles: Bool
    let differences: [Schema.Difference]

    init(_ connection: Connection, _ catalog: MigrationCatalog) throws(Failure) {
      acting = try Schema.acting(in: connection)
      var expected: Schema?
      do throws(Failure) {
        expected = try Drift.expected(in: connection, catalog)
      } catch  where [.statement, .migrationOrder].contains(error.code) {
        expected = nil
      }
      isByFiles = expected != nil
      // One by one: a second row of the same name is another one.
      var found = acting.filter { object in
        expected?.objects.contains {
          $0.kind == object.kind && $0.meaning == object.meaning
        } != true
      }.map(Schema.Difference.init(extra:))
      if let expected {
        let others = try Drift.find(in: connection, catalog, from: expected)
        found += others.filter { other in
          !found.contains { $0.object == other.object && $0.found == other.found }
        }
      }
      differences = found
    }
  }
}

extension Schema.Difference {
  fileprivate init(extra object: Schema.Object) {
    self.init(
      kind: .extra, object: object.kind, name: object.name, expected: nil, found: object.sql)
  }

  fileprivate func isAbout(_ object: Schema.Object) -> Bool {
    self.object == object.kind && name == object.name && found == object.sql
  }
}

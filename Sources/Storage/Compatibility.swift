public import Migrations
public import SQLite

extension Shape {
  /// What an application that was written for the older schema cannot do any more.
  public struct Break: Sendable, Hashable, Comparable {
    /// In the older schema.
    public var table: String
    /// Nil when it is about the whole table.
    public var column: String?
    /// In one sentence for a person.
    public var message: String

    public static func < (left: Break, right: Break) -> Bool {
      (left.table, left.column ?? "", left.message)
        < (right.table, right.column ?? "", right.message)
    }
  }

  /// What breaks for an application that goes on with this schema's statements on a `newer` one: tables, views
  /// and columns that are gone, and columns that refuse what could be left out or written. New CHECK, UNIQUE
  /// and triggers are not looked at.
  public func breaks(in newer: Shape) -> [Break] {
    var breaks: [Break] = []
    for (key, old) in tables {
      guard let new = newer.tables[key] else {
        let what = old.kind == .view ? "view" : "table"
        breaks.append(Break(table: old.name, message: "The \(what) \(old.name) is gone."))
        continue
      }
      guard old != new, let oldColumns = old.columns, let newColumns = new.columns else { continue }
      func note(_ column: Column, _ message: String) {
        breaks.append(
          Break(
            table: old.name, column: column.name,
            message: "The column \(column.name) of \(old.name) \(message)."))
      }
      for column in oldColumns {
        guard let found = new.column(column.name) else {
          note(column, "is gone")
          continue
        }
        if found.generated != nil, column.generated == nil {
          note(column, "cannot be written any more")
        } else if found.refusesNull, !column.refusesNull, column.generated == nil {
          note(column, "refuses NULL")
        } else if found.isRequired, !column.isRequired {
          note(column, "has lost its default")
        }
      }
      for column in newColumns where column.isRequired && old.column(column.name) == nil {
        note(column, "is new and has to be given in every INSERT")
      }
    }
    return breaks.sorted()
  }
}

extension Plan {
  /// What each step breaks for an application that goes on with the statements of the schema before the plan.
  ///
  /// The statements that change the schema are run on a copy of it in memory, without rows.
  ///
  /// - Returns: one for each step; nil where it cannot be told without running the rest, and behind it.
  public func breaks(in connection: Connection) -> [[Shape.Break]?] {
    guard !steps.isEmpty else { return [] }
    var breaks: [[Shape.Break]?] = []
    do {
      let copy = try Connection(path: ":memory:", mode: .create)
      for sql in try Self.schema(of: connection) { try copy.execute(sql) }
      let deadline = ContinuousClock.now + .seconds(1)
      copy.interrupt { .now > deadline }
      let before = try Shape(copy)
      var last = before
      var known: Set<Shape.Break> = []
      for step in steps {
        var takesAway = false
        for section in step.migrate where try Self.changeSchema(section, copy) { takesAway = true }
        // What is only added breaks nothing.
        guard takesAway else {
          breaks.append([])
          continue
        }
        last = try Shape(copy, since: last)
        let found = before.breaks(in: last).filter { known.insert($0).inserted }
        breaks.append(found)
      }
    } catch {
      // Also a plan that will fail: the rehearsal says why.
      breaks += Array(repeating: nil, count: steps.count - breaks.count)
    }
    return breaks
  }

  /// The CREATE statements, in an order in which they can be run.
  private static func schema(of connection: Connection) throws(SQLiteError) -> [String] {
    let list = try connection.prepare(
      """
      SELECT sql FROM main.sqlite_schema
      WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')
      ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'view' THEN 1 WHEN 'index' THEN 2 ELSE 3 END, rowid
      """)
    var statements: [String] = []
    while try list.step() { statements.append(list.text(0) ?? "") }
    return statements
  }

  /// Runs what creates, alters and drops; reads the rest only.
  ///
  /// - Returns: whether anything was altered or dropped.
  private static func changeSchema(
    _ section: SQLSection, _ connection: Connection
  ) throws(SQLiteError) -> Bool {
    var script = Script(section.text)
    var isChange = false
    var takesAway = false
    connection.authorize { request in
      switch request.action {
      case .dropTable, .alterTable, .dropView, .dropVirtualTable:
        (isChange, takesAway) = (true, true)
      case .createTable, .createView, .createVirtualTable, .createIndex, .dropIndex,
        .createTrigger, .dropTrigger:
        isChange = true
      case .attach, .detach: return false
      default: break
      }
      return true
    }
    defer { connection.authorize(nil) }
    while let statement = try connection.prepareNext(&script) {
      if isChange { try statement.run() }
      isChange = false
    }
    return takesAway
  }
}

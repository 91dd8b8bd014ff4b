extension Shape {
  /// What an application that was written for the older schema cannot do any more.
  public struct Break: Sendable, Equatable, Comparable {
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

/// What a migration declares about one table: an `Expect` header.
public struct TableExpectation: Hashable, Sendable {
  public enum Subject: Hashable, Sendable {
    /// How the number of rows changes.
    case rows(RowChange)
    /// The values of these columns, row by row; empty: of all columns that the table had before.
    case values(columns: [String])
  }

  public enum RowChange: Hashable, Sendable {
    case unchanged
    /// As many rows more (less, when negative).
    case changesBy(Int64)
    /// So many rows afterwards, or more.
    case atLeast(Int64)
  }

  public var table: String
  public var subject: Subject
  /// The line of the header in its file.
  public var line: Int

  public init(table: String, subject: Subject, line: Int) {
    self.table = table
    self.subject = subject
    self.line = line
  }

  public var isAboutRows: Bool { if case .rows = subject { true } else { false } }

  static let forms =
    "TABLE rows unchanged, TABLE rows +N, TABLE rows -N, TABLE rows >= N, TABLE content unchanged or TABLE columns (a, b) unchanged"

  /// Reads one of `forms`; a name may be in double quotes.
  init?(parsing text: String, line: Int) {
    var value = HeaderValue(text)
    guard let table = value.name() else { return nil }
    let subject: Subject
    if value.take("rows") {
      guard let change = RowChange(&value) else { return nil }
      subject = .rows(change)
    } else if value.take("content") {
      guard value.take("unchanged") else { return nil }
      subject = .values(columns: [])
    } else if value.take("columns") {
      guard value.take("(") else { return nil }
      var columns: [String] = []
      repeat {
        guard let column = value.name() else { return nil }
        columns.append(column)
      } while value.take(",")
      guard value.take(")"), value.take("unchanged") else { return nil }
      subject = .values(columns: columns)
    } else {
      return nil
    }
    guard value.isAtEnd else { return nil }
    self.init(table: table, subject: subject, line: line)
  }
}

extension TableExpectation.RowChange {
  fileprivate init?(_ value: inout HeaderValue) {
    if value.take("unchanged") {
      self = .unchanged
      return
    }
    let sign = [">=", "+", "-"].first { value.take($0) }
    // Int64 alone would take "+-3" for no number but ">= -3" for one.
    guard let sign, let word = value.word(), word.allSatisfy({ $0.isASCII && $0.isNumber }),
      let count = Int64(word)
    else { return nil }
    self =
      switch sign {
      case "+": .changesBy(count)
      case "-": .changesBy(-count)
      default: .atLeast(count)
      }
  }
}

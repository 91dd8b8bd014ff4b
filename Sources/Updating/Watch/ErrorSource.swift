import FoundationEssentials
import Migrations
import Storage
import Subprocess
import SystemPackage

/// What counts an application's errors.
enum ErrorSource: Sendable, Equatable {
  /// Lines of priority `err` or worse that journald has of a unit.
  case journal(unit: String)
  /// A figure at an address, in Prometheus' text format.
  case metric(url: String, name: String)

  /// Names it in the state, over restarts.
  var key: String {
    switch self {
    case .journal(let unit): "journal \(unit)"
    case .metric(let url, let name): "\(url) \(name)"
    }
  }

  var name: String {
    switch self {
    case .journal(let unit): unit
    case .metric(_, let name): name
    }
  }

  /// Nil for journald.
  var url: String? {
    switch self {
    case .journal: nil
    case .metric(let url, _): url
    }
  }
}

/// Why errors cannot be counted at the moment.
struct NotCounted: Error, Equatable {
  var words: String

  init(_ words: String) { self.words = words }
}

extension ApplicationSettings {
  var errorSources: [ErrorSource] {
    guard watchHours > 0 else { return [] }
    return units.map { .journal(unit: $0) }
      + watchMetrics.flatMap { metrics in
        metrics.names.map { .metric(url: metrics.url, name: $0) }
      }
  }
}

// MARK: journald

/// journald's lines on a unit, asked with journalctl. Where it was left is a cursor, which no clock moves.
struct ErrorJournal {
  let unit: String

  struct Found {
    var errors = 0
    /// Of the last line; nil when there is none.
    var cursor: String?
  }

  private struct Line: Decodable {
    var cursor: String
    /// Microseconds since 1970.
    var time: String?

    enum CodingKeys: String, CodingKey {
      case cursor = "__CURSOR"
      case time = "__REALTIME_TIMESTAMP"
    }
  }

  /// So many at a time: what is left is counted at the next look.
  private static let most = 5000

  /// Errors behind a cursor.
  func errors(after cursor: String) async throws(NotCounted) -> Found {
    let lines = try await lines([
      "--priority", "err", "--after-cursor", cursor, "--lines", "\(Self.most)",
    ])
    return Found(errors: lines.count, cursor: lines.last?.cursor)
  }

  /// Where its newest line is.
  ///
  /// - Throws: also when there is none that chock may read.
  func end() async throws(NotCounted) -> String {
    guard let cursor = try await lines(["--lines", "1"]).last?.cursor else {
      throw NotCounted(
        "journald has no line of \(unit) that chock may read (its user has to be in the group systemd-journal)."
      )
    }
    return cursor
  }

  /// The errors of the hours before now in which the unit has said anything.
  func past(hours: Int) async throws(NotCounted) -> [ErrorHour] {
    let now = UpdateLocks.now
    let start = now - Double(hours) * ErrorHour.length
    let times = try await lines([
      "--priority", "err", "--since", "@\(Int(start))", "--until", "@\(Int(now))", "--lines",
      "\(Self.most)",
    ]).compactMap { $0.time.flatMap(Double.init).map { $0 / 1_000_000 } }
    var found: [ErrorHour] = []
    for hour in 0..<hours {
      let from = start + Double(hour) * ErrorHour.length
      let until = from + ErrorHour.length
      let errors = times.count { $0 >= from && $0 < until }
      if errors == 0 {
        let anything = try await lines([
          "--since", "@\(Int(from))", "--until", "@\(Int(until))", "--lines", "1",
        ])
        if anything.isEmpty { continue }
      }
      found.append(ErrorHour(seconds: ErrorHour.length, errors: Double(errors)))
    }
    return found
  }

  private func lines(_ arguments: [String]) async throws(NotCounted) -> [Line] {
    let bytes = try await Asked.output(
      of: "journalctl",
      [
        "--unit", unit, "--output", "json", "--output-fields", "PRIORITY", "--no-pager", "--quiet",
      ] + arguments)
    return bytes.split(separator: UInt8(ascii: "\n")).compactMap {
      try? JSONDecoder().decode(Line.self, from: Data($0))
    }
  }
}

// MARK: Figures

/// A program that is asked, with a limit of time and of what it may say.
enum Asked {
  private static let mostBytes = 8 << 20

  static func output(
    of program: String, _ arguments: [String], within limit: Duration = .seconds(20)
  ) async throws(NotCounted) -> [UInt8] {
    do {
      return try await withThrowingTaskGroup(of: [UInt8].self) { group in
        group.addTask {
          let result = try await Subprocess.run(
            .name(program), arguments: Arguments(arguments), input: .none,
            output: .bytes(limit: mostBytes), error: .string(limit: 4096))
          guard result.terminationStatus.isSuccess else {
            let words = result.standardError.split(whereSeparator: \.isNewline).first ?? ""
            throw NotCounted(
              "\(program) \(result.terminationStatus)\(words.isEmpty ? "" : ": \(words.prefix(300))")."
            )
          }
          return result.standardOutput
        }
        group.addTask {
          try await Task.sleep(for: limit)
          throw NotCounted("\(program) did not answer within \(limit.components.seconds) s.")
        }
        defer { group.cancelAll() }
        return try await group.next() ?? []
      }
    } catch let problem as NotCounted {
      throw problem
    } catch is CancellationError {
      throw NotCounted("\(program) was stopped.")
    } catch {
      throw NotCounted("\(program) cannot be asked: there is none, or it says too much.")
    }
  }
}

/// Prometheus' text format, as far as a figure's value goes.
enum ErrorMetrics {
  static func ask(_ url: String) async throws(NotCounted) -> String {
    let bytes = try await Asked.output(
      of: "curl",
      [
        "--disable", "--silent", "--show-error", "--fail", "--max-time", "5", "--noproxy", "*",
        "--proto", "=http", "--max-filesize", "4000000", "--", url,
      ])
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The sum over all labels; nil when there is none.
  static func value(of name: String, in text: String) -> Double? {
    var sum: Double?
    for line in text.split(whereSeparator: \.isNewline) where line.hasPrefix(name) {
      var rest = line.dropFirst(name.count)
      if rest.first == "{" { rest = behindLabels(rest) }
      guard rest.first == " " || rest.first == "\t",
        let word = rest.split(whereSeparator: { $0 == " " || $0 == "\t" }).first,
        let value = Double(word), value.isFinite, value >= 0
      else { continue }
      sum = (sum ?? 0) + value
    }
    return sum
  }

  /// What is in quotes may hold a brace.
  private static func behindLabels(_ text: Substring) -> Substring {
    var isQuoted = false
    var isEscaped = false
    for index in text.indices {
      switch text[index] {
      case _ where isEscaped: isEscaped = false
      case "\\": isEscaped = true
      case "\"": isQuoted.toggle()
      case "}" where !isQuoted: return text[text.index(after: index)...]
      default: break
      }
    }
    return ""
  }
}

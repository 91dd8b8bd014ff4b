import Coach
import Testing

/// What a report says, without who says it.
extension Report {
  var said: String {
    switch content {
    case .value(let value, let signal, _): "\(signal)=\(value)"
    case .noValue(let signal): "\(signal)=?"
    case .error(let signal): "\(signal)=error"
    case .activity(_, let description, _): description
    }
  }

  var lasting: Duration? {
    switch content {
    case .value(_, _, let lasting), .activity(_, _, let lasting): lasting
    case .noValue, .error: nil
    }
  }
}

extension Profile {
  /// What the profile makes of a frame in candump's spelling, such as `19FFF49C#FFFF`.
  func said(of frame: String) throws -> [String] {
    let line = try #require(CandumpLine("(0.0) can0 \(frame)"[...]), "\(frame)")
    return reports(of: line.frame, from: line.bus).map(\.said).sorted()
  }

  static func named(_ name: String) throws -> Profile {
    try #require(builtIn(name), "\(name)")
  }
}

/// The error that a profile's text throws; records an issue when it throws none.
func profileError(_ text: String) -> ProfileError? {
  do {
    _ = try Profile(text: text, file: "coach.toml")
    Issue.record("threw nothing: \(text)")
    return nil
  } catch {
    return error
  }
}

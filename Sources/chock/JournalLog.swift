import Glibc
import Logging

/// Log lines with their fields for systemd's journal, by its own protocol
/// (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>), so that `journalctl CHOCK_RUN=ID` finds a run, and
/// `journalctl -x` what a line means and what to do.
struct JournalLog: LogHandler {
  /// Metadata of these names become fields; other metadata is written behind the message.
  private static let fields = [
    "message_id": "MESSAGE_ID", "run": "CHOCK_RUN", "phase": "CHOCK_PHASE",
    "outcome": "CHOCK_OUTCOME", "code": "CHOCK_CODE",
  ]

  /// journald's socket.
  static let place = "/run/systemd/journal/socket"

  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.info
  private let label: String
  private let path: String
  private let fallback: StreamLogHandler

  init(label: String, path: String = place) {
    self.label = label
    self.path = path
    fallback = .standardError(label: label)
  }

  /// The journal where standard error is connected to it (JOURNAL_STREAM in systemd.exec(5)), else standard
  /// error.
  static func handler(label: String) -> any LogHandler {
    var status = stat()
    guard let stream = getenv("JOURNAL_STREAM"), fstat(STDERR_FILENO, &status) == 0,
      String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
    else { return StreamLogHandler.standardError(label: label) }
    return Self(label: label)
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let told = metadata.merging(event.metadata ?? [:]) { $1 }
    let others = told.filter { Self.fields[$0.key] == nil }.sorted { $0.key < $1.key }
      .map { "\($0.key)=\($0.value)" }
    var entry = [UInt8]()
    Self.append(
      "MESSAGE", ([event.message.description] + others).joined(separator: " "), to: &entry)
    Self.append("PRIORITY", "\(Self.priority(event.level))", to: &entry)
    Self.append("SYSLOG_IDENTIFIER", label, to: &entry)
    for (key, value) in told.sorted(by: { $0.key < $1.key }) {
      if let field = Self.fields[key] { Self.append(field, "\(value)", to: &entry) }
    }
    // While journald is being restarted, its other way in waits for it.
    if !Datagram.send(entry, to: path) { fallback.log(event: event) }
  }

  /// A value of several lines, or with anything else in it, goes with its length.
  private static func append(_ field: String, _ value: String, to entry: inout [UInt8]) {
    let bytes = Array(value.utf8)
    entry += field.utf8
    if bytes.contains(0x0A) {
      entry.append(0x0A)
      withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { entry += $0 }
    } else {
      entry.append(UInt8(ascii: "="))
    }
    entry += bytes
    entry.append(0x0A)
  }

  /// syslog(3).
  private static func priority(_ level: Logger.Level) -> Int32 {
    switch level {
    case .trace, .debug: LOG_DEBUG
    case .info: LOG_INFO
    case .notice: LOG_NOTICE
    case .warning: LOG_WARNING
    case .error: LOG_ERR
    case .critical: LOG_CRIT
    }
  }
}

import Coach
import HTTPTypes
import HummingbirdCore
import Migrations
import NIOCore
import Storage
import Updating

/// A refusal on its way out: what went wrong and the HTTP status that says so.
struct Problem: Error {
  var status: HTTPResponse.Status
  var failure: Failure
  var blockers: [Blocker] = []
  var headers = HTTPFields()
  /// With CoachIQ's fields, too.
  var isForCoachIQ = false

  /// One thing that stands in the way, and how to clear it.
  struct Blocker: Encodable {
    var code: String
    var detail: String
    var clear: String?
  }

  init(_ failure: Failure, status: HTTPResponse.Status? = nil, headers: HTTPFields = [:]) {
    self.status = status ?? failure.code.httpStatus
    self.failure = failure
    self.headers = headers
    if self.status == .conflict || self.status == .preconditionFailed
      || self.status == .preconditionRequired
    {
      blockers = [
        Blocker(
          code: failure.code.rawValue, detail: failure.message, clear: failure.howToClear)
      ]
    }
  }

  /// A closed gate, with each condition that does not hold as a blocker of its own.
  init(_ failure: Failure, closedGatesOf safety: SafetyDocument) {
    self.init(failure)
    let closed = safety.gates.filter { $0.required && $0.state != .satisfied }
    guard !closed.isEmpty else { return }
    blockers = closed.map { Blocker(code: $0.id, detail: $0.reason, clear: $0.howToClear) }
  }

  /// RFC 9457.
  private struct Document: Encodable {
    var type: String
    var title: String
    var status: Int
    var detail: String
    var code: String
    var howToClear: String?
    var pointer: String?
    var file: String?
    var line: Int?
    var statement: String?
    var blockers: [Blocker]
  }

  /// The same with CoachIQ's fields beside them.
  private struct CoachIQDocument: Encodable {
    var document: Document
    var refusal: CoachIQRefusal

    func encode(to encoder: any Encoder) throws {
      try document.encode(to: encoder)
      try refusal.encode(to: encoder)
    }
  }

  var response: Response {
    let code = failure.code.rawValue
    let document = Document(
      type: "urn:chock:problem:\(code)", title: failure.code.title, status: status.code,
      detail: failure.message, code: code, howToClear: failure.howToClear,
      pointer: failure.pointer, file: failure.file, line: failure.line,
      statement: failure.statement, blockers: blockers)
    guard isForCoachIQ else { return Self.write(document, status: status, headers: headers) }
    return Self.write(
      CoachIQDocument(
        document: document,
        refusal: CoachIQRefusal(failure: failure, blockers: blockers.map(\.detail))),
      status: status, headers: headers)
  }

  /// For what nobody foresaw: the details go to the log, not to the client.
  static var internalError: Response {
    write(
      Document(
        type: "urn:chock:problem:CHK-INTERNAL", title: "Internal error", status: 500,
        detail: "Something went wrong inside chock; its log says what.", code: "CHK-INTERNAL",
        blockers: []),
      status: .internalServerError, headers: [:])
  }

  private static func write(
    _ document: some Encodable, status: HTTPResponse.Status, headers: HTTPFields
  ) -> Response {
    var headers = headers
    headers[.contentType] = "application/problem+json"
    headers[.cacheControl] = "no-store"
    let bytes = (try? JSON.encode(document)) ?? Array(#"{"status":500}"#.utf8)
    return Response(
      status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }
}

extension Failure.Code {
  /// The one place where codes become statuses.
  var httpStatus: HTTPResponse.Status {
    switch self {
    case .usage, .input, .pinNeeded: .badRequest
    case .notSignedIn: .unauthorized
    case .notAllowed, .pin: .forbidden
    case .notFound: .notFound
    case .consentMissing: .preconditionRequired
    case .planChanged: .preconditionFailed
    // Something has to change first; then the same request works.
    case .gateClosed, .runActive, .noSpace, .databaseLocked, .unadopted, .databaseMissing,
      .databaseExists, .databaseEmpty, .databaseReadOnly, .preflight, .interrupted, .needsPerson,
      .recoveryMode,
      .approval, .application, .applicationStop, .copyPlace:
      .conflict
    // The content (files, database, snapshot) does not do.
    case .migrationsMissing, .migrationFile, .migrationOrder, .rollbackMissing, .drift,
      .databaseNewer,
      .notADatabase, .databaseCorrupt, .snapshotDamaged, .foreignSnapshot, .statement,
      .forbiddenStatement, .timeout,
      .stopped, .validation, .foreignKeys, .rowsLost, .expectation, .conflict, .integrity,
      .keyReused,
      .applicationUnhealthy, .moreErrors:
      .unprocessableContent
    case .noDaemon, .busy: .serviceUnavailable
    case .badConfig, .coachFile, .inputOutput: .internalServerError
    }
  }

  /// `CHK-GATE-CLOSED` as "Gate closed".
  fileprivate var title: String {
    let words = rawValue.dropFirst("CHK-".count).split(separator: "-").joined(separator: " ")
      .lowercased()
    return words.prefix(1).uppercased() + words.dropFirst()
  }
}

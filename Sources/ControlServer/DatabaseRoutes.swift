import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
public import Storage
public import Updating

/// `/api/database`: the update, its runs and the snapshots.
struct DatabaseRoutes: Sendable {
  let updater: Updater
  let bodyLimit: Int
  private let keys = IdempotencyKeys()

  init(updater: Updater, bodyLimit: Int) {
    self.updater = updater
    self.bodyLimit = bodyLimit
  }

  // Second spellings are those of CoachIQ's panel and of the plan that it was built from.
  func add(to routes: inout RouteTable) {
    let base = "/api/database"
    routes.on(.get, "\(base)/status") { _, _ in try .json(await updater.status()) }
    routes.on(.get, "\(base)/plan", use: plan)
    routes.on(.post, "\(base)/rehearse") { request, context in
      let body = try await request.strictBody(RehearseBody.self, limit: bodyLimit)
      return try accepted(
        await updater.startRehearsal(
          to: try body.targetVersion.map { try version($0, field: "target_version") },
          requestedBy: requester(of: context.channel)))
    }
    routes.on(.post, "\(base)/update", "\(base)/migrate", use: update)
    routes.on(.get, "\(base)/update/:id/progress", "\(base)/migrate/:id/status") { _, context in
      try .json(await updater.run(try context.id("id")))
    }
    routes.on(.post, "\(base)/update/:id/cancel") { request, context in
      try await withoutFields(request)
      return try .json(await updater.cancel(try context.id("id")))
    }
    routes.on(.post, "\(base)/update/:id/acknowledge") { request, context in
      try await withoutFields(request)
      return try .json(await updater.acknowledge(try context.id("id")))
    }
    routes.on(.get, "\(base)/history", use: history)

    routes.on(.get, "\(base)/backups", "\(base)/backup") { _, _ in
      try .json(SnapshotsDocument(snapshots: await updater.snapshots()))
    }
    routes.on(.post, "\(base)/backups", "\(base)/backup") { request, context in
      try await withoutFields(request)
      return try accepted(
        await updater.startSnapshot(requestedBy: requester(of: context.channel)))
    }
    routes.on(.post, "\(base)/backups/:id/verify") { request, context in
      try await withoutFields(request)
      return try accepted(
        await updater.startVerify(
          snapshot: try context.id("id"), requestedBy: requester(of: context.channel)))
    }
    routes.on(.delete, "\(base)/backups/:id") { _, context in
      try await updater.deleteSnapshot(try context.id("id"))
      return .noContent
    }
    routes.on(.put, "\(base)/backups/:id/pin") { request, context in
      try await withoutFields(request)
      return try .json(await updater.setPinned(true, snapshot: try context.id("id")))
    }
    routes.on(.delete, "\(base)/backups/:id/pin") { _, context in
      try .json(await updater.setPinned(false, snapshot: try context.id("id")))
    }
    routes.on(.post, "\(base)/restore/:id", use: restore)
  }

  @Sendable private func plan(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    let target = try request.uri.queryParameters.get("to").map { try version($0, field: "to") }
    let plan = try await updater.plan(to: target)
    let tag = "\"\(plan.hash)\""
    let headers: HTTPFields = [.eTag: tag, .cacheControl: "no-cache"]
    if request.headers[.ifNoneMatch] == tag {
      return Response(status: .notModified, headers: headers)
    }
    return try .json(plan, headers: headers)
  }

  private struct RehearseBody: StrictBody {
    var targetVersion: String?
    enum CodingKeys: String, CodingKey, CaseIterable { case targetVersion = "target_version" }
  }

  private struct UpdateBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    var targetVersion: String?
    var force: Bool?
    var skipBackup: Bool?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case consent, confirm, force
      case targetVersion = "target_version"
      case skipBackup = "skip_backup"
    }
  }

  @Sendable private func update(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    let bytes = try await request.bodyBytes(limit: bodyLimit)
    let body = try UpdateBody.parse(bytes)
    guard body.force != true, body.skipBackup != true else {
      throw Failure(
        .notAllowed, "An update is never forced and never made without its snapshot.",
        howToClear: "Leave `force` and `skip_backup` out.")
    }
    let match = request.headers[.ifMatch]
    if match == nil, await updater.status().consentRequired {
      throw Failure(
        .consentMissing, "The request does not say which plan it consents to.",
        howToClear: "Send the plan's hash: If-Match: \"HASH\" (the ETag of /api/database/plan).")
    }
    let start = UpdateRequest(
      planHash: try match.map(hash), consent: body.consent ?? body.confirm ?? false,
      target: try body.targetVersion.map { try version($0, field: "target_version") },
      requestedBy: await requester(of: context.channel))
    guard let key = request.headers[.idempotencyKey] else {
      return try accepted(await begin(start))
    }
    let run = try await keys.run(key: key, request: Array((match ?? "").utf8) + [0] + bytes) {
      try await begin(start)
    }
    // As it stands now: a repeated request may come late.
    return try accepted((try? await updater.run(run.id)) ?? run)
  }

  private func begin(_ request: UpdateRequest) async throws -> RunDocument {
    do {
      return try await updater.startUpdate(request)
    } catch {
      throw await refusal(error)
    }
  }

  private struct RestoreBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    enum CodingKeys: CodingKey, CaseIterable { case consent, confirm }
  }

  @Sendable private func restore(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    let body = try await request.strictBody(RestoreBody.self, limit: bodyLimit)
    guard body.consent ?? body.confirm ?? false else {
      throw Failure(
        .consentMissing, "Restoring loses what was recorded since the snapshot; nobody consented.",
        howToClear: "Send {\"consent\": true} once a person has said yes.")
    }
    let id = try context.id("id")
    let person = await requester(of: context.channel)
    do {
      return try accepted(await updater.startRestore(snapshot: id, requestedBy: person))
    } catch {
      throw await refusal(error)
    }
  }

  @Sendable private func history(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    var limit = 50
    if let text = request.uri.queryParameters.get("limit") {
      guard let number = Int(text), (1...1000).contains(number) else {
        throw Failure(.usage, "`limit` must be a whole number from 1 to 1000.")
      }
      limit = number
    }
    return try .json(HistoryDocument(runs: try await updater.history(limit: limit)))
  }

  // MARK: Pieces

  /// With each closed gate by name, when that is what stands in the way.
  private func refusal(_ failure: Failure) async -> Problem {
    guard failure.code == .gateClosed else { return Problem(failure) }
    return Problem(failure, closedGatesOf: await updater.safety())
  }

  private func accepted(_ run: RunDocument) throws(Failure) -> Response {
    try .json(
      run, status: .accepted, headers: [.location: "/api/database/update/\(run.id)/progress"])
  }

  private func withoutFields(_ request: Request) async throws {
    _ = try await request.strictBody(NoFields.self, limit: bodyLimit)
  }

  private func version(_ text: String, field: String) throws(Failure) -> SchemaVersion {
    guard let version = SchemaVersion(text) else {
      throw Failure(.usage, "`\(field)` is not a schema version: \(text.prefix(100))")
    }
    return version
  }

  private func hash(_ tag: String) throws(Failure) -> String {
    guard tag.count > 2, tag.hasPrefix("\""), tag.hasSuffix("\""),
      !tag.dropFirst().dropLast().contains("\"")
    else {
      throw Failure(.usage, "If-Match must be one plan hash in double quotes.")
    }
    return String(tag.dropFirst().dropLast())
  }
}

/// `GET /api/database/backups`.
public struct SnapshotsDocument: Codable, Sendable {
  public var schema = "chock.SNAPSHOTS/1"
  public var snapshots: [SnapshotDocument]

  public init(snapshots: [SnapshotDocument]) { self.snapshots = snapshots }
}

/// `GET /api/database/history`, newest first.
public struct HistoryDocument: Codable, Sendable {
  public var schema = "chock.HISTORY/1"
  public var runs: [RunDocument]

  public init(runs: [RunDocument]) { self.runs = runs }
}

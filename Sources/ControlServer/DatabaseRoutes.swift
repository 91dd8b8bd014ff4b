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
          try GoalFields(body).goal(), inputs: body.inputs ?? [:],
          requestedBy: requester(of: context.channel)))
    }
    routes.on(.post, "\(base)/update", "\(base)/migrate") { request, context in
      let bytes = try await request.bodyBytes(limit: bodyLimit)
      let body = try UpdateBody.parse(bytes)
      guard body.force != true, body.skipBackup != true else {
        throw Failure(
          .notAllowed, "An update is never forced and never made without its snapshot.",
          howToClear: "Leave `force` and `skip_backup` out.")
      }
      return try await begin(
        try GoalFields(body).goal(), body.inputs ?? [:],
        consent: body.consent ?? body.confirm ?? false, bytes, request, context)
    }
    routes.on(.post, "\(base)/rollback") { request, context in
      let bytes = try await request.bodyBytes(limit: bodyLimit)
      let body = try RollbackBody.parse(bytes)
      let fields = GoalFields(rollbackTo: body.rollbackTo, rollbackOnly: body.rollbackOnly)
      guard let goal = try fields.rollback() else {
        throw Failure(
          .usage, "The request does not say how far to go back.",
          howToClear: "Send `rollback_to` or `rollback_only` with a version.")
      }
      return try await begin(
        goal, body.inputs ?? [:], consent: body.consent ?? body.confirm ?? false, bytes, request,
        context)
    }
    routes.on(.post, "\(base)/import/:id") { request, context in
      let body = try await request.strictBody(ImportBody.self, limit: bodyLimit)
      let person = await requester(of: context.channel)
      let id = try context.id("id")
      do {
        return try accepted(
          await updater.startImport(
            of: id, replaces: body.replace ?? false, consent: body.consent ?? false,
            isTechnician: person != panel, requestedBy: person))
      } catch let failure as Failure {
        throw await refusal(failure)
      }
    }
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
      try .json(
        SnapshotsDocument(
          snapshots: await updater.snapshots(), keptDays: updater.settings.retention.days))
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
    func field(_ name: String) -> String? { request.uri.queryParameters.get(name) }
    let fields = GoalFields(
      targetVersion: field("target_version") ?? field("to"),
      outOfOrder: field("out_of_order").map { $0 == "true" }, rollbackTo: field("rollback_to"),
      rollbackOnly: field("rollback_only"))
    let plan = try await updater.plan(try fields.goal())
    let tag = "\"\(plan.hash)\""
    let headers: HTTPFields = [.eTag: tag, .cacheControl: "no-cache"]
    if request.headers[.ifNoneMatch] == tag {
      return Response(status: .notModified, headers: headers)
    }
    return try .json(plan, headers: headers)
  }

  private struct RehearseBody: StrictBody {
    var targetVersion: String?
    var outOfOrder: Bool?
    var rollbackTo: String?
    var rollbackOnly: String?
    var inputs: [String: InputValue]?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case inputs
      case targetVersion = "target_version"
      case outOfOrder = "out_of_order"
      case rollbackTo = "rollback_to"
      case rollbackOnly = "rollback_only"
    }
  }

  private struct UpdateBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    var targetVersion: String?
    var outOfOrder: Bool?
    var inputs: [String: InputValue]?
    var force: Bool?
    var skipBackup: Bool?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case consent, confirm, force, inputs
      case targetVersion = "target_version"
      case outOfOrder = "out_of_order"
      case skipBackup = "skip_backup"
    }
  }

  private struct RollbackBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    var rollbackTo: String?
    var rollbackOnly: String?
    var inputs: [String: InputValue]?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case consent, confirm, inputs
      case rollbackTo = "rollback_to"
      case rollbackOnly = "rollback_only"
    }
  }

  private struct ImportBody: StrictBody {
    var consent: Bool?
    var replace: Bool?

    enum CodingKeys: String, CodingKey, CaseIterable { case consent, replace }
  }

  /// Where a plan is to lead, as requests say it.
  private struct GoalFields {
    var targetVersion: String?
    var outOfOrder: Bool?
    var rollbackTo: String?
    var rollbackOnly: String?

    init(
      targetVersion: String? = nil, outOfOrder: Bool? = nil, rollbackTo: String? = nil,
      rollbackOnly: String? = nil
    ) {
      self.targetVersion = targetVersion
      self.outOfOrder = outOfOrder
      self.rollbackTo = rollbackTo
      self.rollbackOnly = rollbackOnly
    }

    init(_ body: RehearseBody) {
      self.init(
        targetVersion: body.targetVersion, outOfOrder: body.outOfOrder,
        rollbackTo: body.rollbackTo, rollbackOnly: body.rollbackOnly)
    }

    init(_ body: UpdateBody) {
      self.init(targetVersion: body.targetVersion, outOfOrder: body.outOfOrder)
    }

    /// - Throws: `.usage` for what is no version, and for two goals at once.
    func goal() throws(Failure) -> Goal {
      guard let rollback = try rollback() else {
        return .update(
          to: try version(targetVersion, field: "target_version"), outOfOrder: outOfOrder ?? false)
      }
      guard targetVersion == nil, outOfOrder == nil else { throw Self.ambiguous }
      return rollback
    }

    func rollback() throws(Failure) -> Goal? {
      guard rollbackTo == nil || rollbackOnly == nil else { throw Self.ambiguous }
      if let target = try version(rollbackTo, field: "rollback_to") {
        return .rollback(to: target)
      }
      return try version(rollbackOnly, field: "rollback_only").map(Goal.rollbackOnly)
    }

    private static var ambiguous: Failure {
      Failure(
        .usage, "The request names two goals.",
        howToClear: "Send one of `target_version`, `rollback_to` and `rollback_only`.")
    }

    private func version(_ text: String?, field: String) throws(Failure) -> SchemaVersion? {
      guard let text else { return nil }
      guard let version = SchemaVersion(text) else {
        throw Failure(.usage, "`\(field)` is not a schema version: \(text.prefix(100))")
      }
      return version
    }
  }

  private func begin(
    _ goal: Goal, _ inputs: [String: InputValue], consent: Bool, _ bytes: [UInt8],
    _ request: Request, _ context: ControlContext
  ) async throws -> Response {
    let match = request.headers[.ifMatch]
    if match == nil {
      let isRequired = await updater.status().consentRequired
      guard !isRequired, !goal.isRollback else {
        throw Failure(
          .consentMissing, "The request does not say which plan it consents to.",
          howToClear: "Send the plan's hash: If-Match: \"HASH\" (the ETag of /api/database/plan).")
      }
    }
    let person = await requester(of: context.channel)
    let start = UpdateRequest(
      planHash: try match.map(hash), consent: consent, goal: goal, inputs: inputs,
      requestedBy: person, isTechnician: person != panel)
    guard let key = request.headers[.idempotencyKey] else {
      return try accepted(await begin(start))
    }
    let run = try await keys.run(
      key: key, request: Array("\(request.uri.path)\0\(match ?? "")\0".utf8) + bytes
    ) {
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
  /// Days for which each is kept at least, but for a limit of bytes; nil where nobody says.
  public var keptDays: Int?

  public init(snapshots: [SnapshotDocument], keptDays: Int? = nil) {
    self.snapshots = snapshots
    self.keptDays = keptDays
  }
}

/// `GET /api/database/history`, newest first.
public struct HistoryDocument: Codable, Sendable {
  public var schema = "chock.HISTORY/1"
  public var runs: [RunDocument]

  public init(runs: [RunDocument]) { self.runs = runs }
}

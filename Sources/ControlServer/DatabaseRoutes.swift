import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
public import Storage
public import Updating

/// `/api/database`: the update, its runs and the snapshots.
struct DatabaseRoutes: Sendable {
  let updater: Updater
  /// How many persons have to agree to an update.
  let approvals: Int
  let bodyLimit: Int

  /// Where CoachIQ's panel starts an update: refusals carry its fields, too.
  static let coachIQMigrate = "/api/database/migrate"

  // Second spellings are those of CoachIQ's panel and of the plan that it was built from.
  func add(to routes: inout RouteTable) {
    let base = "/api/database"
    routes.on(.get, "\(base)/status", for: .role(.viewer)) { _, _ in
      try .json(CoachIQStatus(status: await updater.status(), snapshotsFolder: snapshotsFolder))
    }
    routes.on(
      .get, "\(base)/plan",
      query: ["target_version", "to", "out_of_order", "rollback_to", "rollback_only"],
      for: .role(.viewer), use: plan)
    routes.on(.post, "\(base)/rehearse", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(RehearseBody.self, limit: bodyLimit)
      return try accepted(
        await updater.startRehearsal(
          try GoalFields(body).goal(), inputs: body.inputs ?? [:],
          requestedBy: try context.person().actor))
    }
    routes.on(.post, "\(base)/update", for: .role(.owner)) { request, context in
      switch try await update(request, context) {
      case .now(let run): try accepted(run)
      case .later(let schedule): try .json(schedule)
      }
    }
    routes.on(.post, Self.coachIQMigrate, for: .role(.owner)) { request, context in
      switch try await update(request, context, consentsToVersion: true) {
      case .now(let run):
        try .json(
          CoachIQAnswer(run: run), status: .accepted, headers: [.location: location(of: run)])
      case .later(let schedule): try .json(schedule)
      }
    }
    routes.on(.post, "\(base)/schedule", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(ScheduleBody.self, limit: bodyLimit)
      guard body.action != .window else {
        throw Failure(
          .usage, "A window is a consent to a plan.",
          howToClear: "Send it with \"when\": \"window\" to /api/database/update.",
          pointer: "/action")
      }
      try await checkTools(try context.person())
      return try .json(
        await updater.postpone(
          body.action, hours: body.hours, requestedBy: try context.person().actor))
    }
    routes.on(.delete, "\(base)/schedule", for: .role(.owner)) { _, context in
      try await checkTools(try context.person())
      try await updater.clearSchedule(by: try context.person().actor)
      return .noContent
    }
    routes.on(.post, "\(base)/rollback", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(RollbackBody.self, limit: bodyLimit)
      let fields = GoalFields(rollbackTo: body.rollbackTo, rollbackOnly: body.rollbackOnly)
      guard let goal = try fields.rollback() else {
        throw Failure(
          .usage, "The request does not say how far to go back.",
          howToClear: "Send `rollback_to` or `rollback_only` with a version.", pointer: "")
      }
      return try accepted(
        await start(
          goal, body.inputs ?? [:], consent: body.consent ?? body.confirm ?? false, pin: body.pin,
          planHash: try request.ifMatch(), request, try context.person()))
    }
    routes.on(.post, "\(base)/import/:id", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(ImportBody.self, limit: bodyLimit)
      let person = try context.person()
      let id = try context.id("id")
      let asked = Asked(
        path: request.uri.path, consent: body.consent ?? false, replace: body.replace ?? false)
      return try accepted(
        await start(request, asked, person, pin: body.pin) { key throws(Failure) in
          try await updater.startImport(
            of: id, replaces: asked.replace, consent: asked.consent, isTechnician: true,
            requestedBy: person.actor, key: key)
        })
    }
    routes.on(.get, "\(base)/update/:id/progress", for: .role(.viewer)) { _, context in
      try .json(await updater.run(try context.id("id")))
    }
    routes.on(.get, "\(base)/migrate/:id/status", for: .role(.viewer)) { _, context in
      try .json(
        CoachIQJob(
          run: await updater.run(try context.id("id")), snapshotsFolder: snapshotsFolder))
    }
    routes.on(.post, "\(base)/update/:id/cancel", for: .role(.owner)) { request, context in
      try await withoutFields(request)
      return try .json(await updater.cancel(try context.id("id"), by: try context.person().actor))
    }
    // The application itself says so with its token.
    for method in [HTTPRequest.Method.post, .put] {
      routes.on(method, "\(base)/update/:id/confirm", for: .ownersAndControllers) {
        request, context in
        try await withoutFields(request)
        return try .json(
          await updater.confirm(try context.id("id"), by: try context.person().actor))
      }
    }
    routes.on(.post, "\(base)/update/:id/acknowledge", for: .role(.owner)) { request, context in
      try await withoutFields(request)
      return try .json(
        await updater.acknowledge(try context.id("id"), by: try context.person().actor))
    }
    routes.on(.get, "\(base)/history", query: ["limit", "before"], for: .role(.viewer)) {
      request, _ in
      let limit = try limit(of: request)
      let runs = try updater.history(
        limit: limit, before: request.uri.queryParameters.get("before"))
      var headers = HTTPFields()
      if runs.count == limit, let last = runs.last {
        headers[.link] = "<\(base)/history?limit=\(limit)&before=\(last.id)>; rel=\"next\""
      }
      return try .json(
        runs.map { CoachIQHistoryEntry(run: $0, snapshotsFolder: snapshotsFolder) },
        headers: headers)
    }
    routes.on(.get, "\(base)/audit", query: ["limit", "before"], for: .role(.technician)) {
      request, _ in
      let before = try request.uri.queryParameters.get("before").map { text throws(Failure) in
        guard let number = Int64(text), number > 0 else {
          throw Failure(.usage, "`before` must be the `next_before` of an earlier page.")
        }
        return number
      }
      return try .json(updater.audit(limit: try limit(of: request), before: before))
    }
    routes.on(.post, "/api/recovery/leave", for: .role(.technician)) { request, context in
      try await withoutFields(request)
      let status = try await updater.leaveRecoveryMode(by: try context.person().actor)
      return try .json(CoachIQStatus(status: status, snapshotsFolder: snapshotsFolder))
    }
    addSnapshots(to: &routes, base)
  }

  /// - Throws: `.recoveryMode`, where an owner only looks.
  private func checkTools(_ person: Requester) async throws(Failure) {
    guard !person.isTechnician, let reason = await updater.recoveryMode else { return }
    throw Failure(
      .recoveryMode, "Recovery mode: \(reason.message)",
      howToClear: "Let a technician look at it.")
  }

  private func addSnapshots(to routes: inout RouteTable, _ base: String) {
    routes.on(.get, "\(base)/backups", "\(base)/backup", for: .role(.viewer)) { _, _ in
      try .json(
        SnapshotsDocument(
          snapshots: updater.snapshots(), keptDays: updater.settings.retention.days,
          copies: await updater.copies()))
    }
    routes.on(.post, "\(base)/backups", "\(base)/backup", for: .role(.owner)) {
      request, context in
      try await withoutFields(request)
      try await checkTools(try context.person())
      return try accepted(
        await updater.startSnapshot(requestedBy: try context.person().actor))
    }
    routes.on(.post, "\(base)/backups/:id/verify", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(VerifyBody.self, limit: bodyLimit)
      try await checkTools(try context.person())
      return try accepted(
        await updater.startVerify(
          snapshot: try context.id("id"), testsRestore: body.restore ?? false,
          requestedBy: try context.person().actor))
    }
    routes.on(.delete, "\(base)/backups/:id", for: .role(.technician)) { _, context in
      try await updater.deleteSnapshot(try context.id("id"), by: try context.person().actor)
      return .noContent
    }
    routes.on(.put, "\(base)/backups/:id/pin", for: .role(.owner)) { request, context in
      try await withoutFields(request)
      try await checkTools(try context.person())
      return try .json(await updater.setPinned(true, snapshot: try context.id("id")))
    }
    routes.on(.delete, "\(base)/backups/:id/pin", for: .role(.owner)) { _, context in
      try await checkTools(try context.person())
      return try .json(await updater.setPinned(false, snapshot: try context.id("id")))
    }
    routes.on(.post, "\(base)/copies", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(CopyBody.self, limit: bodyLimit)
      try await checkTools(try context.person())
      return try accepted(
        await updater.startCopy(of: body.id, requestedBy: try context.person().actor))
    }
    routes.on(.post, "\(base)/copies/:id/fetch", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(FetchBody.self, limit: bodyLimit)
      let person = try context.person()
      // Who may write chock's own files may also name any folder.
      return try accepted(
        await updater.startFetch(
          of: try context.id("id"), from: body.place, isAnyPlace: person.way == .socket,
          requestedBy: person.actor))
    }
    routes.on(.get, "\(base)/restore/:id", for: .role(.owner)) { _, context in
      let id = try context.id("id")
      try await checkRestore(of: id, by: try context.person())
      return try .json(await updater.losses(restoring: id), headers: [.cacheControl: "no-store"])
    }
    routes.on(.post, "\(base)/restore/:id", for: .role(.owner), use: restore)
    routes.on(.post, "\(base)/rescue/:id", for: .role(.technician), use: rescue)
    MendingRoutes(updater: updater, bodyLimit: bodyLimit).add(to: &routes)
    routes.on(.post, "\(base)/check", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(CheckBody.self, limit: bodyLimit)
      return try accepted(
        await updater.startCheck(try body.checked(), requestedBy: try context.person().actor))
    }
    routes.on(.post, "\(base)/salvage", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(SalvageBody.self, limit: bodyLimit)
      return try accepted(
        await updater.startSalvage(
          ofFilesSetAsideBy: body.run, requestedBy: try context.person().actor))
    }
  }

  @Sendable private func plan(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    func field(_ name: String) -> String? { request.uri.queryParameters.get(name) }
    let fields = GoalFields(
      targetVersion: field("target_version") ?? field("to"),
      outOfOrder: try field("out_of_order").map(flag), rollbackTo: field("rollback_to"),
      rollbackOnly: field("rollback_only"))
    let plan = try await updater.plan(try fields.goal())
    let tag = "\"\(plan.hash)\""
    let headers: HTTPFields = [.eTag: tag, .cacheControl: "no-cache"]
    if request.hasAlready(tag) {
      return Response(status: .notModified, headers: headers)
    }
    return try .json(plan, headers: headers)
  }

  private func flag(_ text: String) throws(Failure) -> Bool {
    guard let flag = Bool(text) else {
      throw Failure(.usage, "`out_of_order` must be true or false.")
    }
    return flag
  }

  /// Everything that makes two requests the same one; a PIN does not.
  private struct Asked: Encodable {
    var path: String
    var planHash: String?
    var goal: Goal?
    var inputs: [String: InputValue] = [:]
    var consent = false
    var replace = false
    /// When a window is to begin, if it is for one.
    var window: String?
    var rows: Rescuer.Request?
  }

  private enum Begun {
    case now(RunDocument)
    case later(Schedule)
  }

  /// - Parameter consentsToVersion: without If-Match, the consent is to the plan that leads to
  ///   `target_version` as it stands now.
  private func update(
    _ request: Request, _ context: ControlContext, consentsToVersion: Bool = false
  ) async throws -> Begun {
    let body = try await request.strictBody(UpdateBody.self, limit: bodyLimit)
    guard body.force != true, body.skipBackup != true else {
      throw Failure(
        .notAllowed, "An update is never forced and never made without its snapshot.",
        howToClear: "Leave `force` and `skip_backup` out.",
        pointer: body.force == true ? "/force" : "/skip_backup")
    }
    let goal = try GoalFields(body).goal()
    let inputs = body.inputs ?? [:]
    let consent = body.consent ?? body.confirm ?? false
    let person = try context.person()
    var planHash = try request.ifMatch()
    if planHash == nil, consentsToVersion, body.targetVersion != nil {
      planHash = try await updater.plan(goal).hash
    }
    guard let later = try body.later() else {
      return .now(
        try await start(
          goal, inputs, consent: consent, pin: body.pin, planHash: planHash, request, person))
    }
    try await checkConsent(to: goal, planHash)
    try await checkTools(person)
    try await updater.access.confirm(person, pin: body.pin)
    let key = try key(
      of: request,
      Asked(
        path: request.uri.path, planHash: try request.ifMatch(), goal: goal, inputs: inputs,
        consent: consent, window: later.at ?? ""))
    if let schedule = try await updater.schedule(with: key) { return .later(schedule) }
    let other = try await approver(goal, planHash, beside: person)
    let schedule = try await updater.scheduleUpdate(
      UpdateRequest(
        planHash: planHash, consent: consent, goal: goal, inputs: inputs,
        requestedBy: Self.names(person, other), isTechnician: person.isTechnician,
        credential: person.credential, approver: other?.credential, key: key), at: later.at)
    updater.access.forgetApprovals(of: planHash)
    return .later(schedule)
  }

  private func start(
    _ goal: Goal, _ inputs: [String: InputValue], consent: Bool, pin: String?, planHash: String?,
    _ request: Request, _ person: Requester
  ) async throws -> RunDocument {
    try await checkConsent(to: goal, planHash)
    let asked = Asked(
      path: request.uri.path, planHash: try request.ifMatch(), goal: goal, inputs: inputs,
      consent: consent)
    return try await start(request, asked, person, pin: pin) { key throws(Failure) in
      let other = try await approver(goal, planHash, beside: person)
      let run = try await updater.startUpdate(
        UpdateRequest(
          planHash: planHash, consent: consent, goal: goal, inputs: inputs,
          requestedBy: Self.names(person, other), isTechnician: person.isTechnician, key: key))
      updater.access.forgetApprovals(of: planHash)
      return run
    }
  }

  /// - Throws: `.consentMissing` where nobody said which plan a person has agreed to.
  private func checkConsent(to goal: Goal, _ planHash: String?) async throws(Failure) {
    guard planHash == nil else { return }
    let isRequired = await updater.status().consentRequired
    guard !isRequired, !goal.isRollback else {
      throw Failure(
        .consentMissing, "The request does not say which plan it consents to.",
        howToClear: "Send the plan's hash: If-Match: \"HASH\" (the ETag of /api/database/plan).")
    }
  }

  /// Who else agreed to it, where two have to; nil where one is enough.
  private func approver(
    _ goal: Goal, _ planHash: String?, beside person: Requester
  ) async throws(Failure) -> Requester? {
    guard approvals > 1, await updater.needsApproval(of: goal) else { return nil }
    return try updater.access.approver(of: planHash, beside: person)
  }

  /// Who is to be named for it: both.
  private static func names(_ person: Requester, _ other: Requester?) -> String {
    person.actor + (other.map { ", approved by \($0.actor)" } ?? "")
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
    let person = try context.person()
    try await checkTools(person)
    try await checkRestore(of: id, by: person)
    let asked = Asked(path: request.uri.path, consent: true)
    return try accepted(
      await start(request, asked, person, pin: body.pin) { key throws(Failure) in
        try await updater.startRestore(snapshot: id, requestedBy: person.actor, key: key)
      })
  }

  /// - Throws: `.notAllowed` for an owner, but for the snapshot of the newest update.
  private func checkRestore(of id: String, by person: Requester) async throws(Failure) {
    guard !person.isTechnician else { return }
    guard await updater.undoesNewestUpdate(snapshot: id) else {
      throw Failure(
        .notAllowed, "An owner undoes the newest update; any other restore needs a technician.",
        howToClear: "Let a technician sign in with the PIN, or `sudo chock restore \(id)`.")
    }
  }

  @Sendable private func rescue(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    let body = try await request.strictBody(RescueBody.self, limit: bodyLimit)
    let person = try context.person()
    let id = try context.id("id")
    let rows = Rescuer.Request(
      tables: body.tables, deletes: body.deletions ?? false, isStrict: body.strict ?? false,
      changes: body.changes ?? false)
    let asked = Asked(path: request.uri.path, consent: body.consent ?? false, rows: rows)
    return try accepted(
      await start(request, asked, person, pin: body.pin) { key throws(Failure) in
        try await updater.startRescue(
          of: id, rows, consent: asked.consent, isTechnician: true, requestedBy: person.actor,
          key: key)
      })
  }

  // MARK: Pieces

  /// Starts what a person has consented to: asks again for the PIN, and takes a request that comes again for
  /// the same.
  private func start(
    _ request: Request, _ asked: Asked, _ person: Requester, pin: String?,
    _ start: (IdempotencyKey?) async throws(Failure) -> RunDocument
  ) async throws -> RunDocument {
    try await updater.access.confirm(person, pin: pin)
    let key = try key(of: request, asked)
    // As it stands now: a repeated request may come late.
    if let run = try await updater.started(with: key) { return run }
    do throws(Failure) {
      return try await start(key)
    } catch {
      throw await refusal(error)
    }
  }

  private func key(of request: Request, _ asked: Asked) throws(Failure) -> IdempotencyKey? {
    guard let key = request.headers[.idempotencyKey] else { return nil }
    guard (1...128).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
    else {
      throw Failure(.usage, "Idempotency-Key must be 1 to 128 printable ASCII characters.")
    }
    return IdempotencyKey(key: key, request: sha256(try JSON.encode(asked)))
  }

  private func limit(of request: Request) throws(Failure) -> Int {
    guard let text = request.uri.queryParameters.get("limit") else { return 50 }
    guard let number = Int(text), (1...1000).contains(number) else {
      throw Failure(.usage, "`limit` must be a whole number from 1 to 1000.")
    }
    return number
  }

  /// With each closed gate by name, when that is what stands in the way.
  private func refusal(_ failure: Failure) async -> Problem {
    guard failure.code == .gateClosed else { return Problem(failure) }
    return Problem(failure, closedGatesOf: await updater.safety())
  }

  private func accepted(_ run: RunDocument) throws(Failure) -> Response {
    try .json(run, status: .accepted, headers: [.location: location(of: run)])
  }

  private func location(of run: RunDocument) -> String {
    "/api/database/update/\(run.id)/progress"
  }

  private var snapshotsFolder: String { updater.settings.snapshotsFolder }

  private func withoutFields(_ request: Request) async throws {
    _ = try await request.strictBody(NoFields.self, limit: bodyLimit)
  }
}

/// `GET /api/database/backups`.
public struct SnapshotsDocument: Codable, Sendable {
  public var schema = "chock.SNAPSHOTS/1"
  public var snapshots: [SnapshotDocument]
  /// Days for which each is kept at least, but for a limit of bytes; nil where nobody says.
  public var keptDays: Int?
  /// The places where copies are kept, too, with what lay there when chock last looked.
  public var copies: [CopyPlaceDocument]

  public init(
    snapshots: [SnapshotDocument], keptDays: Int? = nil, copies: [CopyPlaceDocument] = []
  ) {
    self.snapshots = snapshots
    self.keptDays = keptDays
    self.copies = copies
  }
}

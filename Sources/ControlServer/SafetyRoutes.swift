import Coach
import Hummingbird
import HummingbirdCore
import Migrations
import NIOCore
import Updating

/// `/api/safety`: the gates, what the controller says about the coach, as leases that expire, a person's
/// word for what no device reports, and the locks of those who hold updates back.
struct SafetyRoutes: Sendable {
  let updater: Updater
  let bodyLimit: Int

  func add(to routes: inout RouteTable) {
    routes.on(
      .get, "/api/safety", "/api/database/safety-check", "/api/safety-check",
      for: .role(.viewer)
    ) { _, _ in
      try .json(CoachIQSafetyCheck(safety: await updater.safety()))
    }
    routes.on(.put, "/api/safety/readings/:id", for: .role(.controller)) { request, context in
      let body = try await request.strictBody(ReadingBody.self, limit: bodyLimit)
      try await updater.putReading(
        signal: try context.id("id"), value: body.value, ttl: try lease(body.ttlSeconds),
        source: try body.source ?? context.person().name)
      return .noContent
    }
    routes.on(.delete, "/api/safety/readings/:id", for: .role(.technician)) { _, context in
      try await updater.forget(try context.id("id"), person: try context.person().name)
      return .noContent
    }
    routes.on(.put, "/api/safety/activities/:id", for: .role(.controller)) { request, context in
      let body = try await request.strictBody(ActivityBody.self, limit: bodyLimit)
      try await updater.putActivity(
        id: try context.id("id"), description: body.description, ttl: try lease(body.ttlSeconds))
      return .noContent
    }
    routes.on(.delete, "/api/safety/activities/:id", for: .role(.controller)) { _, context in
      await updater.endActivity(id: try context.id("id"))
      return .noContent
    }
    routes.on(.post, "/api/safety/attestations", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(AttestationBody.self, limit: bodyLimit)
      let person = try context.person()
      // A browser never vouches without a PIN, also where none is set; the unix socket is for those who
      // have signed in to the machine.
      if person.way != .socket, let role = person.role.pinRole {
        try await updater.access.check(pin: body.pin, of: role, for: person.actor)
      }
      try await updater.attest(
        signal: body.signal, value: body.value, ttl: try lease(body.ttlSeconds ?? 900, most: 900),
        person: person.actor)
      return .noContent
    }
    routes.on(.put, "/api/safety/locks/:id", for: .ownersAndControllers) { request, context in
      let body = try await request.strictBody(LockBody.self, limit: bodyLimit)
      try await updater.putLock(
        id: try context.id("id"), owner: body.owner, reason: body.reason,
        ttlSeconds: body.ttlSeconds, by: try context.person())
      return .noContent
    }
    routes.on(.delete, "/api/safety/locks/:id", query: ["owner"], for: .ownersAndControllers) {
      request, context in
      let person = try context.person()
      let owner = request.uri.queryParameters.get("owner")
      guard owner != nil || person.isTechnician else {
        throw Failure(
          .notAllowed, "A lock is released by its owner, or broken by a technician.",
          howToClear: "Say whose it is (?owner=NAME), or `chock coach unlock` on the device.")
      }
      try await updater.releaseLock(id: try context.id("id"), owner: owner, by: person)
      return .noContent
    }
  }

  private struct ReadingBody: StrictBody {
    var value: ReadingValue
    var ttlSeconds: Double
    var source: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case value, source
      case ttlSeconds = "ttl_seconds"
    }
  }

  private struct ActivityBody: StrictBody {
    var description: String
    var ttlSeconds: Double

    enum CodingKeys: String, CodingKey, CaseIterable {
      case description
      case ttlSeconds = "ttl_seconds"
    }
  }

  private struct AttestationBody: StrictBody {
    var signal: String
    var value: ReadingValue
    var ttlSeconds: Double?
    /// Of the one who asks, but for those on the device.
    var pin: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case signal, value, pin
      case ttlSeconds = "ttl_seconds"
    }
  }

  private struct LockBody: StrictBody {
    var owner: String
    var reason: String
    var ttlSeconds: Double

    enum CodingKeys: String, CodingKey, CaseIterable {
      case owner, reason
      case ttlSeconds = "ttl_seconds"
    }
  }

  /// A lease of a day would not be one: who publishes is alive and can say so again.
  private func lease(_ seconds: Double, most: Double = 3600) throws(Failure) -> Duration {
    guard seconds > 0, seconds <= most else {
      throw Failure(
        .usage, "The field `ttl_seconds` must be above 0 and at most \(Int(most)).",
        pointer: "/ttl_seconds")
    }
    return .seconds(seconds)
  }
}

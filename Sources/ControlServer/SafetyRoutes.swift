import Coach
import Hummingbird
import HummingbirdCore
import Migrations
import Updating

/// `/api/safety`: the gates, and what the controller says about the coach, as leases that expire.
struct SafetyRoutes: Sendable {
  let updater: Updater
  let bodyLimit: Int

  func add(to routes: inout RouteTable) {
    routes.on(.get, "/api/safety", "/api/database/safety-check", "/api/safety-check") { _, _ in
      try .json(await updater.safety())
    }
    routes.on(.put, "/api/safety/readings/:id") { request, context in
      let body = try await request.strictBody(ReadingBody.self, limit: bodyLimit)
      var source = body.source
      if source == nil { source = await requester(of: context.channel) }
      try await updater.putReading(
        signal: try context.id("id"), value: body.value, ttl: try lease(body.ttlSeconds),
        source: source ?? "")
      return .noContent
    }
    routes.on(.put, "/api/safety/activities/:id") { request, context in
      let body = try await request.strictBody(ActivityBody.self, limit: bodyLimit)
      try await updater.putActivity(
        id: try context.id("id"), description: body.description, ttl: try lease(body.ttlSeconds))
      return .noContent
    }
    routes.on(.delete, "/api/safety/activities/:id") { _, context in
      await updater.endActivity(id: try context.id("id"))
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

  /// A lease of a day would not be one: who publishes is alive and can say so again.
  private func lease(_ seconds: Double) throws(Failure) -> Duration {
    guard seconds > 0, seconds <= 3600 else {
      throw Failure(.usage, "The field `ttl_seconds` must be above 0 and at most 3600.")
    }
    return .seconds(seconds)
  }
}

import Authoring
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
import NIOCore
import Storage
import Updating

/// What a technician looks at and then takes for right, and the rows that a restore took out.
struct MendingRoutes: Sendable {
  let updater: Updater
  let bodyLimit: Int

  func add(to routes: inout RouteTable) {
    let base = "/api/database"
    routes.on(.get, "\(base)/repair", for: .role(.technician)) { _, _ in
      let found = try await updater.repair()
      return try looked(found, found.hash)
    }
    routes.on(.post, "\(base)/repair", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(RepairBody.self, limit: bodyLimit)
      let reason = try Self.words(body.reason)
      let seen = try Self.seen(request, at: "\(base)/repair")
      let person = try context.person()
      try await updater.access.confirm(person, pin: body.pin)
      return try .json(await updater.accept(seen: seen, reason: reason, by: person.actor))
    }
    routes.on(.get, "\(base)/adoption", query: ["version"], for: .role(.technician)) {
      request, _ in
      let version = try request.uri.queryParameters.get("version").map { text throws(Failure) in
        try Self.schemaVersion(text, pointer: nil)
      }
      let found = try await updater.adoption(at: version)
      return try looked(found, found.hash)
    }
    routes.on(.post, "\(base)/adoption", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(AdoptionBody.self, limit: bodyLimit)
      let version = try Self.schemaVersion(body.version, pointer: "/version")
      let reason = try body.reason.map(Self.words)
      let seen = try Self.seen(request, at: "\(base)/adoption")
      let person = try context.person()
      try await updater.access.confirm(person, pin: body.pin)
      return try .json(
        await updater.adopt(at: version, seen: seen, reason: reason, by: person.actor))
    }
    addRescue(to: &routes, "\(base)/rescue")
  }

  private func addRescue(to routes: inout RouteTable, _ base: String) {
    routes.on(.get, base, for: .role(.technician)) { _, _ in
      try .json(updater.rescueCopies())
    }
    routes.on(.get, "\(base)/:id", for: .role(.technician)) { _, context in
      try .json(await updater.rescueCopy(try context.id("id")))
    }
    routes.on(.post, "\(base)/:id/export", for: .role(.technician)) { request, context in
      _ = try await request.strictBody(NoFields.self, limit: bodyLimit)
      return try .json(
        await updater.exportRescue(try context.id("id"), by: try context.person().actor))
    }
    routes.on(.get, "\(base)/:id/export/:file", for: .role(.technician)) { _, context in
      let name = context.parameters.get("file") ?? ""
      let file = try SentFile(updater.rescueFile(name, of: try context.id("id")))
      return Response(
        status: .ok,
        headers: [
          // Never shown as a page.
          .contentType: "application/octet-stream", .cacheControl: "no-store",
          .contentDisposition: "attachment; filename=\"\(name)\"",
        ],
        body: ResponseBody(contentLength: file.size) { writer in
          while let piece = try await file.read() { try await writer.write(piece) }
          try await writer.finish(nil)
        })
    }
  }

  private struct RepairBody: StrictBody {
    var reason: String
    /// Of the one who asks, but for those on the device.
    var pin: String?

    enum CodingKeys: CodingKey, CaseIterable { case reason, pin }
  }

  private struct AdoptionBody: StrictBody {
    var version: String
    var reason: String?
    var pin: String?

    enum CodingKeys: CodingKey, CaseIterable { case version, reason, pin }
  }

  private func looked(_ found: some Encodable, _ hash: String) throws(Failure) -> Response {
    try .json(found, headers: [.eTag: "\"\(hash)\""])
  }

  /// What the person has looked at.
  ///
  /// - Throws: `.consentMissing` where the request does not say.
  private static func seen(_ request: Request, at path: String) throws(Failure) -> String {
    guard let seen = try request.ifMatch() else {
      throw Failure(
        .consentMissing, "The request does not say what a person has looked at.",
        howToClear: "Send its hash: If-Match: \"HASH\" (the ETag of \(path)).")
    }
    return seen
  }

  /// Why, for the audit.
  private static func words(_ reason: String) throws(Failure) -> String {
    guard AuditEntry.isReason(reason) else {
      throw Failure(.usage, "`reason` must be \(AuditEntry.reasonRule).", pointer: "/reason")
    }
    return reason
  }

  private static func schemaVersion(_ text: String, pointer: String?) throws(Failure)
    -> SchemaVersion
  {
    guard let version = SchemaVersion(text) else {
      throw Failure(
        .usage, "`version` is not a schema version: \(text.prefix(100))", pointer: pointer)
    }
    return version
  }
}

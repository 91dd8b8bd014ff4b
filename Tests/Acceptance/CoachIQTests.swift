import FoundationEssentials
import Storage
import TestSupport
import Testing
import Updating

/// A copy of the shapes of CoachIQ's own interface: which fields its panel reads, and what is in them.
@Suite("CoachIQ's panel", .timeLimit(.minutes(15)))
struct CoachIQTests {
  /// What a field may hold.
  private indirect enum Shape: Sendable {
    case text, number, flag, null
    case list(Shape)
    case object([String: Shape])
    case one([Shape])

    static func optional(_ shape: Shape) -> Shape { .one([shape, .null]) }
  }

  private enum Value: Decodable {
    case text(String)
    case number(Double)
    case flag(Bool)
    case null
    case list([Value])
    case object([String: Value])

    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if value.decodeNil() {
        self = .null
      } else if let flag = try? value.decode(Bool.self) {
        self = .flag(flag)
      } else if let number = try? value.decode(Double.self) {
        self = .number(number)
      } else if let text = try? value.decode(String.self) {
        self = .text(text)
      } else if let list = try? value.decode([Value].self) {
        self = .list(list)
      } else {
        self = .object(try value.decode([String: Value].self))
      }
    }

    subscript(_ key: String) -> Value? {
      if case .object(let fields) = self { fields[key] } else { nil }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }

    /// Where it is not of that shape; other fields than those named are none of CoachIQ's.
    func misfit(_ shape: Shape, at place: String = "") -> String? {
      switch (self, shape) {
      case (.text, .text), (.number, .number), (.flag, .flag), (.null, .null): return nil
      case (.list(let values), .list(let shape)):
        return values.indices.lazy.compactMap { values[$0].misfit(shape, at: "\(place)/\($0)") }
          .first
      case (.object(let fields), .object(let shapes)):
        return shapes.keys.sorted().lazy.compactMap { key -> String? in
          guard let field = fields[key] else { return "\(place)/\(key) is missing" }
          return field.misfit(shapes[key] ?? .null, at: "\(place)/\(key)")
        }.first
      case (_, .one(let shapes)):
        let misfits = shapes.compactMap { misfit($0, at: place) }
        return misfits.count < shapes.count ? nil : misfits.first
      default: return "\(place) is \(self)"
      }
    }
  }

  private static let backup = Shape.object([
    "id": .text, "path": .text, "size_bytes": .number, "schema_version": .optional(.text),
    "backup_type": .text, "created_at": .text,
  ])
  private static let status = Shape.object([
    "current_version": .optional(.text), "target_version": .optional(.text), "needs_update": .flag,
    "pending_migrations": .list(.object(["version": .text, "description": .text])),
    "is_safe_to_migrate": .flag, "safety_issues": .list(.text),
    "latest_backup": .optional(backup), "migration_in_progress": .flag,
    "current_job_id": .optional(.text),
  ])
  private static let answer = Shape.object([
    "success": .flag, "job_id": .optional(.text), "message": .text, "error": .optional(.text),
    "safety_issues": .list(.text), "hint": .optional(.text),
  ])
  private static let job = Shape.object([
    "id": .text, "status": .text, "progress": .number, "started_at": .text,
    "target_version": .optional(.text),
    "steps": .list(.object(["status": .text, "timestamp": .text, "progress": .number])),
    "backup_path": .optional(.text), "error": .optional(.text), "completed_at": .optional(.text),
    "rollback_status": .optional(.text), "rollback_error": .optional(.text),
  ])
  private static let history = Shape.list(
    .object([
      "id": .text, "from_version": .optional(.text), "to_version": .optional(.text),
      "status": .text, "duration_ms": .number, "executed_at": .text,
      "details": .object([
        "job_id": .text, "backup_path": .optional(.text), "error": .optional(.text),
      ]),
    ]))
  private static let safety = Shape.object([
    "is_safe": .flag, "blocking_reasons": .list(.text), "recommendations": .list(.text),
    "system_state": .object([
      "vehicle_speed": .optional(.number), "parking_brake": .optional(.flag),
      "engine_running": .optional(.flag), "transmission_gear": .optional(.text),
    ]),
    "interlocks": .object(["all_satisfied": .flag, "violations": .list(.text)]),
  ])

  private func read(_ daemon: Daemon, _ path: String, as shape: Shape) throws -> Value {
    let answer = try daemon.ask("GET", "/api/database/\(path)")
    #expect(answer.status == 200, "\(path): \(answer.text)")
    let value = try JSONDecoder().decode(Value.self, from: Data(answer.body))
    #expect(value.misfit(shape) == nil, "\(path)")
    return value
  }

  @Test(
    "It reads its own fields, starts an update and follows it, and is refused with a real status")
  func wholeUpdate() async throws {
    let coach = try Sample.coach(
      config:
        "environment = \"development\"\n[update]\nrequire_explicit_consent = true\n[coach]\nrequired_gates = []\n"
    )
    let daemon = try await coach.serve()
    let before = try read(daemon, "status", as: Self.status)
    #expect(before["latest_backup"]?.misfit(.null) == nil)
    _ = try read(daemon, "safety-check", as: Self.safety)
    _ = try read(daemon, "history", as: Self.history)

    for (body, status) in [
      (#"{"confirm": false, "target_version": "2"}"#, 428), (#"{"confirm": true}"#, 428),
      (#"{"confirm": true, "target_version": "2", "force": true}"#, 403),
      (#"{"confirm": true, "target_version": "2", "skip_backup": true}"#, 403),
      (#"{"confirm": 1}"#, 400), ("nonsense", 400),
    ] {
      let refusal = try daemon.ask("POST", "/api/database/migrate", body)
      #expect(refusal.status == status, "\(body): \(refusal.text)")
      let value = try JSONDecoder().decode(Value.self, from: Data(refusal.body))
      #expect(value.misfit(Self.answer) == nil, "\(body)")
      guard case .flag(false) = value["success"] else {
        Issue.record("\(body): \(refusal.text)")
        continue
      }
    }
    #expect(try coach.fingerprint() == Sample.prints.get().old)

    func start() throws -> SocketClient.Answer {
      try daemon.ask(
        "POST", "/api/database/migrate",
        #"{"confirm": true, "target_version": "2", "skip_backup": false, "force": false}"#,
        headers: ["Idempotency-Key": "once"])
    }
    let started = try start()
    #expect(started.status == 202, "\(started.text)")
    let accepted = try JSONDecoder().decode(Value.self, from: Data(started.body))
    #expect(accepted.misfit(Self.answer) == nil)
    let id = try #require(accepted["job_id"]?.text)
    _ = try read(daemon, "migrate/\(id)/status", as: Self.job)
    _ = try await daemon.ended(id)
    let job = try read(daemon, "migrate/\(id)/status", as: Self.job)
    #expect(job["status"]?.text == "completed")
    #expect(job["target_version"]?.text == "2")
    // Once more, with the same key: the same job, although the plan is another one now.
    let again = try start()
    #expect(
      try JSONDecoder().decode(Value.self, from: Data(again.body))["job_id"]?.text == id,
      "\(again.text)")
    let path = try #require(job["backup_path"]?.text)
    #expect(FileSystem.facts(path)?.isRegular == true)
    let after = try read(daemon, "status", as: Self.status)
    #expect(after["latest_backup"]?["path"]?.text == path)
    #expect(after["current_version"]?.text == "2")
    _ = try read(daemon, "history", as: Self.history)
    #expect(try daemon.ask("GET", "/api/database/migrate/none/status").status == 404)
    #expect(await daemon.stop() == .exited(0))
  }
}

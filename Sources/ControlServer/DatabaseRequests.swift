import Migrations
import Storage
import Updating

// What requests to `/api/database` say.
extension DatabaseRoutes {
  struct RehearseBody: StrictBody {
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

  struct CopyBody: StrictBody {
    var id: String?

    enum CodingKeys: String, CodingKey, CaseIterable { case id }
  }

  struct FetchBody: StrictBody {
    var place: String

    enum CodingKeys: String, CodingKey, CaseIterable { case place }
  }

  struct UpdateBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    var targetVersion: String?
    var outOfOrder: Bool?
    var inputs: [String: InputValue]?
    var force: Bool?
    var skipBackup: Bool?
    var pin: String?
    var when: When?
    var at: String?

    enum When: String, Decodable { case now, window }

    enum CodingKeys: String, CodingKey, CaseIterable {
      case consent, confirm, force, inputs, pin, when, at
      case targetVersion = "target_version"
      case outOfOrder = "out_of_order"
      case skipBackup = "skip_backup"
    }

    /// - Throws: `.usage` for a time without a window.
    func later() throws(Failure) -> Later? {
      guard when == .window else {
        guard at == nil else {
          throw Failure(
            .usage, "`at` is the beginning of a window.",
            howToClear: "Add \"when\": \"window\", or leave `at` out.", pointer: "/at")
        }
        return nil
      }
      return Later(at: at)
    }
  }

  /// An update in a window: which begins then, or with the maintenance window.
  struct Later {
    var at: String?
  }

  struct ScheduleBody: StrictBody {
    var action: Schedule.Action
    var hours: Double?

    enum CodingKeys: CodingKey, CaseIterable { case action, hours }
  }

  struct RollbackBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    var rollbackTo: String?
    var rollbackOnly: String?
    var inputs: [String: InputValue]?
    var pin: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
      case consent, confirm, inputs, pin
      case rollbackTo = "rollback_to"
      case rollbackOnly = "rollback_only"
    }
  }

  struct ImportBody: StrictBody {
    var consent: Bool?
    var replace: Bool?
    var pin: String?

    enum CodingKeys: String, CodingKey, CaseIterable { case consent, replace, pin }
  }

  struct RescueBody: StrictBody {
    var consent: Bool?
    var tables: [String]?
    var deletions: Bool?
    var changes: Bool?
    var strict: Bool?
    var pin: String?

    enum CodingKeys: CodingKey, CaseIterable {
      case consent, tables, deletions, changes, strict, pin
    }
  }

  struct VerifyBody: StrictBody {
    /// Restores it into a file of its own, too.
    var restore: Bool?

    enum CodingKeys: CodingKey, CaseIterable { case restore }
  }

  struct CheckBody: StrictBody {
    var kind: String?

    enum CodingKeys: CodingKey, CaseIterable { case kind }

    /// - Throws: `.usage` for a kind that there is not.
    func checked() throws(Failure) -> CheckKind {
      guard let kind = CheckKind(rawValue: kind ?? CheckKind.quick.rawValue) else {
        throw Failure(
          .usage, "`kind` must be one of quick, full and foreign_keys.", pointer: "/kind")
      }
      return kind
    }
  }

  struct SalvageBody: StrictBody {
    /// The restore that set the damaged files aside; the database itself without it.
    var run: String?

    enum CodingKeys: CodingKey, CaseIterable { case run }
  }

  /// Where a plan is to lead, as requests say it.
  struct GoalFields {
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
        howToClear: "Send one of `target_version`, `rollback_to` and `rollback_only`.", pointer: "")
    }

    private func version(_ text: String?, field: String) throws(Failure) -> SchemaVersion? {
      guard let text else { return nil }
      guard let version = SchemaVersion(text) else {
        throw Failure(
          .usage, "`\(field)` is not a schema version: \(text.prefix(100))",
          pointer: "/\(field)")
      }
      return version
    }
  }

  struct RestoreBody: StrictBody {
    var consent: Bool?
    var confirm: Bool?
    var pin: String?
    enum CodingKeys: CodingKey, CaseIterable { case consent, confirm, pin }
  }
}

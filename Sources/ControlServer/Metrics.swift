import Coach
import FoundationEssentials
import Migrations
import Storage
import Updating

/// Figures in Prometheus' text format, version 0.0.4.
struct Metrics {
  enum Kind: String { case counter, gauge, summary }

  /// Name and value of each label; the suffix is for the parts of a summary.
  typealias Sample = (suffix: String, labels: [(String, String)], value: Double)

  private(set) var text = ""

  static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    for sample in samples {
      let labels = sample.labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
      text += "\(name)\(sample.suffix)\(labels.isEmpty ? "" : "{\(labels)}") "
      text += "\(Self.written(sample.value))\n"
    }
  }

  mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
    add(name, kind, help, [("", [], value)])
  }

  private static func escaped(_ text: String) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "\\": result += "\\\\"
      case "\"": result += "\\\""
      case "\n", "\r\n", "\r": result += "\\n"
      default: result.append(character)
      }
    }
  }

  private static func written(_ value: Double) -> String {
    Int64(exactly: value).map(String.init) ?? (value.isFinite ? "\(value)" : "NaN")
  }
}

extension Metrics {
  /// What is known now. What changes the database is counted over the whole history, which outlives
  /// this process; failures to authenticate since its start.
  static func now(_ updater: Updater) async throws(Failure) -> Metrics {
    let status = await updater.status()
    // Nobody knows how many there are where the folder cannot be read: then nothing is said of them.
    let snapshots = try? updater.snapshots()
    let figures = try updater.figures()
    let listeners = updater.events.listeners
    var metrics = Metrics()
    metrics.add(
      "chock_build_info", .gauge, "1; which chock this is.",
      [("", [("version", status.chockVersion)], 1)])
    metrics.addVersions(status)
    metrics.addState(status)
    metrics.addRuns(figures)
    func ofSnapshots(_ value: ([SnapshotDocument]) -> Double) -> [Sample] {
      snapshots.map { [("", [], value($0))] } ?? []
    }
    metrics.add(
      "chock_snapshots", .gauge, "Snapshots that are kept.", ofSnapshots { Double($0.count) })
    metrics.add(
      "chock_snapshot_bytes", .gauge, "Bytes of all snapshots together.",
      ofSnapshots { Double($0.reduce(0) { $0 + $1.sizeBytes }) })
    metrics.add(
      "chock_last_verified_snapshot_timestamp_seconds", .gauge,
      "When a snapshot was last found to be what was written; 0: never.",
      ofSnapshots { $0.compactMap { $0.verifiedAt.flatMap(seconds) }.max() ?? 0 })
    metrics.add(
      "chock_last_copy_timestamp_seconds", .gauge,
      "When a snapshot was last copied to another place and read back; 0: never.",
      status.copies.map { copy in
        ("", [("place", copy.place)], copy.lastCopyAt.flatMap(seconds) ?? 0)
      })
    metrics.addErrors(status)
    metrics.add(
      "chock_last_integrity_check_timestamp_seconds", .gauge,
      "When the database last went through its full check; 0: never since it was last changed.",
      (status.integrityCheck?.finishedAt).flatMap(seconds) ?? 0)
    metrics.add(
      "chock_precondition_met", .gauge,
      "1: the condition of the coach holds; 0: it does not, or nobody knows.",
      status.gates.map { gate in
        (
          "", [("gate", gate.id), ("required", "\(gate.required)")],
          gate.state == .satisfied ? 1 : 0
        )
      })
    metrics.add(
      "chock_auth_failures_total", .counter,
      "Requests that were refused for who asked, since the start of the daemon.",
      [("", [], Double(updater.access.failures))])
    metrics.add(
      "chock_event_listeners", .gauge, "Those who listen to events now.", Double(listeners.now))
    metrics.add(
      "chock_event_listeners_dropped_total", .counter,
      "Listeners that were too slow, since the start of the daemon.", Double(listeners.dropped))
    return metrics
  }

  /// Nothing of a level that is not known.
  private mutating func addErrors(_ status: StatusDocument) {
    let watch = status.errorWatch
    let counters = watch?.counters ?? []
    add(
      "chock_error_watch_remaining_seconds", .gauge,
      "For how long errors are still compared with those before the update; 0: they are not.",
      watch?.secondsLeft ?? 0)
    add(
      "chock_application_errors_per_hour", .gauge,
      "Errors of the application in an hour, before the update and since.",
      counters.flatMap { counter -> [Sample] in
        [("before", counter.perHourBefore), ("since", counter.perHour)].compactMap { when, value in
          value.map { ("", Self.labels(counter) + [("when", when)], $0) }
        }
      })
    add(
      "chock_error_warning", .gauge, "1: there are clearly more errors than before the update.",
      counters.map {
        ("", Self.labels($0), $0.warning == nil ? 0 : 1)
      })
  }

  /// Two addresses may have figures of one name.
  private static func labels(_ counter: ErrorWatchDocument.Counter) -> [(String, String)] {
    [("counter", counter.name), ("source", counter.url ?? "journald")]
  }

  private mutating func addVersions(_ status: StatusDocument) {
    func sample(_ version: String?) -> [Sample] {
      // A version of several numbers has none as a figure, and is in the label.
      version.map { [("", [("version", $0)], Double(Int64($0) ?? 0))] } ?? []
    }
    add(
      "chock_schema_version", .gauge, "Version of the database's schema.",
      sample(status.currentVersion))
    add(
      "chock_schema_target_version", .gauge, "Newest version of the migration files.",
      sample(status.targetVersion))
    add(
      "chock_pending_migrations", .gauge, "Migrations that are not applied.",
      Double(status.pendingMigrations.count))
  }

  private mutating func addState(_ status: StatusDocument) {
    let now: UpdateState =
      if status.mode == .recovery {
        .needsPerson
      } else if status.migrationInProgress {
        status.run?.waitingFor == nil ? .running : .waiting
      } else if status.problem != nil {
        .problem
      } else {
        status.needsUpdate ? .available : .upToDate
      }
    add(
      "chock_update_state", .gauge, "1 for the state that holds, 0 for the others.",
      UpdateState.allCases.map { ("", [("state", $0.rawValue)], $0 == now ? 1 : 0) })
  }

  private enum UpdateState: String, CaseIterable {
    case upToDate = "up_to_date"
    case available
    /// A run is active, whatever it does.
    case running
    /// A run waits for a condition.
    case waiting
    /// Nothing can be offered.
    case problem
    case needsPerson = "needs_person"
  }

  private mutating func addRuns(_ figures: StateStore.Figures) {
    // All of them from the start, at 0: a series that begins at 1 has not increased.
    let outcomes: [Outcome] = [.committed, .restored, .rolledBack, .refused, .needsRecovery]
    add(
      "chock_updates_total", .counter, "Runs that were to change the database, by how they ended.",
      RunKind.changing.flatMap { kind in
        outcomes.map { outcome in
          let found = figures.runs.first {
            $0.kind == kind.rawValue && $0.outcome == outcome.rawValue
          }
          return (
            "", [("kind", kind.rawValue), ("outcome", outcome.rawValue)], Double(found?.count ?? 0)
          )
        }
      })
    add(
      "chock_phase_duration_seconds", .summary, "Seconds that the phases of runs took.",
      figures.phases.flatMap { figure -> [Sample] in
        let labels = [("kind", figure.kind), ("phase", figure.phase)]
        return [("_sum", labels, figure.seconds), ("_count", labels, Double(figure.count))]
      })
  }

  private static func seconds(_ timestamp: String) -> Double? {
    Timestamp.date(timestamp).map { $0.timeIntervalSince1970 }
  }
}

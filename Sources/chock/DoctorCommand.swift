import ArgumentParser
import Authoring
import Glibc
import Migrations
import SQLite
import Storage
import Updating

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Checks chock's surroundings and says what it found.")

  @OptionGroup var globals: Globals
  @Flag(help: "Compare the whole database with its indexes; takes long.") var integrity = false

  /// One thing that was looked at.
  struct Finding: Encodable {
    var subject: String
    /// Nil: worth knowing, neither good nor bad.
    var isGood: Bool?
    var found: String
    var howToClear: String?
  }

  private struct Report: Encodable {
    var schema = "chock.DOCTOR/1"
    var isHealthy: Bool
    var findings: [Finding]
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let findings = try await examine(session)
      let isHealthy = findings.allSatisfy { $0.isGood != false }
      try session.output.result(
        Report(isHealthy: isHealthy, findings: findings),
        findings.map { finding in
          "\(session.output.mark(finding.isGood)) \(finding.subject): \(finding.found)"
            + (finding.howToClear.map { "\n    To do: \($0)" } ?? "")
        })
      return isHealthy ? 0 : 65
    }
  }

  private func examine(_ session: Session) async throws(Failure) -> [Finding] {
    let settings = session.config.settings
    var findings = [
      Finding(subject: "chock", isGood: nil, found: "version \(Chock.version)"),
      Finding(
        subject: "Config", isGood: true,
        found: (session.config.file ?? "none; defaults and environment variables")
          + ", environment \(settings.environment.rawValue)"),
      sqlite,
    ]
    findings += database(settings)
    findings += drift(session)
    findings.append(fullCheck(settings, session.history))
    findings.append(folder("State folder", settings.stateDirectory))
    for path in session.history.setAside {
      findings.append(
        Finding(
          subject: "History", isGood: nil,
          found:
            "\(path) was damaged and taken out of use: older runs and entries of the audit are in it"
        ))
    }
    findings.append(space(settings))
    let users = Openers.programs(of: settings.databasePath)
    findings.append(
      Finding(
        subject: "In use by", isGood: nil,
        found: users.isEmpty
          ? "no other program that we may see"
          : users.map(\.description).joined(separator: ", ")))
    findings += libraries(users)
    let status = try await session.daemon()?.status()
    findings.append(
      Finding(
        subject: "Daemon", isGood: status.map { $0.mode == .normal },
        found: status.map { "running, \($0.mode.rawValue) mode" } ?? "not running",
        howToClear: status?.problem?.howToClear))
    return findings
  }

  private var sqlite: Finding {
    Finding(
      subject: "SQLite", isGood: nil,
      found: words(SQLiteLibrary(path: "", version: Connection.sqliteVersion)))
  }

  /// The libraries of the programs that have the database open.
  private func libraries(_ users: [Opener]) -> [Finding] {
    users.flatMap { user in
      SQLiteLibrary.loaded(by: user.pid).map { library in
        Finding(
          subject: "SQLite of \(user)", isGood: nil, found: "\(library.path), \(words(library))")
      }
    }
  }

  private func words(_ library: SQLiteLibrary) -> String {
    "version \(library.version)"
      + (library.hasWALResetBug
        ? ": has the WAL-reset bug (two programs that checkpoint at the same moment); chock does not checkpoint while another program has the database open"
        : "")
  }

  private func database(_ settings: UpdateSettings) -> [Finding] {
    var findings: [Finding] = []
    do throws(Failure) {
      // For reading only SQLite does not look at CHECK.
      let connection = try Database.openForWriting(settings.databasePath)
      connection.keepLogOnClose()
      try Openers.checkNames(of: settings.databasePath)
      let drifted = try Database.check(
        connection, file: settings.databasePath, failingAs: .databaseCorrupt)
      findings.append(
        Finding(
          subject: "Database", isGood: true,
          found:
            "\(settings.databasePath), \(ByteCount.text(try Database.bytes(connection))), sound"))
      if drifted > 0 {
        findings.append(
          Finding(
            subject: "Constraints", isGood: nil,
            found:
              "\(drifted) values do not keep a CHECK, NOT NULL or type of their table; updates leave them"
          ))
      }
      let ledger = try LedgerTable.read(connection)
      findings.append(
        Finding(
          subject: "Schema", isGood: ledger != nil,
          found: ledger.map { "version \($0.current)" } ?? "not adopted",
          howToClear: ledger == nil ? "chock adopt" : nil))
      let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
      findings.append(
        Finding(
          subject: "Migrations", isGood: true,
          found:
            "\(settings.migrationsDirectory), \(catalog.migrations.count) files, newest version \(catalog.latest)"
        ))
      if let ledger { _ = try Plan(catalog: catalog, ledger: ledger) }
    } catch {
      findings.append(
        Finding(
          subject: "Problem", isGood: false,
          found: "\(error.message) [\(error.code.rawValue)]"
            + (error.file.map { " at \($0)" } ?? "") + (error.line.map { ":\($0)" } ?? ""),
          howToClear: error.howToClear))
    }
    return findings
  }

  /// Where the schema is not what the migrations make; what is wrong with either of them is found elsewhere.
  private func drift(_ session: Session) -> [Finding] {
    let settings = session.config.settings
    do throws(Failure) {
      let found = try Drift.find(
        in: try Database.open(settings.databasePath),
        try MigrationCatalog(directory: settings.migrationsDirectory))
      let accepted = try session.history.acceptance(of: found, in: [settings.databasePath])
      let places =
        "the schema differs from what the migrations make in \(found.count) \(found.count == 1 ? "place" : "places")"
      return [
        Finding(
          subject: "Drift", isGood: accepted == nil ? found.isEmpty : nil,
          found: found.isEmpty
            ? "none" : places + (accepted.map { ", accepted: \($0.reason)" } ?? ""),
          howToClear: found.isEmpty || accepted != nil
            ? nil : "`chock diff` shows it; `chock repair` accepts it with a reason.")
      ]
    } catch {
      return [
        Finding(subject: "Drift", isGood: nil, found: "cannot be told: \(error.message)")
      ]
    }
  }

  /// The last full check, or one made now.
  private func fullCheck(_ settings: UpdateSettings, _ history: StateStore) -> Finding {
    do throws(Failure) {
      if integrity {
        let started = ContinuousClock.now
        var problem: String?
        do throws(Failure) {
          try Database.checkIntegrity(
            try Database.open(settings.databasePath), stop: StopSignal())
        } catch {
          guard error.code == .databaseCorrupt else { throw error }
          problem = error.message
        }
        try history.save(
          IntegrityCheck(
            finishedAt: Timestamp.now(), seconds: (ContinuousClock.now - started).seconds,
            problem: problem), of: settings.databasePath)
      }
      guard let check = try history.integrityCheck(of: settings.databasePath) else {
        return Finding(
          subject: "Full check", isGood: nil,
          found: "none yet, or something has happened since; `chock doctor --integrity` does one")
      }
      return Finding(
        subject: "Full check", isGood: check.problem == nil,
        found: "\(check.finishedAt): \(check.problem ?? "sound")",
        howToClear: check.failure(settings)?.howToClear)
    } catch {
      return Finding(
        subject: "Full check", isGood: false, found: error.message, howToClear: error.howToClear)
    }
  }

  private func folder(_ subject: String, _ path: String) -> Finding {
    guard let facts = FileSystem.target(path), facts.isDirectory else {
      return Finding(subject: subject, isGood: nil, found: "\(path) does not exist yet")
    }
    let isWritable = access(path, R_OK | W_OK | X_OK) == 0
    return Finding(
      subject: subject, isGood: isWritable,
      found: "\(path), " + (isWritable ? "writable" : "not writable for this user"),
      howToClear: isWritable ? nil : "Run as the user that the daemon runs as.")
  }

  private func space(_ settings: UpdateSettings) -> Finding {
    let size = FileSystem.target(settings.databasePath)?.size ?? 0
    let needed = settings.estimatedBytes(database: size)
    let free = (try? FileSystem.availableBytes(at: settings.stateDirectory)) ?? 0
    return Finding(
      subject: "Space", isGood: free >= needed,
      found: "\(ByteCount.text(free)) free, an update may need \(ByteCount.text(needed))",
      howToClear: free >= needed ? nil : "Free \(ByteCount.text(needed - free)).")
  }
}

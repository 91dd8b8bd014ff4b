import Coach
import CoachSources
import Glibc
import Migrations
import Storage
import Updating

// The configured sources of readings, and the supervisor that listens to them.
extension Session {
  /// - Throws: `.badConfig` when a profile cannot be used.
  func sources() throws(Failure) -> SourceConfiguration {
    var sources = SourceConfiguration()
    for bus in config.coach.can {
      sources.can.append(.init(interface: bus.interface, profile: try Self.profile(bus.profile)))
    }
    for server in config.coach.http {
      sources.http.append(
        .init(
          address: server.address, profile: try Self.profile(server.profile),
          every: .seconds(server.everySeconds), tokenFile: server.tokenFile,
          vetoOnly: server.vetoOnly))
    }
    for files in config.coach.files {
      sources.files.append(
        .init(profile: try Self.profile(files.profile), every: .seconds(files.everySeconds)))
    }
    let isBoardRead = sources.files.contains { $0.profile.signals.contains("undervoltage") }
    if !isBoardRead, let board = Profile.builtIn("raspberry-pi"), Self.has(board.files) {
      sources.files.append(.init(profile: board, every: .seconds(2)))
    }
    sources.controllerPort = config.coach.controllerPort
    return sources
  }

  /// A profile that cannot be used is a fault of the config that names it: to start again does not help.
  private static func profile(_ name: String) throws(Failure) -> Profile {
    do throws(Failure) {
      return try Profile.load(name)
    } catch {
      var failure = error
      failure.code = .badConfig
      throw failure
    }
  }

  /// Whether this board has any of the files.
  private static func has(_ patterns: [String]) -> Bool {
    patterns.contains { pattern in
      var found = glob_t()
      defer { globfree(&found) }
      return glob(pattern, 0, nil, &found) == 0
    }
  }

  /// Hands what the sources say to the supervisor, for as long as this process lives.
  func listen(for updater: Updater) async throws(Failure) {
    let configuration = try sources()
    await updater.expect(configuration)
    Task { await updater.listen(to: CoachSources(configuration)) }
  }

  /// Waits until the sources have said enough for a run, for as long as that can take.
  func waitForCoach(_ updater: Updater) async {
    guard !config.coach.can.isEmpty || !config.coach.http.isEmpty || !config.coach.files.isEmpty
    else { return }
    let deadline =
      ContinuousClock.now + .seconds(config.settings.safety.parkedForSeconds) + .seconds(10)
    var told: [String] = []
    while .now < deadline {
      let safety = await updater.safety()
      if safety.isSafe { return }
      if told.isEmpty { output.complain("Listening to the coach:") }
      for reason in safety.blockingReasons where !told.contains(reason) {
        // The seconds that it counts are no news.
        if told.count < 12 { output.complain("  \(reason)") }
        told.append(reason)
      }
      do { try await Task.sleep(for: .milliseconds(250)) } catch { return }
    }
  }
}

extension Updater {
  /// A controller that is configured and does not answer may be hiding something.
  func expect(_ sources: SourceConfiguration) {
    expect(buses: sources.can.filter(\.profile.tellsOfControls).map(\.interface))
    for files in sources.files { expect(files.profile.signals, from: files.profile.name) }
    for server in sources.http { expect(server.profile.signals, from: server.address.url) }
  }

  /// Takes what the sources say until they end; all that waits is judged together.
  func listen(to sources: CoachSources) async {
    for await messages in sources.start() {
      for message in messages {
        switch message {
        case .reports(let reports, let heardAt): take(reports, heardAt: heardAt)
        case .state(let state):
          note(
            SourceDocument(
              source: state.source, isWell: state.isWell, words: state.words,
              howToClear: state.howToClear))
        }
      }
      judgeWhatWasHeard()
    }
  }
}

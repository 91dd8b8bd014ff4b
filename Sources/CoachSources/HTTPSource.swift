import Coach

/// An HTTP server that says with JSON how the coach is, such as the controller itself.
struct HTTPSource: PollingSource {
  private let configuration: SourceConfiguration.HTTP
  private var spoken: Spoken

  init(_ configuration: SourceConfiguration.HTTP) {
    self.configuration = configuration
    spoken = Spoken(configuration.profile.signals)
  }

  /// Asks for each path once. Where one of them has no answer, all that the server said before counts no
  /// more: half of its word may be the wrong half.
  mutating func poll() async -> Poll {
    let address = configuration.address
    let url = address.url
    do throws(HTTPFailure) {
      let token = try configuration.tokenFile.map(BearerToken.read)
      var reports: [Report] = []
      for path in configuration.profile.paths {
        let body = try await HTTPRequest(
          host: address.host, port: address.port, path: path, token: token
        ).body(within: configuration.timeLimit)
        guard
          let said = configuration.profile.reports(ofJSON: body, at: path, from: url)
        else {
          throw HTTPFailure(
            "The answer of \(url)\(path) is not JSON, or has more than \(Profile.keyLimit) members in a place."
          )
        }
        reports += said
      }
      if configuration.vetoOnly {
        for index in reports.indices { reports[index].vetoOnly = true }
      }
      return Poll(
        reports: spoken.complete(reports, source: url, vetoOnly: configuration.vetoOnly),
        state: SourceState(source: url, isWell: true, words: "Answers."))
    } catch {
      return Poll(
        reports: spoken.complete([], source: url, vetoOnly: configuration.vetoOnly),
        state: SourceState(
          source: url, isWell: false, words: error.words, howToClear: error.howToClear))
    }
  }
}

/// Why there is no answer that could be used.
struct HTTPFailure: Error {
  var words: String
  var howToClear: String?

  init(_ words: String, howToClear: String? = nil) {
    self.words = words
    self.howToClear = howToClear
  }
}

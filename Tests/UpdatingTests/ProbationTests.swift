import Testing

@testable import Updating

@Suite("Probation judges by what the looks have found")
struct ProbationJudgementTests {
  /// The judgement after each look, one every so many seconds: `+` is well, `-` is not.
  private func judge(
    _ looks: String, length: Int = 5, unhealthy: Int = 4, after: Int = 2, every interval: Int = 1
  ) -> (Probation.Judgement, at: Int) {
    var settings = ApplicationSettings()
    settings.unhealthySeconds = unhealthy
    settings.healthyAfter = after
    var probation = Probation(settings, length: .seconds(length))
    for (second, look) in looks.enumerated() {
      let judgement = probation.note(isHealthy: look == "+", at: .seconds(second * interval))
      if judgement != .goOn { return (judgement, second) }
    }
    return (.goOn, looks.count)
  }

  @Test("It is well at the end of its time, and not before")
  func well() {
    #expect(judge("+++++++") == (.healthy, 5))
    #expect(judge("--+++++") == (.healthy, 5))
    #expect(judge("-++++-++") == (.healthy, 7))
  }

  @Test("One that is well is never given up, however seldom somebody looks")
  func seldom() {
    #expect(judge("+++", length: 60, unhealthy: 30, after: 3, every: 60) == (.healthy, 2))
    // After a restart of the daemon, when its time is over.
    #expect(judge("-+++", length: 0, unhealthy: 30, after: 3, every: 30) == (.healthy, 3))
    #expect(judge("+-+++", length: 60, unhealthy: 30, after: 3, every: 30) == (.healthy, 4))
    #expect(judge("+--", length: 60, unhealthy: 30, after: 3, every: 30) == (.unhealthy, 2))
  }

  @Test("It is given up when it is not well for too long, at its start too")
  func unhealthy() {
    #expect(judge("------") == (.unhealthy, 4))
    #expect(judge("++------") == (.unhealthy, 6))
  }

  @Test("One good look among bad ones is no health")
  func flicker() {
    #expect(judge("-+-+-+-+", length: 60).0 == .unhealthy)
  }

  @Test("One that falls again and again is given up")
  func falls() {
    #expect(judge("++-++-++-++", length: 60) == (.unhealthy, 8))
  }

  @Test("One that alternates ends all the same")
  func ends() {
    #expect(judge(String(repeating: "+-", count: 20), length: 0).0 == .unhealthy)
    #expect(judge("++", length: 0) == (.healthy, 1))
  }
}

/// The gates of the device that chock runs on, and of its people.
extension Evaluation {
  /// Enough for the update and for its recovery (UN R156, 7.2.2.1.2): a battery well above empty lasts a
  /// small board for hours, and shore power does not end by itself.
  func power() -> Judgement {
    for (signal, name) in [
      (Signal.undervoltage, "board's supply"), (Signal.shorePower, "shore power"),
    ] {
      if let conflict = conflict(signal, name) { return conflict }
    }
    if value(Signal.undervoltage) == .flag(true) {
      return .violated(
        "The board's supply voltage is too low.", "Use a stronger power supply or a shorter cable.")
    }
    if case .stale = heard(Signal.undervoltage) {
      return unknown(Signal.undervoltage, "board's supply")
    }
    if reliable(Signal.shorePower)?.value == .text("on") {
      return .satisfied("Shore power is connected.")
    }
    if case .number(let volts) = value(Signal.supplyVoltage) {
      let text = ReadingValue.number((volts * 100).rounded() / 100)
      if volts < policy.minimumVolts {
        return .violated(
          "The battery has \(text) V; an update and its recovery need \(ReadingValue.number(policy.minimumVolts)) V.",
          "Charge the battery, or connect shore power.")
      }
      if reliable(Signal.supplyVoltage) != nil { return .satisfied("The battery has \(text) V.") }
    }
    if policy.minimumVolts == 0, reliable(Signal.undervoltage) != nil {
      return .satisfied("The board's supply voltage is good.")
    }
    return unknown(Signal.supplyVoltage, "battery voltage")
  }

  func disk() -> Judgement {
    guard let disk = facts.disk else {
      return .unknown("The free disk space is not known.", "Check the state folder of chock.")
    }
    // Megabytes, so that both numbers can be compared at a glance; rounded to the safe side.
    let needed =
      (max(0, disk.neededBytes) / 1_000_000) + (disk.neededBytes % 1_000_000 > 0 ? 1 : 0)
    let available = max(0, disk.availableBytes) / 1_000_000
    if disk.neededBytes > disk.availableBytes {
      return .violated(
        "The update needs \(needed) MB of disk space; \(available) MB are free.",
        "Free at least \(max(1, needed - available)) MB.")
    }
    let free = available < 10_000 ? "\(available) MB" : "\((available + 500) / 1000) GB"
    guard needed > 0 else { return .satisfied("\(free) are free.") }
    return .satisfied("The update needs \(needed) MB of disk space; \(free) are free.")
  }

  /// 2026-01-01 and 2100-01-01, in seconds since 1970: chock is not older, and no coach is that old.
  private static let possibleTimes = 1_767_225_600.0..<4_102_444_800.0
  /// Clocks are set back by so much when the network corrects them, in seconds.
  private static let correction = 60.0

  /// History, snapshots and locks carry times: a clock that is wrong would spoil their order.
  func clock() -> Judgement {
    let setIt = "Connect the device to the internet, or set its clock (timedatectl set-time)."
    guard Self.possibleTimes.contains(facts.clock.now) else {
      return .violated("The clock of the device is wrong.", setIt)
    }
    if let lastSeen = facts.clock.lastSeen, facts.clock.now < lastSeen - Self.correction,
      reliable(Signal.clock) == nil
    {
      return .violated(
        "The clock of the device is \(ageText(.seconds(lastSeen - facts.clock.now))) behind what chock has written down before.",
        "\(setIt) If it was wrong before and is right now, a person can attest it: clock=right.")
    }
    return .satisfied("The clock is plausible.")
  }

  func technician() -> Judgement {
    switch facts.technician {
    case .notNeeded: .satisfied("No technician is needed.")
    case .present: .satisfied("A technician has started it.")
    case .needed(let file):
      .violated(
        "\(file) needs a technician.", "Let a technician start it: `chock update` on the device.")
    }
  }

  func updateLock() -> Judgement {
    guard let lock = facts.locks.first else { return .satisfied("Nobody holds updates back.") }
    let others = facts.locks.count > 1 ? " (and \(facts.locks.count - 1) more)" : ""
    let left = ageText(.seconds(max(0, lock.expiresAt - facts.clock.now)))
    let isSentence = lock.reason.last.map { ".!?".contains($0) } ?? false
    return .violated(
      "\(lock.owner) holds updates back for \(left)\(others): \(lock.reason)\(isSentence ? "" : ".")",
      "Wait until it is released. A technician can break it: `chock coach unlock \(lock.id)`.")
  }
}

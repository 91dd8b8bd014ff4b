extension Evaluation {
  /// Speed zero, and brake or park, for long enough.
  func parked() -> Judgement {
    if let flood { return flood }
    // What speaks against it comes first, whatever else is missing.
    for (signal, name) in Self.parkedSignals {
      if let conflict = conflict(signal, name) { return conflict }
    }
    if let violation = unparked() { return violation }
    if let unknown = unknownParked() { return unknown }
    guard let parked = parkedBy() else {
      // A coach that only ever told its gear is asked for its gear.
      return isKnown(Signal.transmissionGear) && reliable(Signal.transmissionGear) == nil
        && !isKnown(Signal.parkingBrake)
        ? unknown(Signal.transmissionGear, "transmission gear")
        : unknown(Signal.parkingBrake, "parking brake")
    }
    return longEnough(parked)
  }

  private static let parkedSignals = [
    (Signal.vehicleSpeed, "vehicle speed"), (Signal.parkingBrake, "parking brake"),
    (Signal.transmissionGear, "transmission gear"), (Signal.selectedGear, "selected gear"),
    (Signal.inTow, "towing state"),
  ]

  private func unparked() -> Judgement? {
    if let speed = value(Signal.vehicleSpeed), Signal.isMoving(speed) {
      guard case .number(let speed) = speed else {
        return .violated("The coach is moving.", "Stop and park the coach.")
      }
      let tenths = ReadingValue.number((speed * 10).rounded() / 10)
      return .violated("The coach is moving at \(tenths) km/h.", "Stop and park the coach.")
    }
    if value(Signal.parkingBrake) == .text("released") {
      return .violated("The parking brake is released.", "Set the parking brake.")
    }
    if value(Signal.inTow) == .flag(true) {
      return .violated("The coach is in tow.", "Park the coach before updating.")
    }
    if let gear = value(Signal.transmissionGear),
      Signal.speaksAgainstParked(gear, Signal.transmissionGear)
    {
      return .violated("The transmission is in \(gear).", "Shift to park or neutral.")
    }
    if let gear = value(Signal.selectedGear),
      Signal.speaksAgainstParked(gear, Signal.selectedGear)
    {
      return .violated("The gear \(gear) is selected.", "Select park or neutral.")
    }
    return nil
  }

  private func unknownParked() -> Judgement? {
    if reliable(Signal.vehicleSpeed) == nil { return unknown(Signal.vehicleSpeed, "vehicle speed") }
    // What spoke against it does not become harmless by growing old.
    for (signal, name) in Self.parkedSignals {
      switch heard(signal) {
      case .contradicted: return unknown(signal, name)
      case .stale(let last) where Signal.outlastsSilence(last.value, signal):
        return unknown(signal, name)
      default: continue
      }
    }
    // Not every coach reports towing; one that does must keep doing so.
    if isKnown(Signal.inTow), value(Signal.inTow) == nil {
      return unknown(Signal.inTow, "towing state")
    }
    return nil
  }

  /// What holds the coach, and since when all of that is so.
  private func parkedBy() -> (by: String, readings: [Reading])? {
    let others = [reliable(Signal.vehicleSpeed), reliable(Signal.inTow)].compactMap { $0 }
    if let brake = reliable(Signal.parkingBrake), brake.value == .text("engaged") {
      return ("the parking brake set", others + [brake])
    }
    if let gear = reliable(Signal.transmissionGear), gear.value == .text("park") {
      return ("the transmission in park", others + [gear])
    }
    return nil
  }

  /// A coach that has just stopped, at a traffic light for example, is not parked yet. A person's word
  /// needs no waiting.
  private func longEnough(_ parked: (by: String, readings: [Reading])) -> Judgement {
    let devices = parked.readings.filter { !$0.isAttested }.map(\.since)
    if let since = (devices + [readings.unparkedAt].compactMap { $0 }).max() {
      let seconds = since.duration(to: now).components.seconds
      if seconds < policy.parkedForSeconds {
        return .violated(
          "The coach stands with \(parked.by), and has done so for \(seconds) s of \(policy.parkedForSeconds) s.",
          "Wait \(Int64(policy.parkedForSeconds) - seconds) s.")
      }
    }
    return .satisfied("The coach stands still with \(parked.by).")
  }
}

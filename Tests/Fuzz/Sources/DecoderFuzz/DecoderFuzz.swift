import Coach

/// What the decoder makes of bytes from outside: nothing may stop it. libFuzzer calls this with more and
/// more inputs; the first byte says which door they come in by.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let input = UnsafeRawBufferPointer(start: start, count: count)
  guard let door = input.first else { return 0 }
  let rest = UnsafeRawBufferPointer(rebasing: input.dropFirst())
  switch door {
  case UInt8(ascii: "F"): fuzzFrame(rest)
  case UInt8(ascii: "J"): fuzzDocument(rest)
  case UInt8(ascii: "S"): fuzzFile(rest)
  case UInt8(ascii: "C"): fuzzCandump(rest)
  case UInt8(ascii: "P"): fuzzProfile(rest)
  // Not added to the corpus.
  default: return -1
  }
  return 0
}

private let profiles = Profile.builtInNames.compactMap(Profile.builtIn)

private func fuzzFrame(_ bytes: UnsafeRawBufferPointer) {
  guard let frame = CANFrame(bytes) else { return }
  for profile in profiles {
    for report in profile.reports(of: frame, from: "can0") {
      precondition(report.evidence == "\(frame)")
    }
  }
}

private func fuzzDocument(_ bytes: UnsafeRawBufferPointer) {
  for profile in profiles {
    for path in profile.paths {
      for report in profile.reports(ofJSON: Array(bytes), at: path, from: "controller") ?? [] {
        precondition(report.vetoOnly && report.evidence?.count ?? 0 <= 161)
      }
    }
  }
}

private func fuzzFile(_ bytes: UnsafeRawBufferPointer) {
  let text = String(decoding: bytes, as: UTF8.self)
  for profile in profiles {
    for pattern in profile.files {
      _ = profile.reports(ofFile: text, at: pattern, path: pattern, from: "pi")
    }
  }
}

private func fuzzCandump(_ bytes: UnsafeRawBufferPointer) {
  let text = String(decoding: bytes, as: UTF8.self)
  guard let line = CandumpLine(text[...]) else { return }
  guard let again = CandumpLine(line.text[...]) else { preconditionFailure("\(line.text)") }
  precondition(again.frame == line.frame && again.bus == line.bus, "\(line.text)")
  precondition(abs(again.seconds - line.seconds) < 0.001, "\(line.text)")
}

private func fuzzProfile(_ bytes: UnsafeRawBufferPointer) {
  let text = String(decoding: bytes, as: UTF8.self)
  guard let profile = try? Profile(text: text, file: "fuzz.toml") else { return }
  for dgn in profile.dgns {
    for byte in [0x00, 0x01, 0xFC, 0xFF] as [UInt8] {
      for length in 0...8 {
        let data = [UInt8](repeating: byte, count: length)
        _ = profile.reports(of: CANFrame(id: dgn << 8 | 0x9C, data: data), from: "can0")
      }
    }
  }
  let document = Array(#"{"a": {"b": [true, 1, "on"], "c": {"d": 2}}, "x": -0.5}"#.utf8)
  for path in profile.paths { _ = profile.reports(ofJSON: document, at: path, from: "x") }
  for pattern in profile.files {
    for text in ["1\n", "0x50005", "on"] {
      _ = profile.reports(ofFile: text, at: pattern, path: pattern, from: "x")
    }
  }
}

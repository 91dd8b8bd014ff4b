extension Profile {
  private static let builtIn: [(name: String, bytes: [UInt8])] = [
    ("rvc", PackageResources.rvc_toml),
    ("rvc-multiplexed", PackageResources.rvc_multiplexed_toml),
    ("rvc-alarms", PackageResources.rvc_alarms_toml),
    ("j1939", PackageResources.j1939_toml),
    ("no-chassis-bus", PackageResources.no_chassis_bus_toml),
    ("coachiq", PackageResources.coachiq_toml),
    ("raspberry-pi", PackageResources.raspberry_pi_toml),
  ]

  /// The profiles that are part of the binary.
  public static let builtInNames = builtIn.map(\.name)

  /// The text of a built-in profile, to be copied and changed; nil when there is none of that name.
  public static func text(ofBuiltIn name: String) -> String? {
    builtIn.first { $0.name == name }.map { String(decoding: $0.bytes, as: UTF8.self) }
  }

  /// Nil when there is none of that name.
  public static func builtIn(_ name: String) -> Profile? {
    text(ofBuiltIn: name).flatMap { try? Profile(text: $0, file: "\(name).toml") }
  }
}

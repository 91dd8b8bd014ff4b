// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

// A package of its own: libFuzzer brings its own main and instruments all that it builds.
let package = Package(
  name: "Fuzz",
  dependencies: [
    .package(url: "https://github.com/LebJe/TOMLKit.git", from: "0.6.0")
  ],
  targets: [
    .target(
      name: "Coach",
      dependencies: [.product(name: "TOMLKit", package: "TOMLKit")],
      resources: [.embedInCode("Profiles")],
      swiftSettings: strict),
    .executableTarget(
      name: "DecoderFuzz", dependencies: ["Coach"],
      swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])],
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]),
  ]
)

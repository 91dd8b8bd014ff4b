// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "chock",
  products: [
    .executable(name: "chock", targets: ["chock"]),
    // A product, so that building the tests makes the library that they preload into chock.
    .library(name: "IOShim", type: .dynamic, targets: ["IOShim"]),
  ],
  dependencies: [
    // Why each of these: docs/decisions/.
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2"),
    .package(
      url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
    .package(url: "https://github.com/apple/swift-system.git", from: "1.8.1"),
    .package(url: "https://github.com/LebJe/TOMLKit.git", from: "0.6.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess.git", from: "1.0.2", traits: []),
  ],
  targets: [
    .target(name: "CSQLite"),
    .target(name: "CLinux"),
    .target(name: "SQLite", dependencies: ["CSQLite"], swiftSettings: strict),
    .target(
      name: "Migrations",
      dependencies: [.product(name: "Crypto", package: "swift-crypto")],
      swiftSettings: strict),
    .target(
      name: "Coach",
      dependencies: [.product(name: "TOMLKit", package: "TOMLKit")],
      resources: [.embedInCode("Profiles")],
      swiftSettings: strict),
    .target(
      name: "CoachSources",
      dependencies: [
        "Coach",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: strict),
    .target(
      name: "Storage",
      dependencies: [
        "SQLite", "Migrations", "CLinux",
        .product(name: "Crypto", package: "swift-crypto"),
      ],
      swiftSettings: strict),
    .target(
      name: "Authoring", dependencies: ["SQLite", "Storage", "Migrations"], swiftSettings: strict),
    .target(
      name: "Updating",
      dependencies: [
        "Authoring", "SQLite", "Storage", "Migrations", "Coach",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "CryptoExtras", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .target(
      name: "ControlServer",
      dependencies: [
        "Updating", "Authoring", "Storage", "Migrations", "Coach",
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOExtras", package: "swift-nio-extras"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      resources: [.embedInCode("Assets"), .embedInCode("Interface")],
      swiftSettings: strict),
    .executableTarget(
      name: "chock",
      dependencies: [
        "ControlServer", "Updating", "Authoring", "Storage", "SQLite", "Migrations", "Coach",
        "CoachSources",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "TOMLKit", package: "TOMLKit"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    // Tests: one target beside each target, and Acceptance for the real binary.
    .target(name: "IOShim", path: "Tests/IOShim"),
    .target(
      name: "TestSupport",
      dependencies: [
        "SQLite", "Storage", "Migrations", "Updating", "Coach",
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Tests/TestSupport", swiftSettings: strict),
    // Only for Tests/Protocol/autobahn.py.
    .executableTarget(
      name: "WebSocketEcho",
      dependencies: [
        "ControlServer", "Updating",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      path: "Tests/WebSocketEcho", swiftSettings: strict),
    .testTarget(
      name: "SQLiteTests", dependencies: ["SQLite", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "MigrationsTests", dependencies: ["Migrations"], swiftSettings: strict),
    .testTarget(name: "CoachTests", dependencies: ["Coach"], swiftSettings: strict),
    .testTarget(
      name: "CoachSourcesTests", dependencies: ["CoachSources", "Coach", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "StorageTests", dependencies: ["Storage", "SQLite", "Migrations", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "AuthoringTests",
      dependencies: ["Authoring", "Storage", "SQLite", "Migrations", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "UpdatingTests",
      dependencies: [
        "Updating", "Storage", "Migrations", "Coach", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ControlServerTests",
      dependencies: [
        "ControlServer", "Updating", "Storage", "Migrations", "Coach", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "AcceptanceTests",
      dependencies: [
        "chock", "Authoring", "ControlServer", "Coach", "SQLite", "Storage", "Migrations",
        "Updating", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Tests/Acceptance", swiftSettings: strict),
  ]
)

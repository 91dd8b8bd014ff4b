// swift-tools-version: 6.2
import PackageDescription

// A package of its own: chock does not depend on GRDB, only its benchmark does.
let package = Package(
  name: "GRDBMigrator",
  dependencies: [
    .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0")
  ],
  targets: [
    .executableTarget(
      name: "GRDBMigrator",
      dependencies: [.product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: [.treatAllWarnings(as: .error)])
  ]
)

// Applies the .sql files of a folder with GRDB's DatabaseMigrator: GRDBMigrator DATABASE FOLDER.
// It prints the seconds of `migrate` alone, without the start of the process and the reading of the files.

import Foundation
import GRDB

let arguments = CommandLine.arguments
guard arguments.count == 3 else { exit(64) }
let folder = URL(filePath: arguments[2])
var migrator = DatabaseMigrator()
for name in try FileManager.default.contentsOfDirectory(atPath: folder.path()).sorted() {
  let sql = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
  migrator.registerMigration(name) { database in try database.execute(sql: sql) }
}
var configuration = Configuration()
// As durable as chock's commit.
configuration.prepareDatabase { try $0.execute(sql: "PRAGMA synchronous = EXTRA") }
let database = try DatabaseQueue(path: arguments[1], configuration: configuration)
let duration = try ContinuousClock().measure { try migrator.migrate(database) }
print(duration / .seconds(1))

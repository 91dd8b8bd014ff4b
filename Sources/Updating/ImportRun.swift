import Migrations
import Storage

/// Puts in again what a rollback took out.
struct ImportRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    RowsRun(context: context)() { live, version throws(Failure) in
      guard let export = context.order.export else {
        throw Failure(.usage, "The order names no export.")
      }
      let folder = "\(context.settings.exportsFolder)/\(export)"
      let document = try Importer.document(in: folder)
      context.set(import: folder, at: version)
      let bytes = document.tables.reduce(0 as Int64) {
        $0 + (FileSystem.facts("\(folder)/\($1.file)")?.size ?? 0)
      }
      // With their indexes.
      return Rows(bytes: bytes * 4) { transaction, _ throws(Failure) in
        let importer = Importer(
          live, folder: folder, replaces: context.order.replaces, stop: context.stop)
        context.progress("import", "Putting in what was exported")
        context.set(
          imported: try transaction.importRows(importer, from: export, context.applyOrder))
      }
    }
  }
}

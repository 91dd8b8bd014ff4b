import Migrations
import SQLite
import Storage

/// Puts in again what a restore took out.
struct RescueRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    RowsRun(context: context)() { live, version throws(Failure) in
      let id = try context.wantedSnapshot()
      let rescues = RescueCopies(settings: context.settings)
      let (path, rescue) = try rescues.find(id)
      context.set(rescueOf: rescue.copy, at: version)
      // What is put in has to be what was kept.
      for id in [id, rescue.snapshot].compactMap({ $0 }) {
        _ = try context.snapshots.verify(id, stop: context.stop)
      }
      let states = try RescueVersions(
        context: context, copy: rescue.copy.id, path,
        base: rescue.snapshot == nil ? nil : try rescues.base(of: rescue), live
      ).states()
      // At most all that the copy holds.
      return Rows(bytes: rescue.copy.sizeBytes * 2, enforcesForeignKeys: true) {
        transaction, before throws(Failure) in
        let rescuer = Rescuer(
          live, copy: states.copy, base: states.base ?? before, knowsBase: states.base != nil,
          former: states.former, mayBeDamaged: rescue.copy.mayBeDamaged, leftOut: states.leftOut,
          context.order.rescue ?? Rescuer.Request(), stop: context.stop
        ) { table, rows in
          context.progress("rescue", "Putting in what was kept of \(table)", done: rows)
        }
        context.progress("rescue", "Putting in what was kept")
        context.set(
          rescued: try transaction.rescueRows(rescuer, from: id, context.applyOrder))
      }
    }
  }
}

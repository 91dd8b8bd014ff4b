import Crypto
public import Migrations
public import SQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A snapshot that comes from a place where others can write: nothing that it says is believed before it was
/// checked.
public enum ForeignSnapshot {
  /// Of a description.
  static let mostBytes = 64 << 10

  /// Reads a description.
  ///
  /// - Throws: `.foreignSnapshot` with the field that chock would not have written so.
  static func document(
    _ bytes: [UInt8], id: String, path: String
  ) throws(Failure) -> SnapshotDocument {
    func wrong(_ words: String) -> Failure {
      Failure(
        .foreignSnapshot, "\(id).json is no description of a snapshot: \(words)", file: path,
        howToClear: "Use another copy.")
    }
    let document: SnapshotDocument
    do {
      document = try JSON.decode(SnapshotDocument.self, from: bytes)
    } catch let error as DecodingError {
      throw wrong(words(error))
    } catch {
      throw wrong("it is no JSON.")
    }
    func isText(_ text: String?, most: Int) -> Bool {
      guard let text else { return true }
      return text.utf8.count <= most && text.unicodeScalars.allSatisfy { $0.value >= 0x20 }
    }
    let checks: [(String, Bool)] = [
      ("schema", document.schema == "chock.SNAPSHOT/1"),
      ("id", document.id == id && SnapshotStore.isID(id)),
      (
        "created_at",
        Timestamp.date(document.createdAt) != nil && document.createdAt.utf8.count <= 32
      ),
      ("database_path", isText(document.databasePath, most: 4096)),
      (
        "version", document.version.map { SchemaVersion($0) != nil && $0.utf8.count <= 128 } ?? true
      ),
      ("sha256", document.sha256.map(isDigest) ?? false),
      ("size_bytes", document.sizeBytes > 0),
      ("fingerprint", isText(document.fingerprint, most: 256)),
      (
        "journal_mode",
        document.journalMode.map {
          ["wal", "delete", "truncate", "persist", "memory", "off"].contains($0)
        } ?? true
      ),
      ("run", isText(document.run, most: 128)),
      (
        "verified_at",
        document.verifiedAt.map { Timestamp.date($0) != nil && $0.utf8.count <= 32 } ?? true
      ),
      ("sqlite_version", isText(document.sqliteVersion, most: 64)),
      ("chock_version", isText(document.chockVersion, most: 64)),
      ("copied_by", isText(document.copiedBy, most: 64)),
      ("damage", isText(document.damage, most: 16 << 10)),
    ]
    if let (field, _) = checks.first(where: { !$0.1 }) {
      throw wrong("its \(field) is not one that chock writes.")
    }
    return document
  }

  private static func isDigest(_ text: String) -> Bool {
    text.utf8.count == 64 && text.allSatisfy { "0123456789abcdef".contains($0) }
  }

  private static func words(_ error: DecodingError) -> String {
    func field(_ context: DecodingError.Context) -> String {
      context.codingPath.last.map { "its \($0.stringValue)" } ?? "what it holds"
    }
    return switch error {
    case .keyNotFound(let key, _): "it has no \(key.stringValue)."
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      "\(field(context)) is of the wrong kind."
    case .dataCorrupted(let context) where !context.codingPath.isEmpty:
      "\(field(context)) cannot be read."
    default: "it is no JSON."
    }
  }
}

extension SnapshotStore {
  /// What chock gives as ids, and what is fit to be a file's name anywhere.
  static func isID(_ id: String) -> Bool {
    (1...64).contains(id.utf8.count)
      && id.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
  }

  /// Takes in a snapshot from elsewhere: copies it into the own folder and compares it with its digest; then looks
  /// into it, as into what somebody else may have made; and only when all is well gives it its name.
  ///
  /// - Parameters:
  ///   - catalog: the migrations of this controller: what the snapshot's ledger has to agree with.
  ///   - applicationID: of the database here; nil when it cannot be read.
  ///   - differences: what its schema has that nobody here knows, each in words; empty: it is a known one.
  /// - Throws: `.notFound`, `.foreignSnapshot`, `.notAllowed` for that of another database, `.noSpace`, `.copyPlace`,
  ///   or the stop that was requested. Nothing is left then.
  public func takeIn(
    _ id: String, from copies: SnapshotCopies, catalog: MigrationCatalog, applicationID: Int64?,
    differences: (Connection, Ledger) throws(Failure) -> [String], stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> SnapshotDocument {
    guard Self.isID(id) else {
      throw Failure(
        .notFound, "\(id) is no id of a snapshot.",
        howToClear: "`chock snapshots list --from PLACE` shows what there is.")
    }
    let told = try copies.description(id)
    try told.checkBelongs(to: copies.database)
    if let here = try? find(id).document {
      guard here.sha256 == told.sha256 else {
        throw Failure(
          .foreignSnapshot, "There is another snapshot \(id) here, with another content.",
          file: folder, howToClear: "`chock snapshots verify \(id)` says whether that one is good.")
      }
      return try verify(id, stop: stop)
    }
    try FileSystem.makeFolder(folder)
    let partial =
      "\(folder)/\(id).sqlite.\(String(UInt32.random(in: 0...(.max)), radix: 16)).partial"
    do throws(Failure) {
      try fetch(told, from: copies.folder, to: partial, stop: stop, progress: progress)
      let document = try look(
        into: partial, told, at: "\(copies.folder.path)/\(id).sqlite", catalog: catalog,
        applicationID: applicationID, differences: differences, stop: stop, progress: progress)
      try FileSystem.replace(
        "\(folder)/\(id).json", with: try JSON.encode(document, pretty: true))
      try FileSystem.rename(partial, to: "\(folder)/\(id).sqlite")
      return document
    } catch {
      try? FileSystem.remove(partial)
      throw stop.requested ?? error
    }
  }

  private func fetch(
    _ told: SnapshotDocument, from place: PlaceFolder, to partial: String, stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) {
    let name = "\(told.id).sqlite"
    func differs(_ words: String) -> Failure {
      Failure(
        .foreignSnapshot, "\(name) is not what its description says: \(words)",
        file: "\(place.path)/\(name)", howToClear: "Use another copy.")
    }
    guard place.size(of: name) == told.sizeBytes else { throw differs("its size differs.") }
    let available = try FileSystem.availableBytes(at: folder)
    guard available >= told.sizeBytes + 16 << 20 else {
      throw FileSystem.noSpace(folder, "\(ByteCount.text(told.sizeBytes)) are to be fetched")
    }
    let file = try FileSystem.create(partial, O_WRONLY | O_EXCL)
    defer { close(file) }
    var hash = SHA256()
    var done: Int64 = 0
    try place.forEachChunk(of: name) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
      try stop.check()
      done += Int64(chunk.count)
      guard done <= told.sizeBytes else { throw differs("it grows while it is read.") }
      hash.update(bufferPointer: chunk)
      try FileSystem.writeAll(Array(chunk), to: file, named: partial)
      progress("fetch", done, told.sizeBytes)
    }
    guard done == told.sizeBytes, Fingerprint.hex(hash.finalize()) == told.sha256 else {
      throw differs("its digest differs.")
    }
    guard fsync(file) == 0 else { throw FileSystem.failure("sync", partial) }
  }

  /// What is in it, found out by ourselves; the description counts where it agrees.
  private func look(
    into partial: String, _ told: SnapshotDocument, at origin: String, catalog: MigrationCatalog,
    applicationID: Int64?, differences: (Connection, Ledger) throws(Failure) -> [String],
    stop: StopSignal, progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> SnapshotDocument {
    // The file of the message is the one that stays.
    func unfit(
      _ words: String, _ wayOut: String = "Use another copy, or another snapshot."
    ) -> Failure {
      Failure(
        .foreignSnapshot, "Snapshot \(told.id) is not taken in: \(words)", file: origin,
        howToClear: wayOut)
    }
    do throws(Failure) {
      progress("check", 0, 1)
      // Bytes 18 and 19: 1 where no log is expected beside the file
      // (<https://sqlite.org/fileformat2.html#file_format_version_numbers>).
      let header = try FileSystem.head(partial, bytes: 100)
      guard header.count == 100, header.starts(with: Array("SQLite format 3\0".utf8)),
        header[18] == 1, header[19] == 1
      else { throw unfit("it is no snapshot as chock writes them.") }
      let foreign = try Database.catching(partial) { () throws(SQLiteError) in
        try Connection(path: partial, mode: .foreign)
      }
      foreign.interrupt { stop.requested != nil }
      try Database.check(foreign, .full, file: partial, failingAs: .databaseCorrupt)
      let theirs = try Database.catching(partial) { () throws(SQLiteError) in
        try foreign.integer("PRAGMA application_id") ?? 0
      }
      if let applicationID, theirs != applicationID {
        throw unfit(
          "its application_id is \(theirs), and that of the database here \(applicationID).")
      }
      guard let ledger = try LedgerTable.read(foreign), !ledger.isBlank else {
        throw unfit("it has no ledger of chock, so nobody knows whose it is.")
      }
      guard ledger.current.description == told.version else {
        throw unfit(
          "its ledger says version \(ledger.current), its description \(told.version ?? "none").")
      }
      // The same files, with the same content, as this controller has.
      do throws(Failure) {
        _ = try Plan(catalog: catalog, ledger: ledger)
      } catch {
        throw unfit("it does not fit the migrations here. \(error.message)")
      }
      let unknown = try differences(foreign, ledger)
      guard unknown.isEmpty else {
        let shown = unknown.prefix(10).joined(separator: ", ")
        throw unfit(
          "its schema is not what the migrations here make at version \(ledger.current), and differs from what is here: "
            + shown + (unknown.count > 10 ? " and \(unknown.count - 10) more." : "."),
          "Use another snapshot. Whoever knows that this is right puts the file in the database's place by hand, with chock and the application stopped."
        )
      }
      progress("fingerprint", 0, 1)
      let fingerprint = try Fingerprint(foreign, stop: stop).total
      guard told.knownFingerprint == nil || told.knownFingerprint == fingerprint else {
        throw unfit("its content is not what its description says.")
      }
      // Nothing else of the description is kept: not its run, nor a pin.
      return SnapshotDocument(
        id: told.id, createdAt: told.createdAt, databasePath: told.databasePath,
        version: ledger.current.description, sha256: told.sha256, sizeBytes: told.sizeBytes,
        fingerprint: fingerprint, journalMode: told.journalMode, reason: told.reason, run: nil,
        pinned: false, verifiedAt: Timestamp.now(), sqliteVersion: told.sqliteVersion,
        chockVersion: told.chockVersion)
    } catch {
      if let requested = stop.requested { throw requested }
      // What SQLite says of a file that somebody has made up.
      guard error.code.isUnreadableDatabase || error.code == .inputOutput else { throw error }
      throw unfit(error.message.replacing(partial, with: origin))
    }
  }
}

extension FileSystem {
  /// The first bytes of a file.
  fileprivate static func head(_ path: String, bytes count: Int) throws(Failure) -> [UInt8] {
    var head: [UInt8] = []
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { throw failure("open", path) }
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: count)
    let read = Glibc.read(file, &buffer, count)
    guard read >= 0 else { throw failure("read", path) }
    head = Array(buffer.prefix(read))
    return head
  }
}

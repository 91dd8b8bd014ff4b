extension Failure.Code {
  /// A code in words: `chock explain`, docs/failures.md.
  public struct Explanation: Sendable, Equatable, Codable {
    /// When it comes.
    public var meaning: String
    /// What chock has done by itself.
    public var done: String
    /// What a person does next.
    public var next: String

    init(_ meaning: String, done: String, next: String) {
      self.meaning = meaning
      self.done = done
      self.next = next
    }
  }

  private static let nothing = "Nothing. Nothing was changed."
  private static let putBack =
    "Found in the rehearsal: nothing was changed. Found in the run: everything was put back."

  public var explanation: Explanation {
    switch self {
    case .usage, .badConfig, .coachFile, .notAllowed, .notSignedIn, .pin, .pinNeeded, .approval,
      .keyReused, .consentMissing, .planChanged, .notFound, .input:
      ofRequest
    case .migrationsMissing, .migrationFile, .migrationOrder, .rollbackMissing, .drift,
      .databaseNewer, .unadopted:
      ofFiles
    case .databaseMissing, .databaseExists, .databaseEmpty, .notADatabase, .databaseCorrupt,
      .databaseReadOnly, .databaseLocked, .inputOutput:
      ofDatabase
    case .application, .applicationStop, .applicationUnhealthy, .moreErrors: ofApplication
    case .gateClosed, .runActive, .noSpace, .noDaemon, .busy: ofTheMoment
    case .preflight, .statement, .forbiddenStatement, .timeout, .stopped, .validation,
      .foreignKeys, .rowsLost, .expectation, .conflict, .integrity, .snapshotDamaged, .interrupted,
      .needsPerson, .recoveryMode:
      ofRun
    case .copyPlace, .foreignSnapshot: ofCopies
    }
  }

  private var ofRequest: Explanation {
    switch self {
    case .badConfig:
      Explanation(
        "A key of the config is unknown, has a wrong value, or asks for what production never allows.",
        done: "chock has not started.",
        next:
          "Mend the line that the message names, then start chock again. `chock doctor` checks the rest."
      )
    case .coachFile:
      Explanation(
        "A profile of signals, or a recording of the bus, cannot be read.",
        done: "The daemon has not started, or the recording was not replayed.",
        next:
          "Mend the line that the message names; `chock coach profile check FILE` looks at it alone."
      )
    case .notAllowed:
      Explanation(
        "The role of whoever asks is not enough, or it is something that nobody may do.",
        done: "Nothing. It is in the audit.",
        next:
          "Do what the message names: mostly a technician signs in, or runs the command on the device."
      )
    case .notSignedIn:
      Explanation(
        "Nobody knows who asks.", done: Self.nothing,
        next: "Pair the device: `chock pair` on the coach shows a code.")
    case .pin:
      Explanation(
        "A PIN is missing or wrong, or its time of waiting after wrong ones is not over.",
        done: "Nothing. Wrong ones are counted, also over a restart.",
        next: "Enter the PIN of your role. A technician sets a new one with `chock pin set`.")
    case .pinNeeded:
      Explanation(
        "The first owner who pairs a device chooses the owner's PIN.", done: Self.nothing,
        next: "Enter a PIN of 4 to 12 digits with the code.")
    case .approval:
      Explanation(
        "Two persons have to agree (`access.approvals = 2`), and the second one has not.",
        done: Self.nothing,
        next: "Another person presses Approve on their own device; then start it within 15 minutes."
      )
    case .keyReused:
      Explanation(
        "An Idempotency-Key came with another request before.", done: Self.nothing,
        next: "Use a new key for every new request.")
    case .consentMissing:
      Explanation(
        "Nobody has said yes to this plan.", done: Self.nothing,
        next: "Look at the plan and confirm it: in the panel, or `chock update --yes`.")
    case .planChanged:
      Explanation(
        "What was agreed to is not what would be done: files or database have changed since, or the consent was used.",
        done: Self.nothing, next: "Look at the plan again, and confirm it.")
    case .notFound:
      Explanation(
        "There is no run, snapshot, device, file or address of this name.", done: Self.nothing,
        next: "List what there is: `chock history`, `chock snapshots`, `chock devices`.")
    case .input:
      Explanation(
        "A question of the plan has no answer, or one that may not be given.", done: Self.nothing,
        next:
          "Answer it in the panel, or with `--input NAME=VALUE`; `chock plan` lists the questions.")
    default:
      Explanation(
        "The request or the command is not one that chock knows.", done: Self.nothing,
        next:
          "The message names the field or the option; `chock help VERB` and docs/protocol.md have them all."
      )
    }
  }

  private var ofCopies: Explanation {
    switch self {
    case .foreignSnapshot:
      Explanation(
        "A copy of a snapshot that was to be fetched is not what its description says, or not of this controller.",
        done: "Nothing was taken in, and nothing was changed.",
        next:
          "Use another copy: `chock snapshots list --from PLACE` shows them. Install the software that it belongs to, when the message says that migrations differ."
      )
    default:
      Explanation(
        "A stick or folder for copies of snapshots is not there, cannot be read or written, or is too slow.",
        done:
          "The snapshot here is whole, and no update waits for its copy. It is tried again; a copy that was begun does not count.",
        next:
          "Put the stick in, or mount the folder, then `chock snapshots copy`. `chock status` says how old the last copy is."
      )
    }
  }

  private var ofFiles: Explanation {
    switch self {
    case .migrationsMissing:
      Explanation(
        "The folder of migration files is missing, or empty.",
        done: "The coach goes on with the schema that it has.",
        next: "Install the software's migrations, or mend `migrations.directory`.")
    case .migrationFile:
      Explanation(
        "A migration file has a wrong name, header or statement.",
        done: "No update is offered; the coach goes on with the schema that it has.",
        next: "Its author mends the file and line; `chock lint` finds the rest.")
    case .migrationOrder:
      Explanation(
        "Files contradict each other: two of one version, a circle, or one that needs what is not there.",
        done: "No update is offered; the coach goes on with the schema that it has.",
        next: "Their author puts them in order; `chock lint` shows it.")
    case .rollbackMissing:
      Explanation(
        "A migration on the way back has no rollback file.", done: Self.nothing,
        next:
          "Restore the snapshot from before the update instead: `chock snapshots`, `chock restore ID`."
      )
    case .drift:
      Explanation(
        "A file that was applied has changed since, or the database's schema is not what its files make.",
        done:
          "No update is offered; the coach goes on with the schema that it has. A production daemon that starts so is in recovery mode.",
        next:
          "Bring back the released file. `chock diff` shows the schema; `chock repair --reason WORDS` accepts it."
      )
    case .databaseNewer:
      Explanation(
        "The database is at a version that no file here leads to: older software on newer data.",
        done:
          "Nothing is offered, and nothing was changed. A production daemon that starts so is in recovery mode.",
        next: "Install the newer software again, or restore a snapshot of the older version.")
    default:
      Explanation(
        "The database has tables and no ledger: nobody has said at which version it is.",
        done: "Nothing is offered, and nothing was changed.",
        next: "A technician runs `chock adopt`, once.")
    }
  }

  private var ofDatabase: Explanation {
    switch self {
    case .databaseMissing:
      Explanation(
        "There is no database at the path of the config.",
        done:
          "Nothing. chock makes none by itself, so that a lost one is noticed. A production daemon that starts so and has snapshots is in recovery mode.",
        next:
          "Mend `database.path`; or `chock restore ID` from a snapshot; or, for a new coach, `chock init`."
      )
    case .databaseExists:
      Explanation(
        "A new database was to be made where there is a file already.", done: Self.nothing,
        next: "Name another path, or leave it: the database is there.")
    case .databaseEmpty:
      Explanation(
        "The database has no table at all.",
        done:
          "Nothing was changed. A production daemon that starts so and has snapshots is in recovery mode.",
        next:
          "When its content was lost: `chock restore ID`. For a new coach remove the file, then `chock init`."
      )
    case .notADatabase:
      Explanation(
        "The file is not one of SQLite.", done: Self.nothing,
        next: "Look at `database.path`. When the file was overwritten: `chock restore ID`.")
    case .databaseCorrupt:
      Explanation(
        "The database is damaged.",
        done: "Nothing more is changed by itself. Found in a run: everything was put back.",
        next:
          "Read what can still be read into a snapshot: `chock rescue salvage`. Then restore the newest good snapshot: `chock snapshots verify --restore`, `chock restore ID`."
      )
    case .databaseReadOnly:
      Explanation(
        "The database, or the disk under it, can only be read.",
        done: "Nothing was changed, or everything was put back.",
        next:
          "Let chock run as the owner of the database. A card that has become read-only is often failing: copy the snapshots away and replace it."
      )
    case .databaseLocked:
      Explanation(
        "A program has held the database for too long.",
        done: "Nothing was changed. An update for tonight is tried again within its window.",
        next:
          "`chock doctor` names the programs that have it open; stop the application, or try again."
      )
    default:
      Explanation(
        "The operating system refused to read or write.",
        done: "Nothing was changed, or everything was put back.",
        next:
          "The message names the file. `chock doctor` looks at folders and rights, `dmesg` at the card."
      )
    }
  }

  private var ofApplication: Explanation {
    switch self {
    case .applicationStop:
      Explanation(
        "The application does not stop, or somebody starts it again while its database is changed.",
        done:
          "What was stopped is started again. Found before the change: nothing was changed. Found in it: everything was put back.",
        next:
          "Find out who starts it, or why it does not stop (`systemctl status UNIT`), then try again."
      )
    case .applicationUnhealthy:
      Explanation(
        "After the update the application was not well, or crashed again and again.",
        done:
          "The old state was put back, what was recorded since is in the rescue copy, and the application runs with the old schema (safe mode).",
        next:
          "Send the checks that failed to the maker of the application. `chock history` names the rescue copy."
      )
    case .moreErrors:
      Explanation(
        "In the days after an update the application makes clearly more errors than before.",
        done: "Nothing but telling it. The database stays as it is.",
        next:
          "Look at the application's log, and ask its maker. When it has to be undone: `chock restore ID` of the snapshot that `chock history` names."
      )
    default:
      Explanation(
        "A unit or a command of `[application]` cannot be asked, or could not be started again.",
        done:
          "Found before: nothing was changed. At the end: the database is as the result says, and the application is down.",
        next: "Mend what the message names; `systemctl status UNIT` says why it does not start.")
    }
  }

  private var ofTheMoment: Explanation {
    switch self {
    case .gateClosed:
      Explanation(
        "The coach is not safe for an update, or nobody knows: each condition is named with how to clear it.",
        done:
          "Before the change: it waited for up to two minutes, then ended with nothing changed. From then on: everything was put back.",
        next:
          "Clear what is named; where no sensor says it, give your word in the panel or with `--attest`."
      )
    case .runActive:
      Explanation(
        "Another run is active; there is one at a time.", done: Self.nothing,
        next: "Wait for its end; `chock status` shows it.")
    case .noSpace:
      Explanation(
        "There is not enough space for the snapshot, the rehearsal or the change.",
        done: "Found before: nothing was changed. Found in the run: everything was put back.",
        next:
          "Free what the message names: `chock snapshots prune`, `chock snapshots delete ID`, or other files of that disk."
      )
    case .noDaemon:
      Explanation(
        "No daemon answers at its socket.", done: Self.nothing,
        next: "`systemctl start chock`, or add `--offline` where the verb has it.")
    default:
      Explanation(
        "All connections of the server are taken.", done: "The probes are still answered.",
        next: "Close panels that nobody looks at, and try again in a moment.")
    }
  }

  private var ofRun: Explanation {
    switch self {
    case .preflight:
      Explanation(
        "A migration looked at the database first and found that it does not fit.",
        done: "Nothing was changed.",
        next: "The message says what the author wants to be mended; then try again.")
    case .statement:
      Explanation(
        "A statement of a migration failed.", done: Self.putBack,
        next: "Send file, line and statement to the author of the migration.")
    case .forbiddenStatement:
      Explanation(
        "A migration does what only chock may do: begin or end a transaction, attach a file, change the ledger.",
        done: Self.putBack, next: "Its author removes the statement that is named.")
    case .timeout:
      Explanation(
        "A statement, or the whole run, took longer than its limit; or counting what a restore takes out did, beside the application.",
        done: Self.putBack,
        next:
          "`chock rehearse` says how long it takes; raise `update.migration_timeout_seconds`, or the file's Timeout. To count with more time, stop the application, and `chock diff ID live`."
      )
    case .stopped:
      Explanation(
        "Somebody cancelled the run.", done: "Everything is as it was before it.",
        next: "Start it again when you like.")
    case .validation:
      Explanation(
        "A check that a migration brings along found a problem in its result.", done: Self.putBack,
        next: "Send the message to the author of the migration.")
    case .foreignKeys:
      Explanation(
        "Rows would point to rows that are not there (any more).", done: Self.putBack,
        next:
          "Send the message to the author of the migration. Old ones are mended in the application."
      )
    case .rowsLost:
      Explanation(
        "Rows would be gone that the migration does not declare.", done: Self.putBack,
        next: "Send the message to the author of the migration.")
    case .expectation:
      Explanation(
        "The result is not what the migration says it would be, or not what the rehearsal gave.",
        done: Self.putBack,
        next:
          "Send the message to the author of the migration. When the application wrote meanwhile, try again with it stopped."
      )
    case .conflict:
      Explanation(
        "With --strict, rows of a rescue copy would have to be left out.",
        done: "Put in none of them; the database is as it was.",
        next: "Without --strict the others are put in, and these are listed.")
    case .integrity:
      Explanation(
        "SQLite's own check of the result, or of the database before it, found an error.",
        done: Self.putBack,
        next:
          "`chock doctor --integrity`. When the database was damaged before: restore the newest good snapshot."
      )
    case .snapshotDamaged:
      Explanation(
        "A snapshot is not what was written, cannot be read, or is a copy of a database that was damaged.",
        done: "It was not used. Taken in a run: the run ended with nothing changed.",
        next:
          "`chock snapshots verify` shows which ones are good. A card that damages files has to be replaced."
      )
    case .interrupted:
      Explanation(
        "The run was cut off: by the power, a kill or a stop of the daemon.",
        done:
          "At its next start chock has looked which side the database is on, and has finished or put back.",
        next: "See how it ended in `chock history`; start the update again.")
    case .recoveryMode:
      Explanation(
        "chock is in recovery mode: a technician has asked for it, chock has ended again and again soon after its start, or the message says what is wrong.",
        done: "chock looks, and changes nothing by itself.",
        next:
          "Take away the file or the stick that asks for it, or see in the log why chock ended (`journalctl -u chock`). Then `chock recover`, whose last step leaves recovery mode."
      )
    default:
      Explanation(
        "chock cannot tell, or could not bring about, what state the database is in.",
        done: "Recovery mode: nothing more is changed by itself.",
        next:
          "A technician reads docs/operations.md, \"When a person is needed\", and uses `chock recover`."
      )
    }
  }
}

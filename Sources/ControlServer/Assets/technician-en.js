// The words of a technician's view in English.
import { count } from "./texts.js";

export default {
	tools: {
		title: "Check and mend", lead: "Nothing here changes the database.",
		verify: "Test all snapshots", salvage: "Salvage", found: "{} lines",
		salvaged: (rows, id) => `${count(rows, "row", "rows")}: snapshot ${id}`, table: "{}: {} read, {} lost, {} places unreadable",
		repair: "Accept a change", repairLead: "Has an applied file changed, or the schema? Once you know that it is right so, accept it. Only chock's record changes.",
		lookRepair: "Look for what has changed", fits: "Everything fits.", changed: "The file of version {} changed after it was applied.",
		drift: "The schema is not what the applied files make:", acceptedBy: "Accepted by {}, {}:",
		accept: "Accept", acceptText: "From then on it counts as right. Your name and the reason are written down.", why: "Why it is right so",
		differs: { missing: "missing", extra: "not expected", changed: "changed" }, sides: { expected: "expected", found: "found" },
		adoption: "Adopt this database", adoptionLead: "Says once at which version it is. Only chock's record is written.",
		lookAdoption: "Find out the version", says: "says version {}.", noTool: "No table of another tool that chock knows.",
		atVersion: "The database is at version", exact: "exactly this schema", adopt: "Adopt at version {}",
		differences: (number, version) => `${count(number, "difference", "differences")} to version ${version}:`, adoptText: "Updates count from there. A wrong version makes the next one fail or do the wrong thing.",
		rescue: "Rescue copies", rescueLead: "What going back has taken out, and what was salvaged.",
		comparedWith: "compared with {}", countCopy: "Count", missing: (rows) => `Not in the database: ${count(rows, "row", "rows")}.`, counts: "{}: {} more, {} otherwise, {} less",
		export: "Export", files: "As files, for its owner only:", folder: "On the device:", apply: "Put in again",
		applyText: "A row that has changed in the database as well stays as it is there, and is listed. A snapshot is taken first.",
		rollback: "Roll back", rollbackLead: "Takes changes back, and what was recorded with them. That is kept aside.",
		target: "Back to version", look: "Look at it", count: "Count what would go",
		loses: (rows, table) => `${count(rows, "row", "rows")} of ${table}`, losesNothing: "Nothing would be lost.", losesTitle: "What would go",
		locks: "Locks", noLocks: "Nobody holds updates back.", break: "Break the lock", lock: "Hold updates back for 8 h", reason: "Reason",
		exported: "What going back from version {} took out, {}",
		import: "Put it in again", importText: "Rows that are there by now stay as they are.",
		pins: "PINs", setPin: { owner: "New PIN for owners", technician: "New PIN for technicians" }, pinText: "It counts at once, and ends a lock-out.",
		tokens: "Tokens for programs", newToken: "New token", program: "Name of the program", once: "Keep it now: it is not shown again.", revoke: "Revoke",
	},
};

// Die Worte für Techniker auf Deutsch.
import { count } from "./texts.js";

export default {
	tools: {
		title: "Prüfen und retten", lead: "Nichts davon ändert die Datenbank.",
		verify: "Alle Kopien erproben", salvage: "Bergen", found: "{} Zeilen",
		salvaged: (rows, id) => `${count(rows, "Zeile", "Zeilen")}: Kopie ${id}`, table: "{}: {} gelesen, {} verloren, {} Stellen unlesbar",
		repair: "Änderung anerkennen", repairLead: "Hat sich eine angewandte Datei oder das Schema geändert? Wenn Sie wissen, dass es so richtig ist, erkennen Sie es an. Nur die Aufzeichnung von chock ändert sich.",
		lookRepair: "Nach Änderungen sehen", fits: "Alles passt.", changed: "Die Datei der Version {} hat sich nach ihrer Anwendung geändert.",
		drift: "Das Schema ist nicht, was die angewandten Dateien ergeben:", acceptedBy: "Anerkannt von {}, {}:",
		accept: "Anerkennen", acceptText: "Von da an gilt es als richtig. Ihr Name und der Grund werden festgehalten.", why: "Warum es so richtig ist",
		differs: { missing: "fehlt", extra: "nicht erwartet", changed: "anders" }, sides: { expected: "erwartet", found: "gefunden" },
		adoption: "Diese Datenbank übernehmen", adoptionLead: "Sagt einmal, welche Version sie ist. Nur die Aufzeichnung von chock wird geschrieben.",
		lookAdoption: "Version herausfinden", says: "sagt Version {}.", noTool: "Keine Tabelle eines anderen Werkzeugs, das chock kennt.",
		atVersion: "Die Datenbank ist auf Version", exact: "genau dieses Schema", adopt: "Auf Version {} übernehmen",
		differences: (number, version) => `${count(number, "Unterschied", "Unterschiede")} zu Version ${version}:`, adoptText: "Updates zählen von dort. Eine falsche Version lässt das nächste misslingen oder das Falsche tun.",
		rescue: "Gerettete Zeilen", rescueLead: "Was eine Rückkehr herausnahm, und was geborgen wurde.",
		comparedWith: "verglichen mit {}", countCopy: "Zählen", missing: (rows) => `Nicht in der Datenbank: ${count(rows, "Zeile", "Zeilen")}.`, counts: "{}: {} mehr, {} anders, {} weniger",
		export: "Exportieren", files: "Als Dateien, nur für den Eigentümer:", folder: "Auf dem Gerät:", apply: "Wieder einsetzen",
		applyText: "Eine Zeile, die auch in der Datenbank anders wurde, bleibt dort, wie sie ist, und wird genannt. Vorher entsteht eine Kopie.",
		rollback: "Zurücknehmen", rollbackLead: "Nimmt Änderungen zurück, und was mit ihnen aufgezeichnet wurde. Das wird aufgehoben.",
		target: "Zurück auf Version", look: "Ansehen", count: "Zählen, was wegfiele",
		loses: (rows, table) => `${count(rows, "Zeile", "Zeilen")} von ${table}`, losesNothing: "Nichts fiele weg.", losesTitle: "Was wegfiele",
		locks: "Sperren", noLocks: "Niemand hält Updates auf.", break: "Sperre brechen", lock: "Updates 8 h aufhalten", reason: "Grund",
		exported: "Was die Rücknahme von Version {} herausnahm, {}",
		import: "Wieder einsetzen", importText: "Zeilen, die es inzwischen gibt, bleiben, wie sie sind.",
		pins: "PINs", setPin: { owner: "Neue PIN für Besitzer", technician: "Neue PIN für Techniker" }, pinText: "Sie gilt sofort und beendet eine Aussperrung.",
		tokens: "Token für Programme", newToken: "Neues Token", program: "Name des Programms", once: "Jetzt aufheben: Es wird nicht noch einmal gezeigt.", revoke: "Sperren",
	},
};

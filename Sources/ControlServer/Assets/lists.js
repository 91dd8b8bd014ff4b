// The two read-only lists: what ran, and what can be gone back to.
import { get } from "./api.js";
import { attribute, byId, icon, keyed, make, setIcon, show, text } from "./dom.js";
import { isActive, runSeconds } from "./model.js";
import { bytes, duration, moment, texts } from "./texts.js";

export async function refreshHistory() {
  const words = texts.history;
  try {
    const { runs } = await get("/api/database/history?limit=20");
    keyed(byId("history"), runs, (run) => run.id, createRow, (node, run) => {
      const stopped = run.error?.code === "CHK-STOPPED";
      const failed = run.outcome === "needs_recovery";
      const calm = ["rolled_back", "refused"].includes(run.outcome)
        || (run.outcome === "restored" && run.kind !== "restore");
      fillRow(node, {
        tone: isActive(run) ? "wait" : failed ? "bad" : calm ? "calm" : "good",
        icon: isActive(run) ? "wait" : failed ? "violated" : calm ? "back" : "satisfied",
        title: words.kinds[run.kind] ?? run.kind,
        big: words.versions(run),
        state: isActive(run) ? words.running
          : stopped ? words.cancelled
            : run.kind === "update" && run.outcome === "committed" ? words.outcomes.committed
              : words.outcomes[run.outcome] ?? run.outcome,
        sub: [moment(run.started_at), run.ended_at && duration(runSeconds(run)), run.requested_by],
        note: run.error && !stopped ? run.error.message : null,
        code: run.error && !stopped ? run.error.code : null,
      });
    });
    empty("history-empty", runs.length ? null : words.empty);
  } catch {
    empty("history-empty", words.failed);
  }
}

export async function refreshSnapshots() {
  const words = texts.snapshots;
  try {
    const { snapshots } = await get("/api/database/backups");
    keyed(byId("snapshots"), snapshots, (snapshot) => snapshot.id, createRow, (node, snapshot) => {
      fillRow(node, {
        tone: snapshot.verified_at ? "good" : "wait",
        icon: snapshot.verified_at ? "satisfied" : "unknown",
        title: words.version(snapshot.version),
        big: bytes(snapshot.size_bytes),
        state: snapshot.pinned ? words.pinned : "",
        sub: [
          moment(snapshot.created_at), words.reasons[snapshot.reason] ?? snapshot.reason,
          snapshot.verified_at ? words.verified(snapshot.verified_at) : words.unverified,
        ],
        code: snapshot.id,
      });
    });
    empty("snapshots-empty", snapshots.length ? null : words.empty);
  } catch {
    empty("snapshots-empty", words.failed);
  }
}

function empty(id, words) {
  text(byId(id), words);
  show(byId(id), words !== null);
}

function createRow() {
  return make(
    "li.row", icon("unknown"), make("b.row-title"), make("span.row-big"), make("span.row-state"),
    make("p.row-sub"), make("p.row-note"), make("code.row-code"));
}

function fillRow(node, row) {
  const [picture, title, big, stateText, sub, note, code] = node.children;
  attribute(node, "data-tone", row.tone);
  setIcon(picture, row.icon);
  text(title, row.title);
  text(big, row.big);
  text(stateText, row.state);
  text(sub, row.sub.filter(Boolean).join(" · "));
  text(note, row.note);
  show(note, Boolean(row.note));
  text(code, row.code);
  show(code, Boolean(row.code));
}

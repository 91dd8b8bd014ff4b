// Every word that the page shows, and how numbers, times and sizes are written.

const locale = navigator.language?.startsWith("en") ? navigator.language : "en";
const number = new Intl.NumberFormat(locale);
const clock = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });

const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;

/** Measured seconds: `0.4 s`, `41 s`, `3 min 5 s`. */
export function duration(seconds) {
  if (seconds < 0.05) return "0 s";
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Seconds to come, rounded up so that the promise is kept: `about 40 s`, `about 3 min`. */
export function estimate(seconds) {
  if (seconds <= 1) return "about 1 s";
  if (seconds <= 10) return `about ${Math.ceil(seconds)} s`;
  if (seconds <= 55) return `about ${Math.ceil(seconds / 5) * 5} s`;
  if (seconds <= 60) return "about 1 min";
  if (seconds <= 90) return "about 1½ min";
  if (seconds < 3600) return `about ${Math.ceil(seconds / 60)} min`;
  return `about ${Math.ceil(seconds / 360) / 10} h`;
}

/** A running clock: `0:07`, `12:40`, `1:02:09`. */
export function stopwatch(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours
    ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function age(seconds) {
  if (seconds < 1) return "just now";
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count;
  let unit = -1;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = value < 10 ? 1 : 0;
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value)} ${units[unit]}`;
}

/** What is needed is never said too small. */
export function neededBytes(count) {
  return bytes(count < 1e6 ? count : Math.ceil(count / 1e6) * 1e6);
}

/** `today 14:32`, `yesterday 09:10`, `2 May 2026, 14:32`. */
export function moment(iso, now = Date.now()) {
  const date = new Date(iso ?? "");
  if (Number.isNaN(date.getTime())) return "at an unknown time";
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (date >= midnight && date < midnight + 86400000) return `today ${clock.format(date)}`;
  if (date >= midnight - 86400000 && date < midnight) return `yesterday ${clock.format(date)}`;
  return `${day.format(date)}, ${clock.format(date)}`;
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
const plainName = (name) => capital(name.replace(/[._]/g, " "));

const signalNames = {
  parking_brake: "Parking brake", vehicle_speed: "Speed", transmission_gear: "Gear",
  engine_running: "Engine running", ignition: "Ignition", in_tow: "In tow",
  emergency_stop: "Emergency stop", supply_voltage: "Battery", connections: "Connections",
  undervoltage: "Board's supply too low", shore_power: "Shore power", active_controls: "Moving or switching",
};
const signalUnits = { vehicle_speed: " km/h", supply_voltage: " V" };
const valueNames = {
  true: "yes", false: "no", engaged: "set", satisfied: "OK", violated: "not OK", not_secured: "not secured",
};

/** `slides` of `interlock.slides`, `slide 1` of `secured.slide_1`. */
const partName = (signal) => signal.slice(signal.indexOf(".") + 1).replace(/[._-]/g, " ");

function signalName(name) {
  if (signalNames[name]) return signalNames[name];
  if (name.startsWith("secured.")) return `${capital(partName(name))} secured`;
  return name.startsWith("interlock.") ? capital(partName(name)) : plainName(name);
}

/** `12.8 V`, `set`, `moving`. */
function signalValue(name, value) {
  if (name.startsWith("secured.")) return value === "secured" ? "yes" : "no";
  const unit = signalUnits[name] && !Number.isNaN(Number(value)) ? signalUnits[name] : "";
  return `${valueNames[value] ?? value}${unit}`;
}

const person = (source) => source.replace(/^attestation by /, "");

export const texts = {
  skip: "Skip to the content",
  nav: { label: "Views", update: "Update", history: "History", snapshots: "Snapshots" },
  theme: { label: "Theme", auto: "Auto", light: "Light", dark: "Dark", night: "Night" },

  link: {
    connecting: "Connecting",
    live: "Live",
    polling: "Every 5 s",
    lost: "Offline",
    lostText: (ago) =>
      ago === null
        ? "chock does not answer. Trying again."
        : `Connection lost. You see what was known ${age(ago)}. Trying again.`,
  },

  connecting: {
    title: "Connecting to chock",
    lead: "One moment.",
    failed: "chock does not answer. Is the controller switched on? This page keeps trying.",
  },

  available: {
    eyebrow: "Update available",
    to: "to",
    time: "Time it takes",
    timeUnknown: "Not known yet",
    timeUnknownSub: (limit) => `stops on its own after ${duration(limit)}`,
    worst: (seconds) => `at worst ${duration(seconds)}, with a full restore`,
    measured: "measured on this device",
    disk: "Disk space",
    diskNeed: (need) => `${neededBytes(need)} needed`,
    diskHave: (have) => `${bytes(have)} free`,
    snapshot: "Snapshot",
    snapshotFirst: "Taken first",
    snapshotNewest: (iso) => `newest: ${moment(iso)}`,
    snapshotNone: "none exists yet",
    loading: "…",
    does: "What it does",
    now: "Where you are now",
    noDescription: "No description.",
    incompatible: "An app older than this update cannot go on with it.",
    meanwhile: "Meanwhile",
    consent: (version, seconds) =>
      seconds === null
        ? `Update database to version ${version}`
        : `Update database to version ${version}, ${estimate(seconds)}`,
    under: "Starts 10 s after you press. You can still cancel then.",
  },

  questions: {
    title: "What it asks",
    choose: "Please choose",
  },

  meanwhile: {
    keeps: "Keeps working",
    keeps_text: "Your app keeps reading: tanks, sensors and trips stay visible.",
    pauses: "Pauses briefly",
    pauses_text: "New readings and settings wait while the change is applied. None are lost.",
    fails: "If something fails",
    fails_text: "The database is put back as it was. It is never left in between.",
  },

  rehearse: {
    label: "Rehearsal",
    go: "Check how long it takes",
    offer: "A rehearsal on a copy measures the time. Nothing is changed.",
    blocked: (reason) => `The time can't be measured now. ${reason}`,
    running: "Rehearsing on a copy",
    done: (rehearsal) => {
      const tables = rehearsal.touched_tables ?? [];
      const shown = tables.slice(0, 4).map(plainName).join(", ").toLowerCase();
      const more = tables.length > 4 ? ` and ${tables.length - 4} more` : "";
      const touched = tables.length ? `, changing ${shown}${more}` : "";
      return `Rehearsed on a copy: ${plural(rehearsal.statements, "statement", "statements")} `
        + `in ${duration(rehearsal.seconds)}${touched}.`;
    },
  },

  countdown: {
    label: "Starting in",
    seconds: (left) => `${left} s`,
    cancel: "Cancel",
    starting: "Starting",
    stoppedGate: "Not started. A condition changed during the countdown.",
    stoppedPlan: "Not started. The update changed during the countdown. Please look at it again.",
    stoppedLink: "Not started. The connection was lost during the countdown.",
  },

  blocked: {
    conditions: (count) =>
      count === 1 ? "Can't start yet: 1 condition" : `Can't start yet: ${count} conditions`,
    other: "Can't start yet",
    offline: { title: "No connection", clear: "The button comes back by itself." },
    loading: { title: "Reading the plan", clear: "This takes a moment." },
    technician: (description) => ({
      title: `A technician has to start this update: ${description}`,
      clear: "On the device: chock update.",
    }),
    rehearsing: { title: "A rehearsal is running", clear: "The button comes back when it is done." },
    disk: (need, have) => ({
      title: `${neededBytes(need)} of free disk needed, ${bytes(have)} there`,
      clear: `Free ${bytes(need - have)} more.`,
    }),
  },

  refusal: {
    title: "Not started",
    noAnswer: "chock did not answer. The state shown here is current once the connection is back.",
    cancelFailed: "Cancelling was not possible",
    acknowledgeFailed: "Not confirmed yet. Please try again.",
  },

  gates: {
    title: "Conditions",
    states: { satisfied: "OK", violated: "Blocks", unknown: "Unknown" },
    advice: { satisfied: "OK", violated: "Note", unknown: "Unknown" },
    required: "required",
    optional: "advice only",
    allClear: "All clear",
    inTheWay: (count, total) => `${count} of ${total} in the way`,
    lastKnown: (ago) => `Last known, ${age(ago)}`,
    none: "No conditions are set",
    missing: "no reading yet",
    clear: "To clear",
    signal: signalName,
    value: signalValue,
    source: ({ source, attested, veto_only: veto }) => {
      const name = (source ?? "").replace("http://", "");
      return attested ? `a person's word (${person(name)})` : veto ? `${name}, can only veto` : name;
    },
    lock: ({ id, owner, reason, expires_at: until }) =>
      ({ id, title: `${owner}: ${reason}`, sub: `Until ${moment(until)} · ${id}` }),
    activity: ({ id, description }) => ({ id, title: capital(description) }),
    raw: "Raw values",
    sources: "For a technician",
    age: (seconds, old) =>
      [old ? "too old" : null, seconds === null ? null : age(seconds)].filter(Boolean).join(", "),
  },

  vouch: {
    go: "Give your word",
    open: "Nothing reports it? Give your word",
    again: "Renew your word",
    looked: "I have looked, and I vouch for it:",
    sentence: (signal) => ({
      parking_brake: "The parking brake is set.",
      vehicle_speed: "The coach stands still.",
      transmission_gear: "The transmission is in park.",
      engine_running: "The engine is off.",
      ignition: "The ignition is off.",
      in_tow: "The coach is not in tow.",
      supply_voltage: "The battery has this many volts:",
      shore_power: "Shore power is connected.",
      connections: "Nobody is connected to control the coach.",
      active_controls: "Nothing is being moved or switched.",
    })[signal] ?? (signal.startsWith("secured.")
      ? `Secured for the road: ${partName(signal)}.` : `In its safe position: ${partName(signal)}.`),
    means: "Your word counts for 15 minutes, and is written down. A device that says otherwise ends it at once.",
    pin: "Owner's PIN",
    pinHint: "4 to 12 digits",
    give: "Give my word for 15 minutes",
    nothing: "Tick what you have looked at.",
    taken: "Your word is taken, for 15 minutes.",
    noPin: "That needs the owner's PIN, and none is set. On the device: `chock pin set`.",
  },

  running: {
    titles: {
      update: (run) => run.to_version ? `Updating to version ${run.to_version}` : "Updating",
      rollback: (run) => run.to_version ? `Rolling back to version ${run.to_version}` : "Rolling back",
      rehearse: () => "Rehearsing on a copy",
      snapshot: () => "Taking a snapshot",
      restore: (run) => run.to_version ? `Going back to version ${run.to_version}` : "Restoring a snapshot",
      recover: () => "Recovering after an interruption",
      import: () => "Putting rows back in",
      verify: () => "Checking a snapshot",
    },
    elapsed: "Elapsed",
    hands: "Do not move slides, jacks or awnings, and do not drive off.",
    waits: {
      title: "Waiting. Nothing has been changed.",
      left: (left) => `It goes on by itself as soon as that is clear, and is cancelled in ${stopwatch(left)} otherwise.`,
      soon: "It goes on by itself as soon as that is clear.",
    },
    announceWait: (reason) => `Waiting: ${reason}`,
    announceOn: "Going on",
    power: "Keep 12 V power on. If power fails, your data is restored at next start.",
    cancel: "Cancel",
    until: "Safe until the last step, when the change is saved. Everything is then as it was before.",
    untilOther: "Safe at any time. Your database is not changed.",
    tooLate: "The change is being saved now. It can no longer be cancelled.",
    tooLateRestore: "The old state is being put back. This can't be cancelled.",
    stopping: "Stopping. Everything stays as it was.",
    count: (done, total) => `${number.format(done)} of ${number.format(total)}`,
    percent: (fraction) => `${Math.floor(fraction * 100)}%`,
    announce: (step) => `Step ${step}`,
    quarter: (percent) => `${percent} percent`,
    stepStates: { done: "done", now: "in progress", todo: "to come" },
  },

  steps: {
    prepare: "Prepare", snapshot: "Snapshot", rehearse: "Rehearsal", apply: "Update",
    verify: "Check", finish: "Finish", restore: "Put back",
  },

  phases: {
    plan: "Plan", safety: "Conditions", quiesce: "Pause the app", snapshot: "Snapshot",
    rehearse: "Rehearsal", apply: "Update", verify: "Check", commit: "Save", restore: "Put back",
    resume: "Resume the app", prove: "Prove", done: "Finish",
  },

  /** What happens right now, when the run does not say so itself. */
  doing: {
    plan: "Reading the plan", safety: "Looking at the conditions", quiesce: "Pausing the app",
    snapshot: "Taking a snapshot", rehearse: "Rehearsing on a copy", apply: "Applying the change",
    verify: "Checking the result", commit: "Saving the change", restore: "Putting the old state back",
    resume: "Resuming the app", prove: "Making sure that the app is well", done: "Finishing",
  },
  waiting: "Getting ready",

  result: {
    titles: {
      updated: (version) => `Updated to version ${version}`,
      rolledBack: (version) => `Rolled back to version ${version}`,
      recovered: (version) => `Finished after an interruption. Now at version ${version}.`,
      putBack: (version) => version ? `Put back to version ${version}. Nothing was lost.` : "Put back. Nothing was lost.",
      cancelled: (version) => version ? `Cancelled. Still at version ${version}.` : "Cancelled. Nothing was changed.",
      refused: (version) => version ? `Not started. Still at version ${version}.` : "Not started.",
      restored: (version) => version ? `Restored to version ${version}` : "Snapshot restored",
      needsPerson: "chock needs a person",
      nothing: "Nothing to do",
      rehearsed: "The rehearsal went well",
      rehearsalFailed: "The rehearsal failed. Nothing was changed.",
      snapshot: "Snapshot taken",
      verified: "The snapshot is good",
      finished: "Finished",
    },
    took: (iso, seconds) => `${capital(moment(iso))}, after ${duration(seconds)}.`,
    ended: (iso) => `${capital(moment(iso))}.`,
    person: "Nothing more is changed on its own. Follow the step below, then look again.",
    done: "Done",
    understood: "Understood",
    times: "How long each step took",
    snapshot: "Snapshot from before",
    snapshotKept: "kept",
    exported: "What went is kept in",
    warning: "Worth a look",
    database: "Database version",
    startedBy: "Asked for by",
    word: "On a person's word",
    wordOf: (list) => list.map(({ signal, value }) => `${signalName(signal)}: ${signalValue(signal, value)}`).join(", "),
    wordBy: (list) => [...new Set(list.map(({ source }) => person(source)))].join(", "),
    job: "Run",
  },

  failure: { next: "Next step", where: "Where", statement: "Statement", code: "Code" },

  current: {
    title: "Up to date",
    lead: (version) =>
      version ? `Your database is at version ${version}. There is nothing to do.` : "There is nothing to do.",
    snapshot: "Newest snapshot",
    snapshotNone: "None yet",
    check: "Full check",
    checkNone: "Not done yet; chock does it when it has nothing else to do",
    checkGood: "sound",
    checkBad: "damaged",
    size: (snapshot) => [bytes(snapshot.size_bytes), snapshot.verified_at ? "verified" : null]
      .filter(Boolean).join(", "),
  },

  problem: {
    title: "No update can be offered",
    lead: "The database was not touched.",
    unadopted: "This database is new to chock",
    unadoptedLead:
      "It has tables, but chock has not been told which version they are. Until then nothing is offered or changed.",
    unadoptedSteps: [
      ["See which version fits", "chock adopt"],
      ["Tell chock, on the device", "chock adopt --at VERSION"],
    ],
    recovery: "Recovery mode",
    recoveryLead:
      "Recovering failed more than once, so chock stopped by itself. Nothing more is changed until a person has looked.",
    recoverySteps: [
      ["See what was found, on the device", "chock doctor"],
      ["Then finish or put back", "chock recover"],
    ],
  },

  history: {
    title: "History",
    lead: "Every run on this device, newest first.",
    empty: "Nothing has run yet.",
    failed: "The history can't be read right now.",
    kinds: {
      update: "Update", rollback: "Rollback", rehearse: "Rehearsal", snapshot: "Snapshot", restore: "Restore",
      recover: "Recovery", verify: "Check", import: "Import",
    },
    outcomes: {
      committed: "Updated", refused: "Not started", rolled_back: "Put back", restored: "Restored",
      needs_recovery: "Needs a person", nothing_to_do: "Nothing to do", finished: "Went well",
    },
    running: "Running",
    cancelled: "Cancelled",
    versions: (run) =>
      run.from_version && run.to_version && run.from_version !== run.to_version
        ? `${run.from_version} → ${run.to_version}` : run.to_version ?? run.from_version ?? "",
  },

  snapshots: {
    title: "Snapshots",
    lead: "Full copies of the database, each taken before something changed. Read only here.",
    empty: "No snapshot has been taken yet.",
    failed: "The snapshots can't be read right now.",
    version: (version) => version ? `Version ${version}` : "No version",
    reasons: {
      update: "before an update", restore: "before a restore", manual: "asked for",
      rescue: "rescue copy", snapshot: "asked for",
    },
    verified: (iso) => `verified ${moment(iso)}`,
    unverified: "not verified",
    pinned: "Pinned",
  },

  foot: (status) => `chock ${status.chock_version} · ${status.environment} · ${status.database_path}`,
};

/** Fills `data-t` and `data-t-label` in the page. */
export function fillTexts(root) {
  const find = (path) => path.split(".").reduce((node, key) => node[key], texts);
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = find(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", find(node.dataset.tLabel));
  }
}

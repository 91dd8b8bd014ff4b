// <chock-update>, in any page: how it stands with the database, and the way to the panel (docs/panel.md). It only
// reads. A classic script, so that one tag is enough: it knows chock's address from its own.
(() => {
	const home = document.currentScript.src;
	const words = {
		en: { available: "Update available", running: "Updating", person: "chock needs a person", ended: "Look at the result", current: "Up to date", skipped: "Skipped", problem: "No update possible", unpaired: "This browser is not paired with chock", away: "chock does not answer" },
		de: { available: "Update verfügbar", running: "Update läuft", person: "chock braucht einen Menschen", ended: "Ergebnis ansehen", current: "Auf dem neuesten Stand", skipped: "Übersprungen", problem: "Kein Update möglich", unpaired: "Dieser Browser ist bei chock nicht angemeldet", away: "chock antwortet nicht" },
	};
	const t = words[(document.documentElement.lang || navigator.language).slice(0, 2)] ?? words.en;
	// Not a style element: the page's own policy may forbid those.
	const sheet = new CSSStyleSheet();
	sheet.replaceSync(`
		a{display:inline-flex;align-items:center;gap:.625rem;min-height:3rem;padding:0 1rem;border:2px solid;border-radius:12px;color:inherit;font:600 1rem system-ui,sans-serif;text-decoration:none}
		i{width:.75rem;height:.75rem;border:2px solid;border-radius:50%}
		:is([data-state=available],[data-state=running]) i{background:#f2b200}
		:is([data-state=person],[data-state=problem]) i{border-radius:0;background:#b3261e}`);

	function told(status) {
		const { run } = status ?? {};
		if (!status) return ["away"];
		if (status.mode === "recovery" || run?.outcome === "needs_recovery") return ["person"];
		if (status.migration_in_progress) return ["running", run?.fraction && `: ${Math.floor(run.fraction * 100)}%`];
		if (status.problem || !status.adopted) return ["problem"];
		if (run?.outcome && run.kind !== "rehearse" && !run.acknowledged) return ["ended"];
		const isSkipped = status.schedule?.action === "skip" && !status.schedule.lapsed_reason;
		return status.needs_update ? [isSkipped ? "skipped" : "available", `: ${status.current_version} → ${status.target_version}`] : ["current"];
	}

	customElements.define("chock-update", class extends HTMLElement {
		connectedCallback() {
			const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
			root.adoptedStyleSheets = [sheet];
			const link = Object.assign(document.createElement("a"), { href: new URL("/", this.getAttribute("address") ?? home), target: "_blank", rel: "noopener" });
			root.replaceChildren(link);
			const look = async () => {
				const answer = await fetch(new URL("/api/database/status", link.href), { credentials: "include", cache: "no-store" }).catch(() => null);
				const [state, more] = answer?.status === 401 ? ["unpaired"] : told(answer?.ok ? await answer.json().catch(() => null) : null);
				link.dataset.state = state;
				link.replaceChildren(document.createElement("i"), t[state] + (more || ""));
			};
			look();
			this.timer = setInterval(() => document.hidden || look(), 5000);
		}

		disconnectedCallback() {
			clearInterval(this.timer);
		}
	});
})();

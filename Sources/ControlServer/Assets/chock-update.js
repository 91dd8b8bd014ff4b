// <chock-update address="http://coach.local:8765"></chock-update>: in any page, how it stands with the database, and
// the way to the panel. It only reads; chock answers to pages that `server.embed_origins` names. A classic script, so
// that one tag is enough: its own address is chock's, where the element names none.
(() => {
  const home = new URL(".", document.currentScript.src);
  const words = {
    en: { available: "Update available", running: "Updating", person: "chock needs a person", ended: "Look at the result", current: "Up to date", away: "chock does not answer" },
    de: { available: "Update verfügbar", running: "Update läuft", person: "chock braucht einen Menschen", ended: "Ergebnis ansehen", current: "Auf dem neuesten Stand", away: "chock antwortet nicht" },
  };
  const t = words[(document.documentElement.lang || navigator.language).slice(0, 2)] ?? words.en;
  // Not a style element: the page's own policy may forbid those.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    a { display: inline-flex; align-items: center; gap: .625rem; min-height: 3rem; padding: .25rem 1rem; border: 2px solid; border-radius: 12px;
      font: 600 1rem/1.3 system-ui, sans-serif; color: inherit; text-decoration: none; }
    a:focus-visible { outline: 3px solid; outline-offset: 3px; }
    i { width: .75rem; height: .75rem; border: 2px solid; border-radius: 50%; }
    [data-state="available"] i, [data-state="running"] i { background: #f2b200; }
    [data-state="person"] i { border-radius: 0; background: #b3261e; }`);

  customElements.define("chock-update", class extends HTMLElement {
    connectedCallback() {
      if (!this.shadowRoot) {
        const root = this.attachShadow({ mode: "open" });
        root.adoptedStyleSheets = [sheet];
        root.append(document.createElement("a"));
      }
      const link = this.shadowRoot.firstChild;
      Object.assign(link, { href: new URL(this.getAttribute("address") ?? home), target: "_blank", rel: "noopener" });
      const look = async () => {
        if (!document.hidden) this.show(link, await this.ask(link.href));
        this.timer = setTimeout(look, 5000);
      };
      clearTimeout(this.timer);
      look();
    }

    disconnectedCallback() {
      clearTimeout(this.timer);
    }

    async ask(address) {
      try {
        const answer = await fetch(new URL("api/database/status", address), { credentials: "include", cache: "no-store", signal: AbortSignal.timeout(8000) });
        return answer.ok ? await answer.json() : null;
      } catch {
        return null;
      }
    }

    show(link, status) {
      const { run } = status ?? {};
      const state = !status ? "away" : status.mode === "recovery" || run?.outcome === "needs_recovery" ? "person"
        : status.migration_in_progress ? "running" : run?.outcome && run.kind !== "rehearse" && !run.acknowledged ? "ended"
          : status.needs_update ? "available" : "current";
      const more = { available: `: ${status?.current_version} → ${status?.target_version}`, running: run?.fraction ? `: ${Math.floor(run.fraction * 100)}%` : "" }[state] ?? "";
      const text = t[state] + more;
      if (link.textContent === text) return;
      link.dataset.state = state;
      link.replaceChildren(document.createElement("i"), text);
    }
  });
})();

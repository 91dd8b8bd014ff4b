// Runs before the first paint (a classic script in the head), so that Night never flashes white.
window.theme = (() => {
	const dark = matchMedia("(prefers-color-scheme: dark)");
	const theme = {
		choice: "auto",
		apply() {
			const name = theme.choice === "auto" ? (dark.matches ? "dark" : "light") : theme.choice;
			document.documentElement.dataset.theme = name;
			document.querySelector("[name=theme-color]").content = { light: "#f2f4f2", dark: "#0e1513", night: "#000" }[name];
		},
		choose(choice) {
			theme.choice = choice;
			theme.apply();
			theme.keep("theme", choice);
		},
		// Reads what was chosen here, or keeps it; storage can be switched off.
		keep(name, value) {
			try {
				if (value) localStorage.setItem(`chock.${name}`, value);
				return localStorage.getItem(`chock.${name}`);
			} catch {
				return null;
			}
		},
	};
	const kept = theme.keep("theme");
	if (["light", "dark", "night"].includes(kept)) theme.choice = kept;
	theme.apply();
	dark.addEventListener("change", theme.apply);
	return theme;
})();

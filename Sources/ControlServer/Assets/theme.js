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
			localStorage.setItem("chock.theme", choice);
		},
	};
	try {
		const kept = localStorage.getItem("chock.theme");
		if (["light", "dark", "night"].includes(kept)) theme.choice = kept;
	} catch {
		// Storage can be switched off: for this visit only.
	}
	theme.apply();
	dark.addEventListener("change", theme.apply);
	return theme;
})();

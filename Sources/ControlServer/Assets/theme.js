// Runs before the first paint (a classic script in the head), so that Night never flashes white.
window.theme = (() => {
  const key = "chock.theme";
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
      try {
        localStorage.setItem(key, choice);
      } catch {
        // Storage can be switched off: for this visit only.
      }
      theme.apply();
    },
  };
  const read = () => {
    try {
      const value = localStorage.getItem(key);
      theme.choice = ["light", "dark", "night"].includes(value) ? value : "auto";
    } catch {
      // As above.
    }
    theme.apply();
  };
  read();
  dark.addEventListener("change", theme.apply);
  addEventListener("storage", read);
  return theme;
})();

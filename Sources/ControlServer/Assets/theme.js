// Runs before the first paint (a classic script in the head), so that Night never flashes white.
(() => {
  const key = "chock.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      const value = localStorage.getItem(key);
      return ["light", "dark", "night"].includes(value) ? value : "auto";
    } catch {
      return "auto"; // Storage can be switched off; the page works without it.
    }
  };
  let choice = read();
  const apply = () => {
    const theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    document.documentElement.dataset.theme = theme;
    const bar = { light: "#f2f4f2", dark: "#0e1513", night: "#000000" }[theme];
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", bar);
  };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", (event) => {
    if (event.key !== key) return;
    choice = read();
    apply();
    const select = document.getElementById("theme");
    if (select) select.value = choice;
  });
  addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = choice;
    select.addEventListener("change", () => {
      choice = select.value;
      try {
        localStorage.setItem(key, choice);
      } catch {
        // Kept for this visit only.
      }
      apply();
    });
  });
})();

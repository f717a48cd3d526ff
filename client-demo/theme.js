/**
 * The dark or light theme of the demo and of the documentation: the system's, until the user chooses one. A classic script in the head, so
 * that the first paint has the right colours.
 */
(() => {
  const KEY = "parlor.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage is disabled: use the system's theme.
    }
  };
  const apply = () => {
    document.documentElement.dataset.theme = chosen() ?? (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("click", ({ target }) => {
    if (!target.closest("[data-toggle-theme]")) return;
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      // Choosing the system's theme means following the system again.
      if ((next === "dark") === system.matches) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, next);
    } catch {
      // The choice lasts until the page is closed.
    }
    document.documentElement.dataset.theme = next;
  });
})();

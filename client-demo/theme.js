/**
 * Dark or light: what the system says, until someone says otherwise here. A classic script in the head, so that the first paint is
 * already in the right colours.
 */
(() => {
  const KEY = "parlor.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage is switched off: the system decides.
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
      // Back to what the system says is back to following it.
      if ((next === "dark") === system.matches) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, next);
    } catch {
      // It lasts as long as the page, then.
    }
    document.documentElement.dataset.theme = next;
  });
})();

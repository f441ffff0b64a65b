// Sets the chosen colours before the first paint; `system` follows the device, as does a browser that keeps nothing.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // The device decides.
}

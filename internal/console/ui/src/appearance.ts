import { applyDensity, applyMode, Density, Mode } from "@cloudscape-design/global-styles";

const modeKey = "chirograph-mode";
const densityKey = "chirograph-density";

export type Appearance = { mode: "system" | "light" | "dark"; density: "comfortable" | "compact" };

export function appearance(): Appearance {
  const mode = localStorage.getItem(modeKey);
  return {
    mode: mode === "light" || mode === "dark" ? mode : "system",
    density: localStorage.getItem(densityKey) === "compact" ? "compact" : "comfortable",
  };
}

const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** Shows the page as chosen, and follows the system where that was chosen. */
export function apply(a: Appearance = appearance()) {
  localStorage.setItem(modeKey, a.mode);
  localStorage.setItem(densityKey, a.density);
  const mode = a.mode === "dark" || (a.mode === "system" && dark.matches) ? Mode.Dark : Mode.Light;
  applyMode(mode);
  document.documentElement.style.colorScheme = mode;
  applyDensity(a.density === "compact" ? Density.Compact : Density.Comfortable);
}

dark.addEventListener("change", () => apply());

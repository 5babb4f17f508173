// The page: curves drawn, numbers that say where they come from, theme, copying.

document.querySelectorAll("[data-chart]").forEach((host) => new Panel(host, cells[Number(host.dataset.chart)], host.dataset.chart));

// Where a number comes from, said when it is pointed at or focused; Escape closes it.
const tip = document.getElementById("why");
let told = null;
let leaving = 0;
const hush = () => {
  if (told) told.removeAttribute("aria-describedby");
  told = null;
  tip.hidden = true;
};
const put = () => {
  const box = told.getBoundingClientRect();
  const below = box.bottom + 8 + tip.offsetHeight < innerHeight || box.top < tip.offsetHeight + 8;
  tip.style.top = `${below ? box.bottom + 8 : box.top - 8 - tip.offsetHeight}px`;
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
};
const tell = (node) => {
  clearTimeout(leaving);
  if (node === told) return;
  hush();
  told = node;
  const around = node.closest("[data-all]");
  const commit = tip.dataset.commit && `commit ${tip.dataset.commit}`;
  tip.textContent = [node.dataset.why, around && around.dataset.all, commit].filter(Boolean).join("\n");
  tip.hidden = false;
  node.setAttribute("aria-describedby", "why");
  put();
};
const number = (event) => (event.target instanceof Element ? event.target.closest(".why") : null);
document.addEventListener("pointerover", (event) => {
  const node = number(event);
  if (node) tell(node); else if (tip.contains(event.target)) clearTimeout(leaving);
});
document.addEventListener("pointerout", (event) => {
  if (!number(event) && !tip.contains(event.target)) return;
  clearTimeout(leaving);
  leaving = setTimeout(() => { if (told !== document.activeElement) hush(); }, 150);
});
document.addEventListener("focusin", (event) => { const node = number(event); if (node) tell(node); else hush(); });
document.addEventListener("focusout", (event) => { if (number(event) === told) hush(); });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });
// Reaching a number may scroll to it; what is said of it then moves along.
document.addEventListener("scroll", () => {
  if (told) if (told === document.activeElement || told.matches(":hover")) put(); else hush();
}, { passive: true, capture: true });
document.querySelectorAll("table").forEach((table) => {
  const rows = [...table.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll(".why")]);
  rove(rows.filter((row) => row.length), table);
});

const theme = document.getElementById("theme");
const names = ["auto", "light", "dark"];
const applied = () => document.documentElement.dataset.theme || "auto";
const apply = (name) => {
  if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  theme.textContent = `Theme: ${name}`;
};
// Some browsers forbid storage for local files; the choice then lasts as long as the page.
const remembered = () => { try { return localStorage.getItem("tutelage-theme"); } catch { return null; } };
const remember = (name) => { try { localStorage.setItem("tutelage-theme", name); } catch { /* nothing to keep it in */ } };
theme.hidden = false;
apply(names.includes(remembered()) ? remembered() : "auto");
theme.addEventListener("click", () => { const next = names[(names.indexOf(applied()) + 1) % 3]; apply(next); remember(next); });

document.querySelectorAll(".copy").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
});

// What the pages do beside showing: keys, copying, and staying up to date. They work without it.
"use strict";
(() => {
  const one = (selector) => document.querySelector(selector);
  const script = document.currentScript;

  // An address without what is not filled in.
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });

  // Copying, where the browser allows it.
  const offer = () => {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // Keys.
  const help = one("#help");
  one("#keys").hidden = false;
  one("#keys").addEventListener("click", () => help.showModal());
  const move = (by) => {
    const rows = [...document.querySelectorAll("[data-row] .open")];
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(Math.max(at + by, 0), rows.length - 1)]?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const field = event.target.closest("input, select, textarea");
    if (event.key === "Escape") {
      if (field || document.activeElement !== document.body) document.activeElement.blur();
      else one(".above a")?.click();
    } else if (field) return;
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "?") help.showModal();
    else if (event.key === "/" && one(".filter input:not([type=hidden])")) {
      event.preventDefault();
      one(".filter input:not([type=hidden])").focus();
    }
  });
  // Staying up to date: what is shown is asked for again when it has changed, at most once a second.
  const live = one("#live"), banner = one("#lost");
  const PAUSE = 1000; // milliseconds
  let stale = false, asking = false;
  const refresh = async () => {
    const shown = one("[data-live]");
    if (!stale || asking || !shown || document.hidden || one("[data-live] details.act[open]")) return;
    if (shown.contains(document.activeElement) && document.activeElement.matches("input, select")) return;
    stale = false;
    asking = true;
    const where = shown.dataset.from ?? location.pathname + location.search;
    try {
      await htmx.ajax("GET", where, { target: `#${shown.id}`, select: `#${shown.id}`, swap: "outerMorph" });
    } finally {
      setTimeout(() => { asking = false; refresh(); }, PAUSE);
    }
  };
  for (const event of ["visibilitychange", "focusout"]) document.addEventListener(event, () => setTimeout(refresh));
  document.addEventListener("toggle", refresh, true);
  document.addEventListener("htmx:after:swap", offer);

  // What goes on by itself is asked for each second, or each few where it says so.
  let ticks = 0;
  setInterval(() => {
    const shown = one("[data-goes-on]");
    if (!shown || ++ticks % (shown.dataset.goesOn || 1)) return;
    stale = true;
    refresh();
  }, PAUSE);

  const hear = ({ data }) => {
    if (data.changed) {
      const shown = one("[data-live]")?.dataset.live;
      if (shown === "all" || shown === data.changed || (shown && data.changed === "all")) {
        stale = true;
        refresh();
      }
      return;
    }
    live.hidden = false;
    live.classList.toggle("off", data.lost || data.held > 0);
    live.lastElementChild.textContent = data.lost ? "lost" : data.held ? `${data.held} s behind` : "live";
    banner.hidden = !data.lost;
    const at = new Date(data.asOf).toISOString().slice(11, 19);
    if (data.lost) banner.lastElementChild.textContent = `The connection is lost. What you see is of ${at} UTC.`;
  };
  const listen = (port) => {
    port.onmessage = hear;
    addEventListener("pagehide", () => port.postMessage("bye"));
  };
  if ("SharedWorker" in window) listen(new SharedWorker(script.dataset.stream, { name: "saga" }).port);
  else listen(new Worker(script.dataset.stream));
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  offer();
})();

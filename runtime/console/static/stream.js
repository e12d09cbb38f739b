// One stream of what changes for all tabs of a browser: a page's tabs share this worker.
"use strict";
const LOOK_EVERY = 1500, PATIENCE = 2500; // milliseconds
const HELD = 3; // seconds for which changes may be held back before it is told
const tabs = new Set();
const root = new URL("..", self.location).pathname;
let source = null, asOf = Date.now(), lost = false, held = 0;

const tell = (message) => { for (const tab of tabs) tab.postMessage(message); };

const follow = () => {
  source?.close();
  source = new EventSource(`${root}events`);
  // What changed while there was no stream is not told: all is asked for anew.
  source.onopen = () => tell({ changed: "all" });
  source.addEventListener("saga", (event) => tell({ changed: JSON.parse(event.data).saga_id }));
  source.addEventListener("reset", () => tell({ changed: "all" }));
};

// A connection that hangs tells nothing by itself.
const look = async () => {
  let there = false;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(`${root}age`, { signal, cache: "no-store" });
    const told = await answer.json();
    there = answer.ok && told.held !== null; // null where the database does not answer
    held = told.held ?? 0;
  } catch { /* it is not there */ }
  if (there) asOf = Date.now();
  if (there && (lost || !source || source.readyState === EventSource.CLOSED)) follow();
  if (!there) source?.close();
  lost = !there;
  tell({ lost, asOf, held: held > HELD ? Math.round(held) : 0 });
  setTimeout(look, LOOK_EVERY);
};

const welcome = (tab) => {
  tabs.add(tab);
  tab.onmessage = (event) => { if (event.data === "bye") tabs.delete(tab); };
  tab.postMessage({ lost, asOf });
  if (source?.readyState === EventSource.OPEN) tab.postMessage({ changed: "all" });
};
self.onconnect = (event) => welcome(event.ports[0]);
if (!("SharedWorkerGlobalScope" in self)) welcome(self);
look();

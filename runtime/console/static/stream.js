// One stream of what changes for all tabs of a browser: a page's tabs share this worker.
"use strict";
const LOOK_EVERY = 1500, PATIENCE = 2500; // milliseconds
const tabs = new Set();
const root = new URL("..", self.location).pathname;
let source = null, seen = "", asOf = Date.now(), lost = false;

const tell = (message) => { for (const tab of tabs) tab.postMessage(message); };

const follow = () => {
  source?.close();
  source = new EventSource(`${root}events${seen ? `?last_event_id=${encodeURIComponent(seen)}` : ""}`);
  const note = (event) => { if (event.lastEventId) seen = event.lastEventId; };
  source.onmessage = note;
  source.addEventListener("saga", (event) => {
    note(event);
    const { saga_id, status } = JSON.parse(event.data);
    tell({ changed: saga_id, status });
  });
  source.addEventListener("reset", (event) => { note(event); tell({ changed: "all" }); });
};

// A connection that hangs tells nothing by itself.
const look = async () => {
  let there = false;
  try {
    const answer = await fetch(`${root}alive`, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    there = answer.ok;
  } catch { /* it is not there */ }
  if (there) {
    if (lost || source === null || source.readyState === EventSource.CLOSED) {
      follow();
      if (lost) tell({ changed: "all" });
    }
    lost = false;
    asOf = Date.now();
  } else if (!lost) {
    lost = true;
    source?.close();
  }
  tell({ lost, asOf });
  setTimeout(look, LOOK_EVERY);
};

const welcome = (tab) => {
  tabs.add(tab);
  tab.onmessage = (event) => { if (event.data === "bye") tabs.delete(tab); };
  tab.postMessage({ lost, asOf });
};
self.onconnect = (event) => welcome(event.ports[0]);
if (!("SharedWorkerGlobalScope" in self)) welcome(self);
look();

// What the server tells, as it changes; and a plain word when it tells nothing any more.

const SILENT_MS = 6000; // the server says something every two seconds
const EVENTS = ["boards", "changed", "folders", "beat"];
const link = document.getElementById("link");

// listeners: event name -> function of its value; lost: called when figures are no longer true.
export function follow(listeners, lost) {
  let source = null;
  let timer = 0;

  function heard() {
    link.textContent = "live";
    link.className = "good";
    clearTimeout(timer);
    timer = setTimeout(gone, SILENT_MS);
  }

  function gone() {
    link.textContent = "the dashboard does not answer";
    link.className = "bad";
    lost();
  }

  function open() {
    source = new EventSource("/events");
    source.onerror = gone; // the browser tries again by itself
    for (const name of EVENTS) {
      source.addEventListener(name, (told) => {
        heard();
        if (listeners[name]) listeners[name](JSON.parse(told.data));
      });
    }
  }

  function close() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  // A browser has six connections to a server: pages that nobody looks at keep none.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : shown()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", shown); // also of a page that the browser kept, on the way back

  function shown() {
    if (!source && !document.hidden) open();
  }

  shown();
}

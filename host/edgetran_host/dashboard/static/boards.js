// Boards as they are now. Of a board that is away nothing is shown but when it last answered.
import { make, moment, number, table, trace } from "./drawing.js";
import { follow } from "./feed.js";

const main = document.querySelector("main");
const opened = new Set(); // details that the reader opened
const traces = new Map(); // board -> its points, as far as the page has heard
const cards = new Map(); // board -> its section
const MOST = 180; // points of a trace

follow({ boards: show, changed: (boards) => boards.forEach(change) }, () => {
  cards.clear();
  main.replaceChildren(make("p", { class: "trouble" }, "Nothing is known: the dashboard itself does not answer."));
});

function show(boards) {
  cards.clear();
  traces.clear();
  if (!boards.length) {
    main.replaceChildren(
      make("h1", {}, "Boards"),
      make("p", {}, "No board was added, and no daemon of this machine's own runs. ", make("code", {}, "edgetran device add NAME HOST:PORT"), " adds one."),
    );
    return;
  }
  main.replaceChildren(make("h1", {}, "Boards"));
  for (const one of boards) {
    traces.set(one.name, one.trace);
    put(one);
  }
}

function change(one) {
  if (!cards.size) main.replaceChildren(make("h1", {}, "Boards"));
  const points = traces.get(one.name) || [];
  const last = points.length ? points[points.length - 1].unix_s : 0;
  if (one.state !== "answers" || !one.sample) traces.set(one.name, []);
  else if (one.answered_unix_s > last) {
    const { power_w, temperature_c, cpu_load } = one.sample;
    traces.set(one.name, [...points, { unix_s: one.answered_unix_s, power_w, temperature_c, cpu_load }].slice(-MOST));
  }
  put(one);
}

function put(one) {
  const before = cards.get(one.name);
  const card = board(one);
  if (before) before.replaceWith(card);
  else main.append(card);
  cards.set(one.name, card);
}

function board(one) {
  const card = make("section", { class: `card ${one.state}`, "data-board": one.name, "data-state": one.state });
  card.append(
    make(
      "h2",
      {},
      one.name,
      make("span", { class: `badge ${one.state === "answers" ? "good" : one.state === "away" ? "bad" : ""}` }, WORDS[one.state]),
      one.info && one.info.emulated ? make("span", { class: "badge emulated" }, "EMULATED") : "",
    ),
  );
  if (one.state === "answers") card.append(...alive(one));
  else if (one.state === "away") {
    card.append(
      make("p", { class: "trouble" }, one.why),
      make("p", { class: "note" }, `It last answered: ${moment(one.answered_unix_s)}. ${one.hint ? `Hint: ${one.hint}.` : ""}`),
    );
  }
  return card;
}

const WORDS = { asked: "being asked", answers: "answers", away: "AWAY" };

function alive(one) {
  const info = one.info;
  const parts = [
    make("p", { class: "note" }, `${info.title} (${info.unit}), ${info.soc}, ${info.cpu_count} cores, ${(info.memory_bytes / 2 ** 30).toFixed(1)} GiB; daemon ${info.daemon_version} at ${one.address}`),
  ];
  if (info.emulated) {
    parts.push(
      make("p", { class: "emulated" }, `EMULATED: no such board is attached; ${info.host_platform} plays it. Times, energy and power (~) are modelled, answers are the model's own.`),
    );
  }
  parts.push(live(one));
  parts.push(make("h3", {}, "Deployments"), deployments(one), ...ended(one));
  parts.push(make("h3", {}, "Lease"), make("p", {}, lease(one.lease)));
  parts.push(...one.refused.map((why) => make("p", { class: "trouble" }, why)));
  parts.push(fold(one, "Runtimes and sensors", hardware(info)));
  return parts;
}

function live(one) {
  const found = one.sample;
  if (!found) return make("p", { class: "note" }, "No sample yet.");
  const mark = found.modelled ? "~" : "";
  const pointsOf = (name) => traces.get(one.name).map((point) => [point.unix_s, point[name]]);
  const figures = [
    ["power", "power_w", (value) => mark + number(value, 1, "W"), "no sensor"],
    ["temperature", "temperature_c", (value) => number(value, 1, "°C", 1), "not known"],
    ["load", "cpu_load", (value) => number(value, 100, "%", 0), "not known"],
  ];
  const words = [
    `memory in use: ${number(found.memory_used_bytes || null, 2 ** -30, "GiB")}`,
    `clock: ${number(found.clock_hz, 1e-6, "MHz", 0)}`,
    found.throttled === null ? "throttling: not known" : found.throttled ? "THROTTLED" : "not throttled",
  ];
  return make(
    "div",
    {},
    make("div", { class: "figures" }, figures.map(([name, key, text, none]) =>
      make("figure", { "data-figure": name },
        make("figcaption", {}, name), make("b", {}, found[key] === null ? none : text(found[key])), trace(pointsOf(key), name, text)))),
    make("p", { class: found.throttled ? "trouble" : "note" }, words.join(" · ")),
  );
}

function deployments(one) {
  if (!one.deployments) return make("p", { class: "note" }, "not told");
  const now = one.deployments.filter((each) => NOW.includes(each.state));
  now.sort((a, b) => a.model.localeCompare(b.model) || NOW.indexOf(a.state) - NOW.indexOf(b.state));
  return table(["model", "state", "why", "variant", "since", "bundle"], now.map(row), "Nothing is deployed.");
}

const NOW = ["serving", "unloaded", "previous"];
const STATES = { serving: "good", failed: "bad", "rolled-back": "bad", unloaded: "warn", previous: "", committed: "good" };

function ended(one) {
  const before = (one.deployments || []).filter((each) => !NOW.includes(each.state)).reverse();
  if (!before.length) return [];
  const rows = table(["model", "state", "why", "variant", "when", "bundle"], before.map(row), "");
  return [fold(one, `History: ${before.length} that ended, were refused or rolled back`, rows, true)];
}

function row(each) {
  return [
    each.model,
    make("span", { class: `badge ${STATES[each.state] || ""}` }, each.state),
    each.reason || "",
    each.variant,
    moment(each.since_unix_s),
    each.bundle_digest.replace("sha256:", "").slice(0, 12),
  ];
}

function lease(state) {
  if (!state) return "not told";
  const waiting = state.waiting.map((one) => `${one.holder} (priority ${one.priority}, ${one.waited_s.toFixed(0)} s)`);
  const whose = state.token ? `${state.holder} has the board for ${state.left_s.toFixed(0)} s more unless it renews` : "Nobody has a lease";
  return `${whose}; ${state.measuring ? "it is measuring" : "nothing is measured"}${waiting.length ? `; waiting: ${waiting.join(", ")}` : ""}.`;
}

function hardware(info) {
  const runtimes = info.runtimes.map((each) => [each.name, each.version, each.unavailable || "usable"]);
  const sensors = info.sensors.map((each) => [each.name, each.covers, each.in_use ? "in use" : each.unavailable || "not used", `${each.rate_hz.toFixed(0)} Hz`]);
  return make(
    "div",
    {},
    table(["runtime", "version", "state"], runtimes, "No runtime."),
    table(["power sensor", "covers", "state", "rate"], sensors, "No power sensor."),
  );
}

// Stays as the reader left it, though all is drawn anew.
function fold(one, title, inner, open = false) {
  const key = `${one.name} ${title.split(":")[0]}`;
  const found = make("details", {}, make("summary", {}, title), inner);
  found.open = open !== opened.has(key);
  found.querySelector("summary").addEventListener("click", () => {
    if (opened.has(key)) opened.delete(key);
    else opened.add(key);
  });
  return found;
}

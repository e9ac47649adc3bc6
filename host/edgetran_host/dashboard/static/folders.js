// The runs or the records of a folder, the newest first.
import { make, moment, table } from "./drawing.js";
import { follow } from "./feed.js";

const main = document.querySelector("main");
const what = main.dataset.what;
const TITLES = { runs: "Runs", records: "Measurement records", fleets: "Fleets" };
const EMPTY = {
  runs: "There is no run in this folder. edgetran deploy, search and refine make some.",
  records: "There is no record in this folder. edgetran profile makes some.",
  fleets: "No fleet was named: edgetran dashboard --fleet fleet.toml shows one.",
};
const HEADS = {
  runs: ["run", "kind", "state", "about", "changed"],
  records: ["record", "verdict", "about", "measured"],
  fleets: ["fleet", "last rollout", "about", "changed"],
};

follow({ folders: show }, () => {});

function show(folders) {
  const rows = folders[what].map((one) => {
    const link = make("a", { href: `/${what}/${one.name.split("/").map(encodeURIComponent).join("/")}` }, one.name);
    const state = make("span", { class: `badge ${colour(one.state)}` }, one.state);
    return what === "runs" ? [link, one.kind, state, one.about, moment(one.changed_unix_s)] : [link, state, one.about, moment(one.changed_unix_s)];
  });
  main.replaceChildren(make("h1", {}, TITLES[what]), table(HEADS[what], rows, EMPTY[what]));
}

function colour(state) {
  if (state.startsWith("finished") || state === "valid" || state === "done") return "good";
  if (state.startsWith("cannot") || ["invalid", "halted", "halting"].includes(state)) return "bad";
  return "warn";
}

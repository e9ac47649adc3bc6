// One run or record: its report, drawn by the server and drawn anew when its files change.
import { make } from "./drawing.js";
import { follow } from "./feed.js";

const main = document.querySelector("main");
const { name, kind, what } = main.dataset;
const here = location.pathname;
const report = make("article", { class: `report ${kind}` });
const outlook = make("article", { class: "report search" });
let drawn = ""; // the stamp that the report is of
let busy = false;

main.replaceChildren(make("p", { class: "note" }, "The report is being drawn …"));
follow({ folders: check }, () => {});

async function check(folders) {
  const entry = folders[what].find((one) => one.name === name);
  if (!entry) {
    main.replaceChildren(make("p", { class: "trouble" }, `${name} is gone.`));
    drawn = "";
    return;
  }
  if (busy || entry.stamp === drawn) return;
  busy = true;
  try {
    await draw(entry.stamp);
  } finally {
    busy = false;
  }
}

async function draw(stamp) {
  report.innerHTML = await body(`${here}/body`); // escaped by the server; scripts in it do not run
  main.replaceChildren(report, outlook);
  if (kind === "search") {
    outlook.replaceChildren(make("p", { class: "note" }, "What the models foretell is being computed …"));
    outlook.innerHTML = await body(`${here}/outlook`);
  }
  drawn = stamp;
}

async function body(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.text();
}

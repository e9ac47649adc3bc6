// Elements from values. Text is only ever set as text, whatever a board calls itself.

export function make(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) found.setAttribute(name, value);
  }
  found.append(...children.flat().filter((child) => child !== null && child !== ""));
  return found;
}

export function table(head, rows, empty) {
  if (!rows.length) return make("p", { class: "note" }, empty);
  return make(
    "div",
    { class: "wide" },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, head.map((cell) => make("th", {}, cell)))),
      make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map((cell) => make("td", {}, cell))))),
    ),
  );
}

export function moment(unixS) {
  return unixS ? new Date(unixS * 1000).toLocaleString() : "never";
}

export function number(value, factor, unit, digits = 2) {
  return value === null || value === undefined ? "not known" : `${(value * factor).toFixed(digits)} ${unit}`;
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 64;

// points: [[seconds, y or null], ...]: a line from zero up, that breaks where nothing is known;
// empty where there is nothing to draw. text: of a height.
export function trace(points, title, text) {
  const known = points.filter(([, y]) => y !== null);
  if (known.length < 2) return "";
  const first = points[0][0];
  const span = Math.max(points[points.length - 1][0] - first, 1e-9);
  const top = Math.max(...known.map(([, y]) => y), 1e-9) * 1.1;
  const picture = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title, class: "trace",
  });
  let path = "";
  let broken = true;
  for (const [x, y] of points) {
    if (y !== null) {
      const at = `${(((x - first) / span) * WIDTH).toFixed(1)} ${(HEIGHT - (y / top) * HEIGHT).toFixed(1)}`;
      path += `${broken ? "M" : "L"}${at}`;
    }
    broken = y === null;
  }
  picture.append(shape("path", { d: path }));
  return make("div", {}, picture, make("small", {}, `0 to ${text(top)}, the last ${span.toFixed(0)} s`));
}

function shape(tag, attributes) {
  const found = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  return found;
}

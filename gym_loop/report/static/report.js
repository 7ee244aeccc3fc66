// What a report's figures do beyond being there: hover, toggle groups, show single runs, zoom.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { width, height, left, right, top: above, bottom: below } = data.geometry;
const inner = { x0: left, x1: width - right, y0: height - below, y1: above };
const hidden = new Set(data.hidden);
const charts = [];
let singles = false;

const make = (name, attributes = {}, text = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};
const style = (group) => `l${group % data.colours} d${group % data.dashes}`;
const short = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

function compact(value) {
  const size = Math.abs(value);
  if (size < 1e-12) return "0";
  if (size >= 1e9) return `${Number((value / 1e9).toPrecision(4))}G`;
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return String(Number(value.toPrecision(4)));
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n <= high / step + 1e-9; n += 1) found.push(n * step);
  return found;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.svg = figure.querySelector("svg");
    this.lines = data.charts[figure.dataset.chart].map((line) => ({
      ...line,
      x: line.x.length === line.y.length ? line.x : line.y.map((_, i) => line.x[0] + i * line.x[1]),
    }));
    this.full = [Number(figure.dataset.start), Math.max(...this.lines.map((line) => line.x.at(-1)))];
    if (this.full[0] === this.full[1]) this.full[1] += 1;
    this.range = this.full;
    this.at = null;
    this.clip();
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.figure.append(this.tip);
    this.listen();
  }

  clip() {
    const id = `clip-${charts.length}`;
    const path = make("clipPath", { id });
    path.append(make("rect", { x: inner.x0, y: inner.y1, width: inner.x1 - inner.x0, height: inner.y0 - inner.y1 }));
    this.axes = this.svg.querySelector(".axes");
    this.marks = this.svg.querySelector(".marks");
    this.marks.setAttribute("clip-path", `url(#${id})`);
    this.runs = make("g", { "clip-path": `url(#${id})` });
    this.rule = make("path", { class: "rule" });
    this.drag = make("rect", { class: "drag", y: inner.y1, height: inner.y0 - inner.y1, width: 0 });
    this.svg.prepend(path);
    this.svg.append(this.runs, this.drag, this.rule);
    this.svg.setAttribute("tabindex", "0");
  }

  get visible() { return this.lines.filter((line) => !hidden.has(line.g)); }

  vertical() {
    let low = Infinity, high = -Infinity;
    const see = (value) => { if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); } };
    for (const line of this.visible) {
      line.x.forEach((x, i) => {
        if (x < this.range[0] || x > this.range[1]) return;
        [line.y, line.l, line.h].forEach((one) => see(one[i]));
        if (singles) Object.values(line.r ?? {}).forEach((one) => see(one[i]));
      });
    }
    if (low > high) return [0, 1];
    const air = 0.04 * (high - low) || Math.abs(low) / 10 || 1;
    return [low - air, high + air];
  }

  draw() {
    const [low, high] = this.range;
    const [under, over] = this.vertical();
    this.x = (value) => inner.x0 + ((value - low) / (high - low)) * (inner.x1 - inner.x0);
    this.y = (value) => inner.y0 + ((value - under) / (over - under)) * (inner.y1 - inner.y0);
    const path = (xs, ys) => {
      const points = [];
      xs.forEach((x, i) => { if (ys[i] !== null) points.push(`${this.x(x).toFixed(1)} ${this.y(ys[i]).toFixed(1)}`); });
      return points.length ? `M${points.join("L")}${points.length === 1 ? "m-3 0h6" : ""}` : "";
    };
    const [bands, lines] = ["band", "line"].map((name) => this.marks.querySelectorAll(`.${name}`));
    this.runs.replaceChildren();
    this.lines.forEach((line, i) => {
      const off = hidden.has(line.g);
      const there = path(line.x, line.l);
      const back = path([...line.x].reverse(), [...line.h].reverse());
      bands[i].setAttribute("d", off || singles || !there ? "" : `${there}L${back.slice(1)}Z`);
      lines[i].setAttribute("d", off ? "" : path(line.x, line.y));
      if (off || !singles) return;
      for (const values of Object.values(line.r ?? {})) {
        this.runs.append(make("path", { class: `single ${style(line.g)}`, d: path(line.x, values) }));
      }
    });
    this.axis(low, high, under, over);
    this.point(this.at);
  }

  axis(low, high, under, over) {
    const parts = [];
    for (const value of ticks(low, high, 6)) {
      const x = this.x(value).toFixed(1);
      parts.push(make("path", { class: "grid", d: `M${x} ${inner.y1}V${inner.y0}` }),
        make("text", { x, y: inner.y0 + 18, "text-anchor": "middle" }, compact(value)));
    }
    for (const value of ticks(under, over, 5)) {
      const y = this.y(value);
      parts.push(make("path", { class: "grid", d: `M${inner.x0} ${y.toFixed(1)}H${inner.x1}` }),
        make("text", { x: inner.x0 - 6, y: (y + 4).toFixed(1), "text-anchor": "end" }, compact(value)));
    }
    parts.push(make("path", { class: "frame", d: `M${inner.x0} ${inner.y1}V${inner.y0}H${inner.x1}` }));
    this.axes.replaceChildren(...parts);
  }

  /** Show the values at a place on the horizontal axis; null shows none. */
  point(value) {
    this.at = value;
    this.tip.hidden = value === null;
    this.rule.setAttribute("d", value === null ? "" : `M${this.x(value).toFixed(1)} ${inner.y1}V${inner.y0}`);
    if (value === null) return;
    const head = document.createElement("strong");
    head.textContent = `${short(value)} ${this.figure.dataset.x}`;
    const rows = this.visible.map((line) => this.row(line, value)).filter(Boolean);
    this.tip.replaceChildren(head, ...rows);
    const [box, around] = [this.svg.getBoundingClientRect(), this.figure.getBoundingClientRect()];
    const x = (this.x(value) / width) * box.width;
    const free = around.width - this.tip.offsetWidth; // beside the rule, where there is more room
    const place = x > box.width / 2 ? x - this.tip.offsetWidth - 10 : x + 10;
    const top = box.top - around.top + (above / height) * box.height;
    this.tip.style.transform = `translate(${Math.max(0, Math.min(place, free))}px, ${top}px)`;
  }

  row(line, value) {
    let i = 0;
    line.x.forEach((x, j) => { if (Math.abs(x - value) < Math.abs(line.x[i] - value)) i = j; });
    const reach = (this.full[1] - this.full[0]) / 100; // else the line has ended, or not begun
    if (Math.abs(line.x[i] - value) > reach || line.y[i] === null) return null;
    const row = document.createElement("div");
    const swatch = make("svg", { viewBox: "0 0 22 8" });
    swatch.append(make("path", { class: `line ${style(line.g)}`, d: "M0 4H22" }));
    const between = line.l[i] === null || line.h[i] === line.l[i] ? "" : ` (${short(line.l[i])} to ${short(line.h[i])})`;
    const runs = line.n[i] === 1 ? "1 run" : `${line.n[i]} runs`;
    row.append(swatch, `${line.name}: ${short(line.y[i])}${between}, ${runs}`);
    return row;
  }

  zoom(low, high) {
    const [first, last] = this.full;
    const least = (last - first) / 100;
    if (high - low < least) return;
    this.range = [Math.max(first, low), Math.min(last, high)];
    this.draw();
  }

  value(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const part = Math.min(1, Math.max(0, (x - inner.x0) / (inner.x1 - inner.x0)));
    return this.range[0] + part * (this.range[1] - this.range[0]);
  }

  listen() {
    let start = null;
    const drop = () => { start = null; this.drag.setAttribute("width", 0); };
    this.svg.addEventListener("pointermove", (event) => {
      const now = this.value(event);
      this.point(now);
      if (start === null) return;
      this.drag.setAttribute("x", this.x(Math.min(start, now)));
      this.drag.setAttribute("width", Math.abs(this.x(now) - this.x(start)));
    });
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) {
        start = this.value(event);
        this.svg.setPointerCapture(event.pointerId);
      }
    });
    this.svg.addEventListener("pointerup", (event) => {
      const [from, to] = [start, this.value(event)];
      drop();
      if (from !== null) this.zoom(Math.min(from, to), Math.max(from, to));
    });
    this.svg.addEventListener("pointercancel", drop);
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
    this.svg.addEventListener("dblclick", () => this.zoom(...this.full));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const [low, high] = this.range;
    const [span, at] = [high - low, this.at ?? (low + high) / 2];
    const near = (part) => [at - (at - low) * part, at + (high - at) * part];
    const does = {
      ArrowLeft: () => this.point(Math.max(low, at - span / 50)),
      ArrowRight: () => this.point(Math.min(high, at + span / 50)),
      "+": () => this.zoom(...near(0.5)),
      "-": () => this.zoom(...near(2)),
      0: () => this.zoom(...this.full),
      Escape: () => { this.point(null); this.zoom(...this.full); },
    }[event.key];
    if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    does();
  }
}

for (const figure of document.querySelectorAll("figure[data-chart]")) charts.push(new Chart(figure));
const redraw = () => charts.forEach((chart) => chart.draw());

for (const button of document.querySelectorAll("#legend button[data-group]")) {
  const group = Number(button.dataset.group);
  button.setAttribute("aria-pressed", String(!hidden.has(group)));
  button.addEventListener("click", () => {
    if (!hidden.delete(group)) hidden.add(group);
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    redraw();
  });
}
const single = document.getElementById("singles");
single.addEventListener("click", () => {
  singles = !singles;
  single.setAttribute("aria-pressed", String(singles));
  redraw();
});
document.getElementById("unzoom").addEventListener("click", () => charts.forEach((chart) => chart.zoom(...chart.full)));
document.querySelector(".tools").hidden = false;
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
redraw();

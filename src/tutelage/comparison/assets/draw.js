"use strict";
// What drawing takes: elements, numbers as text, ticks, smoothing.

const cells = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

const make = (name, attributes = {}, parent = null, content = null) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (content !== null) node.textContent = content;
  if (parent) parent.append(node);
  return node;
};
const draw = (name, attributes, parent, content = null) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (content !== null) node.textContent = content;
  if (parent) parent.append(node);
  return node;
};
const finite = (value) => value !== null && Number.isFinite(value);
const show = (value) => {
  if (!finite(value)) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(5)));
};
const big = (value) => {
  for (const [scale, letter] of [[1e9, "B"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(value) >= scale) return `${Number((value / (letter === "k" ? 1e3 : scale)).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(4)));
};
const ticks = (low, high, count) => {
  const rough = (high - low) / count;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough * 0.999);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) found.push(index * step);
  return found;
};
const logTicks = (low, high) => {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length > 1 ? found : ticks(low, high, 4);
};
// Exponential smoothing that starts unbiased; gaps stay gaps.
const smooth = (values, weight) => {
  if (!weight) return values;
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    if (!finite(value)) return null;
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
};
const summary = (rows, index) => {
  const known = rows.map((row) => row[index]).filter(finite);
  if (!known.length) return null;
  return {
    mean: known.reduce((sum, value) => sum + value, 0) / known.length,
    low: Math.min(...known), high: Math.max(...known), count: known.length,
  };
};

// One stop of the Tab key for many things: the arrow keys go on from there. Rows are lists of elements.
const rove = (rows, host) => {
  const every = rows.flat();
  if (!every.length) return;
  for (const node of every) node.tabIndex = -1;
  every[0].tabIndex = 0;
  const place = (node) => {
    const row = rows.findIndex((items) => items.includes(node));
    return row < 0 ? null : [row, rows[row].indexOf(node)];
  };
  const go = (node) => {
    for (const other of every) if (other.tabIndex === 0) other.tabIndex = -1;
    node.tabIndex = 0;
  };
  host.addEventListener("focusin", (event) => { const node = event.target; if (place(node)) go(node); });
  host.addEventListener("keydown", (event) => {
    const here = place(event.target);
    if (!here) return;
    const [row, column] = here;
    const flat = every.indexOf(event.target);
    const beside = (items) => items && items[Math.min(column, items.length - 1)];
    const next = {
      ArrowRight: every[flat + 1], ArrowLeft: every[flat - 1], Home: every[0], End: every[every.length - 1],
      ArrowDown: rows.length > 1 ? beside(rows[row + 1]) : every[flat + 1],
      ArrowUp: rows.length > 1 ? beside(rows[row - 1]) : every[flat - 1],
    };
    if (!(event.key in next)) return;
    event.preventDefault();
    if (next[event.key]) next[event.key].focus();
  });
};

// The learning curves of one workload and budget.

const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

class Panel {
  constructor(host, cell, label) {
    this.cell = cell;
    this.colours = new Map(cell.arms.map((name, index) => [name, cell.colours[index]]));
    this.hidden = new Set();
    this.state = { metric: cell.metrics[0], clock: "step", range: "all", weight: 0, style: "band", view: "value", log: false };
    this.at = null;
    this.controls(host);
    this.legend(host);
    const frame = (height, name) => {
      const box = make("div", { class: "chart" }, host);
      const svg = draw("svg", { tabindex: "0", role: "img" }, box);
      box.addEventListener("pointermove", (event) => this.point(event, svg));
      box.addEventListener("pointerleave", () => this.move(null));
      svg.addEventListener("keydown", (event) => this.key(event));
      svg.addEventListener("blur", () => this.move(null));
      return { box, svg, height, name };
    };
    this.frames = [];
    if (cell.metrics.length) this.frames.push(frame(360, "metric"));
    if (cell.series.lr) this.frames.push(frame(170, "lr"));
    this.tip = make("div", { class: "tip", hidden: "" }, this.frames.length ? this.frames[0].box : host);
    this.spoken = make("p", { class: "hidden-text", "aria-live": "polite" }, host);
    make("p", { class: "sub" }, host, "Point at a curve, or reach it with Tab and use the arrow keys, to read values. Click an arm or press Enter to hide it, with Shift to see it alone; arrow keys go from arm to arm.");
    this.label = label;
    this.render();
    new ResizeObserver(() => this.render()).observe(host);
  }

  controls(host) {
    const bar = make("div", { class: "controls" }, host);
    const choose = (name, key, options) => {
      if (options.length < 2) return;
      const label = make("label", {}, bar, name);
      const select = make("select", {}, label);
      for (const [value, words] of options) make("option", { value }, select, words);
      select.addEventListener("change", () => { this.state[key] = select.value; this.move(null); this.render(); });
    };
    choose("Show", "metric", this.cell.metrics.map((name) => [name, name]));
    const every = [...Object.values(this.cell.series)].flatMap((series) => Object.values(series.arms));
    const clocks = ["tokens", "seconds"].filter((clock) => every.length && every.every((arm) => arm[clock]));
    choose("over", "clock", [["step", "updates"], ...clocks.map((clock) => [clock, clock])]);
    choose("Range", "range", [["all", "whole run"], ["late", "skip first tenth"], ["half", "second half"], ["tail", "last tenth"]]);
    if (this.cell.arms.length > 1) choose("as", "view", [["value", "values"], ["minus", `minus ${this.cell.baseline}`]]);
    const pair = this.cell.pair;
    choose(`${pair[0].toUpperCase()}${pair.slice(1)}s`, "style", [["band", "mean and range"], ["each", `every ${pair}`], ["mean", "mean only"]]);
    const label = make("label", {}, bar, "Smooth");
    const slider = make("input", { type: "range", min: "0", max: "0.98", step: "0.02", value: "0", "aria-label": "Smoothing" }, label);
    slider.addEventListener("input", () => { this.state.weight = Number(slider.value); this.render(); });
    const box = make("label", {}, bar);
    const check = make("input", { type: "checkbox" }, box);
    box.append("log scale");
    check.addEventListener("change", () => { this.state.log = check.checked; this.render(); });
  }

  legend(host) {
    const bar = make("div", { class: "legend", role: "toolbar", "aria-label": "Arms shown" }, host);
    const buttons = this.cell.arms.map((name, index) => {
      const button = make("button", { type: "button", "aria-pressed": "true", class: this.colours.get(name) }, bar);
      const sample = draw("svg", { width: 26, height: 10, "aria-hidden": "true" }, button);
      draw("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: "var(--hue)", "stroke-width": 2.5, "stroke-dasharray": this.dash(index) }, sample);
      button.append(name);
      button.addEventListener("click", (event) => {
        this.toggle(name, event.shiftKey);
        buttons.forEach((other, place) => other.setAttribute("aria-pressed", String(!this.hidden.has(this.cell.arms[place]))));
      });
      // Told apart from a click, because Enter with Shift reaches a button as a plain one in some browsers.
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !event.shiftKey) return;
        event.preventDefault();
        button.dispatchEvent(new MouseEvent("click", { shiftKey: true, bubbles: true }));
      });
      return button;
    });
    rove([buttons], bar);
  }

  toggle(name, alone) {
    if (alone) {
      const only = this.hidden.size === this.cell.arms.length - 1 && !this.hidden.has(name);
      this.hidden = new Set(only ? [] : this.cell.arms.filter((other) => other !== name));
    } else if (!this.hidden.delete(name)) this.hidden.add(name);
    this.render();
  }

  dash(index) {
    if (this.cell.arms[index] === this.cell.baseline) return "5 3";
    return DASHES[Math.floor(index / 8) % DASHES.length];
  }

  clockOf(series, arm) { return this.state.clock === "step" ? series.x : arm[this.state.clock]; }

  // The same seed of the baseline is taken off, so that what the seed does to both arms cancels.
  less(series, arm, weight) {
    const base = series.arms[this.cell.baseline];
    if (!base) return [];
    return arm.seeds.flatMap((seed, place) => {
      const other = base.seeds.indexOf(seed);
      if (other < 0 || !base.y[other]) return [];
      const theirs = smooth(base.y[other], weight);
      return [smooth(arm.y[place], weight).map((value, at) => (finite(value) && finite(theirs[at]) ? value - theirs[at] : null))];
    });
  }

  // What one chart shows: for each visible arm its x, its smoothed seeds, and mean and range at each x.
  lines(frame) {
    const series = this.cell.series[frame.name === "lr" ? "lr" : this.state.metric];
    const share = { all: 0, late: 0.1, half: 0.5, tail: 0.9 }[this.state.range];
    const from = share * Math.max(...Object.values(this.cell.series).map((other) => other.x[other.x.length - 1]));
    const first = Math.max(0, series.x.findIndex((x) => x >= from));
    return this.cell.arms.flatMap((name, index) => {
      const arm = series.arms[name];
      if (!arm || this.hidden.has(name)) return [];
      const weight = frame.name === "lr" ? 0 : this.state.weight;
      const minus = frame.name !== "lr" && this.state.view === "minus";
      const rows = (minus ? this.less(series, arm, weight) : arm.y.map((row) => smooth(row, weight))).map((row) => row.slice(first));
      const x = this.clockOf(series, arm).slice(first);
      return [{ name, index, x, steps: series.x.slice(first), rows, at: x.map((_, place) => summary(rows, place)) }];
    });
  }

  render() {
    for (const frame of this.frames) this.paint(frame);
    this.mark();
  }

  paint(frame) {
    const width = Math.max(320, Math.round(frame.box.clientWidth || 900));
    const { svg, height } = frame;
    const edge = { left: 58, right: 14, top: 24, bottom: 30 };
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const lines = this.lines(frame);
    const over = this.state.clock === "step" ? "updates" : this.state.clock;
    const minus = frame.name !== "lr" && this.state.view === "minus";
    const title = frame.name === "lr" ? "learning rate" : `${this.state.metric}${minus ? ` minus that of ${this.cell.baseline}` : ""}`;
    svg.setAttribute("aria-label", `${title} over ${over}, ${lines.length} arms. Arrow keys read values.`);
    const xs = lines.flatMap((line) => [line.x[0], line.x[line.x.length - 1]]).filter(finite);
    // A run that blew up must not flatten the others: limits come from the means, spikes beyond are cut off.
    const means = lines.flatMap((line) => line.at.filter(Boolean).map((found) => found.mean)).sort((a, b) => a - b);
    if (!xs.length || !means.length) {
      draw("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, svg, "No arm is shown.");
      frame.scale = null;
      return;
    }
    const extremes = lines.flatMap((line) => line.at.filter(Boolean).flatMap((found) => [found.low, found.high]));
    const quarter = means[Math.floor(means.length / 4)];
    const spread = means[Math.floor(means.length * 0.75)] - quarter;
    const cut = frame.name === "lr" || !(spread > 0) ? Infinity : 30 * spread;
    const log = this.state.log && frame.name !== "lr" && Math.min(...extremes) > 0;
    let low = Math.max(Math.min(...extremes), quarter - cut);
    let high = Math.min(Math.max(...extremes), quarter + cut);
    if (frame.name === "lr" || minus) low = Math.min(low, 0);
    if (minus) high = Math.max(high, 0);
    if (!(high > low)) { low -= Math.abs(low) * 0.1 || 0.5; high += Math.abs(high) * 0.1 || 0.5; }
    // Both charts share their horizontal axis, so that a bend of the curve stands above the rate that caused it.
    const every = this.frames.flatMap((other) => this.lines(other)).flatMap((line) => [line.x[0], line.x[line.x.length - 1]]).filter(finite);
    const [x0, x1] = [Math.min(...every), Math.max(...every)];
    const inner = { x: edge.left, y: edge.top, width: width - edge.left - edge.right, height: height - edge.top - edge.bottom };
    const warp = log ? Math.log : (value) => value;
    const room = 0.03 * (warp(high) - warp(low));
    const bottom = warp(low) - (frame.name === "lr" ? 0 : room);
    const top = warp(high) + room;
    const px = (x) => inner.x + (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5) * inner.width;
    const py = (y) => inner.y + (1 - (warp(y) - bottom) / (top - bottom)) * inner.height;
    frame.scale = { px, py, x0, x1, inner, lines, width, height };

    const yTicks = log ? logTicks(low, high) : ticks(low, high, frame.name === "lr" ? 3 : 6);
    for (const tick of yTicks) {
      draw("line", { class: minus && tick === 0 ? "axisline" : "gridline", x1: inner.x, x2: inner.x + inner.width, y1: py(tick), y2: py(tick) }, svg);
      draw("text", { x: inner.x - 8, y: py(tick) + 4, "text-anchor": "end" }, svg, show(Number(tick.toPrecision(6))));
    }
    const axisY = inner.y + inner.height;
    draw("line", { class: "axisline", x1: inner.x, x2: inner.x + inner.width, y1: axisY, y2: axisY }, svg);
    for (const tick of ticks(x0, x1, Math.max(3, Math.floor(width / 130)))) {
      draw("text", { x: px(tick), y: axisY + 18, "text-anchor": "middle" }, svg, big(tick));
    }
    const caption = draw("text", { x: inner.x, y: 13 }, svg);
    draw("tspan", { class: "caption" }, caption, title);
    draw("tspan", {}, caption, ` over ${over}`);

    const clip = `clip-${this.label}-${frame.name}`;
    const holder = draw("clipPath", { id: clip }, draw("defs", {}, svg));
    draw("rect", { x: inner.x, y: inner.y - 2, width: inner.width, height: inner.height + 4 }, holder);
    const plot = draw("g", { "clip-path": `url(#${clip})` }, svg);
    const path = (line, value) => {
      let open = false;
      return line.x.map((x, place) => {
        const y = value(place);
        if (!finite(y) || (log && y <= 0)) { open = false; return ""; }
        const piece = `${open ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
        open = true;
        return piece;
      }).join("");
    };
    for (const line of lines) {
      const group = draw("g", { class: this.colours.get(line.name) }, plot);
      if (this.state.style === "band" && line.rows.length > 1) {
        const known = line.x.map((_, place) => place).filter((place) => line.at[place]);
        const upper = known.map((place) => `${px(line.x[place]).toFixed(1)} ${py(line.at[place].high).toFixed(1)}`);
        const lower = known.map((place) => `${px(line.x[place]).toFixed(1)} ${py(line.at[place].low).toFixed(1)}`).reverse();
        if (known.length > 1) draw("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }, group);
      }
      if (this.state.style === "each") for (const row of line.rows) draw("path", { class: "one", d: path(line, (place) => row[place]) }, group);
      draw("path", { class: "mean", d: path(line, (place) => line.at[place] && line.at[place].mean), "stroke-dasharray": this.dash(line.index) }, group);
    }
    frame.marks = draw("g", {}, svg);
  }

  point(event, svg) {
    const frame = this.frames.find((item) => item.svg === svg);
    if (!frame.scale) return;
    const box = svg.getBoundingClientRect();
    const { inner, x0, x1, width } = frame.scale;
    const share = ((event.clientX - box.left) * (width / box.width) - inner.x) / inner.width;
    const grid = frame.scale.lines[0].x;
    this.move(share < -0.03 || share > 1.03 ? null : grid[this.nearest(grid, x0 + share * (x1 - x0))]);
  }

  key(event) {
    const frame = this.frames.find((item) => item.svg === event.currentTarget);
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") { this.move(null); return; }
    if (!(event.key in moves) || !frame.scale) return;
    event.preventDefault();
    const grid = frame.scale.lines[0].x;
    const here = this.at === null ? -1 : this.nearest(grid, this.at);
    const next = Math.min(grid.length - 1, Math.max(0, here + moves[event.key]));
    this.move(grid[next]);
    const words = this.read(frame).map((row) => `${row.name} ${show(row.found.mean)}`).join("; ");
    this.spoken.textContent = `${this.state.clock === "step" ? "update" : this.state.clock} ${big(grid[next])}: ${words}`;
  }

  nearest(grid, x) {
    let low = 0;
    let high = grid.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (grid[middle] < x) low = middle; else high = middle;
    }
    return x - grid[low] <= grid[high] - x ? low : high;
  }

  read(frame) {
    return frame.scale.lines.flatMap((line) => {
      const place = this.nearest(line.x, this.at);
      const found = line.at[place];
      return found ? [{ name: line.name, x: line.x[place], found }] : [];
    }).sort((a, b) => (this.cell.lowerIsBetter || frame.name === "lr" ? 1 : -1) * (a.found.mean - b.found.mean));
  }

  move(x) { this.at = x; this.mark(); }

  mark() {
    const shown = this.at !== null;
    for (const frame of this.frames) {
      if (!frame.marks || !frame.scale) continue;
      frame.marks.replaceChildren();
      if (!shown) continue;
      const { px, py, inner } = frame.scale;
      draw("line", { class: "cross", x1: px(this.at), x2: px(this.at), y1: inner.y, y2: inner.y + inner.height }, frame.marks);
      for (const row of this.read(frame)) {
        const y = py(row.found.mean);
        if (y >= inner.y - 2 && y <= inner.y + inner.height + 2) draw("circle", { class: `point ${this.colours.get(row.name)}`, cx: px(row.x), cy: y, r: 4 }, frame.marks);
      }
    }
    const frame = this.frames[0];
    this.tip.hidden = !shown || !frame || !frame.scale;
    if (this.tip.hidden) return;
    this.tip.replaceChildren();
    make("b", {}, this.tip, `${this.state.clock === "step" ? "update" : this.state.clock} ${big(this.at)}`);
    const table = make("table", {}, this.tip);
    const rates = this.frames[1] && this.frames[1].scale ? new Map(this.read(this.frames[1]).map((row) => [row.name, row.found.mean])) : new Map();
    for (const row of this.read(frame)) {
      const line = make("tr", { class: this.colours.get(row.name) }, table);
      const name = make("td", { class: "name" }, line);
      make("i", { class: "swatch" }, name);
      name.append(row.name);
      make("td", { class: "num" }, line, show(row.found.mean));
      const rate = rates.has(row.name) && frame.name !== "lr" ? `rate ${show(rates.get(row.name))}` : "";
      make("td", { class: "num" }, line, rate);
    }
    const { px, width } = frame.scale;
    const factor = frame.box.clientWidth / width;
    const left = px(this.at) * factor;
    const own = this.tip.offsetWidth;
    this.tip.style.left = `${left + 16 + own > frame.box.clientWidth ? Math.max(0, left - own - 16) : left + 16}px`;
    this.tip.style.top = "28px";
  }
}

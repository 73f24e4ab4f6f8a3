/* The rankings of the chapter on objectives, to be sorted. In the built pages its figure of all runs has the tables of
   results beside it, as <script type="application/json" class="rankings">. This puts a panel below the figure, which
   shows one target and one measure: a strip of runs for each objective, and a table that its headings sort. */
(() => {
  "use strict";

  const LOG = [0.7, 100]; // the ends of the axis of distances; what lies beyond is drawn there
  const ROW = 34; // pixels of a strip and the name above it
  const EDGE = 18; // beside the axis, where half of its last number stands
  const COLUMNS = ["name", "median", "least", "most"];

  const fixed = (v) => v.toFixed(1);
  const short = (v) => (Number.isFinite(v) ? `${Number(v.toPrecision(3))}` : "failed");
  const within = (v, [low, high]) => Math.min(high, Math.max(low, v));
  const option = (words, i) => `<option value="${i}">${words}</option>`;

  function summary({ name, runs }) {
    const sorted = runs.map((v) => v ?? Infinity).sort((a, b) => a - b);
    const n = sorted.length;
    const median = (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2;
    return { name, runs: sorted, median, least: sorted[0], most: sorted[n - 1] };
  }

  // Places on the axis, from 0 to 1, and its marks.
  function axis({ key }, rows) {
    if (key === "distance") {
      const [low, high] = LOG.map(Math.log10);
      return { at: (v) => (Math.log10(within(v, LOG)) - low) / (high - low), marks: [1, 2, 5, 10, 20, 50, 100] };
    }
    const most = Math.max(...rows.map((row) => row.most));
    return { at: (v) => v / most, marks: [0, most / 2, most] };
  }

  function picture(width, measure, rows) {
    const { at, marks } = axis(measure, rows);
    const X = (v) => EDGE + at(v) * (width - 2 * EDGE);
    const floor = rows.length * ROW + 4;
    const line = (kind, x, top, bottom) => `<path class="${kind}" d="M${fixed(X(x))} ${top}V${bottom}"/>`;
    const strips = rows.map(({ name, runs, median }, i) => {
      const y = (i + 1) * ROW - 6; // the middle of the strip
      return `<text x="${EDGE}" y="${y - 12}">${name}</text>${runs.map((v) => line("run", v, y - 7, y + 7)).join("")}
        <circle cx="${fixed(X(median))}" cy="${y}" r="4"/>`;
    });
    return [
      ...marks.map((v) => line("grid", v, 0, floor)),
      ...marks.map((v) => `<text x="${fixed(X(v))}" y="${floor + 16}" text-anchor="middle">${short(v)}</text>`),
      measure.limit ? line("limit", measure.limit, 0, floor) : "",
      ...strips,
    ].join("");
  }

  function tableOf(rows, sort) {
    const head = COLUMNS.map((column) => {
      const state = column === sort.by ? (sort.down ? "descending" : "ascending") : "none";
      const sign = { ascending: "▲", descending: "▼", none: "" }[state];
      return `<th scope="col" aria-sort="${state}"><button type="button" name="${column}">${column}
        <span aria-hidden="true">${sign}</span></button></th>`;
    });
    const lines = rows.map((row) => `<tr><th scope="row">${row.name}</th>${COLUMNS.slice(1).map((column) =>
      `<td>${short(row[column])}</td>`).join("")}</tr>`);
    return `<thead><tr>${head.join("")}</tr></thead><tbody>${lines.join("")}</tbody>`;
  }

  function build(source) {
    const targets = JSON.parse(source.textContent);
    const place = { target: 0, measure: 0 };
    const sort = { by: "median", down: false };
    const panel = document.createElement("div");
    panel.className = "sliders rankings";
    panel.innerHTML = `<div class="sliders-inputs">
      <label>Target <select name="target">${targets.map(({ words }, i) => option(words, i)).join("")}</select></label>
      <label>Measure <select name="measure"></select></label></div>
      <p role="status"></p>
      <svg role="img" aria-label="A strip for each way to a generator: a line for each run, a dot for their median.
        The table below has the numbers."></svg>
      <div class="rankings-table"><table class="table"></table></div>`;
    const [svg, table, status] = ["svg", "table", "[role=status]"].map((what) => panel.querySelector(what));
    const measures = panel.querySelector("[name=measure]");
    let rows = [];

    const measure = () => targets[place.target].measures[place.measure];

    function draw() {
      const width = Math.max(svg.clientWidth, 260);
      const height = rows.length * ROW + 24;
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.style.height = `${height}px`;
      svg.innerHTML = picture(width, measure(), rows);
    }

    function show() {
      const { words, rows: stored } = measure();
      const value = (row) => (sort.by === "name" ? stored.findIndex(({ name }) => name === row.name) : row[sort.by]);
      rows = stored.map(summary).sort((a, b) => value(a) - value(b) || 0);
      if (sort.down) rows.reverse();
      const order = sort.by === "name" ? "in the order of the chapter" : `by the ${sort.by} of their runs`;
      status.textContent = `${targets[place.target].words}: ${words}, ${order}${sort.down ? ", from the end" : ""}.`;
      table.innerHTML = tableOf(rows, sort);
      draw();
    }

    function fill() {
      const { measures: stored } = targets[place.target];
      const last = stored.findIndex(({ key }) => key === place.key);
      place.measure = Math.max(last, 0); // the same as before, if this target has it
      measures.innerHTML = stored.map(({ words }, i) => option(words, i)).join("");
      measures.value = place.measure;
    }

    panel.addEventListener("change", ({ target }) => {
      place[target.name] = Number(target.value);
      if (target.name === "target") fill();
      place.key = measure().key;
      show();
    });
    panel.addEventListener("click", ({ target }) => {
      const name = target.closest("button")?.name;
      if (!name) return;
      sort.down = sort.by === name && !sort.down;
      sort.by = name;
      show();
      table.querySelector(`[name=${name}]`).focus();
    });
    source.closest("figure").after(panel);
    fill();
    show();
    new ResizeObserver(() => requestAnimationFrame(draw)).observe(panel);
  }

  document.querySelectorAll("script.rankings").forEach(build);
})();

/* Figures with sliders. In the built pages, a figure that was drawn from stored snapshots has them beside its picture,
   as <script type="application/json" class="snapshots">. This puts a picture in its place that follows three inputs:
   the recipe, the round, and the seed that stands out. CONTRIBUTING.md says how one is made. */
(() => {
  "use strict";

  const DISTANCES = [0.02, 10]; // the ends of their axis
  const CEILING = 0.65; // of the densities; spikes leave the picture
  const LEVELS = 65535;

  const fixed = (v) => v.toFixed(1);
  const within = (v, [low, high]) => Math.min(high, Math.max(low, v));
  const path = (kind, points) => `<path class="${kind}" d="M${points.map((p) => p.map(fixed).join(" ")).join("L")}"/>`;

  // Returns a function that gives the quantiles of a recipe, a round and a seed, in the units of the data.
  function unpacked({ curves, reach: [low, high], seeds, quantiles }) {
    const stored = curves.map((text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
    return ({ choice, round, seed }) => {
      const first = (round * seeds + seed) * quantiles;
      const level = (i) => stored[choice][2 * (first + i)] + 256 * stored[choice][2 * (first + i) + 1];
      return Array.from({ length: quantiles }, (_, i) => low + (level(i) / LEVELS) * (high - low));
    };
  }

  // Between two neighbours of n quantiles lies one n-th of all fakes: the closer they are, the denser.
  function density(at) {
    const middles = at.slice(1).map((v, i) => [(v + at[i]) / 2, 1 / (at.length * Math.max(v - at[i], 1e-3))]);
    return [[at[0], 0], ...middles, [at.at(-1), 0]];
  }

  // The picture, as SVG. Its units are the pixels of the page, so that letters keep their size on a phone.

  function frame(width, view) {
    const floor = width < 480 ? 200 : 250; // of the bell
    const strip = floor + 84; // the middle of the dots
    const [low, high] = DISTANCES.map(Math.log10);
    return {
      width, floor, strip,
      height: strip + 36,
      X: (x) => 1 + ((x - view[0]) / (view[1] - view[0])) * (width - 2),
      Y: (v) => floor - (Math.min(v, 2 * CEILING) / CEILING) * (floor - 8),
      S: (w1) => 8 + ((Math.log10(within(w1, DISTANCES)) - low) / (high - low)) * (width - 16),
    };
  }

  function picture({ width, floor, strip, X, Y, S }, data, quantilesOf, place) {
    const { view: [low, high], real, bound: [owner, bound], seeds } = data;
    const text = (at, y, words, anchor = "start") =>
      `<text x="${fixed(at)}" y="${y}" text-anchor="${anchor}">${words}</text>`;
    const onAxes = (points) => points.map(([x, v]) => [X(x), Y(v)]);
    const bell = onAxes(real.map((v, i) => [low + (i / (real.length - 1)) * (high - low), v]));
    const curve = (kind, seed) => path(kind, onAxes(density(quantilesOf({ ...place, seed }))));
    const distances = data.w1[place.choice][place.round];
    const dot = (kind, seed, r) => // those of other seeds beside each other, or they would hide each other
      `<circle class="${kind}" cx="${fixed(S(distances[seed]))}" cy="${strip - 9 + ((7 * seed) % seeds) * (18 / seeds)}" r="${r}"/>`;
    const others = Array.from({ length: seeds }, (_, seed) => seed).filter((seed) => seed !== place.seed);

    const ticks = [];
    for (let x = Math.ceil(low / 2) * 2; x <= high; x += 2) {
      ticks.push(path("grid", [[X(x), 8], [X(x), floor]]), text(X(x), floor + 16, x, "middle"));
    }
    for (const w1 of [0.1, 1]) {
      ticks.push(path("grid", [[S(w1), strip - 14], [S(w1), strip + 14]]), text(S(w1), strip + 30, w1, "middle"));
    }
    return [
      `<rect class="near" x="1" y="${strip - 14}" width="${fixed(S(bound) - 1)}" height="28"/>`,
      ...ticks,
      path("real area", [...bell, [X(high), floor], [X(low), floor]]),
      path("real line", bell),
      ...others.map((seed) => curve("fake line", seed)),
      curve("chosen line", place.seed),
      path("rule", [[1, floor], [width - 1, floor]]),
      text(1, strip - 36, "W₁, how far each seed is off"),
      text(S(bound) - 4, strip - 19, "closer", "end"),
      text(S(bound) + 4, strip - 19, `than ${owner}`),
      path("rule", [[S(bound), strip - 32], [S(bound), strip + 14]]),
      ...others.map((seed) => dot("fake", seed, 4)),
      dot("chosen", place.seed, 6),
    ].join("");
  }

  // The page.

  const slider = (name, label, last) => `<label>${label} <b aria-hidden="true"></b>
    <input type="range" name="${name}" min="0" max="${last}" step="1"></label>`;

  const panelOf = ({ choices, rounds, seeds }) => `
    <p class="sliders-keys"><span class="real">the data</span> <span class="fake">${seeds} generators</span>
      <span class="chosen">the seed you choose</span></p>
    <svg role="img" aria-label="The bell of the data, and a curve for what each of ${seeds} generators makes. Below it a
      dot for the distance of each. The text after the sliders has the numbers."></svg>
    <div class="sliders-inputs"><label>Changes <select name="choice">${choices.map((words, i) =>
      `<option value="${i}">${words}</option>`).join("")}</select></label>
      ${slider("round", "Rounds", rounds.length - 1)}${slider("seed", "Seed", seeds - 1)}</div>
    <p role="status"></p>`;

  function build(source) {
    const data = JSON.parse(source.textContent);
    const { choices, rounds, seeds, start: [words, round, seed], bound: [owner, bound] } = data;
    const quantilesOf = unpacked(data);
    const place = { choice: choices.indexOf(words), round: rounds.indexOf(round), seed };
    const panel = document.createElement("div");
    panel.className = "sliders";
    panel.innerHTML = panelOf(data);
    const svg = panel.querySelector("svg");
    const inputs = panel.querySelectorAll("[name]");

    function draw() {
      const now = frame(Math.max(svg.clientWidth, 260), data.view);
      svg.setAttribute("viewBox", `0 0 ${now.width} ${now.height}`);
      svg.style.height = `${now.height}px`;
      svg.innerHTML = picture(now, data, quantilesOf, place);
    }

    function show() {
      const last = data.w1[place.choice].length - 1; // of some recipes there are fewer rounds
      place.round = Math.min(place.round, last);
      panel.querySelector("[name=round]").max = last;
      const said = { round: rounds[place.round].toLocaleString("en"), seed: `${place.seed}` };
      for (const input of inputs) {
        input.value = place[input.name];
        if (input.type !== "range") continue;
        input.previousElementSibling.textContent = said[input.name];
        input.setAttribute("aria-valuetext", said[input.name]);
      }
      const of = (numbers) => numbers[place.choice][place.round];
      panel.querySelector("[role=status]").innerHTML =
        `After ${said.round} rounds, <b>${of(data.within)} of ${seeds}</b> seeds are closer to the data than ${owner} ` +
        `(W₁ below ${bound}). The median W₁ is <b>${of(data.median).toFixed(3)}</b>; ` +
        `seed ${place.seed} has <b>${of(data.w1)[place.seed].toFixed(3)}</b>.`;
      draw();
    }

    panel.addEventListener("input", ({ target }) => {
      place[target.name] = Number(target.value);
      show();
    });
    source.parentElement.querySelector("img").replaceWith(panel);
    show();
    new ResizeObserver(() => requestAnimationFrame(draw)).observe(panel);
  }

  document.querySelectorAll("script.snapshots").forEach(build);
})();

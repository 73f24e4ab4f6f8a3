/* The reader's choices: a form for all settings, and a pad to draw one's own data on. */
Playground.define("controls", ["presets", "data", "drawing"], (presets, data, drawing) => {
  "use strict";

  /**
   * Make an element.
   * @param {string} tag
   * @param {Record<string, any>} [attributes] those that begin with "on" are listeners
   * @param {...(Node | string)} children
   * @returns {any}
   */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
    }
    element.append(...children);
    return element;
  }

  // Points that the reader draws.

  const SPACING = 0.06; // from one point of a stroke to the next

  /** Some drawings for those who have nothing to draw with. @type {Record<string, () => number[][]>} */
  const DRAWINGS = {
    heart: () => curve(110, (t) => [1.15 * Math.sin(t) ** 3, 0.07 * (13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t)) * 1.1 + 0.1]),
    spiral: () => curve(110, (t) => [0.23 * t * Math.cos(2 * t), 0.23 * t * Math.sin(2 * t)]),
    smile: () => [
      ...curve(60, (t) => [1.3 * Math.cos(t), 1.3 * Math.sin(t)]),
      ...curve(24, (t) => [0.75 * Math.cos(Math.PI + t / 2), 0.75 * Math.sin(Math.PI + t / 2)]),
      ...[-0.45, 0.45].flatMap((x) => curve(10, (t) => [x + 0.08 * Math.cos(t), 0.45 + 0.08 * Math.sin(t)])),
    ],
  };
  const rounded = (v) => Math.round(1000 * v) / 1000;
  const curve = (n, at) => Array.from({ length: n }, (_, i) => at((2 * Math.PI * (i + 0.5)) / n).map(rounded));

  /**
   * Return points along a way at equal distances, without those beside the pad.
   * @param {number[][]} way
   * @returns {number[][]}
   */
  function spaced(way) {
    const points = [way[0]];
    let left = SPACING;
    for (let i = 1; i < way.length; i++) {
      const [[x0, y0], [x1, y1]] = [way[i - 1], way[i]];
      const length = Math.hypot(x1 - x0, y1 - y0);
      for (; left <= length; left += SPACING) points.push([x0 + ((x1 - x0) * left) / length, y0 + ((y1 - y0) * left) / length]);
      left -= length;
    }
    return points.map((p) => p.map(rounded)).filter((p) => p.every((v) => Math.abs(v) <= 2));
  }

  /** Return at most so many of some points, evenly chosen. */
  const thinned = (points, most) =>
    points.length <= most ? points : Array.from({ length: most }, (_, i) => points[Math.floor((i * points.length) / most)]);

  /**
   * Make the pad.
   * @param {number[][]} points those that are there
   * @param {(points: number[][]) => void} drawn is called after each stroke
   * @returns {any} its element
   */
  function pad(points, drawn) {
    const canvas = make("canvas", { class: "pg-pad", role: "img", "aria-label": "A pad to draw on. The buttons beside it have drawings that are ready." });
    let way = [];
    const place = () => drawing.fitted([-2, 2, -2, 2], [0, 0, canvas.clientWidth, canvas.clientHeight]);
    const show = () => {
      const colours = drawing.palette(canvas);
      const { ctx, width, height } = drawing.sheet(canvas);
      const all = [...points, ...(way.length ? spaced(way) : [])];
      drawing.discs(ctx, all.flat(), place(), colours.real, 3);
      if (!all.length) drawing.words(ctx, "Draw here", width / 2, height / 2, colours, "center", 15);
    };
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const { X, Y, unit } = place();
      return [(event.clientX - box.left - X(0)) / unit, -(event.clientY - box.top - Y(0)) / unit];
    };
    const full = make("p", { role: "status" });
    const past = []; // what stood there before
    const set = (next) => {
      past.push(points);
      points = next;
      full.textContent = points.length < presets.MOST_POINTS ? "" : `The pad is full: it holds ${points.length} points. Clear it to draw anew.`;
      show();
      drawn(points);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      way = [at(event)];
      show();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!way.length) return;
      way.push(at(event));
      show();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        const done = way;
        way = [];
        if (done.length) set([...points, ...thinned(spaced(done), presets.MOST_POINTS - points.length)]);
      });
    }
    const button = (words, next) => make("button", { type: "button", onclick: () => set(next()) }, words);
    requestAnimationFrame(show);
    return make("div", { class: "pg-drawing" }, canvas,
      make("div", { role: "group", "aria-label": "Drawings" }, button("Clear", () => []),
        make("button", { type: "button", onclick: () => { if (past.length) { set(past.pop()); past.pop(); } } }, "Undo"), ...Object.entries(DRAWINGS).map(([name, points]) => button(name, points))), full);
  }

  // The form.

  // A slider has a hundred places. What lies between them keeps its value until it is moved.
  const two = (v) => Number(v.toPrecision(2));
  const log = (low, high) => ({
    value: (at) => (at < 0.5 ? 0 : two(low * (high / low) ** ((at - 1) / 99))),
    place: (v) => (v <= 0 ? 0 : 1 + (99 * Math.log(v / low)) / Math.log(high / low)),
  });
  const rate = { ...log(1e-5, 1), value: (at) => log(1e-5, 1).value(Math.max(1, at)) };
  const linear = (low, high) => ({
    value: (at) => two(low + ((high - low) * at) / 100),
    place: (v) => (100 * (v - low)) / (high - low),
  });
  const near1 = { // 0, then 1 - 10^-k
    value: (at) => (at < 0.5 ? 0 : Number((1 - 10 ** (-1 - at / 33.4)).toFixed(4))),
    place: (v) => (v <= 0 ? 0 : Math.max(0, -33.4 * (Math.log10(1 - v) + 1))),
  };
  const SLIDERS = {
    gRate: rate, dRate: rate, r1: log(0.001, 100), r2: log(0.001, 100), gp: log(0.001, 100),
    beta1: linear(0, 0.99), beta2: near1, ema: near1,
  };
  /** The numbers that are typed or counted. */
  const COUNTS = ["batch", "width", "layers", "dSteps", "seed", "seeds"];
  /** What each group of the form has. @type {[string, string[]][]} */
  const GROUPS = [
    ["The game", ["loss", "r1", "r2", "gp"]],
    ["How they learn", ["gRate", "dRate", "beta1", "beta2", "dSteps", "batch", "turns"]],
    ["The networks", ["width", "layers", "activation", "noise", "ema"]],
    ["The start", ["seed", "seeds"]],
  ];

  /**
   * Make the form.
   * @param {any} settings
   * @param {(changed: any) => void} changed gets some settings that the reader chose
   * @returns {any} its element, whose `show` shows other settings for the same data
   */
  function form(settings, changed) {
    const label = (name, input, ...more) => make("label", { class: "pg-field" }, make("span", {}, presets.NAMES[name]), ...more, input);
    const put = {}; // what shows a setting in its field
    const select = (name, choices) => {
      const input = make("select", { name, onchange: () => changed({ [name]: input.value }) },
        ...Object.entries(choices).map(([value, words]) => make("option", { value }, words)));
      put[name] = (value) => { input.value = value; };
      return label(name, input);
    };
    const slider = (name) => {
      const { value, place } = name === "beta1" && settings.data === "dirac" ? linear(-0.9, 0.9) : SLIDERS[name];
      const shown = make("b", { "aria-hidden": "true" });
      const input = make("input", { type: "range", name, min: 0, max: 100, step: "any" });
      const now = () => value(input.valueAsNumber);
      const say = (number) => {
        shown.textContent = String(number);
        input.setAttribute("aria-valuetext", String(number));
      };
      put[name] = (number) => {
        input.value = place(number);
        say(number);
      };
      input.addEventListener("input", () => say(now()));
      input.addEventListener("keydown", (event) => { // a step of a hundredth, whatever the browser thinks of "any"
        const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        input.value = input.valueAsNumber + step;
        input.dispatchEvent(new Event("input"));
        input.dispatchEvent(new Event("change"));
      });
      input.addEventListener("change", () => changed({ [name]: now() }));
      return label(name, input, shown);
    };
    const count = (name) => {
      const [min, max] = presets.NUMBERS[name];
      const input = make("input", { type: "number", name, min, max, step: 1, onchange: () => {
        const value = input.valueAsNumber;
        if (Number.isFinite(value)) changed({ [name]: value });
        else input.value = settings[name]; // an empty field
      } });
      put[name] = (value) => { input.value = value; };
      return label(name, input);
    };
    const field = (name) => {
      if (name in SLIDERS) return slider(name);
      if (COUNTS.includes(name)) return count(name);
      const words = Object.entries(presets.CHOICES[name]);
      const narrow = settings.data === "dirac" && name === "loss";
      return select(name, Object.fromEntries(narrow ? words.filter(([loss]) => presets.ON_DIRAC.includes(loss)) : words));
    };
    const shown = (name) => settings.data !== "dirac" || presets.DIRAC_HAS.includes(name);
    const groups = GROUPS.map(([title, names]) => {
      const fields = names.filter(shown).map(field);
      return fields.length ? make("fieldset", {}, make("legend", {}, title), ...fields) : "";
    });
    const made = make("form", { class: "pg-form", onsubmit: (event) => event.preventDefault() }, chips(settings, changed),
      settings.data === "bell" ? select("features", { 1: "numbers", 2: "points in the plane" }) : "",
      settings.data === "strokes" ? pad(settings.strokes, (strokes) => changed({ strokes })) : "", ...groups);
    made.show = (now) => {
      settings = now;
      for (const [name, set] of Object.entries(put)) set(now[name]);
    };
    made.show(settings);
    return made;
  }

  /** The data to choose from, each with its picture. */
  function chips(settings, changed) {
    const chip = ([name, words]) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      requestAnimationFrame(() => thumbnail(canvas, { features: 2, strokes: DRAWINGS.heart(), data: name }));
      const input = make("input", { type: "radio", name: "data", value: name, checked: settings.data === name,
        onchange: () => changed({ data: name, ...(name === "strokes" && !settings.strokes.length ? { strokes: DRAWINGS.heart() } : {}), ...(name === "bell" ? { features: 1 } : {}) }) });
      return make("label", { class: "pg-chip" }, input, canvas, make("span", {}, words));
    };
    return make("fieldset", { class: "pg-chips" }, make("legend", {}, presets.NAMES.data), ...Object.entries(presets.CHOICES.data).map(chip));
  }

  function thumbnail(canvas, settings) {
    const { ctx, width, height } = drawing.sheet(canvas);
    const law = data.of(settings);
    const place = drawing.fitted(law.view, [0, 0, width, height]);
    const one = settings.data === "dirac";
    drawing.discs(ctx, one ? [0, 0] : law.points.subarray(0, 500), place, drawing.palette(canvas).real, one ? 4 : 1.1, 0.8);
  }

  return { make, form, pad, spaced, thinned, DRAWINGS };
});

/* The figure that the reader moves, in the chapter on the minimax game. It works on <figure class="theory">,
   needs theory.css beside it and the numbers of the playground, and leaves all that it computes in data attributes of
   the figure. */
(() => {
  "use strict";

  const REAL = { mean: 4, sd: 1.25 };
  const RANGE = { mean: [-3, 11], sd: [0.25, 4] };
  const GRAIN = 0.05; // of the sliders
  const AXIS = [-4, 12];
  const STEP = 0.2; // of gradient descent
  const MOST_STEPS = 600;
  const HOME = 1e-4; // nats of JSD: as good as a copy
  const LINE = 17; // from one line of text to the next
  const GAP = 8; // at least, between two texts of a line

  // The theory. A law is {mean, sd}.

  const { softplus, sigmoid } = Playground.require("numbers");
  const score = (x, { mean, sd }) => (x - mean) / sd;
  const density = (x, law) => Math.exp(-(score(x, law) ** 2) / 2) / (law.sd * Math.sqrt(2 * Math.PI));
  const logit = (x, law) => (score(x, law) ** 2 - score(x, REAL) ** 2) / 2 + Math.log(law.sd / REAL.sd);
  const slope = (x, law) => score(x, law) / law.sd - score(x, REAL) / REAL.sd; // of the logit

  // Means over normal noise by the trapezoidal rule. The integrands are so smooth that it is off by 1e-11 at most.
  const NOISE = Array.from({ length: 1601 }, (_, i) => (i - 800) * 0.015);
  const WEIGHTS = NOISE.map((z) => 0.015 * density(z, { mean: 0, sd: 1 }));

  function measure(law) {
    const now = { value: 0, saturating: { mean: 0, sd: 0 }, nonSaturating: { mean: 0, sd: 0 } };
    NOISE.forEach((z, i) => {
      const fake = law.mean + law.sd * z;
      const a = logit(fake, law);
      now.value -= WEIGHTS[i] * (softplus(-logit(REAL.mean + REAL.sd * z, law)) + softplus(a));
      const push = WEIGHTS[i] * slope(fake, law);
      now.saturating.mean += sigmoid(a) * push;
      now.saturating.sd += sigmoid(a) * push * z;
      now.nonSaturating.mean += sigmoid(-a) * push;
      now.nonSaturating.sd += sigmoid(-a) * push * z;
    });
    return { ...now, jsd: Math.LN2 + now.value / 2, answer: sigmoid(logit(law.mean, law)) };
  }

  const within = (v, [low, high]) => Math.min(high, Math.max(low, v));
  const allowed = (mean, sd) => ({ mean: within(mean, RANGE.mean), sd: within(sd, RANGE.sd) });

  // Words.

  const NAMES = { saturating: "log(1\u00a0−\u00a0D)", nonSaturating: "−log\u00a0D" };

  const fixed = (v, digits) => (Math.abs(v) < 0.5 * 10 ** -digits ? 0 : v).toFixed(digits).replace("-", "−");

  function pull(v) {
    if (Math.abs(v) < 1e-9) return "0";
    const sign = v > 0 ? "+" : "−";
    if (Math.abs(v) >= 0.001) return sign + Math.abs(v).toFixed(Math.abs(v) < 0.1 ? 4 : 3);
    const [digits, power] = Math.abs(v).toExponential(1).split("e-");
    return `${sign}${digits}\u00a0·\u00a010⁻${"⁰¹²³⁴⁵⁶⁷⁸⁹"[power]}`; // between 1e-9 and 1e-3
  }

  function verdict(law, { jsd, saturating, nonSaturating }) {
    if (jsd < 1e-9) return "A copy: D* says one half to everything, and nothing pulls.";
    if (jsd < HOME) return "As good as a copy: D* says about one half wherever there are samples.";
    if (Math.abs(saturating.mean) < 1e-9) {
      const size = law.sd < REAL.sd ? "narrow" : "wide";
      return `The mean is right, and nothing pulls sideways. The fakes are too ${size}, and both losses say so.`;
    }
    const ratio = nonSaturating.mean / saturating.mean;
    const [more, less] = ratio > 1 ? ["nonSaturating", "saturating"] : ["saturating", "nonSaturating"];
    const factor = Number(Math.max(ratio, 1 / ratio).toPrecision(2)).toLocaleString("en");
    const words = factor === "1"
      ? "Both losses pull the mean about as hard."
      : `${NAMES[more]} pulls the mean ${factor} times as hard as ${NAMES[less]}.`;
    const share = (Math.floor((1000 * jsd) / Math.LN2) / 10).toFixed(1);
    return jsd < 0.95 * Math.LN2 ? words : `D* is hardly ever wrong: the JSD is at ${share}\u00a0% of its ceiling. ${words}`;
  }

  const spoken = (law, now) =>
    `Mean ${fixed(law.mean, 2)}, standard deviation ${fixed(law.sd, 2)}. ` +
    `V is ${fixed(now.value, 4)}, the JSD ${fixed(now.jsd, 4)}. ` +
    Object.keys(NAMES).map((loss) =>
      `${NAMES[loss]} pulls the mean by ${pull(now[loss].mean)} and the width by ${pull(now[loss].sd)}. `).join("");

  // The picture, as SVG. Its units are the pixels of the page, so that letters keep their size on a phone.

  function frame(width, law) {
    const small = width < 480; // then the two numbers of a pull stand one below the other
    const more = small ? LINE : 0;
    const floor = small ? 132 : 162; // of the bells
    const one = floor + 28; // where D* is 1, and where it is 0
    const zero = one + (small ? 56 : 72);
    const tallest = 1.05 * Math.max(0.36, density(law.mean, law));
    const unit = (width - 2) / (AXIS[1] - AXIS[0]);
    return {
      small, width, floor, one, zero,
      lanes: { saturating: zero + 60 + more, nonSaturating: zero + 106 + 2 * more },
      meter: zero + 162 + 2 * more,
      height: zero + 206 + 2 * more,
      x: (px) => AXIS[0] + (px - 1) / unit,
      X: (x) => 1 + (x - AXIS[0]) * unit,
      Y: (v) => floor - (v / tallest) * (floor - 20),
      A: (answer) => zero - answer * (zero - one),
    };
  }

  function picture({ small, width, floor, one, zero, lanes, meter, x, X, Y, A }, law, now, ghost) {
    const n = (v) => v.toFixed(1);
    const right = width - 1;
    const end = 'text-anchor="end"';
    const text = (at, y, words, rest = "") => `<text x="${n(at)}" y="${n(y)}" ${rest}>${words}</text>`;
    const faint = (at, y, words, rest = "") => text(at, y, words, `class="faint" ${rest}`);
    const path = (kind, d) => `<path class="${kind}" d="${d}"/>`;
    const rule = (y) => path("rule", `M1 ${n(y)}H${right}`);
    const dot = (at, y, r) => `<circle class="dot" cx="${n(X(at))}" cy="${n(y)}" r="${r}"/>`;
    const bar = (kind, size) =>
      `<rect class="${kind}" x="1" y="${meter}" width="${n(size)}" height="12" rx="2"/>`;

    const curve = (f, from, to) => {
      const points = [];
      for (let px = Math.max(1, X(from)); px <= Math.min(right, X(to)); px += 1.5) {
        points.push(`${n(px)} ${f(x(px)).toFixed(2)}`);
      }
      return `M${points.join("L")}`;
    };
    const bell = (of) => curve((at) => Y(density(at, of)), of.mean - 4 * of.sd, of.mean + 4 * of.sd);
    const filled = (kind, d) => path(`${kind} area`, `${d}V${floor}H${d.match(/[\d.]+/)[0]}Z`) + path(`${kind} line`, d);
    const guide = (kind, of) => path(`${kind} guide`, `M${n(X(of.mean))} ${n(Y(density(of.mean, of)))}V${lanes.nonSaturating}`);

    const ticks = [];
    for (let at = AXIS[0]; at <= AXIS[1]; at += small ? 4 : 2) {
      const anchor = { [AXIS[0]]: "start", [AXIS[1]]: "end" }[at] ?? "middle";
      ticks.push(path("grid", `M${n(X(at))} 20V${zero}`), faint(X(at), zero + 16, fixed(at, 0), `text-anchor="${anchor}"`));
    }

    const lane = (loss) => {
      const y = lanes[loss];
      const from = X(law.mean);
      const to = X(law.mean + now[loss].mean);
      const head = within(to - from, [-9, 9]);
      const [mean, sd] = [now[loss].mean, now[loss].sd].map((v) => `<tspan>${pull(v)}</tspan>`);
      const arrow = Math.abs(to - from) < 2 ? "" : path("arrow", `M${n(from)} ${y}H${n(to - head)}`) +
        path("head", `M${n(to)} ${y}l${n(-head)} -5v10z`);
      const words = small
        ? text(1, y - 12 - LINE, NAMES[loss]) +
          text(right, y - 12 - LINE, `mean ${mean}`, end) + text(right, y - 12, `width ${sd}`, end)
        : text(1, y - 12, `${width < 600 ? "" : "G descends "}${NAMES[loss]}`) +
          text(right, y - 12, `${width < 600 ? "" : "pull on the "}mean ${mean}, width ${sd}`, end);
      return words +
        rule(y) + arrow + dot(law.mean, y, 4);
    };

    const answer = (at) => A(sigmoid(logit(at, law)));
    const fakes = [-1.59, -0.97, -0.59, -0.28, 0, 0.28, 0.59, 0.97, 1.59].map((z) => law.mean + law.sd * z); // quantiles
    const flanks = [-1, 1].map((side) => law.mean + side * law.sd);
    return [
      guide("real", REAL), guide("fake", law), ...ticks,
      filled("real", bell(REAL)),
      ghost ? path("ghost", bell(ghost)) : "",
      filled("fake", bell(law)),
      rule(floor), rule(A(1)), rule(A(0.5)), rule(A(0)),
      faint(1, A(1) - 4, "1"), faint(1, A(0.5) - 4, "½"), faint(1, A(0) - 4, "0"),
      faint(right, one - 5, "D*(x): how surely ‘real’", end),
      path("best", curve(answer, ...AXIS)),
      ...fakes.map((at) => dot(at, answer(at), 3)),
      ...flanks.map((at) => `<rect class="flank" x="${n(X(at) - 5)}" y="${n(Y(density(at, law)) - 5)}" width="10" height="10" rx="2"/>`),
      `<circle class="top" cx="${n(X(law.mean))}" cy="${n(Y(density(law.mean, law)))}" r="7"/>`,
      lane("saturating"), lane("nonSaturating"),
      text(1, meter - 22, `JSD <tspan>${fixed(now.jsd, 4)}</tspan>`),
      text(right, meter - 22, `V(D*, G) <tspan>${fixed(now.value, 4)}</tspan>`, end),
      faint(1, meter - 5, "0"), faint(right, meter - 5, "log 2", end),
      bar("track", width - 2), bar("earned", (width - 2) * within(now.jsd / Math.LN2, [0, 1])),
      faint(1, meter + 27, "−log 4"), faint(right, meter + 27, "0", end),
    ].join("");
  }

  // Letters differ in width from one computer to the next. Where those of a line need more room than there is,
  // they are squeezed.
  function fit(svg, width) {
    const lines = {};
    for (const text of svg.querySelectorAll("text")) (lines[text.getAttribute("y")] ??= []).push(text);
    for (const texts of Object.values(lines)) {
      const lengths = texts.map((text) => text.getComputedTextLength());
      const share = (width - 2 - GAP * (texts.length - 1)) / lengths.reduce((sum, length) => sum + length);
      if (share >= 1) continue;
      texts.forEach((text, i) => {
        text.setAttribute("textLength", share * lengths[i]);
        text.setAttribute("lengthAdjust", "spacingAndGlyphs");
      });
    }
  }

  // The page.

  const slider = (name, label) => `<label>${label} <b aria-hidden="true"></b>
    <input type="range" name="${name}" min="${RANGE[name][0]}" max="${RANGE[name][1]}" step="${GRAIN}"></label>`;

  const PANEL = `
    <p class="theory-keys"><span class="real">real p<sub>data</sub></span> <span class="fake">fake p<sub>g</sub></span>
      <span class="best">best D*</span> <em>Drag the orange bell or its flanks.</em></p>
    <svg role="img" aria-label="Two bells, the real data and the fakes. Below them the best answer at each point, an
      arrow for the pull of each loss, and a bar for JSD and V. The text after the buttons has the numbers."></svg>
    <div class="theory-sliders">${slider("mean", "Mean of the fakes")}${slider("sd", "Their standard deviation")}</div>
    <div class="theory-buttons">
      <div role="group" aria-label="Places to start from"><button data-go="5 0.7">our fakes</button>
        <button data-go="4 1.25">a copy</button> <button data-go="-2.25 0.5">far away</button></div>
      <div role="group" aria-label="Let G descend">Let G descend <button data-walk="saturating"></button>
        <button data-walk="nonSaturating"></button></div>
    </div>
    <p class="theory-status" role="status"><span class="theory-spoken"></span><span></span></p>`;

  function build(figure) {
    const panel = document.createElement("div");
    panel.innerHTML = PANEL;
    const [svg, status, inputs, buttons] = ["svg", ".theory-status", "input", "[data-walk]"].map((s) =>
      [...panel.querySelectorAll(s)]).map((found) => (found.length > 1 ? found : found[0]));
    let law = { mean: 5, sd: 0.7 };
    let now = measure(law);
    let ghost = null; // the law that a walk began with
    let step = 0; // of the walk, with the frame that is due
    let due = 0;
    let rest = 0; // the timer of the words
    let place;

    function draw() {
      place = frame(Math.max(svg.clientWidth, 260), law);
      svg.setAttribute("viewBox", `0 0 ${place.width} ${place.height}`);
      svg.style.height = `${place.height}px`;
      svg.innerHTML = picture(place, law, now, ghost);
      fit(svg, place.width);
    }

    function say(message) {
      status.firstChild.textContent = spoken(law, now);
      status.lastChild.textContent = message + verdict(law, now);
    }

    function show(message = "") {
      Object.assign(figure.dataset, { ...law, value: now.value, jsd: now.jsd, answer: now.answer });
      for (const loss in NAMES) {
        figure.dataset[`${loss}Mean`] = now[loss].mean;
        figure.dataset[`${loss}Sd`] = now[loss].sd;
      }
      for (const input of inputs) {
        input.value = law[input.name];
        input.previousElementSibling.textContent = fixed(law[input.name], 2);
        input.setAttribute("aria-valuetext", fixed(law[input.name], 2));
      }
      for (const button of buttons) {
        button.textContent = due && button === due.button ? `stop (${step})` : NAMES[button.dataset.walk];
      }
      draw();
      clearTimeout(rest); // the words, which are read aloud, wait until the hand rests
      rest = setTimeout(say, 200, message);
    }

    function halt() {
      cancelAnimationFrame(due.frame);
      due = 0;
    }

    function put(mean, sd) {
      halt();
      ghost = null;
      law = allowed(mean, sd);
      now = measure(law);
      show();
    }

    // One step of gradient descent a frame, with D at its best in each; or all at once where motion is unwelcome.
    function walk(button) {
      const loss = button.dataset.walk;
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      ghost = law;
      step = 0;
      const advance = () => {
        do {
          if (now.jsd < HOME || step === MOST_STEPS) {
            halt();
            const end = now.jsd < HOME ? `home after ${step} steps` : `not home after ${step} steps`;
            return show(`${NAMES[loss]}: ${end}. `);
          }
          step += 1;
          law = allowed(law.mean + STEP * now[loss].mean, law.sd + STEP * now[loss].sd);
          now = measure(law);
        } while (still);
        due = { button, frame: requestAnimationFrame(advance) };
        show();
      };
      advance();
    }

    for (const input of inputs) {
      input.addEventListener("input", () => {
        const next = { ...law, [input.name]: input.valueAsNumber };
        put(next.mean, next.sd);
      });
      input.addEventListener("focus", () => { svg.dataset.focus = input.name; });
      input.addEventListener("blur", () => { delete svg.dataset.focus; });
    }
    panel.addEventListener("click", ({ target }) => {
      if (target.dataset.go) put(...target.dataset.go.split(" ").map(Number));
      if (!target.dataset.walk) return;
      const stopped = due.button === target;
      halt();
      if (stopped) show();
      else walk(target);
    });

    // The pointer: the nearest of the three handles, or else the bell.
    let held = null;
    function under(event) {
      const box = svg.getBoundingClientRect();
      const [px, py] = [event.clientX - box.left, event.clientY - box.top];
      const { x, X, Y, floor } = place;
      const offset = x(px) - law.mean;
      const [nearest] = [0, -1, 1].map((side) => {
        const at = law.mean + side * law.sd;
        return { what: side ? "sd" : "mean", offset, away: Math.hypot(px - X(at), py - Y(density(at, law))) };
      }).sort((a, b) => a.away - b.away);
      if (nearest.away < 18) return nearest;
      const inside = py < floor + 8 && py > Y(density(x(px), law)) - 12 && Math.abs(offset) < 3 * law.sd;
      return inside ? { what: "mean", offset } : null;
    }
    const grained = (v) => Math.round(v / GRAIN) / Math.round(1 / GRAIN);
    svg.addEventListener("pointerdown", (event) => {
      held = event.button === 0 ? under(event) : null;
      if (held) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      svg.style.cursor = { mean: "grab", sd: "ew-resize" }[(held ?? under(event))?.what] ?? "";
      if (!held) return;
      const x = place.x(event.clientX - svg.getBoundingClientRect().left);
      if (held.what === "mean") put(grained(x - held.offset), law.sd);
      else put(law.mean, grained(Math.abs(x - law.mean)));
    });
    for (const over of ["pointerup", "pointercancel"]) svg.addEventListener(over, () => { held = null; });

    say("");
    figure.querySelector(".theory-fallback").replaceWith(panel);
    show();
    new ResizeObserver(() => requestAnimationFrame(draw)).observe(panel);
  }

  const figures = document.querySelectorAll("figure.theory");
  if (!figures.length) return;
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = new URL("theory.css", document.currentScript.src).href;
  document.head.append(sheet);
  figures.forEach(build);
})();

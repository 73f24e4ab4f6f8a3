/* The page: it tells the crew what to play, draws what comes back, and says in words what can be seen. */
Playground.define("page", ["presets", "controls", "drawing", "data", "meters", "recipe", "crew"],
  (presets, controls, drawing, data, meters, recipe, crew) => {
  "use strict";
  const { make } = controls;
  const { TOURS } = presets;

  const GUESSES = { none: [0, 0], "1 to 5": [1, 5], "6 to 10": [6, 10], "11 to 15": [11, 15], "all 16": [16, 16] };
  const LAYERS = { real: "real", fakes: "fakes", surface: "D: taken for real", arrows: "which way D’s slope pushes", warp: "the noise as G bends it" };
  const METERS = {
    modes: "heaps found", least: "smallest heap, of its fair share", high: "share of samples on a heap", klReverse: "unevenness of the heaps (reverse KL)",
    sliced: "sliced W1, distance from real", w1: "W1, distance from real",
    mean: "mean", sd: "standard deviation", skewness: "skewness", kurtosis: "excess kurtosis", theta: "G’s weight θ", psi: "D’s weight ψ",
    distance: "distance from rest",
  };
  const SLOW = 4; // steps a second
  const DIRAC = 30; // the smallest game would be over at once
  const TOLD = 200; // ms from one change of the words to the next
  const STILL = 1000; // ms from one picture to the next where motion is unwelcome
  const THREADS = Math.max(1, Math.min(8, (globalThis.navigator?.hardwareConcurrency ?? 2) - 1));

  const written = (v, digits) => (Math.abs(v) >= 1e5 ? v.toExponential(1).replace("+", "") : (Math.abs(v) < 0.5 * 10 ** -digits ? 0 : v).toFixed(digits));
  const fixed = (v, digits) => (Number.isFinite(v) ? written(v, digits).replaceAll("-", "−") : "not a number");
  const thousands = (v) => v.toLocaleString("en");
  const inSteps = (n) => `${thousands(n)} step${n === 1 ? "" : "s"}`;
  const plainMotion = () => Boolean(globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches);

  /** The interval of a share of which k of n were seen, in percent, at 95 %. Wilson (1927), https://doi.org/10.2307/2276774 */
  function interval(k, n) {
    const [z, all] = [1.96, n + 1.96 ** 2];
    const half = z * Math.sqrt((k * (n - k)) / n + z ** 2 / 4);
    return [-half, half].map((off) => Math.round((100 * (k + z ** 2 / 2 + off)) / all)).join(" to ");
  }

  /** Return one of some meters in words. */
  function shown(name, found) {
    const value = found[name];
    if (value === undefined) return "–";
    if (found.sd === 0 && Number.isNaN(value)) return "no spread"; // all samples are one: it has no shape
    if (Array.isArray(value)) return value.map((v) => fixed(v, 2)).join(", ");
    return fixed(value, name === "modes" ? 0 : name === "high" ? 2 : 3);
  }

  /**
   * Bring a playground to life.
   * @param {HTMLElement} root the element that holds a sentence for those who have no JavaScript
   * @returns {void}
   */
  function open(root) {
    if (!make("canvas").getContext("2d")) throw new Error("it does not let a page draw");
    const asked = location.hash.slice(1);
    let foreign = asked !== "" && !presets.isLink(asked); // a heading of the page, which stays in the address
    let { settings, tour, repaired, problems } = presets.fromLink(presets.isLink(asked) ? asked : "tour=ring");
    let team = null; // the crew at work
    let state = null; // what it last said
    let law, rule, floor, until;
    let chosen = 0; // which GAN is large
    let form = null;
    let wish = false; // whether the reader wants it to go on
    let slow = false;
    let seen = true; // whether any of it is in sight
    let guess = "";
    let before = null; // how many it were before the repair
    let answered = false;
    let due = 0; // the frame that will be drawn
    let drawn = 0; // when the last one was
    let shownLarge = null; // what the large picture shows
    let told = 0; // when words were last changed
    let colours = drawing.palette(root);
    let ours = ""; // the link that this page wrote itself
    const layers = { real: true, fakes: true, surface: true, arrows: false, warp: false };

    // The skeleton.

    const icon = (path) => `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${path}"/></svg>`;
    const button = (words, onclick, more = {}) => make("button", { type: "button", onclick, ...more }, words);
    // What a key has just pressed stays where it is, for the keyboard would lose its place with it.
    const tabs = new Map([...Object.keys(TOURS), ""].map((name) => [name, name
      ? button(TOURS[name].title, () => visit(name))
      : button("Your own", () => { change({}); choicesFold.open = true; })]));
    const chips = Object.keys(GUESSES).map((words) => button(words, () => predict(words)));
    const story = make("p", { class: "pg-story", id: "pg-story" });
    const question = make("p", { class: "pg-question", id: "pg-question" });
    const guesses = make("div", { class: "pg-guesses", role: "group", "aria-labelledby": "pg-question" }, ...chips);
    const watch = make("p", { class: "pg-watch" });
    const verdict = make("p", { class: "pg-verdict" });
    const next = make("p", { class: "pg-row" });
    const card = make("div", { class: "pg-card", tabindex: -1, role: "group", "aria-label": "The story", "aria-describedby": "pg-story pg-question" }, story, question, guesses, watch, verdict, next);
    const notes = make("p", { class: "pg-problem", role: "alert" });
    const count = make("b");
    const words = make("span");
    const score = make("p", { class: "pg-score" }, count, words);
    const dots = make("div", { class: "pg-dots", "aria-hidden": "true" }, ...Array.from({ length: 16 }, () => make("i")));
    const big = make("canvas", { role: "img", "aria-label": "The GAN that is looked at" });
    const keys = make("div", { class: "pg-keys", role: "group", "aria-label": "What is drawn" });
    const play = button("", () => run(!wish), { class: "pg-play" });
    const one = button("Step", () => { run(false); team?.step(1); });
    const slower = button("Slow motion", () => pace(!slow), { "aria-pressed": "false" });
    const again = button("Restart", () => { guess = ""; begin(false); });
    const other = button("Other seeds", () => change({ seed: (settings.seed + 1) % 4294967296 }));
    const clock = make("span", { class: "pg-clock" });
    const grid = make("div", { class: "pg-grid", role: "radiogroup", "aria-label": "The sixteen GANs: choose which one is large" });
    const chart = make("canvas", { role: "img", "aria-label": "Its curve" });
    const chartTitle = make("h2");
    const table = make("table", { class: "pg-meters" });
    const losses = make("p", { class: "pg-losses" });
    const said = make("p", { class: "pg-said", role: "status" });
    const choices = make("div");
    const code = make("code");
    const handed = make("span", { class: "pg-told", role: "status" });
    const copied = (words, text) => async () => {
      program();
      handed.textContent = (await copy(text())) ? words : "This browser does not let a page copy: mark and copy it yourself.";
    };
    const link = make("input", { type: "text", readonly: true, "aria-label": "Link to these settings", onfocus: (event) => event.target.select() });

    const heading = make("h2");
    const choicesFold = make("details", { class: "pg-fold pg-choices" },
      make("summary", {}, "Change anything: data, loss, penalties, rates, networks"),
      make("p", {}, "What the words mean stands in the ", make("a", { href: "glossary.html" }, "glossary"), "."), choices);
    const handing = [button("Open as a notebook", download), button("Copy the Python", copied("The program is copied.", () => code.textContent))];
    root.replaceChildren(
      make("div", { class: "pg-tabs", role: "group", "aria-label": "Guided tours" }, ...tabs.values()), card, notes,
      make("div", { class: "pg-top" }, score, dots),
      make("div", { class: "pg-stage" },
        make("div", { class: "pg-left" },
          heading, make("div", { class: "pg-large" }, big), keys,
          make("div", { class: "pg-bar", role: "group", "aria-label": "Playing" }, play, one, slower, again, other, clock)),
        make("div", { class: "pg-right" },
          make("h2", {}, "All, equal but for their seed"), grid)),
      make("div", { class: "pg-under" },
        make("div", {}, chartTitle, make("div", { class: "pg-chart" }, chart)),
        make("div", {}, make("h2", {}, "The one that is large, in numbers"), table, losses)),
      said,
      choicesFold,
      make("details", { class: "pg-fold pg-share" }, make("summary", {}, "Share it, or take it to Python"),
        make("p", {}, "This link holds all settings and the seed:"),
        make("div", { class: "pg-row" }, link, button("Copy link", copied("The link is copied.", () => link.value))),
        make("p", {}, "The same game for ", make("code", {}, "gan_helpers"), ", the package of this book:"),
        make("div", { class: "pg-row" },
          ...handing, handed),
        make("pre", { tabindex: 0, "aria-label": "Python program" }, code)));

    /** The key of the picture, which is also what shows and hides its parts. A tour has its own. */
    function showLayers() {
      if (tour) for (const name of ["arrows", "warp"]) layers[name] = TOURS[tour].layers.includes(name);
      keys.replaceChildren(...Object.entries(LAYERS).map(([name, words]) => {
        const box = make("input", { type: "checkbox", checked: layers[name], onchange: (event) => { layers[name] = event.target.checked; draw(true); } });
        return make("label", { class: `pg-key ${name}` }, box, make("i", { "aria-hidden": "true" }), words);
      }));
    }

    const tiles = Array.from({ length: 16 }, (_, member) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const tag = make("span", { class: "pg-tag", "aria-hidden": "true" });
      const tile = make("button", { type: "button", class: "pg-tile", role: "radio", "aria-checked": String(member === 0), "aria-label": `GAN ${member + 1}`, onclick: () => choose(member) }, canvas, tag);
      tile.addEventListener("keydown", (event) => {
        const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -member, End: -1 - member }[event.key];
        if (!step) return;
        event.preventDefault();
        choose((member + step + settings.seeds) % settings.seeds);
        tiles[chosen].tile.focus();
      });
      grid.append(tile);
      return { tile, canvas, tag, shown: null };
    });

    // What happens.

    /** Start a new game with the settings as they are. */
    function restart() {
      team?.stop();
      state = null;
      answered = false;
      chosen = Math.min(chosen, settings.seeds - 1);
      notes.textContent = problems.join(" ");
      try {
        law = data.of(settings);
        rule = meters.rule(settings);
        floor = meters.floor(settings);
        team = crew.start(settings, { workers: THREADS });
      } catch (error) {
        notes.textContent = error.message;
        team = null;
        wish = false;
        clear();
        go();
        return;
      }
      able(true);
      team.onerror((words) => { notes.textContent = words; });
      team.onframe(receive);
      team.ask(chosen);
      pace(slow);
      until = TOURS[tour]?.until ?? Infinity;
      heading.textContent = `GAN ${chosen + 1}, large`;
      describe();
      go();
    }

    /** Let what needs a game be pressed, or not. */
    function able(on) {
      for (const each of [play, one, slower, again, other, ...handing, ...tiles.map(({ tile }) => tile)]) each.disabled = !on;
    }

    /** Show nothing, for there is nothing to learn. */
    function clear() {
      able(false);
      for (const canvas of [big, chart, ...tiles.map(({ canvas }) => canvas)]) drawing.sheet(canvas);
      for (const element of [count, words, clock, table, losses, said, code, ...tiles.map(({ tag }) => tag)]) element.textContent = "";
      for (const dot of dots.children) dot.hidden = true;
    }

    /** Let the reader's wish be done, but only where it can be seen. */
    function go() {
      const now = wish && seen && !document.hidden;
      if (team) now ? team.play(until) : team.pause();
      root.dataset.playing = String(now);
      play.innerHTML = wish ? `${icon("M4 3h3v10H4zM9 3h3v10H9z")} Pause` : `${icon("M4 2.5 13 8l-9 5.5z")} Play`;
    }

    function run(on) {
      wish = on;
      if (on && answered) until = Infinity;
      go();
      if (!on) draw(true);
    }

    function pace(on) {
      slow = on;
      slower.setAttribute("aria-pressed", String(on));
      team?.pace(on ? SLOW : settings.data === "dirac" ? DIRAC : Infinity);
    }

    function choose(member) {
      chosen = member;
      heading.textContent = `GAN ${chosen + 1}, large`;
      team?.ask(member);
      draw(true);
    }

    /** Take some other settings, and start again. What the reader changes leaves the tour behind, but for the seed. */
    function change(some) {
      ({ settings, problems } = presets.validate({ ...settings, ...some }));
      if (Object.keys(some).join() !== "seed") [tour, repaired] = ["", false];
      guess = "";
      before = null;
      begin("data" in some);
      if ("data" in some) choices.querySelector("[name=data]:checked").focus();
    }

    /** Show what was chosen, and start it. A form for the same data stays as it is, but for its values. */
    function begin(withForm = true) {
      answered = false;
      state = null;
      showLayers();
      if (withForm) showForm();
      else form.show(settings);
      card.after(notes);
      showTour();
      write();
      restart();
    }

    /** Begin a tour, or its repair. */
    function visit(name, fixedUp = false) {
      const wanted = fixedUp ? TOURS[name].repaired.settings : TOURS[name].settings;
      before = fixedUp && tour === name && state && answered ? goods() : null;
      const seed = fixedUp ? settings.seed : 0;
      ({ settings, problems } = presets.validate({ ...wanted, seed }));
      [tour, repaired, guess, wish] = [name, fixedUp, "", false];
      const inside = card.contains(document.activeElement);
      begin();
      if (inside) card.focus({ preventScroll: true });
      reveal(card);
    }

    /** Take the reader's guess, which stands until the next start. */
    function predict(words) {
      if (guess || answered || state?.step) return;
      guess = words;
      showTour();
      run(true);
      reveal(root.querySelector(".pg-top"), root.querySelector(".pg-bar"));
    }

    const goods = () => state.members.filter((member) => member.good).length;

    function receive(next) {
      const [begins, quarter] = [next.step && !state?.step, (step) => Math.floor((4 * step) / until)];
      const passed = state && wish && quarter(next.step) > quarter(state.step);
      state = next;
      if (begins) showTour(); // who has looked cannot guess any more
      if (begins || passed) say(said, `${inSteps(state.step)}: ${goods()} of ${settings.seeds}.`);
      if (!answered && state.step >= until) {
        answered = true;
        run(false);
        showTour();
        speak();
        reveal(card);
      }
      if (!due) due = requestAnimationFrame(() => { due = 0; draw(false); });
    }

    // Links.

    function write() {
      ours = presets.toLink(settings, tour);
      if (!foreign && location.hash.slice(1) !== ours) location.replace(`#${ours}`);
      foreign = false;
      link.value = `${location.href.split("#")[0]}#${ours}`;
    }

    window.addEventListener("hashchange", () => {
      const now = location.hash.slice(1);
      if (now === ours || !presets.isLink(now)) return; // a heading of this page, perhaps
      ({ settings, tour, repaired, problems } = presets.fromLink(now));
      [guess, before, wish] = ["", null, false];
      begin();
    });

    async function copy(text) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        const area = make("textarea", { class: "pg-hidden" }); // a page that was opened as a file has no clipboard
        area.value = text;
        root.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        return done;
      }
    }

    const program = () => say(code, team ? recipe.python(settings, steps()) : "");
    const steps = () => (Number.isFinite(until) ? until : Math.max(1000, state?.step ?? 0));

    function download() {
      const content = recipe.notebook(settings, steps(), link.value);
      const address = URL.createObjectURL(new Blob([content], { type: "application/x-ipynb+json" }));
      make("a", { href: address, download: `sixteen-gans-${settings.data}.ipynb` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
      handed.textContent = "The notebook is among your downloads: open it in Jupyter or VS Code.";
    }

    // Words.

    function showForm() {
      form = controls.form(settings, (some) => { change(some); choicesFold.append(notes); }); // where the reader looks
      choices.replaceChildren(form);
    }

    /** Show the story, the question and, when it can be told, the answer. */
    function showTour() {
      for (const [name, tab] of tabs) tab.setAttribute("aria-pressed", String(tour === name));
      const strip = tabs.get(tour).parentElement;
      strip.scrollLeft = tabs.get(tour).offsetLeft - strip.offsetLeft - 8; // on a phone it is longer than wide
      for (const one of [question, guesses]) one.hidden = !tour;
      if (!tour) {
        story.replaceChildren("Your own game. Choose the data, the loss and all the rest ",
          make("a", { href: "#", onclick: (event) => { event.preventDefault(); showChoices(); } }, "below"), ", then press Play. What do you expect?");
        for (const one of [watch, verdict, next]) one.replaceChildren();
        return;
      }
      const { story: told, question: asks, watch: hint, chapter, of, repaired: fix } = TOURS[tour];
      say(story, repaired ? `The repair: ${fix.changes}` : told);
      say(question, asks);
      say(watch, answered ? "" : repaired ? fix.watch : hint);
      chips.forEach((chip) => {
        chip.setAttribute("aria-pressed", String(guess === chip.textContent));
        chip.setAttribute("aria-disabled", String(Boolean(answered || guess || state?.step) && guess !== chip.textContent));
      });
      verdict.replaceChildren();
      next.replaceChildren();
      if (!answered) return;
      const found = goods();
      const [low, high] = GUESSES[guess] ?? [];
      const names = Object.keys(TOURS);
      const then = names[(names.indexOf(tour) + 1) % names.length];
      verdict.append(!guess ? "" : found >= low && found <= high ? `You said ${guess}, and so it is. ` : `You said ${guess}. `,
        make("b", {}, `It is ${found} of ${settings.seeds}.`), before === null ? "" : ` Before the repair it was ${before}.`);
      next.append(
        repaired
          ? button(`Next: ${TOURS[then].title}`, () => visit(then), { class: "pg-next" })
          : button("Now the repair", () => visit(tour, true), { class: "pg-next" }),
        make("a", { href: `${chapter}.html` }, `Why: “${of}”`));
    }

    /** Go where there is something to see, unless it can be seen, to its last part. */
    function reveal(element, last = element) {
      const [{ top }, { bottom }] = [element, last].map((one) => one.getBoundingClientRect());
      if (top < 0 || bottom > innerHeight) element.scrollIntoView({ behavior: plainMotion() ? "auto" : "smooth" });
    }

    function showChoices() {
      const fold = choicesFold;
      fold.open = true;
      fold.scrollIntoView({ behavior: plainMotion() ? "auto" : "smooth" });
      fold.querySelector("input:checked").focus();
    }

    /** What does not change while a game goes on. */
    function describe() {
      chartTitle.textContent = `${METERS[rule.key][0].toUpperCase()}${METERS[rule.key].slice(1)} of all, step by step${rule.key === "modes" ? "; a success needs half of its fair share on each" : "; smaller is better"}`;
      program();
      const dirac = settings.data === "dirac";
      keys.hidden = dirac;
      const names = Object.keys(floor).filter((name) => name in METERS);
      table.replaceChildren(
        make("thead", {}, make("tr", {}, ...["", "this GAN", dirac ? "at rest" : "real samples"].map((words) => make("th", { scope: "col" }, words || make("span", { class: "pg-hidden" }, "meter"))))),
        make("tbody", {}, ...names.map((name) => make("tr", { "data-meter": name }, make("th", { scope: "row" }, METERS[name]), make("td"), make("td", {}, shown(name, floor))))));
    }

    /** Say aloud where things stand; while it runs nobody wants to hear each step. */
    function speak() {
      if (!state) return;
      const all = answered && state.step === until ? `${verdict.textContent} ` : `After ${inSteps(state.step)} ${goods()} of ${settings.seeds} ${rule.many}. `;
      say(said, all + inWords(state.large.member));
    }

    /** Whether it finds all heaps, but some with next to nothing. */
    const loose = (member) => rule.key === "modes" && member.value === rule.range[1] && !member.good;
    const percent = (share) => `${Math.floor(100 * share)} %`;

    function inWords(member) {
      const { meters: found, failed, good } = state.members[member];
      if (failed) return `GAN ${member + 1}: its numbers overflowed.`;
      return `GAN ${member + 1}: ${METERS[rule.key]} ${shown(rule.key, found)}, ${loose(state.members[member]) ? `but the smallest has ${percent(found.least)} of its fair share, ` : ""}${good ? "a success" : "not yet a success"}.`;
    }

    // Pictures.

    function scene() {
      const kind = settings.data === "dirac" ? "dirac" : law.features === 1 ? "line" : "plane";
      const made = { kind, view: law.view, real: law.points, sure: presets.ON_DIRAC.includes(settings.loss) };
      if (kind === "line") {
        const [low, high] = law.view;
        made.density = Array.from({ length: 80 }, (_, i) => {
          const z = (low + ((i + 0.5) * (high - low)) / 80 - law.mean) / law.sd;
          return Math.exp((-z * z) / 2) / (law.sd * Math.sqrt(2 * Math.PI));
        });
      }
      if (kind === "dirac") {
        const ends = state.members.flatMap(({ path }) => (path ? [path.at(-1), path.at(-2)] : [])).filter(Number.isFinite);
        const far = Math.max(1.2, ...ends.map((v) => 1.1 * Math.abs(v)));
        made.limit = Math.min(far, 1e6);
      }
      return made;
    }

    /** Draw what is known; at most once a second where motion is unwelcome, unless the reader asks. */
    function draw(asked) {
      if (!state || !team) return;
      const now = performance.now();
      if (!asked && plainMotion() && wish && now - drawn < STILL) return;
      drawn = now;
      const base = scene();
      const { large, members } = state;
      const last = Math.max(state.step, Number.isFinite(until) ? until : 100);
      const scale = { range: range(members), floor: rule.floor, last };
      if (asked || large !== shownLarge) drawing.large(big, { ...base, large, path: members[large.member].path ?? [] }, layers, colours);
      shownLarge = large;
      const changed = tiles.filter((tile, i) => asked || tile.shown !== members[i]);
      for (const tile of changed) {
        const member = members[tiles.indexOf(tile)];
        tile.shown = member;
        tile.tile.hidden = !member;
        if (member) drawing.small(tile.canvas, { ...base, member }, scale, colours);
      }
      if (changed.length) {
        const format = (v) => fixed(v, rule.key === "modes" ? 0 : 1);
        drawing.curves(chart, members.map((member) => member.curve), chosen, { ...scale, format }, colours);
      }
      Object.assign(root.dataset, { step: state.step, good: goods(), rate: Math.round(state.rate ?? 0), drawn: Number(root.dataset.drawn ?? 0) + 1 });
      if (asked || !wish || now - told > TOLD) {
        told = now;
        tell();
      }
      if (!wish) speak();
    }

    /** What the curves run between: a round number above all of them, unless it is a count. */
    function range(members) {
      const [low, high] = rule.range;
      if (rule.more) return [low, high];
      const most = Math.min(1e6, Math.max(high, ...members.flatMap((member) => member.curve.values.filter(Number.isFinite))));
      const power = 10 ** Math.floor(Math.log10(most));
      return [low, [1, 2, 5, 10].map((k) => k * power).find((round) => round >= most)];
    }

    /** Set the text of an element, if it is another one. */
    function say(element, text) {
      if (element.textContent !== text) element.textContent = text;
    }

    /** Set an attribute, if it is another one. */
    function mark(element, name, value) {
      if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
    }

    /** Say in words what the pictures show. */
    function tell() {
      const { large, members } = state;
      tiles.forEach(({ tile, tag }, i) => {
        const member = members[i];
        if (!member) return;
        const all = loose(member) ? `, least ${percent(member.meters.least)}` : "";
        const number = rule.key === "modes" ? `${member.value}/${rule.range[1]}${all}` : fixed(member.value, 2);
        say(tag, member.failed ? "✗" : `${member.good ? "✓ " : ""}${number}`);
        tile.classList.toggle("good", member.good);
        mark(tile, "aria-checked", i === chosen);
        mark(tile, "tabindex", i === chosen ? 0 : -1);
        mark(tile, "aria-label", inWords(i));
      });
      say(count, `${goods()} of ${settings.seeds}`);
      say(words, ` ${rule.many} (95 % interval of the share: ${interval(goods(), settings.seeds)} %)`);
      [...dots.children].forEach((dot, i) => {
        dot.hidden = !members[i];
        dot.classList.toggle("good", Boolean(members[i]?.good));
        say(dot, members[i]?.good ? "✓" : "");
      });
      say(clock, `step ${thousands(state.step)}${wish && state.rate ? `, ${thousands(Math.round(state.rate))} a second` : ""}`);
      for (const row of table.querySelectorAll("[data-meter]")) say(row.children[1], shown(row.dataset.meter, large.meters));
      say(losses, large.losses && Number.isFinite(large.losses.d) && large.step
        ? `D’s loss ${fixed(large.losses.d, 3)}, G’s loss ${fixed(large.losses.g, 3)}, each of one batch.` : "");
      const gone = settings.data === "dirac" ? [] : drawing.beyond(large.samples, law.features, law.view);
      const where = gone.map((share, side) => (share >= 0.005 ? ` ${Math.round(100 * share)} % of its fakes are ${["left of", "right of", "below", "above"][side]} the picture.` : ""));
      mark(big, "aria-label", `${inWords(large.member)}${where.join("")} After ${inSteps(large.step)}.`);
      mark(chart, "aria-label", `${chartTitle.textContent}; the dashed line is what real samples have, ${shown(rule.key, floor)}.`);
      program();
    }

    document.addEventListener("visibilitychange", go);
    new IntersectionObserver((entries) => {
      seen = entries.at(-1).isIntersecting;
      go();
    }).observe(root.querySelector(".pg-stage"));
    new ResizeObserver(() => requestAnimationFrame(() => draw(true))).observe(root);
    new MutationObserver(() => {
      colours = drawing.palette(root);
      draw(true);
      showForm();
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    window.addEventListener("pagehide", () => team?.pause());
    window.addEventListener("pageshow", go);

    begin();
  }

  return { open };
});

if (typeof document !== "undefined") {
  for (const root of document.querySelectorAll(".playground")) {
    try {
      Playground.require("page").open(root);
    } catch (error) {
      root.innerHTML = '<p class="pg-problem"></p>';
      root.firstChild.textContent = `This browser lacks something that the playground needs (${error.message}). The chapters do without.`;
    }
  }
}

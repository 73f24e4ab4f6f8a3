/* Settings: what they are, which are allowed, how a link holds them. And the tours, which lead through the chapters. */
Playground.define("presets", [], () => {
  "use strict";

  /** The reader's choices by name, in words. */
  const CHOICES = {
    data: {
      ring: "a ring of 8 heaps", grid: "a grid of 25 heaps", moons: "two moons", tilted: "a tilted ellipse", bell: "a bell",
      strokes: "what I draw", dirac: "a single point (Dirac)",
    },
    loss: {
      non_saturating: "non-saturating", minimax: "minimax", least_squares: "least squares", hinge: "hinge",
      wasserstein: "Wasserstein", relativistic: "relativistic",
    },
    turns: { alternating: "D first, then G", simultaneous: "both at once" },
    activation: { relu: "ReLU", leaky_relu: "leaky ReLU", tanh: "tanh" },
    noise: { normal: "normal", uniform: "uniform" },
  };

  /** The numbers: least, most, whether whole. @type {Record<string, [number, number, boolean?]>} */
  const NUMBERS = {
    features: [1, 2, true], r1: [0, 100], r2: [0, 100], gp: [0, 100], gRate: [1e-6, 1], dRate: [1e-6, 1],
    beta1: [-0.9, 0.99], beta2: [0, 0.9999], dSteps: [1, 10, true], batch: [1, 512, true], width: [1, 128, true],
    layers: [0, 4, true], ema: [0, 0.9999], seed: [0, 4294967295, true], seeds: [1, 16, true],
  };

  /** What each setting is called on the page; what follows a colon explains it. */
  const NAMES = {
    data: "What is learned", features: "Numbers or points", loss: "Loss", r1: "R1: D’s slope at real samples costs", r2: "R2: D’s slope at fakes costs",
    gp: "Gradient penalty: slopes other than 1 cost", gRate: "G’s learning rate", dRate: "D’s learning rate", beta1: "β₁, the momentum",
    beta2: "β₂, of Adam’s scale", dSteps: "Updates of D for one of G", turns: "Who moves", batch: "Batch", width: "Units in a layer",
    layers: "Hidden layers", activation: "Units are", ema: "Averaging of G’s weights", noise: "Noise", seed: "Seed of all", seeds: "GANs: how many",
  };
  const called = (name) => NAMES[name].split(":")[0];

  const ON_DIRAC = ["minimax", "non_saturating"]; // the losses of the smallest game
  const DIRAC_HAS = ["loss", "r1", "gRate", "dRate", "beta1", "turns", "seed", "seeds"]; // of the settings
  const MOST_POINTS = 240;

  /** @type {Settings} */
  const DEFAULTS = {
    data: "ring", strokes: [], features: 2, loss: "non_saturating", r1: 0, r2: 0, gp: 0, gRate: 1e-3, dRate: 1e-3, beta1: 0.8,
    beta2: 0.999, dSteps: 1, turns: "alternating", batch: 64, width: 32, layers: 2, activation: "relu", ema: 0, noise: "normal",
    seed: 0, seeds: 16,
  };

  /**
   * Return settings that can be played, and in words what had to be changed.
   * @param {Partial<Settings>} wanted
   * @returns {{settings: Settings, problems: string[]}}
   */
  function validate(wanted) {
    const problems = [];
    /** @type {any} */
    const settings = { ...DEFAULTS, strokes: [] };
    for (const [name, allowed] of Object.entries(CHOICES)) {
      const value = wanted[name] ?? DEFAULTS[name];
      if (Object.hasOwn(allowed, value)) settings[name] = value;
      else problems.push(`${called(name)}: there is no “${value}”; here it is “${allowed[settings[name]]}”.`);
    }
    for (const [name, [least, most, whole]] of Object.entries(NUMBERS)) {
      const value = Number(wanted[name] ?? DEFAULTS[name]);
      const near = Math.min(most, Math.max(least, whole ? Math.round(value) : value));
      settings[name] = Number.isFinite(near) ? near : DEFAULTS[name];
      if (settings[name] !== value) {
        problems.push(`${called(name)}: from ${least} to ${most}${whole ? " and whole" : ""}, not ${wanted[name]}; here it is ${settings[name]}.`);
      }
    }
    if (settings.data === "dirac") {
      for (const name of Object.keys(DEFAULTS)) if (name !== "data" && !DIRAC_HAS.includes(name)) settings[name] = DEFAULTS[name];
      settings.features = 1;
      if (!ON_DIRAC.includes(settings.loss)) {
        if (wanted.loss) problems.push(`${called("loss")}: the smallest game is played with ${ON_DIRAC.join(" or ")}, not ${settings.loss}; here it is minimax.`);
        settings.loss = "minimax";
      }
    } else if (settings.data !== "bell") settings.features = 2;
    if (settings.data !== "dirac" && settings.beta1 < 0) {
      problems.push(`${called("beta1")}: Adam’s is not negative; here it is 0.`);
      settings.beta1 = 0;
    }
    if (settings.turns === "simultaneous" && settings.dSteps > 1) {
      problems.push(`${called("dSteps")}: when both move at once, D moves as often as G: once, not ${settings.dSteps} times.`);
      settings.dSteps = 1;
    }
    const inside = (v) => Number.isFinite(v) && Math.abs(v) <= 2;
    const points = (Array.isArray(wanted.strokes) ? wanted.strokes : []).filter((p) => p?.length === 2 && p.every(inside));
    settings.strokes = settings.data === "dirac" ? [] : points.slice(0, MOST_POINTS);
    return { settings, problems };
  }

  // Links. A drawn point is four letters: its two coordinates in thousandths, from -2 on, to the base 64.

  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const toText = (v) => {
    const n = Math.round(1000 * (v + 2));
    return LETTERS[n >> 6] + LETTERS[n & 63];
  };
  const toNumber = (text) => (64 * LETTERS.indexOf(text[0]) + LETTERS.indexOf(text[1]) - 2000) / 1000; // exactly what was rounded

  /**
   * Return the end of a link to some settings: all that are not the usual ones.
   * @param {Settings} settings
   * @param {string} [tour] whose story stands beside them
   * @returns {string}
   */
  function toLink(settings, tour) {
    const parts = [`data=${settings.data}`];
    if (tour) parts.unshift(`tour=${tour}`);
    for (const name of Object.keys(DEFAULTS)) {
      if (name === "data" || settings[name] === DEFAULTS[name]) continue;
      if (name === "strokes") {
        if (settings.data === "strokes") parts.push(`strokes=${settings.strokes.flat().map(toText).join("")}`);
      } else if (name !== "features" || settings.data === "bell") parts.push(`${name}=${settings[name]}`);
    }
    return parts.join("&");
  }

  /**
   * Return whether what is behind a # may hold settings. A heading of the page has no “=”.
   * @param {string} link
   * @returns {boolean}
   */
  const isLink = (link) => link.includes("=");

  /**
   * Return what a link holds. A tour's story is told of its own game and its repair alone. One that names a tour and nothing else has the tour's settings.
   * @param {string} link what is behind the #
   * @returns {{settings: Settings, tour: string, repaired: boolean, problems: string[]}}
   */
  function fromLink(link) {
    const given = Object.fromEntries(new URLSearchParams(link));
    const tour = Object.hasOwn(TOURS, given.tour) ? given.tour : "";
    const { strokes, tour: _, ...rest } = given;
    const empty = Object.keys(rest).filter((name) => rest[name] === "");
    for (const name of empty) delete rest[name];
    const whole = "data" in given;
    /** @type {any} */
    const wanted = { ...(whole || !tour ? {} : TOURS[tour].settings), ...rest };
    if (strokes) wanted.strokes = (strokes.match(/.{4}/g) ?? []).map((p) => [toNumber(p.slice(0, 2)), toNumber(p.slice(2))]);
    const { settings, problems } = validate(wanted);
    for (const name of [...empty, ...Object.keys(rest)]) {
      if (!Object.hasOwn(DEFAULTS, name)) problems.push(`There is no setting “${name}”.`);
      else if (empty.includes(name)) problems.push(`${called(name)}: nothing is given; here it is ${settings[name]}.`);
      else if (rest[name] != settings[name] && !problems.some((words) => words.startsWith(called(name)))) {
        problems.push(`${called(name)}: not ${rest[name]} with ${CHOICES.data[settings.data]}; here it is ${settings[name]}.`);
      }
    }
    if (strokes && settings.strokes.length !== strokes.length / 4) problems.push(`Of the strokes ${settings.strokes.length} points could be used; the others are not on the pad, or too many.`);
    if (given.tour && !tour) problems.unshift(`There is no tour called “${given.tour}”.`);
    const is = (some) => same(settings, validate({ ...some, seed: settings.seed }).settings);
    const repaired = Boolean(tour) && is(TOURS[tour].repaired.settings);
    const told = repaired || (tour && is(TOURS[tour].settings));
    if (tour && !told) problems.push("These are not the settings of the tour, so its story is left out.");
    return { settings, tour: told ? tour : "", repaired, problems };
  }

  /** @param {Settings} a @param {Settings} b @returns {boolean} */
  const same = (a, b) => toLink(a) === toLink(b);

  // The tours: the settings, what to guess, how long to watch, and the repair. All were found by trying.

  /** @type {Settings} */
  const RING = { ...DEFAULTS };
  /** @type {Settings} */
  const LINE = {
    ...DEFAULTS, data: "tilted", activation: "tanh", width: 8, batch: 8, gRate: 0.01, dRate: 0.05, beta1: 0.9,
  };
  /** @type {Settings} */
  const FIFTY = {
    ...DEFAULTS, data: "bell", features: 1, noise: "uniform", batch: 100, gRate: 1e-3, dRate: 1e-3, beta1: 0.9,
  };
  /** @type {Settings} */
  const CRITIC = {
    ...DEFAULTS, data: "bell", features: 1, noise: "uniform", loss: "wasserstein", gp: 10, dSteps: 5, beta1: 0, beta2: 0.9,
  };
  /** @type {Settings} */
  const DIRAC = { ...DEFAULTS, data: "dirac", features: 1, loss: "minimax", turns: "simultaneous", gRate: 0.2, dRate: 0.2, beta1: 0 };

  /** @type {Record<string, Tour>} */
  const TOURS = {
    ring: {
      title: "The ring that collapses",
      chapter: "modes", of: "Counting modes",
      settings: RING, until: 1500, layers: [],
      story: "The real data are eight heaps on a ring. A good generator makes all eight, and each as often as the others.",
      question: "After 1,500 steps, how many of the sixteen generators will make all eight heaps, each with at least half of its fair share?",
      watch: "Watch the orange fakes of one GAN: they sit on a heap, D finds out, and they move on.",
      repaired: {
        settings: { ...RING, loss: "relativistic", r1: 0.1, r2: 0.1, gRate: 3e-3, dRate: 3e-3, beta1: 0, beta2: 0.99, ema: 0.99 },
        changes: "D compares pairs, its slope costs (R1 and R2), Adam has no momentum and higher rates, and G’s weights are averaged. Several things at once, so the score does not tell which of them helped.",
        watch: "The fakes now spread over the ring before they gather on its heaps.",
      },
    },
    fifty: {
      title: "A bell in fifty lines",
      chapter: "fifty_lines", of: "A GAN in fifty lines",
      settings: FIFTY, until: 3000, layers: ["warp"],
      story: "The real data are numbers in a bell around 4. Fakes start near 0 and have to walk there.",
      question: "After 3,000 steps, how many of the sixteen will have a bell that is right?",
      watch: "Watch the fakes arrive, and shoot past. Do they come back, and do they ever stop?",
      repaired: {
        settings: { ...FIFTY, r1: 0.1, dRate: 4e-3, beta1: 0, ema: 0.99 },
        changes: "R1 of 0.1, no momentum, a D that learns four times as fast, and G’s weights averaged over the last steps. Several things at once.",
        watch: "The fakes stop where the data are.",
      },
    },
    line: {
      title: "The thin line",
      chapter: "mxnet_gaussian", of: "The least efficient way to fit a Gaussian",
      settings: LINE, until: 1000, layers: ["warp"],
      story: "The real data are one long, tilted ellipse. It takes two numbers to make a point of it.",
      question: "After 1,000 steps, how many of the sixteen will have the ellipse about right?",
      watch: "Watch the net, which is the noise as G bends it: it may fold into a line.",
      repaired: {
        settings: {
          ...LINE, activation: "leaky_relu", width: 32, batch: 64, gRate: 4e-3, dRate: 8e-3, beta1: 0.5, r1: 0.1, ema: 0.99,
        },
        changes: "Wider networks with leaky units, batches of 64, gentler rates, less momentum, R1 of 0.1, and G’s weights averaged. Several things at once.",
        watch: "The net stays open, and lies where the data lie.",
      },
    },
    critic: {
      title: "The wrong way",
      chapter: "distances", of: "How far apart are two distributions?",
      settings: CRITIC, until: 800, layers: ["arrows"],
      story: "The real data are a bell around 4. The loss is Wasserstein’s, with its published penalty: D’s slope should be 1, up or down.",
      question: "After 800 steps, how many of the sixteen will have a bell that is right?",
      watch: "Around step 150, watch D, the green dots, and the arrows: which way does it send the fakes?",
      repaired: {
        settings: { ...CRITIC, gp: 0, r1: 1 },
        changes: "R1 of 1 in place of the gradient penalty. It asks for a slope of 0 at real samples. Nothing else.",
        watch: "D now points to the data, and all walk there. To be as wide as the bell takes most of them longer than 800 steps.",
      },
    },
    dirac: {
      title: "Dirac’s spiral",
      chapter: "minimax", of: "The minimax game",
      settings: DIRAC, until: 150, layers: [],
      story: "The smallest GAN there is: all real samples are 0, G is one number, and so is D. The blue dot is the solution.",
      question: "After 150 steps, how many of the sixteen will have come home to the blue dot?",
      watch: "Each player steps downhill on its own loss. Watch where the two together go.",
      repaired: {
        settings: { ...DIRAC, r1: 0.5 },
        changes: "D’s slope at the real sample costs (R1 of 0.5). Nothing else.",
        watch: "The same spiral, turned inwards.",
      },
    },
  };

  return { CHOICES, NAMES, ON_DIRAC, DIRAC_HAS, NUMBERS, DEFAULTS, TOURS, MOST_POINTS, validate, toLink, isLink, fromLink };
});

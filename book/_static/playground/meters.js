/* How far what a generator makes is from what it should make: the measures of gan_helpers.metrics and
   gan_helpers.mode_metrics, the same of real samples as a floor, and what counts as a success. */
Playground.define("meters", ["numbers", "data"], (numbers, data) => {
  "use strict";
  const { Stream, quantile } = numbers;

  const SIDE = 50;
  const SAMPLES = SIDE ** 2; // as in the paper that counts modes
  const FLOORS = 11; // real samples whose median is the floor
  const REAL = 4; // times as many real samples cast the shadows that those of fakes are compared with
  const WAYS = Array.from({ length: 8 }, (_, k) => [Math.cos((Math.PI * k) / 8), Math.sin((Math.PI * k) / 8)]);
  const FAIR = 0.5; // of its fair share is what each heap needs

  /**
   * The moments of a sample, all divided by n: mean, standard deviation, skewness, excess kurtosis.
   * @param {ArrayLike<number>} x
   * @returns {{mean: number, sd: number, skewness: number, kurtosis: number}}
   */
  function moments(x) {
    const n = x.length;
    let mean = 0;
    for (let i = 0; i < n; i++) mean += x[i] / n;
    let [m2, m3, m4] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const c = x[i] - mean;
      m2 += (c * c) / n;
      m3 += (c * c * c) / n;
      m4 += (c * c * c * c) / n;
    }
    if (m2 <= (n * Number.EPSILON * mean) ** 2) [m2, m3, m4] = [0, 0, 0]; // equal numbers have no spread
    return { mean, sd: Math.sqrt(m2), skewness: m3 / m2 ** 1.5, kurtosis: m4 / m2 ** 2 - 3 };
  }

  const LINE = 1000; // samples on the line
  const BEST = new Float64Array(LINE).map((_, i) => quantile((i + 0.5) / LINE)); // the points that stand for a normal law best

  /**
   * The 1-Wasserstein distance of a sample from the points that stand for a normal law best.
   * @param {ArrayLike<number>} x LINE of them
   * @param {{mean: number, sd: number}} law
   * @returns {number}
   */
  const w1 = (x, { mean, sd }) =>
    Float64Array.from(x).sort().reduce((sum, v, i) => sum + Math.abs(v - mean - sd * BEST[i]) / LINE, 0);

  /**
   * How many modes of a mixture have a sample closer than three standard deviations, what share of the samples
   * is that close, how unevenly these are spread, in nats, and what part of its fair share the smallest mode has.
   * @param {Float32Array} x one sample after the other
   * @param {number[][]} modes
   * @param {number} sd of each
   * @returns {{modes: number, high: number, klReverse: number, least: number, each: number[]}}
   */
  function countModes(x, modes, sd) {
    const [features, n] = [modes[0].length, x.length / modes[0].length];
    const each = modes.map(() => 0);
    for (let k = 0; k < n; k++) {
      let [nearest, which] = [Infinity, 0];
      modes.forEach((centre, i) => {
        let square = 0;
        for (let f = 0; f < features; f++) square += (x[k * features + f] - centre[f]) ** 2;
        if (square < nearest) [nearest, which] = [square, i];
      });
      if (Math.sqrt(nearest) < 3 * sd) each[which] += 1;
    }
    const good = each.reduce((sum, count) => sum + count, 0);
    const most = Math.log(modes.length);
    const spread = each.reduce((sum, count) => sum + (count ? (count / good) * Math.log(count / good) : 0), 0);
    return {
      modes: each.filter((count) => count > 0).length, high: good / n, klReverse: good ? most + spread : most,
      least: (Math.min(...each) * modes.length) / n, each,
    };
  }

  /**
   * The shadows that points of the plane cast on lines in eight directions, each in order.
   * @param {Float32Array} x one after the other
   * @returns {Float64Array[]}
   */
  const shadows = (x) => WAYS.map(([c, s]) => {
    const shadow = new Float64Array(x.length / 2);
    for (let k = 0; k < shadow.length; k++) shadow[k] = c * x[2 * k] + s * x[2 * k + 1];
    return shadow.sort();
  });

  /**
   * W1 of the shadows of two samples, in standard deviations of the second's, averaged over the directions.
   * Bonneel et al. (2015), https://doi.org/10.1007/s10851-014-0506-3
   * @param {Float64Array[]} x the shadows of one
   * @param {Float64Array[]} y those of one that has a whole number of times as many
   * @param {number[]} widths of y's shadows
   * @returns {number}
   */
  function slicedW1(x, y, widths) {
    let sum = 0;
    y.forEach((real, j) => {
      const [fake, times, each] = [x[j], real.length / x[j].length, 1 / (real.length * widths[j] * y.length)];
      for (let i = 0; i < fake.length; i++) {
        for (let k = i * times; k < (i + 1) * times; k++) sum += each * Math.abs(real[k] - fake[i]);
      }
    });
    return sum;
  }

  /**
   * The Gaussian closest to a sample in two dimensions, which divides by n.
   * @param {Float32Array} x one sample after the other
   * @returns {Normal2}
   */
  function fitGaussian(x) {
    const n = x.length / 2;
    const mean = [0, 0];
    x.forEach((v, i) => { mean[i % 2] += v / n; });
    let [xx, xy, yy] = [0, 0, 0];
    for (let k = 0; k < n; k++) {
      const [a, b] = [x[2 * k] - mean[0], x[2 * k + 1] - mean[1]];
      xx += (a * a) / n;
      xy += (a * b) / n;
      yy += (b * b) / n;
    }
    return { mean, covariance: [[xx, xy], [xy, yy]] };
  }

  /** The symmetric root of a covariance. @param {number[][]} covariance @returns {number[][]} */
  function root([[xx, xy], [, yy]]) {
    const det = Math.sqrt(Math.max(0, xx * yy - xy * xy));
    const trace = Math.sqrt(xx + yy + 2 * det) || 1;
    return [[(xx + det) / trace, xy / trace], [xy / trace, (yy + det) / trace]];
  }

  /** The samples that are enough for all measures. @param {Settings} settings @returns {number} */
  const needed = (settings) => (settings.data === "dirac" ? 1 : data.of(settings).features === 1 ? LINE : SAMPLES);

  /** @type {WeakMap<Law, {fit: Normal2, cast: Float64Array[], widths: number[]}>} */
  const seen = new WeakMap();

  /** What many real samples show: the Gaussian closest to them, their shadows and the widths of these. @param {Law} law */
  function real(law) {
    let found = seen.get(law);
    if (!found) {
      const x = law.sample(REAL * SAMPLES, new Stream(0, 0, "real"), 1);
      const cast = shadows(x);
      found = { fit: fitGaussian(x), cast, widths: cast.map((shadow) => moments(shadow).sd) };
      seen.set(law, found);
    }
    return found;
  }

  /**
   * Measure a sample.
   * @param {Float32Array} x `needed` samples, one after the other
   * @param {Law} law what they should follow
   * @returns {Meters}
   */
  function measure(x, law) {
    if (law.features === 1) return { w1: w1(x, law), ...moments(x) };
    const of = [0, 1].map((f) => moments(x.filter((_, i) => i % 2 === f)));
    const [mean, sd] = [of.map((m) => m.mean), of.map((m) => m.sd)];
    const { cast, widths } = real(law);
    return {
      ...(law.modes ? countModes(x, law.modes, law.sd) : {}), sliced: slicedW1(shadows(x), cast, widths), mean, sd,
    };
  }

  /** Where a law of two uniform numbers is, of mean 0 and covariance 1. @type {((u: number, v: number) => number[])[]} */
  const SHAPELESS = [
    (u, v) => [quantile(u), quantile(v)], // a normal blob
    (u, v) => [u, v].map((share) => Math.sqrt(12) * (share - 0.5)), // a flat block
    (u, v) => [Math.cos, Math.sin].map((f) => 2 * Math.sqrt(u) * f(2 * Math.PI * v)), // a flat disc
  ];

  /**
   * Samples that know of a law no more than where it is and how wide: a blob, a block and a disc in the plane, each
   * as even as can be, and a block on the line.
   * @param {Law} law
   * @returns {Float32Array[]}
   */
  function rivals(law) {
    if (law.features === 1) {
      return [new Float32Array(LINE).map((_, i) => law.mean + law.sd * Math.sqrt(12) * ((i + 0.5) / LINE - 0.5))];
    }
    const { mean, covariance } = real(law).fit;
    const bend = root(covariance);
    return SHAPELESS.map((shape) => {
      const x = new Float32Array(2 * SAMPLES);
      for (let k = 0; k < SAMPLES; k++) {
        const at = shape(((k % SIDE) + 0.5) / SIDE, (Math.floor(k / SIDE) + 0.5) / SIDE);
        for (const f of [0, 1]) x[2 * k + f] = mean[f] + bend[f][0] * at[0] + bend[f][1] * at[1];
      }
      return x;
    });
  }

  /** What is known of real samples, by what they are drawn from. @type {Map<string, {floor: Meters, worst: Meters}>} */
  const known = new Map();

  /**
   * What real samples of the same size have: the median of several.
   * @param {Settings} settings
   * @returns {Meters}
   */
  const floor = (settings) => ofReal(settings).floor;

  /** @param {Settings} settings @returns {{floor: Meters, worst: Meters}} */
  function ofReal(settings) {
    if (settings.data === "dirac") return { floor: { distance: 0, theta: 0, psi: 0 }, worst: {} };
    const key = JSON.stringify([settings.data, settings.features, settings.strokes]);
    const before = known.get(key);
    if (before) return before;
    const [law, stream] = [data.of(settings), new Stream(0, 0, "floor")];
    const each = Array.from({ length: FLOORS }, (_, i) => measure(law.sample(needed(settings), stream, i), law));
    /** @type {(values: any[], rank: number) => any} */
    const ranked = (values, rank) =>
      Array.isArray(values[0])
        ? values[0].map((_, /** @type {number} */ f) => ranked(values.map((v) => v[f]), rank))
        : [...values].sort((a, b) => a - b)[rank];
    const at = (/** @type {number} */ rank) =>
      Object.fromEntries(Object.keys(each[0]).map((name) => [name, ranked(each.map((m) => m[name]), rank)]));
    const found = { floor: at((FLOORS - 1) / 2), worst: at(FLOORS - 1) };
    known.set(key, found);
    return found;
  }

  /**
   * The bound of a success: halfway from the worst of some real samples to the best that knows no shape. Where the law
   * has no shape itself, what is like it is no rival.
   * @param {Law} law
   * @param {string} key
   * @param {number} worst
   * @returns {number}
   */
  function bound(law, key, worst) {
    const wrong = rivals(law).map((x) => measure(x, law)[key]).filter((distance) => distance > 1.25 * worst);
    return (worst + Math.min(...wrong)) / 2;
  }

  /**
   * What a run is judged by, and when it is a success.
   * @param {Settings} settings
   * @returns {Rule}
   */
  function rule(settings) {
    const law = data.of(settings);
    const { floor, worst } = ofReal(settings);
    const all = law.modes?.length ?? 0;
    const key = settings.data === "dirac" ? "distance" : all ? "modes" : law.features === 1 ? "w1" : "sliced";
    const of = { key, floor: floor[key], more: false, most: 0.1, range: [0, 2], good: (/** @type {Meters} */ m) => m[key] < of.most };
    if (key === "distance") return { ...of, many: "come home: they are within 0.1 of rest" };
    if (all) {
      return {
        ...of, more: true, most: null, range: [0, all], good: (m) => m.least >= FAIR,
        many: `find all ${all} heaps, each with half of its fair share or more`,
      };
    }
    of.most = bound(law, key, worst[key]);
    const many = `have a ${key === "w1" ? "W1" : "sliced W1"} below ${of.most.toFixed(3)}: nearer to real samples than to what has no shape`;
    return { ...of, range: [0, 8 * of.most], many };
  }

  return { FAIR, moments, w1, countModes, shadows, slicedW1, fitGaussian, needed, measure, rivals, floor, rule };
});

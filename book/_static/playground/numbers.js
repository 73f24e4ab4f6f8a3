/* Numbers: functions that neither overflow nor cancel, and random numbers that depend on where they are used
   and on nothing else. */
Playground.define("numbers", [], () => {
  "use strict";

  /**
   * log(1 + exp(a)), without overflow.
   * @param {number} a
   * @returns {number}
   */
  const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

  /**
   * 1 / (1 + exp(-a)), which keeps its digits on both sides.
   * @param {number} a
   * @returns {number}
   */
  const sigmoid = (a) => (a < 0 ? Math.exp(a) / (1 + Math.exp(a)) : 1 / (1 + Math.exp(-a)));

  /** What random numbers are for; each use has numbers of its own, so that none disturbs another. */
  const STREAMS = Object.freeze({ data: 0, noise: 1, G: 2, D: 3, mix: 4, look: 5, real: 6, floor: 7 });

  /**
   * The high half of the product of two 32-bit numbers; the low one is Math.imul(a, b).
   * @param {number} a
   * @param {number} b
   * @returns {number}
   */
  function high(a, b) {
    const a1 = a >>> 16;
    const a0 = a & 0xffff;
    const b1 = b >>> 16;
    const b0 = b & 0xffff;
    const middle = a1 * b0 + ((a0 * b0) >>> 16); // below 2^53, as all that follows
    const low = (middle % 0x10000) + a0 * b1;
    return a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(low / 0x10000);
  }

  /**
   * Philox 4x32-10: four random 32-bit numbers for each counter and key, without a state.
   * Salmon et al. (2011), https://doi.org/10.1145/2063384.2063405
   * @param {ArrayLike<number>} counter four 32-bit numbers
   * @param {ArrayLike<number>} key two 32-bit numbers
   * @param {Uint32Array} out gets the four numbers
   * @returns {Uint32Array} `out`
   */
  function philox(counter, key, out) {
    let c0 = counter[0];
    let c1 = counter[1];
    let c2 = counter[2];
    let c3 = counter[3];
    let k0 = key[0];
    let k1 = key[1];
    for (let round = 0; round < 10; round++) {
      const p = high(0xd2511f53, c0);
      const q = high(0xcd9e8d57, c2);
      const p0 = Math.imul(0xd2511f53, c0);
      const q0 = Math.imul(0xcd9e8d57, c2);
      c0 = (q ^ c1 ^ k0) >>> 0;
      c1 = q0 >>> 0;
      c2 = (p ^ c3 ^ k1) >>> 0;
      c3 = p0 >>> 0;
      k0 = (k0 + 0x9e3779b9) >>> 0;
      k1 = (k1 + 0xbb67ae85) >>> 0;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
    return out;
  }

  /**
   * Random numbers of one use, one member and one seed. The numbers at a place are the same whatever else was
   * drawn before: a place is a step or any other whole number.
   */
  class Stream {
    /**
     * @param {number} seed
     * @param {number} member
     * @param {keyof typeof STREAMS} use
     */
    constructor(seed, member, use) {
      this.key = [seed >>> 0, member >>> 0];
      this.use = STREAMS[use];
      this.counter = new Uint32Array(4);
      this.block = new Uint32Array(4);
    }

    /** Draw the four numbers of a block. @param {number} block @param {number} place @param {number} part */
    draw(block, place, part) {
      this.counter[0] = block;
      this.counter[1] = place;
      this.counter[2] = this.use;
      this.counter[3] = part;
      philox(this.counter, this.key, this.block);
    }

    /**
     * Fill with numbers that are equally likely everywhere in [0, 1), in steps of 2^-24 as float32 has them.
     * @template {Float32Array|Float64Array} T
     * @param {T} out
     * @param {number} place
     * @param {number} [part] tells several draws at one place apart
     * @returns {T} `out`
     */
    uniform(out, place, part = 0) {
      for (let i = 0; i < out.length; i++) {
        if (i % 4 === 0) this.draw(i / 4, place, part);
        out[i] = (this.block[i % 4] >>> 8) / 0x1000000;
      }
      return out;
    }

    /**
     * Fill with numbers of N(0, 1), by the method of Box and Muller.
     * @template {Float32Array|Float64Array} T
     * @param {T} out
     * @param {number} place
     * @param {number} [part] tells several draws at one place apart
     * @returns {T} `out`
     */
    normal(out, place, part = 0) {
      for (let i = 0; i < out.length; i += 2) {
        if (i % 4 === 0) this.draw(i / 4, place, part);
        const radius = Math.sqrt(-2 * Math.log((this.block[i % 4] + 1) / 0x100000000));
        const angle = 2 * Math.PI * (this.block[(i % 4) + 1] / 0x100000000);
        out[i] = radius * Math.cos(angle);
        if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
      }
      return out;
    }
  }

  /**
   * The standard normal law's quantile: where its distribution function is u. Wichura (1988), AS 241, which is
   * right to about 16 digits. https://doi.org/10.2307/2347330
   * @param {number} u between 0 and 1
   * @returns {number}
   */
  function quantile(u) {
    const q = u - 0.5;
    if (Math.abs(q) <= 0.425) {
      const r = 0.180625 - q * q;
      return q * ratio(r, CENTRE);
    }
    const r = Math.sqrt(-Math.log(Math.min(u, 1 - u)));
    return Math.sign(q) * (r <= 5 ? ratio(r - 1.6, FLANK) : ratio(r - 5, TAIL));
  }

  /** @param {number} r @param {number[][]} polynomials @returns {number} */
  const ratio = (r, [above, below]) => polynomial(r, above) / polynomial(r, below);
  /** @param {number} r @param {number[]} from the lowest power on @returns {number} */
  const polynomial = (r, from) => from.reduceRight((sum, c) => sum * r + c, 0);

  const CENTRE = [
    [3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
      45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727],
    [1, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077, 21213.794301586595867,
      39307.895800092710610, 28729.085735721942674, 5226.4952788528545610],
  ];
  const FLANK = [
    [1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
      1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4],
    [1, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550, 0.148103976427480074590,
      0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9],
  ];
  const TAIL = [
    [6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
      0.0265321895265761230930, 0.00124266094738807843860, 2.71155556874348757815e-5, 2.01033439929228813265e-7],
    [1, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525, 7.86869131145613259100e-4,
      1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15],
  ];

  return { softplus, sigmoid, Stream, STREAMS, philox, quantile };
});

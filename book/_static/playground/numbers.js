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
   * The standard normal law's quantile: where its distribution function is u. By Newton's method, on the series
   * density(x) (x + x^3 / 3 + x^5 / (3 5) + ...), from 0 on, so that no step goes too far. Some 13 digits are right
   * for u from 0.0001 to 0.9999, and nothing here asks for others.
   * @param {number} u
   * @returns {number}
   */
  function quantile(u) {
    for (let x = 0, move = 1; ; x -= move) {
      if (Math.abs(move) < 1e-9) return x; // the next would be its square
      const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
      let [sum, term] = [0, x];
      for (let k = 3; sum + term !== sum; k += 2) {
        sum += term;
        term *= (x * x) / k;
      }
      move = sum + (0.5 - u) / density;
    }
  }

  return { softplus, sigmoid, Stream, philox, quantile };
});

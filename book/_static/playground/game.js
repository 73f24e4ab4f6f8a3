/* One GAN: its settings become data, networks, losses and optimisers, and its state can be looked at. */
Playground.define("game", ["numbers", "kernels", "networks", "losses", "training", "data", "meters"],
  (numbers, kernels, networks, losses, training, data, meters) => {
    "use strict";
    const { Stream, sigmoid, quantile } = numbers;

    const NEVER = 0x7fffffff; // a place that no training reaches
    const VIEWED = 256; // points that go through a network at a time

    /** A generator against a discriminator. */
    class Game {
      /**
       * @param {Settings} settings
       * @param {number} member which of the seeds
       * @param {Feed} [feed] batches instead of drawn ones
       */
      constructor(settings, member, feed) {
        this.settings = settings;
        this.member = member;
        this.law = data.of(settings);
        this.dirac = settings.data === "dirac";
        const made = kernels.make((/** @type {Kernels} */ products) => this.build(products, feed));
        /** @type {ReturnType<Game["build"]>} */
        const { players, view } = made;
        this.players = players;
        this.view = view;
        /** @type {Network} */
        this.G = players.G;
        /** @type {Network} */
        this.D = players.D;
        this.begin();
        this.players.average?.weights.set(this.G.weights);
      }

      /**
       * Build the two players, and room for points that are only looked at.
       * @param {Kernels} made
       * @param {Feed} [feed]
       */
      build(made, feed) {
        const { settings, dirac, law: { features } } = this;
        const hidden = dirac ? [] : new Array(settings.layers).fill(settings.width);
        const network = (/** @type {number} */ out) =>
          new networks.Network([features, ...hidden, out], settings.activation, made, !dirac);
        const [G, D] = [network(features), network(1)];
        const optimiser = (/** @type {any} */ { weights: { length } }, /** @type {number} */ rate) =>
          dirac
            ? training.descent(length, rate, settings.beta1)
            : training.adam(length, rate, settings.beta1, settings.beta2);
        const turns = settings.turns ?? (dirac ? "simultaneous" : "alternating");
        const rules = {
          loss: settings.loss, r1: settings.r1 ?? 0, r2: settings.r2 ?? 0, gp: settings.gp ?? 0,
          dSteps: settings.dSteps ?? 1, batch: dirac ? 1 : settings.batch,
          simultaneous: turns === "simultaneous", ema: settings.ema ?? 0,
        };
        const optimisers = { G: optimiser(G, settings.gRate), D: optimiser(D, settings.dRate) };
        const source = feed ? this.fed(feed, rules.batch) : this.drawn(rules.batch);
        return {
          players: new training.Players(G, D, rules, optimisers, source),
          view: { G: G.pass(VIEWED, "values"), D: D.pass(VIEWED, "gradients") },
        };
      }

      /** Draw the first weights. @returns {void} */
      begin() {
        const { seed } = this.settings;
        if (this.dirac) {
          const [turn] = new Stream(seed, this.member, "G").uniform(new Float64Array(1), 0);
          this.G.weights[0] = Math.cos(2 * Math.PI * turn);
          this.D.weights[0] = Math.sin(2 * Math.PI * turn);
          return;
        }
        this.G.start(new Stream(seed, this.member, "G"));
        this.D.start(new Stream(seed, this.member, "D"));
      }

      /**
       * Batches that depend on the seed, the member and how many were drawn before.
       * @param {number} n
       */
      drawn(n) {
        const stream = (/** @type {any} */ use) => new Stream(this.settings.seed, this.member, use);
        const [real, noise, mix] = [stream("data"), stream("noise"), stream("mix")];
        const at = { data: 0, noise: 0, mix: 0 };
        return {
          data: (/** @type {Float64Array} */ out, /** @type {number} */ columns) =>
            this.law.fill(out, columns, n, real, at.data++),
          noise: (/** @type {Float64Array} */ out, /** @type {number} */ columns) =>
            byFeature(this.noise(n, noise, at.noise++), out, columns, n),
          mix: (/** @type {Float64Array} */ out) => { mix.uniform(out, at.mix++); },
        };
      }

      /** Batches of a feed. @param {Feed} feed @param {number} n */
      fed(feed, n) {
        const at = { data: 0, noise: 0, mix: 0 };
        return {
          data: (/** @type {Float64Array} */ out, /** @type {number} */ columns) =>
            byFeature(feed.data[at.data++], out, columns, n),
          noise: (/** @type {Float64Array} */ out, /** @type {number} */ columns) =>
            byFeature(feed.noise[at.noise++], out, columns, n),
          mix: (/** @type {Float64Array} */ out) => { out.set((feed.mix ?? [])[at.mix++]); },
        };
      }

      /**
       * Draw n inputs of G, one after the other.
       * @param {number} n
       * @param {Stream} stream
       * @param {number} place
       * @returns {Float32Array}
       */
      noise(n, stream, place) {
        const z = new Float32Array(n * this.law.features);
        if (this.dirac) return z.fill(1); // its G is a weight times 1
        return this.settings.noise === "uniform" ? stream.uniform(z, place) : stream.normal(z, place);
      }

      /** How many steps were taken. @returns {number} */
      get steps() {
        return this.players.steps;
      }

      /** Take n steps. @param {number} n @returns {void} */
      step(n) {
        for (let i = 0; i < n; i++) this.players.step();
      }

      /** The losses of the last step. @returns {{d: number, g: number}} */
      losses() {
        return { ...this.players.losses };
      }

      /** Whether a weight is no number any more. @returns {boolean} */
      failed() {
        return !(this.G.weights.every(Number.isFinite) && this.D.weights.every(Number.isFinite));
      }

      /** The weights of both players: w row by row, then b, of each layer. @returns {{G: Float64Array, D: Float64Array}} */
      weights() {
        return { G: this.G.weights.slice(), D: this.D.weights.slice() };
      }

      /**
       * Set the weights of both players before the first step.
       * @param {{G: ArrayLike<number>, D: ArrayLike<number>}} weights
       * @returns {void}
       */
      setWeights({ G, D }) {
        this.G.weights.set(G);
        this.D.weights.set(D);
        if (this.players.average) this.players.average.weights.set(G);
      }

      /**
       * Send points through a network, as many at a time as there is room for.
       * @param {"G"|"D"} name
       * @param {Float32Array} points one after the other
       * @param {(pass: any, from: number, n: number) => void} [then] after each part
       * @returns {Float32Array} the outputs, one after the other
       */
      through(name, points, then) {
        const [network, pass] = [this[name], this.view[name]];
        const [from, to] = [network.sizes[0], network.sizes[network.sizes.length - 1]];
        const n = points.length / from;
        const found = new Float32Array(n * to);
        for (let start = 0; start < n; start += pass.columns) {
          const part = Math.min(pass.columns, n - start);
          byFeature(points.subarray(start * from, (start + part) * from), pass.y[0], pass.columns, part);
          const out = network.forward(pass);
          for (let k = 0; k < part; k++) {
            for (let f = 0; f < to; f++) found[(start + k) * to + f] = out[f * pass.columns + k];
          }
          then?.(pass, start, part);
        }
        return found;
      }

      /**
       * What G, or its average, makes of some inputs.
       * @param {Float32Array} z one after the other
       * @returns {Float32Array} the samples, one after the other
       */
      warp(z) {
        const averaged = this.players.average?.weights;
        if (!averaged || this.steps === 0) return this.through("G", z);
        const newest = this.G.weights.slice();
        this.G.weights.set(averaged);
        const samples = this.through("G", z);
        this.G.weights.set(newest);
        return samples;
      }

      /**
       * Samples of G, or of its average, of the same inputs at each look.
       * @param {number} n
       * @returns {Float32Array} one after the other
       */
      samples(n) {
        const wanted = n * this.law.features;
        if (!this.inputs || this.inputs.length < wanted) {
          this.inputs = this.noise(n, new Stream(this.settings.seed, this.member, "look"), NEVER);
        }
        return this.warp(this.inputs.subarray(0, wanted)); // the first of many are the same as few
      }

      /**
       * Measure what G makes.
       * @returns {Meters}
       */
      meters() {
        if (this.dirac) {
          const [theta, psi] = [this.G.weights[0], this.D.weights[0]];
          return { theta, psi, distance: Math.hypot(theta, psi) };
        }
        return meters.measure(this.samples(meters.needed(this.settings)), this.law);
      }

      /**
       * D's answers as probabilities. Where D's output is no logit, they are what is closest to it.
       * @param {Float32Array} points one after the other
       * @returns {Float32Array}
       */
      surface(points) {
        const [{ loss }, outputs] = [this.settings, this.through("D", points)];
        if (loss === "least_squares") return outputs.map((a) => Math.min(1, Math.max(0, a)));
        const middle = loss === "wasserstein" || loss === "relativistic" ? this.middle() : 0;
        return outputs.map((a) => sigmoid(a - middle));
      }

      /** The middle of D's means on real samples and on fakes, where only differences count. @returns {number} */
      middle() {
        const mean = (/** @type {Float32Array} */ x) => x.reduce((sum, a) => sum + a / x.length, 0);
        const { points } = this.law;
        return (mean(this.through("D", points)) + mean(this.through("D", this.samples(200)))) / 2;
      }

      /**
       * Where G's descent pushes samples: against the slope of G's loss of each one.
       * @param {Float32Array} points one after the other
       * @returns {Float32Array}
       */
      arrows(points) {
        const { features } = this.law;
        const found = new Float32Array(points.length);
        const last = this.D.layers.length;
        const relativistic = this.settings.loss === "relativistic";
        const real = Float64Array.from(relativistic ? this.through("D", this.law.points) : []);
        this.through("D", points, (pass, start, n) => {
          pass.back[last].fill(0);
          losses.ofG(this.settings.loss, real, pass.y[last], n, pass.back[last]);
          const slopes = this.D.backward(pass, { weights: false, input: true });
          for (let k = 0; k < n; k++) {
            for (let f = 0; f < features; f++) {
              found[(start + k) * features + f] = -n * slopes[f * pass.columns + k];
            }
          }
        });
        return found;
      }

      /**
       * A grid of noise by its quantiles, so that each cell has the same share of all noise.
       * @param {number} side points in a row
       * @returns {Float32Array} one after the other, row by row
       */
      lattice(side) {
        const uniform = this.settings.noise === "uniform";
        const line = Array.from({ length: side }, (_, i) => (i + 0.5) / side).map((u) => (uniform ? u : quantile(u)));
        if (this.dirac) return new Float32Array([1]);
        return new Float32Array(this.law.features === 1 ? line : line.flatMap((y) => line.flatMap((x) => [x, y])));
      }
    }

    /**
     * Lay out samples feature by feature.
     * @param {Float32Array} samples one after the other
     * @param {Float64Array} out
     * @param {number} columns
     * @param {number} n
     */
    function byFeature(samples, out, columns, n) {
      const features = samples.length / n;
      for (let k = 0; k < n; k++) {
        for (let f = 0; f < features; f++) out[f * columns + k] = samples[k * features + f];
      }
    }

    /**
     * Return a game before its first step.
     * @param {Settings} settings
     * @param {number} member
     * @param {Feed} [feed]
     * @returns {Game}
     */
    const create = (settings, member, feed) => new Game(settings, member, feed);

    return { create };
  });
